"""What a step of a candidate costs beside one of the incumbent, so that both train with the same compute.

The harness measures the compute of a process tree from outside; how far a training is, only the training can
say. One that lies about it spends more than it was granted, which `overdrawn` tells early.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from pytest_evalloop.candidate.account import Account
from pytest_evalloop.candidate.census import descendants, waited_for
from pytest_evalloop.records import Budget, Training

TOLERANCE = 0.05
"""By how much a measured ratio may differ from 1 without meaning anything.

Equal trees, measured 16 times over 40 or 60 steps on two busy cores, differed by 0.026 in the root mean square,
twice by more than this.
"""
SURE = 2.0
"""Standard errors by which a ratio lies below 1 before it buys more steps: compute is not granted by luck.

One above 1 costs steps at once, or a candidate could keep them by making its steps uneven.
"""
COUNTED = ("steps", "tokens", "flops")
"""The units of a budget that the candidate's own code counts; seconds are measured anyway."""

_FEWEST = 3  # samples of a slope
_MOST = 100  # samples whose pairs are all looked at, about
_MOST_UNEVEN = 10  # samples from which their unevenness is told, about
_EARLIEST = 0.1  # share of a budget before which nothing is foretold


@dataclass(frozen=True, slots=True)
class Sample:
    """How far a training said it was, and the seconds of compute that its process tree had used by then.

    `done` is in steps, tokens or FLOPs, or the share of a budget: the same for all samples of a training.
    """

    done: float
    compute_seconds: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a candidate's step costs over what the incumbent's costs, with its standard error."""

    value: float
    error: float


def step_cost(samples: Sequence[Sample]) -> float | None:
    """Return the seconds of compute per unit of `done`, None for fewer than three samples or a cost of nothing.

    `samples` are in order, each with more done than the one before. Start-up, which the first sample holds, counts
    for nothing, and a hiccup for little.
    """
    return _slope(_points(samples))


def ratio(candidate: Sequence[Sample], incumbent: Sequence[Sample]) -> Ratio | None:
    """Return what a step of the candidate costs over one of the incumbent, None if one of the two is unknown.

    The errors of both costs are taken to be independent, as those of trainings at different times are.
    """
    above, below = step_cost(candidate), step_cost(incumbent)
    if above is None or below is None:
        return None
    value = above / below
    return Ratio(
        value, value * math.hypot(_error(_points(candidate), above), _error(_points(incumbent), below))
    )


def ratio_in_turns(candidate: Sequence[Sample], incumbent: Sequence[Sample]) -> Ratio | None:
    """Return the same of two trainings that took turns on one processor, over the part that they shared.

    Two that take turns have used the same compute at the same time. So the steps of one are held against those of the
    other at equal compute, and whatever made the processor slow for a while, which slowed both, counts for nothing.
    """
    import numpy as np

    if not candidate or not incumbent:
        return None
    sides = [np.array(_points(samples)).T for samples in (candidate, incumbent)]
    used = np.concatenate([compute for _, compute in sides])
    first, last = (end([side[1][place] for side in sides]) for end, place in ((max, 0), (min, -1)))
    shared = np.unique(used[(used >= first) & (used <= last)])
    mine, theirs = (np.interp(shared, compute, done) for done, compute in sides)
    points = list(zip(mine.tolist(), theirs.tolist(), strict=True))
    value = _slope(points)
    return None if value is None else Ratio(value, value * _error(points, value))


def granted(budget: Budget, measured: Ratio | None) -> Budget:
    """Return how many steps, tokens or FLOPs of the candidate the compute of `budget` buys, at least one.

    The budget stays as it is where it is one of seconds, and for a ratio that is unknown, within TOLERANCE
    of 1, or below it by chance: with equal steps the seeds and the order of the data are shared, which is worth more.
    """
    if measured is None or budget.unit not in COUNTED or abs(measured.value - 1.0) <= TOLERANCE:
        return budget
    if measured.value < 1.0 <= measured.value + SURE * measured.error:
        return budget
    return replace(budget, amount=float(max(1, round(budget.amount / measured.value))))


def tryout(budget: Budget, training: Training, seconds: float) -> Budget:
    """Return the part of a budget, at least one, that took the incumbent's `training` these seconds of compute."""
    share = min(1.0, seconds / max(seconds, training.compute_seconds))
    return replace(budget, amount=float(max(1, math.ceil(budget.amount * share))))


