"""What every mutator needs: replayable random numbers, and paths that stay in the worktree."""

from __future__ import annotations

import random
from pathlib import Path

from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief


def generator(brief: Brief, name: str) -> random.Random:
    """Return the random numbers of one candidate, the same in every replay of it."""
    return random.Random(f"{name}:{brief.seed}:{brief.number}")  # noqa: S311 - replayable, not secret


def locate(brief: Brief, file: str) -> Path:
    """Return the path of `file` in the worktree, which may not lead out of it.

    Raises `MutatorError` when it does, for example through a symlink.
    """
    worktree = Path(brief.worktree)
    path = worktree / file
    if not path.resolve().is_relative_to(worktree.resolve()):
        raise MutatorError(f"{file} leads out of the worktree {worktree}, so it is not edited.")
    return path
