"""Racing: a training that can hardly win any more is stopped.

A candidate's training says its loss as it goes. It is compared with that of the incumbent's at the same share of
the budget, and what such a gap came to at the end is learned from the candidates that the run has finished. Only
those teach, so most of those that were far behind do not; as they were chosen by the gap that is asked about,
and not by how they ended, this misleads little.
"""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from pytest_evalloop.candidate.progress import finite
from pytest_evalloop.metric.statistics import upper_bound

LOOKS = tuple(percent / 100 for percent in range(10, 91, 5))
"""Shares of the budget at which a training is compared."""
BOUND = 0.03
"""The chance to end below the incumbent under which a training is stopped."""
SHARE = 0.1
"""How many of those that would be stopped run to their end all the same, so that the rule can be found out."""
WINDOW = 0.1
"""The share of the budget that a gap is averaged over: a single batch says little."""

# What is believed before there is any history, in bits per byte; `bench/racing.py` shows what comes of it.
_SLOPE, _SLOPE_SD = 0.5, 0.1  # how much of a gap is left at the end
_SPREAD = 0.06  # sd of what is added to it, by a training that has only begun
_WEIGHT = 4.0  # candidates that this is worth
_NEAR = 0.6  # the gap at which the residual variance is twice that of a small one
_MOST = 100.0  # bits per byte; a loss beyond is as hopeless and could overflow
_SURPRISE = 3.0  # a candidate that ends worse than is believed counts as at most so many sd worse


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (share of the budget, train bits per byte) of a training, shares strictly rising in [0, 1]."""

    points: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, said: Iterable[tuple[object, object]]) -> Self:
        """Keep what can be true of anything that was said; of two losses at one share, the first."""
        found: dict[float, float] = {}
        for share, loss in said:
            fraction, bpb = _number(share), _number(loss)
            if fraction is not None and bpb is not None and fraction <= 1:
                found.setdefault(fraction, min(bpb, _MOST))
        return cls(tuple(sorted(found.items())))

    @property
    def fraction(self) -> float:
        """The share of the budget that the last point stands at, 0 without one."""
        return self.points[-1][0] if self.points else 0.0

    def at(self, fraction: float) -> float | None:
        """Return the loss at a share of the budget, on a line between points, and None outside of them."""
        after = bisect_right(self.points, (fraction, math.inf))
        if after == 0 or fraction > self.fraction:
            return None
        left, low = self.points[after - 1]
        if fraction == left:
            return low
        right, high = self.points[after]
        return low + (high - low) * (fraction - left) / (right - left)


def progress_curve(data: bytes) -> Curve:
    """Read the bytes of a progress file, JSON lines with `fraction` and `train_bpb`.

    A candidate writes it while it is read: lines that are torn, or no such objects, are passed over.
    """
    said = (_said(line) for line in data.split(b"\n"))
    return Curve.of((line.get("fraction"), line.get("train_bpb")) for line in said if isinstance(line, dict))


@dataclass(frozen=True, slots=True)
class Standing:
    """Train bits per byte of candidate and incumbent just before a share of the budget, averaged alike."""

    fraction: float
    candidate: float
    incumbent: float

    @property
    def gap(self) -> float:
        """By how much the candidate is behind; negative when it is ahead."""
        return self.candidate - self.incumbent


def standing(candidate: Curve, incumbent: Curve, fraction: float) -> Standing | None:
    """Compare two trainings under one seed over the last `WINDOW` of the budget before `fraction`.

    The incumbent's loss is taken at the candidate's own points. None says that there are none to compare.
    """
    both = [
        (bpb, other)
        for share, bpb in candidate.points
        if fraction - WINDOW < share <= fraction and (other := incumbent.at(share)) is not None
    ]
    if not both:
        return None
    mine, theirs = (math.fsum(losses) / len(both) for losses in zip(*both, strict=True))
    return Standing(fraction, mine, theirs)


@dataclass(frozen=True, slots=True)
class Race:
    """A finished training, its incumbent's under the same seed, and by how much it ended behind on validation."""

    candidate: Curve
    incumbent: Curve
    final: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """A gap in training on the way, and the gap on validation that it came to, both in bits per byte."""

    gap: float
    final: float


