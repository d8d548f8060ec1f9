"""What the fixture `kept_trace` does: the traces that evals cite, whole, from beside the labels."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalloop.records import Trace


class Kept:
    """The traces in one folder of labels, read when the first one is asked for."""

    def __init__(self, labels: Path) -> None:
        self._file = labels / "traces.jsonl"

    def __call__(self, identity: str) -> Trace:
        """Return a trace; raises `ReviewError` if it is not kept there, which is an error and never a fail."""
        __tracebackhide__ = True
        from pytest_evalloop.review.traces import ReviewError

        if identity not in self._traces:
            raise ReviewError(
                f"There is no trace {identity!r} in {self._file}. Take the file back from version control, or label "
                "the trace, which keeps it there."
            )
        return self._traces[identity]

    @functools.cached_property
    def _traces(self) -> Mapping[str, Trace]:
        from pytest_evalloop.review.traces import read

        found, _ = read(self._file)
        return {stored.id: stored.trace for stored in reversed(found)}
