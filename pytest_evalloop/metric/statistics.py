"""Error bars: paired differences over documents, training noise, and bounds of failure rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pytest_evalloop.records import DocumentScore

_NORMAL = statistics.NormalDist()
_IMPLAUSIBLE = 1e-3
_ROUNDING = 1e-9  # bits per byte


@dataclass(frozen=True, slots=True)
class Difference:
    """An estimated difference in bits per byte and its standard error over documents."""

    delta: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """How much the training seed alone moves bits per byte: a pooled sd with its degrees of freedom.

    An sd of 0 with no freedom says that trainings repeat exactly, whatever the seed.
    """

    sd: float
    freedom: int

    @property
    def still(self) -> bool:
        """Whether seeds change nothing but rounding."""
        return self.sd < _ROUNDING


def seed_noise(groups: Sequence[Sequence[float]]) -> SeedNoise | None:
    """Pool the spread between seeds over several trees, each given as its bits per byte, one a seed.

    Identical results count as one sample: whoever ignores the seed tells nothing about it. A tree that scatters
    far more than those before it is left out, so that one which is ill does not blur the sight for all that come
    after. None if no tree was measured under two seeds.
    """
    repeated = [set(group) for group in groups if len(group) > 1]
    squares, freedom = 0.0, 0
    for group in repeated:
        more = len(group) - 1
        if more and not _wild(_squares(group), more, squares, freedom):
            squares, freedom = squares + _squares(group), freedom + more
    if freedom:
        return SeedNoise(math.sqrt(squares / freedom), freedom)
    return SeedNoise(0.0, 0) if repeated else None


def _wild(found: float, more: int, squares: float, freedom: int) -> bool:
    """Tell whether a tree scatters so much more than those before it that it is of another kind (F test)."""
    if freedom == 0 or squares == 0:
        return False
    from scipy.special import fdtrc

    return bool(fdtrc(more, freedom, (found / more) / (squares / freedom)) < _IMPLAUSIBLE)


def independent(results: Sequence[float], noise: SeedNoise) -> int:
    """Return how many samples the results of one tree under different seeds amount to.

    Identical results are one sample. So are results that lie closer together than seeds would leave them in
    one of a thousand cases (chi-square): a tree that all but ignores its seed cannot buy certainty.
    """
    distinct = set(results)
    if noise.still:
        return len(results)
    if len(distinct) < 2:
        return len(distinct)
    from scipy.special import chdtr

    chance = chdtr(len(distinct) - 1, _squares(distinct) / noise.sd**2)
    return 1 if chance < _IMPLAUSIBLE else len(distinct)


def _squares(values: Collection[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)


def mean_scores(runs: Sequence[Sequence[DocumentScore]]) -> tuple[DocumentScore, ...]:
    """Average the bits of each document over several runs.

    Raises `ValueError` if there is no run, or if the documents differ.
    """
    if not runs:
        raise ValueError("there is no run to average")
    first = runs[0]
    for run in runs[1:]:
        _require_same_documents(first, run)
    return tuple(
        DocumentScore(score.id, math.fsum(run[index].bits for run in runs) / len(runs), score.bytes)
        for index, score in enumerate(first)
    )


def paired_difference(old: Sequence[DocumentScore], new: Sequence[DocumentScore]) -> Difference:
    """Return bpb(old) - bpb(new) with its standard error over documents, paired document by document.

    The difference is a ratio of sums, so its error is that of a ratio estimator (Cochran, Sampling
    Techniques, 1977, eq. 2.45): residuals d_i - Δ·b_i over the total bytes. With a single document the
    error is infinite. Raises `ValueError` when the documents differ.
    """
    _require_same_documents(old, new)
    total = sum(score.bytes for score in old)
    if total <= 0:
        raise ValueError("the documents have no bytes, so there is nothing to divide by")
    gains = [before.bits - after.bits for before, after in zip(old, new, strict=True)]
    delta = math.fsum(gains) / total
    count = len(gains)
    if count < 2:
        return Difference(delta, math.inf)
    # The root of a sum of squares by hypot: no cost, however absurd, overflows on the way.
    residual = math.hypot(*(gain - delta * score.bytes for gain, score in zip(gains, old, strict=True)))
    return Difference(delta, math.sqrt(count / (count - 1)) * residual / total)


def seeds_over_documents(runs: Sequence[Sequence[DocumentScore]]) -> float | None:
    """Return the standard error over documents that the seed alone leaves to one training, in bits per byte.

    `runs` are those of one tree under different seeds, over the same documents: each is paired with their mean,
    and the squared errors are divided by the degrees of freedom. None for fewer than two runs. Raises
    `ValueError` when the documents differ.
    """
    if len(runs) < 2:
        return None
    mean = mean_scores(runs)
    apart = math.hypot(*(paired_difference(mean, run).standard_error for run in runs))
    return apart / math.sqrt(len(runs) - 1)


def beyond_seeds(error: float, seeded: float, share: float) -> float:
    """Return the standard error over documents of what two trees differ by, without what their seeds differ by.

    A paired `error` over documents comes from both, as each training errs on other documents. The second part
    has the variance `seeded` squared for one training and `share` times that for the difference of two means,
    so `share` is 1/m + 1/n; it is in the noise between seeds already, and would count twice. All errors are
    in bits per byte. What is infinite stays so.
    """
    if not (math.isfinite(error) and math.isfinite(seeded)):
        return error
    known = seeded * math.sqrt(share)
    # Two roots instead of squares: no cost, however absurd, overflows on the way.
    return math.sqrt(error - known) * math.sqrt(error + known) if error > known else 0.0


def critical_value(confidence: float, freedom: int | None) -> float:
    """Return the one-sided quantile of Student's t with `freedom` degrees, of the normal for None."""
    if freedom is None:
        return _NORMAL.inv_cdf(confidence)
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))


def student(bound: float, freedom: int | None) -> float:
    """Return the value that Student's t exceeds as rarely as the normal exceeds `bound`; None is the normal."""
    if freedom is None or math.isinf(bound):
        return bound
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, _NORMAL.cdf(-bound)))


def upper_bound(failures: int, cases: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper confidence bound of a failure rate (Clopper and Pearson, 1934).

    Raises `ValueError` for no cases: nothing was seen, so nothing is bounded.
    """
    if not 0 <= failures <= cases or cases == 0:
        raise ValueError(f"{failures} failures of {cases} cases is no rate")
    if failures == cases:
        return 1.0
    if failures == 0:  # the same bound in closed form, without a heavy import in the most common case
        return 1.0 - math.pow(1.0 - confidence, 1.0 / cases)
    from scipy.special import betaincinv

    return float(betaincinv(failures + 1, cases - failures, confidence))


def _require_same_documents(old: Sequence[DocumentScore], new: Sequence[DocumentScore]) -> None:
    if [(score.id, score.bytes) for score in old] != [(score.id, score.bytes) for score in new]:
        raise ValueError("the two results were measured on different documents, so they cannot be compared")
