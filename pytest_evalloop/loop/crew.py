"""Work done side by side in threads, all of which ends when one part of it, or who waits for it, fails."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

Result = TypeVar("Result")

_BLOCKS: contextvars.ContextVar[tuple[threading.Event, ...]] = contextvars.ContextVar("_BLOCKS", default=())


def cores() -> int:
    """Return how many processes can work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Stopped(Exception):  # noqa: N818 - an order, not an error
    """What is under way is to end."""


def go_on() -> None:
    """Raise if a block that this thread works for has been left; to be called by whatever waits."""
    if any(block.is_set() for block in _BLOCKS.get()):
        raise _Stopped


class Crew(Generic[Result]):
    """Threads that each watch over processes; a context manager that waits for all of them.

    When the block raises, an interrupt for example, what has not begun is dropped and the next `go_on` of
    everything else raises, so that no process outlives the block. Work may have a crew of its own, which ends
    with this one.
    """

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size)
        self._left = threading.Event()
        self._waiting: set[Future[Result]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._left.set()
        self._pool.shutdown(cancel_futures=kind is not None)

    @property
    def busy(self) -> int:
        """How many parts of the work were not collected yet."""
        return len(self._waiting)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Do `work` in a thread of its own as soon as one is free."""
        context = contextvars.copy_context()
        context.run(_BLOCKS.set, (*_BLOCKS.get(), self._left))
        future = self._pool.submit(context.run, work)
        self._waiting.add(future)
        return future

    def collect(self) -> list[Result]:
        """Wait until some part of the work has ended and return what has; raises what it raised."""
        done, self._waiting = wait(self._waiting, return_when=FIRST_COMPLETED)
        return [future.result() for future in done]
