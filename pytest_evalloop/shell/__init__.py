"""The pytest session of a loop: its controller and what it shows."""
