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

    When the block, or a part of the work, raises, what has not begun is dropped and the next `go_on` of
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
        again: KeyboardInterrupt | None = None
        while True:
            try:
                self._pool.shutdown(cancel_futures=self._left.is_set())
                break
            except KeyboardInterrupt as interrupt:  # who works here needs what the block holds open
                self._left.set()
                again = interrupt
        if again is not None:
            raise again

    @property
    def busy(self) -> int:
        """How many parts of the work were not collected yet."""
        return len(self._waiting)

    def submit(self, work: Callable[[], Result]) -> Future[Result]:
        """Do `work` in a thread of its own as soon as one is free."""
        context = contextvars.copy_context()
        context.run(_BLOCKS.set, (*_BLOCKS.get(), self._left))
        future = self._pool.submit(context.run, self._watched, work)
        self._waiting.add(future)
        return future

    def collect(self, *, block: bool = True) -> None:
        """Take note of what has ended, and with `block` wait until some part of the work has; raises what it raised."""
        done, self._waiting = wait(self._waiting, timeout=None if block else 0, return_when=FIRST_COMPLETED)
        if any(future.exception() for future in done):
            ended, self._waiting = wait(self._waiting)  # soon: they all are to end
            errors = [error for future in done | ended if (error := future.exception())]
            raise next((error for error in errors if not isinstance(error, _Stopped)), errors[0])

    def finish(self) -> None:
        """Wait until all of the work has ended; raises what some part of it raised."""
        while self._waiting:
            self.collect()

    def _watched(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except BaseException:
            self._left.set()  # nobody goes on beside what has failed
            raise
