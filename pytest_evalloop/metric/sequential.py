"""A group-sequential test: when the evidence of so many training seeds is enough, either way.

An improvement is estimated again and again, each time from more seeds. The estimates D_1, D_2, ... have variances
V_1 > V_2 > ..., and Cov(D_j, D_k) = V_k for j < k, so that D_k / V_k is a process with independent increments in
the information 1 / V_k (Jennison and Turnbull, Group Sequential Methods, 2000, chapter 11).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

_NORMAL = statistics.NormalDist()
_GRAIN = 250  # information times are rounded to this fraction, so that the same looks are computed once
_POINTS = 241  # of the grid on which the density of those that go on is kept; odd, for Simpson's rule
_FAR = 8.0  # standard deviations below which nothing is


def spent(time: float, level: float, shape: float) -> float:
    """Return how much of `level` may be spent up to an information time in [0, 1].

    Hwang, Shih and DeCani (Statistics in Medicine 9, 1990): the larger `shape` is, the more is spent early;
    0 spends evenly.
    """
    time = min(1.0, max(0.0, time))
    if abs(shape) < 1e-9:
        return level * time
    return level * math.expm1(-shape * time) / math.expm1(-shape)


def critical_values(variances: Sequence[float], level: float, shape: float) -> tuple[float, ...]:
    """Return the standardised value that each look has to exceed, in standard errors of its estimate.

    `variances` are those of the estimates, the last planned look included. All looks together exceed theirs
    with a probability of at most `level` if there is no improvement. The test stops for success only: whoever
    also stops for lack of hope errs less often still. A look that brings no information has no value to
    exceed: infinity. Raises `ValueError` for variances that are not positive or that grow.
    """
    if not variances or min(variances) <= 0 or any(later > sooner for sooner, later in pairwise(variances)):
        raise ValueError(f"{list(variances)} are no variances of looks: they have to be positive and to fall")
    times = tuple(round(_GRAIN * variances[-1] / variance) for variance in variances)
    return _critical_values(times, level, shape)


@lru_cache(maxsize=4096)
def _critical_values(grains: tuple[int, ...], level: float, shape: float) -> tuple[float, ...]:
    """Compute what `critical_values` returns by recursive integration (Armitage, McPherson and Rowe, 1969)."""
    import numpy as np
    from scipy.optimize import brentq

    found: list[float] = []
    points, density = np.zeros(1), np.ones(1)  # of the score among those that went on; it starts at 0
    before, used = 0.0, 0.0
    for grain in grains:
        time = grain / _GRAIN
        share = spent(time, level, shape) - used
        if time <= before or share <= level * 1e-9:
            found.append(math.inf)
            continue
        deviation = math.sqrt(time - before)

        excess = partial(_excess, points=points, density=density, deviation=deviation, share=share)
        bound = brentq(excess, -_FAR, _FAR, xtol=1e-10)
        found.append(bound / math.sqrt(time))
        used, before = used + share, time
        grid = np.linspace(min(-_FAR * math.sqrt(time), bound - 1e-9), bound, _POINTS)
        weights = np.ones(_POINTS)
        weights[1:-1:2], weights[2:-1:2] = 4.0, 2.0
        weights *= (grid[1] - grid[0]) / 3.0
        steps = (grid[:, None] - points[None, :]) / deviation
        kernel = np.exp(-0.5 * steps**2) / (deviation * math.sqrt(2 * math.pi))
        points, density = grid, weights * (kernel @ density)
    return tuple(found)


def _excess(bound: float, *, points: Any, density: Any, deviation: float, share: float) -> float:  # noqa: ANN401
    """Return by how much the chance to cross `bound` at this look, having gone on before, exceeds `share`."""
    from scipy.special import ndtr

    return float(density @ ndtr((points - bound) / deviation)) - share


def prospect(estimate: float, variance: float, last: float, bound: float) -> float:
    """Return the chance that the last look exceeds `bound`, as far as the estimate so far tells the truth.

    `estimate` has `variance`, the last look's estimate will have variance `last`, and `bound` is in units of
    the estimate. What the estimate may be wrong by counts (predictive power with a flat prior: Jennison and
    Turnbull, chapter 10): were it taken for the truth, one unlucky seed would look hopeless.
    """
    remaining = variance - last
    if remaining <= 0:
        return 1.0 if estimate > bound else 0.0
    # The last estimate and how far it moves until then are independent, so that their variances add up.
    return _NORMAL.cdf((estimate - bound) / math.sqrt(remaining))
