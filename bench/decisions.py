"""How the acceptance rule decides, in simulated loops over candidates whose true effect is known.

    python -m bench.decisions

Every simulated training draws its noise from what was recorded in the tabular benchmark: how far the seeds of
one configuration lie apart, how far documents scatter between them, and how much further they scatter between
two configurations that are about as good. The rule itself is the loop's own (`weigh`, `enough`, `seed_noise`,
`beyond_seeds`); what is simulated is the order of events around it: an incumbent that is measured under fresh
seeds, candidates that get seed after seed, and acceptances that are revoked when fresh seeds alone put them no
lower than what they replaced. Seeds are drawn independently on both sides.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from bench.figure import Figure, show
from bench.table import Key, Recorded, Table, load
from pytest_evalloop.loop.acceptance import FLATTERY, Look, Rule, weigh
from pytest_evalloop.loop.references import enough, least, next_look
from pytest_evalloop.metric.statistics import (
    SeedNoise,
    beyond_seeds,
    paired_difference,
    seed_noise,
    seeds_over_documents,
)

RULE = Rule()
SEEDS = 8  # fresh ones of the baseline, as evalloop_seeds has them by default
NULLS = 100
LOOPS = 2000
SINGLE = 20_000
KNOWN = 60  # degrees of freedom of a noise that is as good as known
_NEAR = 3.0  # noises that two configurations are apart at most, for documents to be compared between them


@dataclass(frozen=True)
class World:
    """What trainings scatter by, in bits per byte.

    `residuals` are those of recorded runs. `seeded` is the error over documents that the seed alone leaves to one
    training, which the residuals contain, `document_error` what two trees differ by on other documents beyond
    it, and `blur` by which factors squared errors over documents were mistaken.
    """

    residuals: tuple[float, ...]
    document_error: float
    seeded: float = 0.0
    blur: tuple[float, ...] = (1.0,)

    @property
    def sd(self) -> float:
        """The standard deviation between seeds."""
        return math.sqrt(math.fsum(value * value for value in self.residuals) / len(self.residuals))

    @classmethod
    def recorded(cls, table: Table) -> World:
        """Take the noise of a recorded table, every configuration's spread about its own mean.

        Documents are compared between neighbours in bpb, under different seeds.
        """
        groups: dict[Key, list[Recorded]] = {}
        for (key, _), run in table.runs.items():
            groups.setdefault(key, []).append(run)
        several = [runs for runs in groups.values() if len(runs) > 1]
        residuals = []
        for runs in several:
            mean = statistics.fmean(run.val_bpb for run in runs)
            wider = math.sqrt(len(runs) / (len(runs) - 1))  # the mean was taken from the same runs
            residuals += [(run.val_bpb - mean) * wider for run in runs]
        apart = _NEAR * math.sqrt(math.fsum(value * value for value in residuals) / len(residuals))
        several.sort(key=_mean)
        seeded = [_seeded(runs) for runs in several]
        beyond: list[float] = []
        blur: list[float] = []
        for place, (runs, others) in enumerate(pairwise(several)):
            if _mean(others) - _mean(runs) <= apart:
                known = seeded[place] + seeded[place + 1]
                found = [
                    paired_difference(run.val, other.val).standard_error ** 2
                    for run, other in product(runs, others)
                    if run.seed != other.seed
                ]
                beyond.append(statistics.fmean(found) - known)
                blur += [square / known for square in found]
        usual = statistics.fmean(blur)
        return cls(
            tuple(residuals),
            math.sqrt(max(0.0, statistics.fmean(beyond))),
            math.sqrt(statistics.fmean(seeded)),
            tuple(value / usual for value in blur),
        )

    def error(self, blur: float, known: int, found: int) -> float:
        """Return the error over documents that the rule sees after so many seeds of either side."""
        share = 1 / known + 1 / found
        seen = math.sqrt((self.document_error**2 + self.seeded**2 * share) * blur)
        return beyond_seeds(seen, self.seeded, share) if known > 1 else seen


def _mean(runs: Sequence[Recorded]) -> float:
    return statistics.fmean(run.val_bpb for run in runs)


def _seeded(runs: Sequence[Recorded]) -> float:
    """Return the variance over documents that the seed alone leaves to one training."""
    error = seeds_over_documents([run.val for run in runs])
    assert error is not None  # of a configuration with several seeds
    return error * error


@dataclass
class Model:
    """One simulated model: its true bits per byte, and what was measured of it under fresh seeds."""

    true: float
    fresh: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of one candidate, and the trainings that its verdict took on either side."""

    accepted: bool
    candidate: int
    incumbent: int


