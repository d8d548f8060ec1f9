"""How much compute a search needs until it hands over a good configuration, against searches that others use.

python -m bench.search_compute

Every search is replayed over the recorded table. A target is a share of the way from the default to the
best configuration of the grid, in true vault bpb: it is known from the table alone, before any search. What
counts is the CPU seconds of training and scoring after which the configuration that would be handed over
reaches the target and stays there until the end of the replay. Where Ray is not installed, its row is left
out; run the script by a Python that has Ray and this project to have it.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.figure import Figure, show
from bench.peers import peers
from bench.replay import Handover, Replay, Search, reached, shared_seeds, target, true_quality
from bench.table import Choice, Recorded, Table, load
from pytest_evalloop.loop.acceptance import Look, Rule, weigh
from pytest_evalloop.metric.statistics import SeedNoise, paired_difference

REPEATS = 10
EVALUATIONS = 60  # of the default, whole and under one seed: how long a search is followed
SHARES = (0.8, 0.5, 0.95)  # of the way to the best; the first one is held against the bound
DRAWS = 2000  # of the bootstrap
BOUND = 2.0  # times less compute than the best peer


@dataclass(frozen=True, slots=True)
class Followed:
    """What one search handed over, repeat by repeat."""

    name: str
    repeats: tuple[tuple[Handover, ...], ...]

    def seconds(self, table: Table, goal: float, limit: float) -> tuple[float, ...]:
        """Return the CPU seconds to `goal` bpb of every repeat, infinite where it was not reached."""
        quality = true_quality(table)
        return tuple(reached(repeat, quality, table, goal, limit) for repeat in self.repeats)

    def last(self, table: Table, limit: float) -> float:
        """Return the median over repeats of the true vault bpb that is handed over at the end."""
        quality = true_quality(table)
        return statistics.median(
            [quality[table.header.key(step.choice)] for step in repeat if step.spent <= limit][-1]
            for repeat in self.repeats
        )


def follow(search: Search, table: Table, repeats: int, limit: float) -> Followed:
    """Replay a search `repeats` times; the same repeat meets the seeds in the same order in every search."""
    return Followed(
        search.name,
        tuple(tuple(search.run(Replay.shuffled(table, repeat), repeat, limit)) for repeat in range(repeats)),
    )


def horizon(table: Table) -> float:
    """Return the CPU seconds that searches are followed for."""
    runs = [table.find({}, seed) for seed in table.seeds({})]
    return EVALUATIONS * statistics.median(run.train_seconds + run.score_seconds for run in runs)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the two values that the median lies between with at least `confidence`, from their ranks alone.

    Infinite values are as good as any. Too few values give the least and the largest. (David and Nagaraja,
    Order Statistics, 2003, section 7.1.)
    """
    ranked, count = sorted(values), len(values)
    outside, rank = 0.0, 0
    while rank < count // 2:
        outside += math.comb(count, rank) / 2**count
        if 2 * outside > 1 - confidence:
            break
        rank += 1
    rank = max(rank - 1, 0)
    return ranked[rank], ranked[count - 1 - rank]


def times_less(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, float, float]:
    """Return how many times the median of `ours` fits into that of `peer`, and a bootstrap 95 % interval.

    Repeats are drawn in pairs, since both sides met the same seeds. Neither side reaching its goal is 1.
    """
    pairs = list(zip(ours, peer, strict=True))
    numbers = random.Random(0)
    drawn = sorted(_quotient(numbers.choices(pairs, k=len(pairs))) for _ in range(DRAWS))
    return _quotient(pairs), drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS) - 1]


def _quotient(pairs: Sequence[tuple[float, float]]) -> float:
    below, above = (statistics.median(side) for side in zip(*pairs, strict=True))
    return 1.0 if math.isinf(below) and math.isinf(above) else above / below


