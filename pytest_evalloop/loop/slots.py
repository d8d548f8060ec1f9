"""Places for the processes of a loop: how many work at once, and on which accelerator each."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_evalloop.candidate.devices import accelerators, visible_devices
from pytest_evalloop.loop.crew import cores, go_on

_PATIENCE = 0.2  # seconds between two looks at whether the loop goes on


@dataclass(frozen=True, slots=True)
class Slot:
    """One place: the variables that say which accelerator is its own, and how long it was waited for."""

    variables: Mapping[str, str]
    waited: float = 0.0


def default_size(unit: str) -> int:
    """Return how many trainings run at once unless told: one an accelerator, else one a core.

    A budget of wall-clock time is a measure only for a training that is alone on its cores.
    """
    return accelerators() or (1 if unit == "s" else cores())


class Slots:
    """Gives out places, one to a training or grading; as many as there are work at once."""

    def __init__(self, size: int) -> None:
        """One place has every accelerator; several have one each, in turn."""
        self.size = size
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        devices = visible_devices()
        for index in range(size):
            alone = size == 1 or not devices
            self._free.put(Slot({} if alone else {"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]}))

    @contextlib.contextmanager
    def take(self) -> Iterator[Slot]:
        """Hold a place while the block lasts; waits for one, and ends with the loop."""
        begun = time.monotonic()
        while True:
            go_on()
            with contextlib.suppress(queue.Empty):
                slot = self._free.get(timeout=_PATIENCE)
                break
        try:
            yield Slot(slot.variables, time.monotonic() - begun)
        finally:
            self._free.put(slot)