class Loop:
    """One simulated loop: an incumbent, the noise as far as it is known, and candidates one by one."""

    def __init__(self, world: World, rng: random.Random, seeds: int, known: int = 0) -> None:
        self._world = world
        self._rng = rng
        self._seeds = seeds
        self.incumbent = Model(0.0, [self.train(0.0)])
        self._standing = [self.incumbent]
        self._groups = [self.incumbent.fresh, [self.train(0.0) for _ in range(known + 1)]]
        self.revoked = 0

    def train(self, true: float) -> float:
        """Return the bits per byte of one training of a model that truly costs `true`."""
        return true + self._rng.choice(self._world.residuals)

    def refer(self, count: int) -> None:
        """Measure the incumbent under fresh seeds, and revoke its acceptance if it does not hold up."""
        self.incumbent.fresh += [self.train(self.incumbent.true) for _ in range(count)]
        if len(self._standing) > 1 and len(self.incumbent.fresh) >= self._least():
            before = self._standing[-2]
            if statistics.fmean(self.incumbent.fresh) >= statistics.fmean(before.fresh):
                self._standing.pop()
                self.incumbent = before
                self.revoked += 1

    def _missing(self, mean: float, after: float, noise: SeedNoise | None) -> int:
        """Return how many fresh seeds the incumbent lacks for the next look, as the loop's judge has it."""
        known = len(self.incumbent.fresh)
        if not known:
            return 1
        if after >= mean + (FLATTERY * noise.sd if noise else 0.0):
            return 0
        wanted = enough(noise, self._seeds)
        return max(0, next_look(known, wanted, baseline=len(self._standing) == 1) - known)

    def _least(self) -> int:
        wanted = enough(seed_noise(self._groups), self._seeds)
        return least(wanted, baseline=len(self._standing) == 1)

    def judge(self, effect: float) -> Outcome:
        """Try a candidate that is truly better by `effect` bits per byte."""
        true, spent = self.incumbent.true - effect, 0
        found = [self.train(true)]
        drawn = self._rng.gauss(0.0, self._world.document_error)  # by the documents that are validated on
        blur = self._rng.choice(self._world.blur)
        while True:
            noise, reference = seed_noise([*self._groups, found[1:]]), self.incumbent.fresh
            mean = statistics.fmean(reference) if reference else math.inf
            after = statistics.fmean(found)
            delta, weighed = mean - after + drawn, None
            if reference and delta > 0 and noise is not None:
                error = self._world.error(blur, len(reference), len(found))
                look = Look(delta, error, len(reference), len(found))
                weighed = weigh(look, noise, RULE)
            clear = weighed is not None and weighed.accepted is True
            if not (clear and len(reference) >= self._least()) and (
                missing := self._missing(mean, after, noise)
            ):
                self.refer(missing)
                spent += missing
                continue
            if weighed is None:
                self._groups.append(found[1:])
                return Outcome(False, len(found), spent)
            if weighed.accepted is not None:
                break
            found.append(self.train(true))
            if len(reference) < len(found):
                self.refer(1)
                spent += 1
        self._groups.append(found[1:])
        if weighed.accepted:
            self.incumbent = Model(true)
            self._standing.append(self.incumbent)
            self._groups.append(self.incumbent.fresh)
        return Outcome(weighed.accepted, len(found), spent)


@dataclass(frozen=True)
class Nulls:
    """What loops over null candidates accepted, per loop, and what a candidate cost in trainings.

    `several` is the share of loops that accepted more than one.
    """

    accepted: float
    several: float
    standing: float
    cost: float
    naive: float


