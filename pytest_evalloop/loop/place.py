"""Where a candidate is trained and graded: one slot for both, and a grading that gets ready meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pytest_evalloop.candidate.progress import Progress
from pytest_evalloop.loop.assigning import PATIENCE, Asked, Expected
from pytest_evalloop.loop.grading import Grading
from pytest_evalloop.loop.slots import Slot
from pytest_evalloop.records import Training

_LEAD = 8.0  # seconds before its end: an eval process collects and its hosts import in less


class Place:
    """Holds one slot, taken when it is first needed, for a training and the grading after it.

    A context manager that frees the slot and ends what got ready in vain.
    """

    def __init__(
        self,
        asked: Asked,
        take: Callable[[], contextlib.AbstractContextManager[Slot]],
        begin: Callable[[Expected, Slot], contextlib.AbstractContextManager[Grading]],
    ) -> None:
        self._asked = asked
        self._take = take
        self._begin = begin
        self._stack = contextlib.ExitStack()
        self._taken: Slot | None = None
        self._grading = contextlib.ExitStack()
        self._expected: Expected | None = None
        self._ready: Grading | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._drop()
        finally:
            self._stack.__exit__(kind, error, trace)

    def slot(self) -> Slot:
        """Return the slot; waits for one the first time."""
        if self._taken is None:
            self._taken = self._stack.enter_context(self._take())
        return self._taken

    def get_ready(self, expected: Expected) -> None:
        """Start the grading of artifacts that are about to be there, unless one has started."""
        if self._ready is None:
            self._expected = expected
            self._ready = self._grading.enter_context(self._begin(expected, self.slot()))

    def ready(self, training: Training, asked: Asked) -> Grading | None:
        """Return the grading that has got ready for just this, released; None where there is none."""
        waited = self._ready
        if waited is None:
            return None
        # Where another process was first, its artifacts are those that count.
        other = self._expected is None or training.artifacts != str(self._expected.artifacts)
        if other or asked != self._asked or waited.seconds > PATIENCE:
            self._drop()
            return None
        self._ready = None
        waited.release()
        return waited

    def _drop(self) -> None:
        self._ready = None
        self._grading.close()


def ends_soon(progress: Progress | None, elapsed: float) -> bool:
    """Tell whether a training that has run for some seconds is far enough to get ready for its end."""
    if progress is None or progress.fraction is None or not 0.5 <= progress.fraction <= 1:
        return False
    return elapsed * (1 - progress.fraction) / progress.fraction <= _LEAD
