"""What racing saves and what it loses: loops over the recorded table, replayed with and without it.

python -m bench.racing                # on the half of the configurations that the rule was not chosen on
python -m bench.racing --development  # on the other half

A candidate is drawn from the configurations of a half, anywhere or next to the incumbent, and trains under the
seed that the incumbent trained under. It becomes the incumbent when it runs to its end and is better, by its mean
over the seeds. One that is better and was stopped is a winner lost, and the loop goes on without it. Half of the
loops start from the default, and half from anywhere.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.figure import Figure, show
from bench.table import Key, Table, load
from pytest_evalloop.loop.racing import (
    BOUND,
    LOOKS,
    Curve,
    Decided,
    Lesson,
    Race,
    hopeless,
    lessons,
    lost,
    outlook,
    spared,
    standing,
)

LOOPS, CANDIDATES = 200, 40  # loops of each kind, and candidates in each at most
ANYWHERE, NEXT = "anywhere", "next to the incumbent"  # where candidates are drawn
NOISE = 0.01  # between seeds, where the table has too few of them
FEW = 8  # candidates of a short loop
LOST_AT_MOST = 0.02
CLEAR = 0.01  # bits per byte; what a winner that is clearly better is better by


@dataclass(frozen=True, eq=False)
class Trained:
    """A configuration under one seed: its curve, its val bpb, and the mean of that over all recorded seeds."""

    key: Key
    curve: Curve
    val: float
    quality: float


@dataclass(frozen=True)
class Stop:
    """At which share of the budget a candidate was to be stopped, and its chance to win then."""

    at: float
    chance: float


Pool = tuple[Trained, list[Trained]]  # the default, and what candidates are drawn from, under one seed
Past = Sequence[tuple[Trained, Trained]]  # finished candidates with the incumbents of their time
Rule = Callable[[Trained, Trained, Past, float], Stop | None]


@dataclass(frozen=True)
class Step:
    """What became of a candidate, and by how much it was better: by the mean over the seeds, and under its own."""

    stop: Stop | None
    spared: bool
    better: float
    better_here: float

    @property
    def lost(self) -> bool:
        """Whether it did not run to its end."""
        return self.stop is not None and not self.spared

    @property
    def spent(self) -> float:
        """The share of the budget that it used."""
        return self.stop.at if self.stop is not None and not self.spared else 1.0


@dataclass(frozen=True)
class Outcome:
    """The steps of many loops under one rule, and the quality of the incumbent that each loop ended with."""

    loops: tuple[tuple[Step, ...], ...]
    ends: tuple[float, ...]

    @property
    def steps(self) -> list[Step]:
        """The steps of all loops."""
        return [step for loop in self.loops for step in loop]

    def saved(self, first: int | None = None) -> float:
        """Return the share of the training compute that was not spent, on the first candidates or on all."""
        return 1 - statistics.mean(step.spent for loop in self.loops for step in loop[:first])

    def lost(self, better: Callable[[Step], float], least: float = 0.0) -> tuple[int, int]:
        """Return how many of those that were better by more than `least` were stopped, and how many these were."""
        winners = [step for step in self.steps if better(step) > least]
        return sum(step.lost for step in winners), len(winners)


@cache
def taught(candidate: Trained, incumbent: Trained, look: float) -> tuple[Lesson, ...]:
    """Return what one finished candidate teaches about a share of the budget, worked out once."""
    return lessons([Race(candidate.curve, incumbent.curve, candidate.val - incumbent.val)], look)


def racing(candidate: Trained, incumbent: Trained, past: Past, noise: float) -> Stop | None:
    """Stop when the chance to win is under the bound, as the loop does."""
    for look in LOOKS:
        known = standing(candidate.curve, incumbent.curve, look)
        if known is not None:
            seen = outlook(known.gap, look, [each for pair in past for each in taught(*pair, look)], noise)
            if hopeless(seen):
                return Stop(look, seen.chance)
    return None


def nothing(*_: object) -> Stop | None:
    """Stop nothing."""
    return None


def behind_at_a_quarter(candidate: Trained, incumbent: Trained, *_: object) -> Stop | None:
    """Stop whatever is behind the incumbent at a quarter of the budget."""
    known = standing(candidate.curve, incumbent.curve, 0.25)
    return Stop(0.25, 0.0) if known is not None and known.gap > 0 else None


def below_the_median(candidate: Trained, _: Trained, past: Past, __: float) -> Stop | None:
    """Stop whatever is worse at half of the budget than the median of those that finished."""
    others = [loss for other, _ in past if (loss := other.curve.at(0.5)) is not None]
    mine = candidate.curve.at(0.5)
    return Stop(0.5, 0.0) if mine is not None and others and mine > statistics.median(others) else None


def drawn(where: str, left: Sequence[Trained], incumbent: Trained, chance: random.Random) -> Trained:
    """Return one of those that are left, anywhere or of those that differ in the fewest parameters."""
    if where == NEXT:
        apart = [sum(a != b for a, b in zip(each.key, incumbent.key, strict=True)) for each in left]
        left = [each for each, count in zip(left, apart, strict=True) if count == min(apart)]
    return chance.choice(left)


def steps(
    rule: Rule, where: str, start: Trained, pool: Sequence[Trained], noise: float, number: int
) -> Iterator[tuple[Step, Trained]]:
    """Yield what became of one candidate after the other, and the incumbent after it."""
    chance, incumbent, past = random.Random(number), start, list[tuple[Trained, Trained]]()
    left = [each for each in pool if each.key != start.key]
    for index in range(min(CANDIDATES, len(left))):
        candidate = drawn(where, left, incumbent, chance)
        left.remove(candidate)
        stop = rule(candidate, incumbent, past, noise)
        let = stop is not None and rule is racing and spared(number, index)
        step = Step(stop, let, incumbent.quality - candidate.quality, incumbent.val - candidate.val)
        if not step.lost:
            past.append((candidate, incumbent))
            incumbent = candidate if step.better > 0 else incumbent
        yield step, incumbent


def replay(rule: Rule, where: str, pools: Sequence[Pool], noise: float, loops: int = LOOPS) -> Outcome:
    """Make many loops under a rule, the pools in turn."""
    made, ends = list[tuple[Step, ...]](), list[float]()
    for number in range(loops):
        default, others = pools[number % len(pools)]
        start = random.Random(f"start {number}").choice(others) if number // len(pools) % 2 else default
        found, incumbents = zip(*steps(rule, where, start, others, noise, number), strict=True)
        made.append(found)
        ends.append(incumbents[-1].quality)
    return Outcome(tuple(made), tuple(ends))


def whole_seeds(table: Table) -> list[int]:
    """Return the seeds under which nearly as many configurations are recorded as under the first."""
    counts = Counter(seed for _, seed in table.runs)
    return [seed for seed, count in sorted(counts.items()) if count > 0.9 * counts[0]]


def seed_sd(table: Table) -> float:
    """Return the sd of the default's val bpb between seeds."""
    found = [table.find({}, seed).val_bpb for seed in table.seeds({})]
    return statistics.stdev(found) if len(found) > 2 else NOISE