def nulls(world: World, seeds: int, loops: int, candidates: int) -> Nulls:
    """Simulate loops over candidates that change nothing."""
    rng = random.Random(1)
    accepted = several = standing = naive = cost = 0
    for _ in range(loops):
        loop = Loop(world, rng, seeds)
        outcomes = [loop.judge(0.0) for _ in range(candidates)]
        taken = sum(outcome.accepted for outcome in outcomes)
        accepted += taken
        several += taken > 1
        standing += taken - loop.revoked
        cost += sum(outcome.candidate for outcome in outcomes)
        best = loop.train(0.0)
        for _ in range(candidates):
            if (found := loop.train(0.0)) < best:
                best, naive = found, naive + 1
    return Nulls(
        accepted / loops, several / loops, standing / loops, cost / loops / candidates, naive / loops
    )


@dataclass(frozen=True)
class Power:
    """How often a candidate of known effect is accepted, and its mean cost in trainings on either side."""

    accepted: float
    candidate: float
    incumbent: float


def power(world: World, effect: float, seeds: int, known: int, repeats: int) -> Power:
    """Judge a candidate that is better by `effect` noises, again and again, against a measured incumbent."""
    rng = random.Random(2)
    outcomes = []
    for _ in range(repeats):
        loop = Loop(world, rng, seeds, known)
        loop.refer(seeds - 1)
        outcomes.append(loop.judge(effect * world.sd))
    return Power(
        statistics.fmean(outcome.accepted for outcome in outcomes),
        statistics.fmean(outcome.candidate for outcome in outcomes),
        statistics.fmean(outcome.incumbent for outcome in outcomes),
    )


def figures() -> list[Figure]:
    """Simulate, and hold what came out against what is promised."""
    world = World.recorded(load())
    started = time.process_time()
    found = nulls(world, SEEDS, LOOPS, NULLS)
    seconds = time.process_time() - started
    rate = LOOPS * NULLS / seconds
    lines = [
        Figure(
            f"false accepts in {NULLS} null candidates, mean of {LOOPS:,} loops (keep if lower: {found.naive:.1f})",
            f"{found.accepted:.2f}, {found.standing:.2f} of them never revoked",
            "at most 1",
            found.accepted <= 1,
        ),
        Figure("loops of these that accepted more than one", f"{found.several:.1%}", "", None),
        Figure(
            "trainings of a null candidate", f"{found.cost:.2f}", "at most 1.5", round(found.cost, 2) <= 1.5
        ),
    ]
    known_from = [
        (5, 0, "incumbent under 5 seeds, noise known from these alone"),
        (SEEDS, 0, f"incumbent under {SEEDS} seeds, noise known from these alone"),
        (SEEDS, KNOWN, f"incumbent under {SEEDS} seeds, noise known from {KNOWN} more"),
    ]
    for seeds, known, told in known_from:
        has = power(world, 0, seeds, known, SINGLE)
        lines.append(
            Figure(
                f"a candidate that changes nothing, {told}",
                f"accepted {has.accepted:.2%} at {has.candidate:.2f} trainings "
                f"(and {has.incumbent:.2f} of the incumbent)",
                f"at most {RULE.level:.0%}",
                has.accepted <= RULE.level,
            )
        )
    for effect, share, most in ((2, 0.80, 3.5), (3, 0.97, 2.5)):
        for seeds, known, told in known_from:
            has = power(world, effect, seeds, known, SINGLE)
            lines.append(
                Figure(
                    f"a candidate better by {effect} noises, {told}",
                    f"accepted {has.accepted:.1%} at {has.candidate:.2f} trainings "
                    f"(and {has.incumbent:.2f} of the incumbent)",
                    f"{share:.0%} at {most}",
                    has.accepted >= share and has.candidate <= most,
                )
            )
    lines.append(
        Figure(
            "loops of 20 candidates that are simulated in a minute of CPU",
            f"{60 * rate / 20:,.0f}",
            "10,000",
            None,
        )
    )
    return [
        Figure(
            "noise between seeds, what documents add to it, and how much of it is theirs already, as recorded",
            f"{world.sd:.4f}, {world.document_error:.4f} and {world.seeded:.4f} bpb",
            "",
            None,
        ),
        *lines,
    ]


def main() -> None:
    """Print the figures."""
    show(figures())


if __name__ == "__main__":
    main()
