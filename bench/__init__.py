"""One script per number that the README quotes; `python -m bench` runs them all into RESULTS.md."""
