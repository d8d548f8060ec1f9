"""Error bars: paired differences over documents, training noise, and bounds of failure rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_evalloop.records import DocumentScore


@dataclass(frozen=True, slots=True)
class Difference:
    """An estimated difference in bits per byte and its standard error over documents."""

    delta: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """How much the training seed alone moves bits per byte: sample sd over `seeds` runs."""

    sd: float
    seeds: int


def seed_noise(bpbs: Sequence[float]) -> SeedNoise:
    """Estimate training noise from the bits per byte of one tree under different seeds.

    Raises `ValueError` for fewer than two runs.
    """
    if len(bpbs) < 2:
        raise ValueError("training noise needs at least two seeds")
    return SeedNoise(statistics.stdev(bpbs), len(bpbs))


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


def critical_value(confidence: float, freedom: int | None) -> float:
    """Return the one-sided quantile of Student's t with `freedom` degrees, of the normal for None."""
    if freedom is None:
        return statistics.NormalDist().inv_cdf(confidence)
    from scipy.special import stdtrit

    return float(stdtrit(freedom, confidence))


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