def lessons(past: Iterable[Race], fraction: float) -> tuple[Lesson, ...]:
    """Return what finished candidates teach about a share of the budget, but those that changed nothing."""
    seen = ((standing(race.candidate, race.incumbent, fraction), race.final) for race in past)
    found = [Lesson(known.gap, final) for known, final in seen if known is not None and math.isfinite(final)]
    return tuple(lesson for lesson in found if lesson.gap or lesson.final)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a gap will come to on validation: expected value, sd of the prediction, and chance to be below 0."""

    chance: float
    expected: float
    sd: float


def outlook(gap: float, fraction: float, past: Sequence[Lesson], noise: float) -> Outlook:
    """Predict the final gap on validation from the gap at a share of the budget.

    The final gap is slope * gap + residual, its variance growing with the square of the gap: Bayesian linear
    regression with a normal-inverse-gamma prior and a Student-t prediction (Gelman and others, Bayesian Data
    Analysis, 2013, chapter 14). The prior alone lets go only of what is far behind. `noise` is the sd between
    seeds, in bits per byte; no history makes the prediction more certain than that.
    """
    from scipy.special import stdtr

    believed = math.hypot(noise * math.sqrt(2), _SPREAD * (1 - fraction))
    believed = max(believed, 1e-6)
    precision = (believed / _SLOPE_SD) ** 2
    weights = [_weight(lesson.gap) for lesson in past]
    finals = [_tamed(lesson, believed) for lesson in past]
    known = list(zip(weights, (lesson.gap for lesson in past), finals, strict=True))
    total = precision + math.fsum(weight * x * x for weight, x, _ in known)
    slope = (precision * _SLOPE + math.fsum(weight * x * y for weight, x, y in known)) / total
    slope = max(0.0, slope)  # a lead is never held against a candidate
    freedom = _WEIGHT + len(known)
    squares = math.fsum(weight * (y - slope * x) ** 2 for weight, x, y in known)
    squares += precision * (slope - _SLOPE) ** 2 + _WEIGHT * believed**2
    variance = max(squares / freedom, 2 * noise**2)
    expected = slope * gap
    scale = math.sqrt(variance * (1 / _weight(gap) + gap * gap / total))
    chance = float(stdtr(freedom, -expected / scale))
    return Outlook(chance, expected, scale * math.sqrt(freedom / (freedom - 2)))


def hopeless(seen: Outlook, bound: float = BOUND) -> bool:
    """Tell whether the chance to end below the incumbent is under the bound."""
    return seen.chance < bound


def first_hopeless(
    candidate: Curve,
    incumbent: Curve,
    past: Sequence[Race],
    noise: float,
    *,
    after: float = 0.0,
    bound: float = BOUND,
) -> tuple[Standing, Outlook] | None:
    """Return where a candidate stood, and its outlook, at the first of `LOOKS` at which it was hopeless.

    Looks are taken after a share of the budget and up to the candidate's last point. All that it has passed
    count, however seldom it is asked after: what is decided depends on the curves alone.
    """
    for look in LOOKS:
        if after < look <= candidate.fraction and (known := standing(candidate, incumbent, look)) is not None:
            seen = outlook(known.gap, look, lessons(past, look), noise)
            if hopeless(seen, bound):
                return known, seen
    return None


def spared(seed: int, number: int, share: float = SHARE) -> bool:
    """Tell whether a candidate is of the few that are never stopped; a replay says the same."""
    return random.Random(f"racing:{seed}:{number}").random() < share  # noqa: S311 - replayable, not secret


def reason(known: Standing, seen: Outlook, bound: float = BOUND, rival: str = "the incumbent") -> str:
    """Say in words why a training was stopped; `rival` is whom it raced against."""
    return (
        f"stopped at {_percent(known.fraction)} of the budget: train bpb {known.candidate:.3f} against "
        f"{rival}'s {known.incumbent:.3f} at the same point; the chance to end below it is "
        f"{_percent(seen.chance)} (bound {_percent(bound)})"
    )


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a candidate: its chance when it was found hopeless, and whether it won, if it was let run."""

    chance: float | None
    won: bool | None


@dataclass(frozen=True, slots=True)
class Lost:
    """An estimate of the would-be winners that were stopped.

    `expected` is their number by the chances that they were stopped at, `estimate` and `most` are their share of
    all would-be winners by those that were spared, with its upper 95 % bound; None when there is nothing to go by.
    """

    stopped: int
    spared: int
    won: int
    expected: float
    estimate: float | None
    most: float | None

    def __str__(self) -> str:
        if not self.stopped:
            return "racing stopped no candidate"
        many = "candidate" if self.stopped == 1 else "candidates"
        head = f"racing stopped {self.stopped} {many} that had {self.expected:.2g} winners to expect"
        if self.estimate is None or self.most is None:
            return f"{head}; none was let run on, so what was lost is not known"
        return (
            f"{head}; of {self.spared} such that were let run on, {self.won} won: an estimated "
            f"{_percent(self.estimate)} of all winners were lost (at most {_percent(self.most)})"
        )


def lost(decided: Sequence[Decided]) -> Lost:
    """Estimate which share of the would-be winners was stopped.

    Each hopeless candidate that was spared stands for as many as were stopped for each of them (inverse
    probability weighting by the share that came about; Hajek, 1971), and the bound is that of Clopper and
    Pearson on how many of the spared won.
    """
    chances = [each.chance for each in decided if each.chance is not None and each.won is None]
    let = [each.won for each in decided if each.chance is not None and each.won is not None]
    kept = sum(each.won is True for each in decided)
    estimate = most = None
    if let:
        estimate = _share(len(chances) * sum(let) / len(let), kept)
        most = _share(len(chances) * upper_bound(sum(let), len(let)), kept)
    return Lost(len(chances), len(let), sum(let), math.fsum(chances), estimate, most)


def _share(gone: float, kept: int) -> float:
    return gone / (gone + kept) if gone else 0.0


def _weight(gap: float) -> float:
    """Return how much a candidate so far behind tells about one that is not, as the inverse of its variance."""
    return 1 / (1 + (gap / _NEAR) ** 2)


def _tamed(lesson: Lesson, believed: float) -> float:
    """Return the final gap, made less when it is surprisingly bad: one that diverged tells nothing of the others.

    Only this side is tamed. One that ended surprisingly well is what the rule has to learn from.
    """
    room = _SURPRISE * believed / math.sqrt(_weight(lesson.gap))
    return min(lesson.final, max(0.0, lesson.gap) + room)


def _percent(share: float) -> str:
    """Show a share with as many digits as say something."""
    if 0 < share < 1e-4:
        return "under 0.01 %"
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 else f"{100 * share:.2g} %"


def _said(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _number(value: object) -> float | None:
    """Return what is a finite number and not below 0."""
    number = finite(value)
    return number + 0.0 if number is not None and number >= 0 else None
