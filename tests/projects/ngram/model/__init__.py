"""A byte n-gram model in plain Python: neither torch nor numpy."""