def pools(table: Table, half: int) -> list[Pool]:
    """Return the configurations of a half of the grid, divided by chance once and for all, seed by seed.

    The default, which loops start from, is in both halves.
    """
    header, seeds = table.header, whole_seeds(table)
    keys = [header.key(choice) for choice in header.choices()]
    random.Random("halves").shuffle(keys)
    middle, default = len(keys) // 2, header.key({})
    chosen = {default, *(keys[middle:] if half else keys[:middle])}
    found = []
    for seed in seeds:
        trained = {}
        for run in table.by_seed(seed):
            if (key := header.key(run.config)) in chosen:
                curve = Curve.of((point.fraction, point.train_bpb) for point in run.curve)
                ends = [table.runs[key, each].val_bpb for each in seeds if (key, each) in table.runs]
                trained[key] = Trained(key, curve, run.val_bpb, statistics.mean(ends))
        found.append((trained[default], list(trained.values())))
    return found


def exchanged(pool: Pool) -> Pool:
    """Return a pool whose curves say nothing of how they end: the ends have changed places."""
    default, others = pool
    ends = [(each.val, each.quality) for each in others]
    random.Random("exchanged").shuffle(ends)
    changed = [replace(each, val=val, quality=mean) for each, (val, mean) in zip(others, ends, strict=True)]
    return next(each for each in changed if each.key == default.key), changed


