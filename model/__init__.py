"""The default job: a small GPT on Shakespeare, as an example of a project that the loop improves."""
