"""A group-sequential test errs as rarely as it promises, whatever the looks are."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.metric.sequential import critical_values, prospect, spent

LEVEL, SHAPE = 0.008, -2.0
moderate = settings(max_examples=30, deadline=None)
shapes = st.floats(-6, 3)
levels = st.floats(0.001, 0.1)


@st.composite
def looks(draw: st.DrawFn) -> list[float]:
    """Return the variances of looks after ever more seeds on both sides, with the documents' share."""
    known, last = draw(st.integers(1, 10)), draw(st.integers(1, 8))
    documents = draw(st.sampled_from([0.0, 0.05, 0.5, 5.0]))
    return [1 / max(known, seeds) + 1 / seeds + documents for seeds in range(1, last + 1)]


@moderate
@given(st.floats(0, 1), st.floats(0, 1), levels, shapes)
def test_ever_more_is_spent_and_in_the_end_everything(
    one: float, other: float, level: float, shape: float
) -> None:
    sooner, later = sorted((one, other))
    assert 0 <= spent(sooner, level, shape) <= spent(later, level, shape) <= level * (1 + 1e-9)
    assert spent(0, level, shape) == 0
    assert spent(1, level, shape) == pytest.approx(level)
    assert spent(7, level, shape) == pytest.approx(level)


@moderate
@given(st.floats(1e-6, 10), levels, shapes)
def test_a_single_look_is_the_plain_test(variance: float, level: float, shape: float) -> None:
    (value,) = critical_values([variance], level, shape)
    assert value == pytest.approx(statistics.NormalDist().inv_cdf(1 - level), abs=1e-6)


@moderate
@given(looks(), st.integers(0, 2**32 - 1))
def test_nothing_is_found_where_nothing_is_with_the_promised_frequency(
    variances: list[float], seed: int
) -> None:
    draws = 200_000
    values = critical_values(variances, LEVEL, SHAPE)
    numbers = np.random.default_rng(seed)
    information = [1 / variance for variance in variances]
    score, before, found = np.zeros(draws), 0.0, np.zeros(draws, dtype=bool)
    for amount, value in zip(information, values, strict=True):
        score += numbers.normal(scale=math.sqrt(max(0.0, amount - before)), size=draws)
        before = amount
        found |= score / math.sqrt(amount) > value
    error = math.sqrt(LEVEL * (1 - LEVEL) / draws)
    assert abs(float(found.mean()) - LEVEL) < 5 * error + 0.01 * LEVEL


@moderate
@given(looks(), levels, shapes)
def test_every_look_asks_for_at_least_what_the_plain_test_asks_for(
    variances: list[float], level: float, shape: float
) -> None:
    plain = statistics.NormalDist().inv_cdf(1 - level)
    assert min(critical_values(variances, level, shape)) >= plain - 1e-6


def test_a_look_without_news_can_find_nothing() -> None:
    first, second, third = critical_values([0.5, 0.5, 0.25], LEVEL, SHAPE)
    assert second == math.inf
    assert math.isfinite(first)
    assert math.isfinite(third)


@pytest.mark.parametrize("variances", [[], [0.0], [1.0, -1.0], [1.0, 2.0]])
def test_what_is_no_sequence_of_looks_is_refused(variances: list[float]) -> None:
    with pytest.raises(ValueError, match="are no variances of looks"):
        critical_values(variances, LEVEL, SHAPE)


@moderate
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 2), st.floats(0.01, 0.99), st.floats(-2, 2))
def test_a_better_estimate_has_the_better_prospects(
    one: float, other: float, variance: float, share: float, bound: float
) -> None:
    worse, better = sorted((one, other))
    last = variance * share
    assert 0 <= prospect(worse, variance, last, bound) <= prospect(better, variance, last, bound) <= 1
    assert prospect(bound, variance, last, bound) == pytest.approx(0.5)
    assert prospect(better, variance, variance, bound) == float(better > bound)


def test_the_prospect_is_how_often_the_last_look_succeeds() -> None:
    estimate, variance, last, bound, draws = 0.7, 9 / 8, 7 / 24, 1.3, 400_000
    numbers = np.random.default_rng(0)
    truth = numbers.normal(estimate, math.sqrt(variance), draws)  # as far as it is known
    # What the remaining seeds say on their own
    news = numbers.normal(truth, math.sqrt(1 / (1 / last - 1 / variance)))
    weight = last / variance
    final = weight * estimate + (1 - weight) * news
    assert prospect(estimate, variance, last, bound) == pytest.approx(
        float((final > bound).mean()), abs=0.003
    )
