"""How often the interval of a corrected rate holds the true rate, on the table that it was chosen by.

    python -m bench.coverage

Nothing is simulated: coverage is a sum of probabilities. Outcomes of a test split are taken in the order of how
likely they are, and for each the numbers of unlabelled verdicts are found at which the interval holds the truth;
its ends rise with that number, so those lie in one piece. What is left out is less likely than one in a thousand.
Beside ours stands the bootstrap that resamples the test split alone and keeps the observed rate as it is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from bench.figure import Figure, show
from pytest_evalloop.review.rates import Agreement, Interval, corrected

LOWEST, HIGHEST = 0.93, 0.97
MASS = 0.999  # of the outcomes of a test split
RESAMPLES = 2000
TIMED = 50


@dataclass(frozen=True)
class Row:
    """A true rate, a judge whose TPR and TNR are equal, the labels of each kind, and the unlabelled verdicts."""

    theta: float
    right: float
    labels: int
    unlabelled: int

    def __str__(self) -> str:
        return (
            f"θ {self.theta}, TPR = TNR = {self.right}, test {self.labels}+{self.labels}, "
            f"{self.unlabelled:,} unlabelled"
        )

    @property
    def observed(self) -> float:
        """How likely the judge says pass to an unlabelled trace."""
        return self.theta * self.right + (1 - self.theta) * (1 - self.right)


TABLE = (
    Row(0.85, 0.90, 20, 100),
    Row(0.85, 0.90, 20, 1000),
    Row(0.85, 0.90, 50, 100),
    Row(0.50, 0.90, 20, 100),
    Row(0.85, 0.98, 20, 100),
)
# Away from where it was chosen: any prevalence, judges at the least that may gate, many labels and verdicts.
WIDER = tuple(
    Row(theta, right, labels, unlabelled)
    for theta in (0.05, 0.2, 0.5, 0.7, 0.95)
    for right in (0.8, 0.9, 0.98)
    for labels, unlabelled in ((20, 100), (45, 1000))
)
Method = Callable[[int, int, Agreement], Interval | None]


def ours(passes: int, observed: int, agreement: Agreement) -> Interval | None:
    """Return the interval of the product."""
    found = corrected(passes, observed, agreement)
    return None if found is None else found.interval


def fixed_rate(passes: int, observed: int, agreement: Agreement) -> Interval | None:
    """Bootstrap the test split, with the observed rate fixed, and take percentiles; None like ours."""
    labels = agreement.passes + agreement.fails
    tpr, tnr = agreement.true_passes / agreement.passes, agreement.true_fails / agreement.fails
    if tpr + tnr <= 1:
        return None
    chance = np.random.default_rng(0)
    kept = chance.binomial(labels, agreement.passes / labels, RESAMPLES)
    kept = kept[(kept > 0) & (kept < labels)]
    strength = chance.binomial(kept, tpr) / kept
    specific = chance.binomial(labels - kept, tnr) / (labels - kept)
    strength += specific - 1
    able = strength > 0
    estimates = np.clip((passes / observed + specific[able] - 1) / strength[able], 0, 1)
    low, high = np.percentile(estimates, (2.5, 97.5))
    return Interval(float(low), float(high))


def coverage(method: Method, row: Row, mass: float = MASS) -> float:
    """Return the probability that the interval holds the true rate, given that there is one."""
    counts = range(row.labels + 1)
    labels = [float(binom.pmf(hits, row.labels, row.right)) for hits in counts]
    likely = sorted(((labels[a] * labels[b], a, b) for a in counts for b in counts), reverse=True)
    seen = held = 0.0
    for chance, true_passes, true_fails in likely:
        if seen >= mass:
            break
        measured = Agreement(row.labels, true_passes, row.labels, true_fails)
        if method(0, row.unlabelled, measured) is None:
            continue
        first = least(method, row, measured, lambda interval: interval.high >= row.theta)
        after = least(method, row, measured, lambda interval: interval.low > row.theta)
        below, up_to = (binom.cdf(end - 1, row.unlabelled, row.observed) for end in (first, after))
        seen += chance
        held += chance * float(up_to - below)
    return held / seen


def least(method: Method, row: Row, measured: Agreement, reached: Callable[[Interval], bool]) -> int:
    """Return the least number of passes at which an end has come as far, one more than there are if none."""
    low, high = 0, row.unlabelled + 1
    while low < high:
        middle = (low + high) // 2
        interval = method(middle, row.unlabelled, measured)
        assert interval is not None  # whether there is one does not depend on the passes
        low, high = (low, middle) if reached(interval) else (middle + 1, high)
    return low


def width(method: Method, row: Row) -> float:
    """Return the width of the interval where everything is as expected."""
    right = round(row.right * row.labels)
    measured = Agreement(row.labels, right, row.labels, right)
    interval = method(round(row.observed * row.unlabelled), row.unlabelled, measured)
    assert interval is not None
    return interval.high - interval.low


def milliseconds() -> float:
    """Return how long one interval takes, the middle of many."""
    taken = []
    for passes in range(TIMED):
        start = time.perf_counter()
        ours(passes, 100, Agreement(20, 18, 20, 18))
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def figures() -> list[Figure]:
    """Return the coverage on the table, ours and the other's, and how far ours strays away from it."""
    found = []
    for row in TABLE:
        mine = coverage(ours, row)
        kept = LOWEST <= mine <= HIGHEST
        found += [
            Figure(f"{row}: coverage of ours", f"{mine:.3f}", f"{LOWEST} to {HIGHEST}", kept),
            Figure("… with the observed rate kept fixed", f"{coverage(fixed_rate, row):.3f}", "", None),
            Figure(
                "… typical width, ours / fixed",
                f"{width(ours, row):.3f} / {width(fixed_rate, row):.3f}",
                "",
                None,
            ),
        ]
    wider = {row: coverage(ours, row, 0.99) for row in WIDER}
    least_of, most_of = min(wider, key=wider.__getitem__), max(wider, key=wider.__getitem__)
    middle = statistics.median(wider.values())
    return [
        *found,
        Figure(f"away from the table, the middle of {len(wider)} settings", f"{middle:.3f}", "", None),
        Figure(f"… the lowest ({least_of})", f"{wider[least_of]:.3f}", "", None),
        Figure(f"… the highest ({most_of})", f"{wider[most_of]:.3f}", "", None),
        Figure("one interval, milliseconds", f"{milliseconds():.1f}", "", None),
    ]


if __name__ == "__main__":
    show(figures())