def floor(table: Table, goal: float, rule: Rule | None = None) -> float:
    """Return the CPU seconds below which no search hands over `goal` bpb that trains the default and another whole.

    It tries nothing but the cheapest configuration that reaches the goal: each once, or with a `rule` under as many
    seeds as that accepts the true fall of validation bpb by, the noise being known from these seeds alone. Infinite
    where nothing reaches the goal, or no number of seeds is enough.
    """
    quality, default = true_quality(table), _runs(table, {})
    noise = statistics.stdev(run.val_bpb for run in default) if len(default) > 1 else math.inf
    once, least = _seconds(default), math.inf
    for choice in table.header.choices():
        key = table.header.key(choice)
        if key == table.header.key({}) or quality.get(key, math.inf) > goal:
            continue
        runs = _runs(table, choice)
        if rule is None:
            least = min(least, once + _seconds(runs))
            continue
        delta = _bpb(default) - _bpb(runs)
        error = paired_difference(default[0].val, runs[0].val).standard_error
        for seeds in itertools.product(range(1, rule.most_seeds + 1), repeat=2):
            known, tried = seeds
            cost = known * once + tried * _seconds(runs)
            # The first result of a candidate tells nothing about the noise.
            freedom = known - 1 + max(0, tried - 2)
            if cost < least and freedom:
                look = Look(delta, error, known, tried)
                if weigh(look, SeedNoise(noise, freedom), rule).accepted:
                    least = cost
    return least


def _runs(table: Table, choice: Choice) -> list[Recorded]:
    return [table.find(choice, seed) for seed in table.seeds(choice)]


def _seconds(runs: Sequence[Recorded]) -> float:
    return statistics.fmean(run.train_seconds + run.score_seconds for run in runs)


def _bpb(runs: Sequence[Recorded]) -> float:
    return statistics.fmean(run.val_bpb for run in runs)


def compare(table: Table, ours: Sequence[Search], others: Sequence[Search], repeats: int) -> list[Figure]:
    """Follow all searches and return their figures, and ours against the best peer at the first target."""
    limit, quality = horizon(table), true_quality(table)
    followed = [follow(search, table, repeats, limit) for search in (*ours, *others)]
    goals = {share: target(table, share) for share in SHARES}
    seconds: Mapping[float, list[tuple[float, ...]]] = {
        share: [each.seconds(table, goal, limit) for each in followed] for share, goal in goals.items()
    }
    found = [
        Figure(
            "the replay",
            f"{len(table.runs)} runs, {len(shared_seeds(table))} seeds of all configurations, "
            f"{repeats} repeats, followed for {limit:.0f} CPU-s",
            "",
            None,
        ),
        Figure(
            "true vault bpb of the default, and of the targets (configurations that reach it)",
            f"{quality[table.header.key({})]:.4f}; "
            + ", ".join(
                f"{share:.0%}: {goal:.4f} ({sum(bpb <= goal for bpb in quality.values())} of {len(quality)})"
                for share, goal in goals.items()
            ),
            "",
            None,
        ),
    ]
    for share, goal in goals.items():
        found.append(
            Figure(
                f"CPU-s to {share:.0%} below which nothing is that trains the default and another, whole and once",
                f"{_show(floor(table, goal))}; accepted at 1 %, the noise unknown before: "
                f"{_show(floor(table, goal, Rule()))}",
                "",
                None,
            )
        )
    for index, each in enumerate(followed):
        said = [f"{share:.0%}: {_spread(seconds[share][index])}" for share in SHARES]
        end = f"at the end {each.last(table, limit):.4f} bpb"
        found.append(Figure(f"CPU-s of {each.name}", "; ".join([*said, end]), "", None))
    for share in SHARES if ours and others else ():
        mine, *rest = seconds[share][0], *seconds[share][len(ours) :]
        best = min(range(len(rest)), key=lambda index: statistics.median(rest[index]))
        times, low, high = times_less(mine, rest[best])
        bound = BOUND if share == SHARES[0] else None
        found.append(
            Figure(
                f"compute to {share:.0%}, {others[best].name} over {ours[0].name}",
                f"{times:.2f} times ({low:.2f} to {high:.2f})",
                "" if bound is None else f"≥ {bound:g}",
                None if bound is None else times >= bound,
            )
        )
    return found


def figures() -> list[Figure]:
    """Return the compute that every search needs on the recorded table."""
    from bench.ours import ours  # noqa: PLC0415 - the peers can be compared without it

    table = load()
    return compare(table, ours(table), peers(), REPEATS)


def _spread(seconds: Sequence[float]) -> str:
    """Show a median with its interval, and how many repeats reached the target at all."""
    low, high = median_interval(seconds)
    done = sum(map(math.isfinite, seconds))
    return f"{_show(statistics.median(seconds))} ({_show(low)} to {_show(high)}), {done} of {len(seconds)}"


def _show(seconds: float) -> str:
    return f"{seconds:.0f}" if math.isfinite(seconds) else "never"


if __name__ == "__main__":
    show(figures())
