"""What labels say in numbers: rates with intervals, saturation, agreement with people, and corrected rates; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_evalloop.review.counts import count

if TYPE_CHECKING:
    from pytest_evalloop.review.events import Label
    from pytest_evalloop.review.modes import Mode

CONFIDENCE: Final = 0.95
READ: Final = 100
"""About as many traces are read before the search for failure modes may end."""
QUIET: Final = 20
"""In so many of the last traces no new failure mode came up by then."""
RARE: Final = (0.05, 0.01)
"""The prevalences that a saturated search is asked about: one for the quiet end, one for all that was read."""

_QUANTILES: Final = 50  # of each of the three rates; all 50³ combinations are looked at


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends of a confidence interval of a rate."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModeRate:
    """In how many of the traces that were labelled for it a failure mode occurs; no interval when none was."""

    id: str
    failures: int
    labelled: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Saturation:
    """How far the search for failure modes has come.

    `found[i]` modes were known after i + 1 of the `read` traces; the last new one came up `since` traces ago.
    """

    read: int
    found: tuple[int, ...]
    since: int
    saturated: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a judge or a check agrees with people, in counts.

    Of `passes` traces that pass by a human label `true_passes` were said to pass; of `fails` that fail,
    `true_fails` were said to fail.
    """

    passes: int
    true_passes: int
    fails: int
    true_fails: int

    @property
    def tpr(self) -> float | None:
        """P(said to pass | human pass), None without a human pass."""
        return self.true_passes / self.passes if self.passes else None

    @property
    def tnr(self) -> float | None:
        """P(said to fail | human fail), None without a human fail."""
        return self.true_fails / self.fails if self.fails else None

    @property
    def tpr_interval(self) -> Interval:
        """The Wilson interval of `tpr`."""
        return wilson(self.true_passes, self.passes)

    @property
    def tnr_interval(self) -> Interval:
        """The Wilson interval of `tnr`."""
        return wilson(self.true_fails, self.fails)