def share(pair: tuple[int, int]) -> str:
    """Show a share with its numbers."""
    return f"{pair[0] / max(1, pair[1]):.1%} ({pair[0]} of {pair[1]})"


def figures(half: int = 1) -> list[Figure]:
    """Return what racing and naive rules save and lose, in loops over one half of the configurations."""
    table = load()
    chosen, noise = pools(table, half), seed_sd(table)
    sizes = f"{len(chosen[0][1])} configurations under {len(chosen)} seed(s)"
    about = f"{sizes}, {LOOPS} loops of up to {CANDIDATES} candidates, bound {BOUND:.0%}, noise {noise:.4f}"
    found = [Figure("what is replayed", about, "", None)]
    for where in (ANYWHERE, NEXT):
        whole = replay(nothing, where, chosen, noise)
        for rule, name in RULES.items():
            outcome = replay(rule, where, chosen, noise)
            found += described(f"{name}, candidates from {where}", outcome, whole, judged=rule is racing)
    misled = replay(racing, ANYWHERE, [exchanged(pool) for pool in chosen], noise)
    return [
        *found,
        Figure(
            "racing by curves that say nothing of the end: compute saved", f"{misled.saved():.1%}", "", None
        ),
        Figure("… winners lost", share(misled.lost(lambda step: step.better)), "", None),
    ]


def described(head: str, outcome: Outcome, whole: Outcome, *, judged: bool) -> list[Figure]:
    """Return the figures of one rule, next to loops in which nothing is stopped."""
    gone = outcome.lost(lambda step: step.better)
    here = outcome.lost(lambda step: step.better_here)
    clear = outcome.lost(lambda step: step.better, CLEAR)
    worse = statistics.mean(outcome.ends) - statistics.mean(whole.ends)
    kept = gone[0] <= LOST_AT_MOST * gone[1] if judged else None
    found = [
        Figure(f"{head}: training compute saved", f"{outcome.saved():.1%}", "", None),
        Figure(f"… by the first {FEW} candidates of a loop", f"{outcome.saved(FEW):.1%}", "", None),
        Figure(
            "… winners lost, by the mean over the seeds", share(gone), f"≤ {LOST_AT_MOST:.0%}" * judged, kept
        ),
        Figure("… winners lost, under the seed that was trained", share(here), "", None),
        Figure(f"… winners lost that are better by more than {CLEAR} bpb", share(clear), "", None),
        Figure("… the last incumbent worse than without stopping, bpb", f"{worse:+.4f}", "", None),
    ]
    if judged:
        found.append(Figure("… what those that were spared say of it", str(lost(decided(outcome))), "", None))
    return found


def decided(outcome: Outcome) -> list[Decided]:
    """Return what the loops themselves would know of what they lost."""
    return [
        Decided(step.stop.chance if step.stop else None, None if step.lost else step.better_here > 0)
        for step in outcome.steps
    ]


RULES: dict[Rule, str] = {
    racing: "racing",
    behind_at_a_quarter: "stop whatever is behind at 25 %",
    below_the_median: "stop what is below the median at 50 %",
}


if __name__ == "__main__":
    show(figures(0 if "--development" in sys.argv else 1))
