"""What an eval author touches: fixtures, failure modes and their rates, outcomes."""
