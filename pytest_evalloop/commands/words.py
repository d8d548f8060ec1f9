"""How the commands speak: results to standard output, everything else beside it."""

from __future__ import annotations

import sys
from typing import Final, Self

WAYS: Final = ("random", "stratified", "outliers", "disagreements")
"""How a sample of traces can be drawn, as it is typed."""


def say(text: str) -> None:
    """Write a line of the result."""
    sys.stdout.write(f"{text}\n")


def remark(text: str) -> None:
    """Write a line that is no part of the result, so that it does not end up in a file."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Progress:
    """How far something is: one line that is written over on a terminal, and nothing anywhere else."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = 0

    def __call__(self, done: int, of: int) -> None:
        """Show that `done` of `of` are done."""
        if not sys.stderr.isatty():
            return
        text = f"{self._what}: {done:,} of {of:,}"
        sys.stderr.write(f"\r{text:<{self._shown}}")
        sys.stderr.flush()
        self._shown = len(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away: what comes next says how it ended."""
        if self._shown:
            sys.stderr.write(f"\r{'':<{self._shown}}\r")
            sys.stderr.flush()
