"""What the commands of `pytest-evalloop` do, once the command line has been read."""
