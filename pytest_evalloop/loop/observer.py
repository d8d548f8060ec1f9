"""What the loop tells whoever watches: the shell prints it, tests record it."""

from __future__ import annotations

from typing import Protocol

from pytest_evalloop.candidate.progress import Progress
from pytest_evalloop.records import Candidate


class Observer(Protocol):
    """Is told what happens; whatever it does has no influence on the loop."""

    def note(self, text: str) -> None:
        """Something that the user should read, in one or more sentences."""
        ...

    def stage(self, number: int, what: str, detail: str = "") -> None:
        """A candidate entered a stage: mutating, training, grading."""
        ...

    def progress(self, number: int, progress: Progress | None) -> None:
        """A training went on; called about twice a second."""
        ...

    def decided(self, candidate: Candidate) -> None:
        """A candidate, the baseline included, has its verdict."""
        ...
