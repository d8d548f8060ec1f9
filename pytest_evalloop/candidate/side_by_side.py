"""Trains a candidate and the incumbent side by side for a short while, to compare what their steps cost."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_evalloop.candidate.devices import accelerators
from pytest_evalloop.candidate.pace import Ratio, Sample, ratio
from pytest_evalloop.candidate.training import Cap, RunningTraining, Trainer
from pytest_evalloop.records import Budget, Status, Training

_EVERY = 0.005  # seconds between two looks at what a training says; a step takes longer


@dataclass(frozen=True, slots=True)
class Side:
    """One of two trees that are trained side by side, its content key, and where its output goes."""

    tree: Path
    key: str
    log: Path


@dataclass(frozen=True, slots=True)
class Pace:
    """What a short training of a candidate beside the incumbent showed.

    `training` is the candidate's, with status and detail, and with artifacts if it completed. `ratio` is None
    if one of the two failed or said too seldom how far it was.
    """

    training: Training
    ratio: Ratio | None
    candidate: tuple[Sample, ...]
    incumbent: tuple[Sample, ...]


def measure(
    trainer: Trainer,
    candidate: Side,
    incumbent: Side,
    *,
    seed: int,
    limit: Cap,
    budget: Budget | None = None,
    variables: Mapping[str, str] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Pace:
    """Train two trees side by side under a short budget, and compare what they cost.

    They take turns on one processor, so that whatever makes it slow for a while slows both. On accelerators,
    where compute is time, one is trained after the other; `variables` say which are theirs. Every process is
    gone on return. `tick` is called while they run. Raises what `Trainer.start` and `tick` raise.
    """
    devices = accelerators({**os.environ, **(variables or {})})
    with contextlib.ExitStack() as stack:

        def start(side: Side) -> RunningTraining:
            with contextlib.nullcontext() if devices else _one_processor():
                running = trainer.start(side.tree, side.key, seed, side.log, limit, budget, variables)
                return stack.enter_context(running)

        tried = start(candidate)
        if devices:
            _follow(tick, tried)
        if tried.status in (None, Status.COMPLETED):
            beside = start(incumbent)
            _follow(tick, tried, beside)
            known = tuple(beside.samples)
        else:
            known = ()
        training = tried.wait(lambda _: tick())
    found = ratio(tried.samples, known) if training.status is Status.COMPLETED else None
    return Pace(training, found, tuple(tried.samples), known)


@contextlib.contextmanager
def _one_processor() -> Iterator[None]:
    """Have all that this thread starts meanwhile run on one processor; elsewhere than on Linux on any."""
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[os.getpid() % len(before)]})  # not the same for every loop
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _follow(tick: Callable[[], None], tried: RunningTraining, *others: RunningTraining) -> None:
    """Sample trainings until all have ended, or `tried` has failed."""
    while tried.status in (None, Status.COMPLETED):
        running = [each for each in (tried, *others) if each.status is None]
        if not running:
            return
        tick()
        for each in running:
            each.look()
        time.sleep(_EVERY * (0.5 + os.urandom(1)[0] / 255))  # nobody is to know when the next look comes
