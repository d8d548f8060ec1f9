"""Trains a candidate and the incumbent side by side for a short while, to compare what their steps cost."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_evalloop.candidate.devices import accelerators
from pytest_evalloop.candidate.pace import Ratio, Sample, ratio, ratio_in_turns
from pytest_evalloop.candidate.training import Cap, RunningTraining, Trainer
from pytest_evalloop.records import Budget, Status, Training

PRECISE = 0.02
"""The standard error of a ratio, as a share of it, at which enough is known."""
_EVERY = 0.005  # seconds between two looks at what a training says; a step takes longer
_WEIGHED = 0.25  # seconds between two looks at whether enough is known
_FEWEST = 5  # samples of each side before anything is enough


@dataclass(frozen=True, slots=True)
class Side:
    """One of two trees that are trained side by side, its content key, and where its output goes."""

    tree: Path
    key: str
    log: Path


@dataclass(frozen=True, slots=True)
class Pace:
    """What a short training of a candidate beside the incumbent showed.

    `training` is the candidate's, with status and detail, and with artifacts if it completed; it was killed where
    enough was known sooner. `ratio` is None if one of the two failed or said too seldom how far it was.
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
    precise: float = PRECISE,
) -> Pace:
    """Train two trees side by side under a short budget, and compare what they cost.

    They take turns on one processor, so that whatever makes it slow for a while slows both. Once the ratio's standard
    error is at most the share `precise` of it, or it will get no smaller as one has ended, the other is stopped. On
    accelerators, where compute is time, one is trained after the other, whole; `variables` say which are theirs. Every
    process is gone on return. `tick` is called while they run. Raises what `Trainer.start` and `tick` raise.
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
            _follow(tick, tried, beside, precise=0.0 if devices else precise)
            known = tuple(beside.samples)
        else:
            known = ()
        if enough := tried.status is None:
            tried.stop("enough is known of what its steps cost")
        training = tried.wait(lambda _: tick())
    samples = tuple(tried.samples)
    if not enough and training.status is not Status.COMPLETED:
        return Pace(training, None, samples, known)
    # Where start-up took one so long that they shared no part, each has the cost that it had alone.
    found = None if devices else ratio_in_turns(samples, known)
    return Pace(training, found or ratio(samples, known), samples, known)


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


def _follow(
    tick: Callable[[], None],
    tried: RunningTraining,
    beside: RunningTraining | None = None,
    precise: float = 0.0,
) -> None:
    """Sample trainings until all have ended, `tried` has failed, or enough is known."""
    due = 0.0
    while tried.status in (None, Status.COMPLETED):
        running = [each for each in (tried, beside) if each is not None and each.status is None]
        if not running:
            return
        tick()
        for each in running:
            each.look()
        if beside is not None and precise and (now := time.monotonic()) >= due:
            due = now + _WEIGHED
            alone = len(running) == 1  # so what both shared is over
            if _known(tried.samples, beside.samples, math.inf if alone else precise):
                return
        time.sleep(_EVERY * (0.5 + os.urandom(1)[0] / 255))  # nobody is to know when the next look comes


def _known(candidate: Sequence[Sample], incumbent: Sequence[Sample], precise: float) -> bool:
    """Tell whether the standard error of a ratio is at most the share `precise` of it."""
    if min(len(candidate), len(incumbent)) < _FEWEST:
        return False
    found = ratio_in_turns(candidate, incumbent)
    return found is not None and found.error <= precise * found.value
