"""How many fresh seeds an incumbent is measured under before a candidate is compared with it: pure functions."""

from __future__ import annotations

from pytest_evalloop.metric.statistics import SeedNoise

FEW = 3
"""Fresh seeds that tell whether an acceptance was luck; all that an incumbent gets once the noise is known."""


def enough(noise: SeedNoise | None, seeds: int) -> int:
    """Return under how many fresh seeds an incumbent is measured before a promising candidate is found no better.

    As many as make the noise known, `seeds`; then a few; and one where seeds change nothing.
    """
    if noise is None or noise.freedom < seeds - 2:
        return 1 if noise is not None and noise.still else seeds
    return min(seeds, FEW)


def least(wanted: int, *, baseline: bool) -> int:
    """Return under how many of `wanted` seeds an incumbent stands at the first look at a promising candidate.

    Nobody chose the number of the baseline, so one will do.
    """
    return min(wanted, 1 if baseline else FEW)


def next_look(known: int, wanted: int, *, baseline: bool) -> int:
    """Return under how many of `wanted` seeds an incumbent stands at the next look, `known` at present: a power of two.

    Few looks, so that little is added to the chance of a mistake, and the same ones for a loop that was killed
    between two seeds.
    """
    first = least(wanted, baseline=baseline)
    return first if known < first else min(wanted, 1 << known.bit_length())