def overdrawn(samples: Sequence[Sample], allowed: float, tolerance: float) -> str:
    """Say in a sentence that a training will use more compute than it may, or return an empty string.

    `samples` have the share of its budget that the training claims; they are taken by the clock, so that one
    who stops counting is seen to go on. `allowed` are the seconds of compute for the whole budget, start-up
    apart: the `step_cost` of the incumbent's training in such shares. `tolerance` is the share by which they may
    be exceeded, twice as much in a forecast. Start-up ends with the first claim above 0, and what it took is for
    the cap of the whole training to judge.
    """
    claims = [replace(sample, done=min(1.0, sample.done)) for sample in samples if sample.done > 0]
    if not claims:
        return ""
    done = claims[-1].done - claims[0].done
    used = claims[-1].compute_seconds - claims[0].compute_seconds
    most = allowed * (1.0 - claims[0].done + tolerance)
    if used > most:
        return (
            f"since its first progress line it has used {used:.1f} seconds of compute and may use {most:.1f}, and "
            f"it says that {claims[-1].done:.0%} of its budget are done. Count every step, or make a step cheaper."
        )
    if done >= _EARLIEST and used / done > allowed * (1.0 + 2.0 * tolerance):
        return (
            f"its steps used {used:.1f} seconds of compute for {done:.0%} of its budget, so {used / done:.1f} in "
            f"the end, and {allowed:.1f} are granted. Count every step, or make a step cheaper."
        )
    return ""


def _points(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    return [(sample.done, sample.compute_seconds) for sample in samples]


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the median slope of all pairs of points (Theil 1950, Sen 1968), None for fewer than three, or below 0."""
    chosen = _thinned(points, _MOST)
    if len({x for x, _ in chosen}) < _FEWEST:
        return None
    slopes = [
        (later - sooner) / (right - left)
        for (left, sooner), (right, later) in combinations(chosen, 2)
        if right > left
    ]
    slope = statistics.median(slopes)
    return slope if slope > 0 else None


def _error(points: Sequence[tuple[float, float]], slope: float) -> float:
    """Return the standard error of a slope as a share of it, from how unevenly the points rise."""
    # Only of what is far enough apart for the grain of a clock not to count as unevenness.
    chosen = _thinned(points, _MOST_UNEVEN)
    pairs = list(pairwise(chosen))
    squares = sum((later - sooner - slope * (right - left)) ** 2 for (left, sooner), (right, later) in pairs)
    span = chosen[-1][0] - chosen[0][0]
    return math.sqrt(squares * len(pairs) / (len(pairs) - 1)) / (span * slope)


def _thinned(points: Sequence[tuple[float, float]], most: int) -> Sequence[tuple[float, float]]:
    """Return points evenly taken from many: `most` of them or more, but not twice as many."""
    return points[:: max(1, len(points) // most)]


class Meter:
    """Measures the tree below a process from another one, as its warden does from its own place.

    Who ended unwaited for is charged from sample to sample, so samples have to be frequent: one is `due` as soon as
    all of them together use no more than 2 % of a core.
    """

    def __init__(self, warden: int) -> None:
        self._warden = warden
        self._account = Account(os.cpu_count() or 1, time.monotonic())
        self._due = 0.0

    @property
    def due(self) -> bool:
        """Whether a sample should be taken although nobody asks for its result."""
        return time.monotonic() >= self._due

    def seconds(self) -> float | None:
        """Return the CPU seconds that the tree has used so far, None if there is no such process."""
        begun = time.thread_time()
        ended = waited_for(self._warden)  # the parent first, as an account wants it
        if ended is None:
            return None
        living = descendants(self._warden, 0)
        now = time.monotonic()
        self._due = now + 50 * (time.thread_time() - begun)
        return self._account.sample(living, now, *ended)