@dataclass(frozen=True, slots=True)
class Corrected:
    """The share of traces that pass, corrected for the errors of whoever said so."""

    rate: float
    interval: Interval


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the score interval of a rate (Wilson, JASA 22, 1927), everything from 0 to 1 where n is 0.

    Raises `ValueError` for counts that are no rate.
    """
    _require_rate(successes, n)
    if n == 0:
        return Interval(0.0, 1.0)
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (successes + z * z / 2) / (n + z * z)
    half = z * math.sqrt(successes * (n - successes) / n + z * z / 4) / (n + z * z)
    # At the ends the limit is the end itself, and rounding must not leave it just inside.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes == n else min(1.0, centre + half))


def mode_rates(labels: Iterable[Label], modes: Sequence[Mode]) -> tuple[ModeRate, ...]:
    """Return the failure rate of each mode, over the traces of which a label says whether it occurs."""
    labels = list(labels)
    rates = []
    for mode in modes:
        said = [label.modes[mode.id] for label in labels if mode.id in label.modes]
        interval = wilson(sum(said), len(said)) if said else None
        rates.append(ModeRate(mode.id, sum(said), len(said), interval))
    return tuple(rates)


def unseen(prevalence: float, traces: int) -> float:
    """Return the probability that none of so many traces shows a mode of that prevalence."""
    return (1.0 - prevalence) ** traces


def saturation(labels: Iterable[Label], *, enough: int = READ, quiet: int = QUIET) -> Saturation:
    """Follow the failure modes through the traces, in the order in which they were first labelled.

    A trace counts as read once it has a verdict or a mode. The search is saturated after `enough` traces, `quiet`
    of them without a new mode.
    """
    judged = [label for label in labels if label.passed is not None or label.modes]
    judged.sort(key=lambda label: label.first or label.at)
    known: set[str] = set()
    found: list[int] = []
    for label in judged:
        known.update(mode for mode, occurs in label.modes.items() if occurs)
        found.append(len(known))
    read = len(found)
    since = sum(each == found[-1] for each in found) - (1 if known else 0)
    saturated = read >= enough and since >= quiet
    return Saturation(read, tuple(found), since, saturated, _sentence(read, len(known), since, enough, quiet))


def _sentence(read: int, modes: int, since: int, enough: int, quiet: int) -> str:
    """Say how far the search has come, and what that does not prove."""
    if read == 0:
        return f"Nothing is labelled yet. Read about {enough} traces, until {quiet} in a row show no new failure mode."
    seen = f"{count(read, 'trace')} read, {count(modes, 'failure mode')} found"
    seen += f", none new in the last {since}." if since else ", a new one in the last trace."
    if read >= enough and since >= quiet:
        rule = f"That is saturated by the rule ({enough} read, none new in {quiet})"
        rule += ", which does not prove that there are no others:"
    else:
        rule = f"Read on until {enough} are read and {quiet} in a row show none that is new:"
    often, seldom = RARE
    return (
        f"{seen} {rule} a mode with {often:.0%} prevalence stays unseen in {count(since, 'trace')} with probability "
        f"{unseen(often, since):.0%}, one with {seldom:.0%} in {count(read, 'trace')} with {unseen(seldom, read):.0%}."
    )


def agreement(said: Mapping[str, bool], human: Mapping[str, bool]) -> Agreement:
    """Count how verdicts agree with human labels (True is a pass), over the traces that have both."""
    both = [(said[trace], passed) for trace, passed in human.items() if trace in said]
    passes = [verdict for verdict, passed in both if passed]
    fails = [verdict for verdict, passed in both if not passed]
    return Agreement(len(passes), sum(passes), len(fails), len(fails) - sum(fails))


def corrected(
    observed_passes: int, observed: int, agreement: Agreement, confidence: float = CONFIDENCE
) -> Corrected | None:
    """Estimate how many really pass where `observed_passes` of `observed` were said to (Rogan and Gladen, 1978).

    The estimate is (p + TNR - 1) / (TPR + TNR - 1), clipped to [0, 1]. For the interval all three rates are
    uncertain: each is given the posterior of Jeffreys' prior, Beta(successes + 1/2, failures + 1/2), and the
    ends are quantiles of the estimate over it. So a test split without an error, of which Beta still says how
    much it can hide, leaves an interval and not a point; and few verdicts widen it as much as few labels.
    Where TPR + TNR ≤ 1 is possible the rate could be anything, which counts for both ends.

    None when TPR + TNR ≤ 1, when labels of either kind are missing, and without verdicts. Raises `ValueError`
    for counts that are no rate. Nothing is drawn by chance.
    """
    _require_rate(observed_passes, observed)
    tpr, tnr = agreement.tpr, agreement.tnr
    if observed == 0 or tpr is None or tnr is None or tpr + tnr <= 1:
        return None
    rate = min(1.0, max(0.0, (observed_passes / observed + tnr - 1) / (tpr + tnr - 1)))
    import numpy as np
    from scipy.special import betaincinv

    passing = _posterior(agreement.true_passes, agreement.passes).reshape(-1, 1, 1)
    failing = _posterior(agreement.true_fails, agreement.fails).reshape(-1, 1)
    strength = passing + failing - 1
    says = strength > 0
    estimates = (_posterior(observed_passes, observed) + failing - 1) / np.where(says, strength, 1.0)
    tail = (1 - confidence) / 2
    if says.all():
        low, high = np.quantile(estimates, (tail, 1 - tail), overwrite_input=True)
    else:
        low = np.quantile(np.where(says, estimates, 0.0), tail)
        high = np.quantile(np.where(says, estimates, 1.0), 1 - tail)
    # However clearly a judge speaks: so many verdicts never show that all of them pass, or that none does.
    most = float(betaincinv(observed + 0.5, 0.5, tail))
    low, high = min(max(0.0, float(low)), most), max(min(1.0, float(high)), 1.0 - most)
    return Corrected(rate, Interval(min(low, rate), max(high, rate)))


def _posterior(successes: int, n: int) -> Any:  # noqa: ANN401 - numpy is imported where it is used
    """Return equally likely values of a rate under Jeffreys' prior, the middles of as many classes."""
    import numpy as np
    from scipy.special import betaincinv

    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return betaincinv(successes + 0.5, n - successes + 0.5, levels)


def _require_rate(successes: int, n: int) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no rate")
