"""Mutators: they propose candidates by editing a worktree that stands at the incumbent."""
