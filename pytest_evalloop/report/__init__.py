"""Tables and summaries of what a run has on record."""
