"""Replays searches over the recorded table: what a search would have seen, and what it would have paid.

A search trains configurations under its first, second, ... seed, looks at their learning curves, and scores
them; all of this is read from the table, and paid in the CPU seconds that were measured when it was
recorded. Nothing is interpolated between configurations: a run that is not recorded is an error.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bench.table import Choice, Key, Recorded, Table


class Handover(NamedTuple):
    """The configuration that a search would hand over once it has spent so much (CPU seconds)."""

    spent: float
    choice: Choice


@dataclass(frozen=True, slots=True)
class Replay:
    """A table with the order in which a search meets the recorded seeds."""

    table: Table
    seeds: tuple[int, ...]

    @classmethod
    def shuffled(cls, table: Table, repeat: int) -> Replay:
        """Return one repeat's replay: the seeds that all configurations have, in an order drawn from `repeat`.

        More repeats than there are orders meet an order again, with another seed of the search: they show
        how much the search's own chance does, and less than the whole chance of training.
        """
        seeds = list(shared_seeds(table))
        random.Random(repeat).shuffle(seeds)
        return cls(table, tuple(seeds))

    def find(self, choice: Choice, place: int = 0) -> Recorded:
        """Return the run of a configuration under the seed at a place in the order.

        Raises `LookupError` when there is no such seed or no such run.
        """
        seeds = self.seeds if 0 <= place < len(self.seeds) else self.order(choice)
        if not 0 <= place < len(seeds):
            raise LookupError(f"there is no seed at place {place}: {len(seeds)} are recorded")
        return self.table.find(choice, seeds[place])

    def order(self, choice: Choice) -> tuple[int, ...]:
        """Return the seeds of a configuration in the order in which a search meets them.

        Those that only some configurations have come last.
        """
        more = (seed for seed in self.table.seeds(choice) if seed not in self.seeds)
        return (*self.seeds, *more)


class Search(Protocol):
    """A method of search, as the comparison runs it."""

    @property
    def name(self) -> str:
        """What the figures call it."""

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        """Search until `limit` CPU seconds are spent; yield what would be handed over whenever that changes."""


class Meter:
    """Counts the CPU seconds that one search spends; what it has paid for once is free from then on."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.spent = 0.0
        self._trained: dict[tuple[Key, int], float] = {}
        self._scored: set[tuple[Key, int]] = set()

    def look(self, choice: Choice, fraction: float, place: int = 0) -> float:
        """Train up to a fraction of the budget, and return the train bpb there.

        A training that was stopped goes on from where it stood. Raises `ValueError` for no fraction.
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"{fraction} is no fraction of a budget")
        run = self.replay.find(choice, place)
        paid = self._trained.get(self._key(choice, place), 0.0)
        if fraction > paid:
            self.spent += (fraction - paid) * run.train_seconds
            self._trained[self._key(choice, place)] = fraction
        return run.train_bpb(fraction)

    def measure(self, choice: Choice, place: int = 0) -> Recorded:
        """Train to the end and score; return the run, of which a search may read all but the vault."""
        self.look(choice, 1.0, place)
        run = self.replay.find(choice, place)
        if self._key(choice, place) not in self._scored:
            self.spent += run.score_seconds
            self._scored.add(self._key(choice, place))
        return run

    def measured(self, choice: Choice, place: int = 0) -> bool:
        """Tell whether a configuration was trained to the end and scored."""
        return self._key(choice, place) in self._scored

    @property
    def trained(self) -> Mapping[tuple[Key, int], float]:
        """The share of the budget that was trained, by configuration and place in the order of seeds."""
        return self._trained

    def _key(self, choice: Choice, place: int) -> tuple[Key, int]:
        return self.replay.table.header.key(choice), place


def shared_seeds(table: Table) -> tuple[int, ...]:
    """Return the seeds under which every configuration of the grid is recorded.

    Raises `LookupError` when there is none: the table is not whole enough for a replay.
    """
    header = table.header
    wanted = {header.key(choice) for choice in header.choices()}
    found: dict[int, set[Key]] = {}
    for key, seed in table.runs:
        found.setdefault(seed, set()).add(key)
    whole = tuple(sorted(seed for seed, keys in found.items() if keys >= wanted))
    if not whole:
        most = max((len(keys & wanted) for keys in found.values()), default=0)
        raise LookupError(
            f"no seed has all {len(wanted)} configurations, the fullest has {most}; record on: "
            "python -m bench.curves --record"
        )
    return whole


def true_quality(table: Table) -> dict[Key, float]:
    """Return the mean vault bpb of every configuration over all seeds that are recorded for it.

    No search sees the vault, and a mean over seeds has no lucky one.
    """
    found: dict[Key, list[float]] = {}
    for (key, _), run in table.runs.items():
        found.setdefault(key, []).append(run.vault_bpb)
    return {key: statistics.fmean(values) for key, values in found.items()}


def target(table: Table, share: float) -> float:
    """Return the true vault bpb at a share of the way from the default to the best of the grid."""
    quality = true_quality(table)
    default = quality[table.header.key({})]
    return default + share * (min(quality.values()) - default)


def reached(
    handovers: Sequence[Handover], quality: Mapping[Key, float], table: Table, goal: float, limit: float
) -> float:
    """Return the CPU seconds after which what is handed over is at most `goal` bpb, and stays so until `limit`.

    Infinity when it never is, or is no longer so at the end.
    """
    since = math.inf
    for spent, choice in handovers:
        if spent > limit:
            break
        since = min(since, spent) if quality[table.header.key(choice)] <= goal else math.inf
    return since
