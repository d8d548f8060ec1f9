"""What common seeds are worth: how much alike two configurations of the recorded table move under one seed.

    python -m bench.pairing

Differences under the same seed vary less than those between different ones, by the correlation of both. A rule that
pairs seed by seed would gain by it, and err where it presumes more than there is.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping

from bench.figure import Figure, show
from bench.table import Key, load

Seeds = Mapping[int, float]  # bits per byte by seed


def correlation(pairs: list[tuple[Seeds, Seeds]]) -> float:
    """Return the share of the variance between seeds that goes when both sides have the same ones."""
    same = statistics.fmean(
        statistics.variance([one[seed] - other[seed] for seed in one.keys() & other.keys()])
        for one, other in pairs
    )
    apart = statistics.fmean(
        statistics.variance(one.values()) + statistics.variance(other.values()) for one, other in pairs
    )
    return 1 - same / apart


def figures() -> list[Figure]:
    """Return the correlation under common seeds, by how many parameters two configurations differ in."""
    table = load()
    measured: dict[Key, dict[int, float]] = {}
    for (key, seed), run in table.runs.items():
        measured.setdefault(key, {})[seed] = run.val_bpb
    common = set.intersection(*(set(seeds) for seeds in measured.values()))
    found: dict[int, list[tuple[Seeds, Seeds]]] = {}
    for (key, one), (other_key, other) in itertools.combinations(measured.items(), 2):
        changed = sum(value != other_value for value, other_value in zip(key, other_key, strict=True))
        pair = tuple({seed: seeds[seed] for seed in common} for seeds in (one, other))
        found.setdefault(changed, []).append((pair[0], pair[1]))
    return [
        Figure(
            f"correlation under common seeds, {changed} of {len(table.header.space)} parameters differ",
            f"{correlation(pairs):.2f} ({len(pairs):,} pairs)",
            "",
            None,
        )
        for changed, pairs in sorted(found.items())
    ]


if __name__ == "__main__":
    show(figures())
