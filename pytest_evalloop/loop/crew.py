"""Work done side by side in threads, all of which ends when one part of it, or who waits for it, fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Result = TypeVar("Result")


def cores() -> int:
    """Return how many processes can work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Stopped(Exception):  # noqa: N818 - an order, not an error
    """What is under way is to end."""


class Crew:
    """Threads that each watch over processes; a context manager that waits for all of them.

    Work is given a `tick` to call while it waits. When the block raises, an interrupt for example, what has not
    begun is dropped and the next tick of everything else raises, so that no process outlives the block.
    """

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size)
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(cancel_futures=kind is not None)

    def submit(self, work: Callable[[Callable[[], None]], Result]) -> Future[Result]:
        """Do `work`, which is given the tick, in a thread of its own as soon as one is free."""
        return self._pool.submit(work, self._tick)

    def _tick(self) -> None:
        if self._stop.is_set():
            raise _Stopped
