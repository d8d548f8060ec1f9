"""What this model must do and must not do; the files read as its requirements."""
