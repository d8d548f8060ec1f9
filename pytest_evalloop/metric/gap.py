"""Validation against vault: how much of a gain holds on documents that nobody could have aimed at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.metric.statistics import (
    Difference,
    SeedNoise,
    beyond_seeds,
    critical_value,
    mean_scores,
    paired_difference,
    seeds_over_documents,
)
from pytest_evalloop.records import DocumentScore

Scores = Sequence[DocumentScore]
ERRORS = 3.0
"""By how many standard errors a gain on validation must exceed that on the vault to be contamination."""
SHARE = 0.25
"""And what share of the gain must be missing on the vault: texts of two kinds never gain quite the same."""
CONFIDENCE = 0.95
"""Of the interval around the honest gain."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What one model costs on validation less what it costs on the vault, in bits per byte."""

    validation: float
    vault: float
    error: float

    @property
    def difference(self) -> float:
        """Validation minus vault; the texts differ, so it need not be 0 for an honest model."""
        return self.validation - self.vault


@dataclass(frozen=True, slots=True)
class Comparison:
    """The gains of an incumbent over the baseline on both sets, and how far they are apart.

    `excess` is the gain on validation less that on the vault, `error` its standard error over documents.
    """

    validation: Difference
    vault: Difference
    excess: float
    error: float

    @property
    def contaminated(self) -> bool:
        """Whether validation improved by far more than documents of the vault did."""
        return self.excess > max(ERRORS * self.error, SHARE * self.validation.delta)


@dataclass(frozen=True, slots=True)
class Gain:
    """By how many bits per byte an incumbent lies below the baseline, and half the interval around that."""

    delta: float
    reach: float


def honest_gain(baseline: Sequence[Scores], incumbent: Sequence[Scores], noise: SeedNoise | None) -> Gain:
    """Return the gain of an incumbent under seeds that no decision saw, with its 95 % interval.

    Each side has one result a seed, under the same seeds and over the same documents. `noise` is None for an
    incumbent that shares the baseline's weights: then only documents are chance. Otherwise the variance is that of
    both means over seeds, and what documents add beyond it, and the quantile is that of Student's t with the
    freedom of `noise`. Raises `ValueError` when the documents differ, or a side is empty.
    """
    found = paired_difference(mean_scores(baseline), mean_scores(incumbent))
    error, freedom = found.standard_error, max(1, len(baseline[0]) - 1)
    if noise is not None:
        share, seeded = 1 / len(baseline) + 1 / len(incumbent), seeds_over_documents(baseline)
        if seeded is not None:
            error = beyond_seeds(error, min(seeded, noise.sd), share)
        error, freedom = math.hypot(error, noise.sd * math.sqrt(share)), noise.freedom
    return Gain(found.delta, critical_value(0.5 + CONFIDENCE / 2, freedom or None) * error)


def gap(validation: Scores, vault: Scores) -> Gap:
    """Return the gap of one model with its standard error, the two sets being drawn independently."""
    error = math.hypot(_error(validation), _error(vault))
    return Gap(bits_per_byte(validation), bits_per_byte(vault), error)


def compare(
    baseline: tuple[Scores, Scores],
    incumbent: tuple[Scores, Scores],
) -> Comparison:
    """Compare two models, each given as its scores on validation and on the vault, document by document.

    Each gain is a paired difference over documents. A model that knows validation documents gains there and
    not on the vault. Raises `ValueError` when the two were measured on different documents.
    """
    validation = paired_difference(baseline[0], incumbent[0])
    vault = paired_difference(baseline[1], incumbent[1])
    error = math.hypot(validation.standard_error, vault.standard_error)
    return Comparison(validation, vault, validation.delta - vault.delta, error)


def _error(scores: Scores) -> float:
    """Return the standard error of bits per byte over documents, a ratio estimator as in `paired_difference`."""
    nothing = [DocumentScore(score.id, 0.0, score.bytes) for score in scores]
    return paired_difference(scores, nothing).standard_error
