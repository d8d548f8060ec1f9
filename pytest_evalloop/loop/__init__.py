"""The loop: its order of events, how a candidate is graded, and what is accepted."""
