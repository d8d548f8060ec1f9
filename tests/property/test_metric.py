"""Whatever the costs are: bits per byte and their error bars are what exact arithmetic says."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalloop.metric.bpb import BitsPerByte, bits, bits_per_byte
from pytest_evalloop.metric.statistics import critical_value, mean_scores, paired_difference, upper_bound
from pytest_evalloop.records import DocumentScore
from pytest_evalloop.suite.failure_modes import FailureMode, cases_needed, rate, sentence

costs = st.just(0.0) | st.floats(1e-6, 1e6)
sizes = st.integers(1, 10_000)
pairs = st.lists(st.tuples(costs, costs, sizes), min_size=2, max_size=20)
moderate = settings(max_examples=50)


def scores(bits_and_sizes: list[tuple[float, int]]) -> list[DocumentScore]:
    return [DocumentScore(str(number), cost, size) for number, (cost, size) in enumerate(bits_and_sizes)]


@moderate
@given(st.lists(costs, max_size=50), st.randoms(use_true_random=False))
def test_bits_are_the_exact_sum_in_any_order(nats: list[float], random: Random) -> None:
    exact = float(sum(map(Fraction, nats), Fraction())) / math.log(2)
    shuffled = random.sample(nats, len(nats))
    assert bits(nats) == bits(shuffled) == bits(list(np.array(shuffled))) == exact


@moderate
@given(st.lists(costs, max_size=8), st.floats(max_value=0, exclude_max=True) | st.just(math.nan), st.data())
def test_an_impossible_cost_is_refused_wherever_it_stands(
    nats: list[float], bad: float, data: st.DataObject
) -> None:
    nats.insert(data.draw(st.integers(0, len(nats))), bad)
    with pytest.raises(ValueError, match="never negative"):
        bits(nats)


@moderate
@given(st.lists(st.tuples(costs, sizes), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_bits_per_byte_is_the_same_in_any_order_of_documents(
    given_scores: list[tuple[float, int]], random: Random
) -> None:
    documents = scores(given_scores)
    value = BitsPerByte(documents)
    assert value == bits_per_byte(random.sample(documents, len(documents)))
    exact = sum(Fraction(cost) for cost, _ in given_scores) / sum(size for _, size in given_scores)
    assert value == pytest.approx(float(exact), rel=1e-15)
    ratios = [cost / size for cost, size in given_scores]
    assert min(ratios) * (1 - 1e-12) <= value <= max(ratios) * (1 + 1e-12)


@moderate
@given(pairs)
def test_the_paired_difference_is_what_numpy_says(triples: list[tuple[float, float, int]]) -> None:
    old, new = scores([(a, size) for a, _, size in triples]), scores([(b, size) for _, b, size in triples])
    found = paired_difference(old, new)
    before, after, length = (np.array(column, dtype=float) for column in zip(*triples, strict=True))
    gains = before - after
    scale = before.sum() + after.sum() + 1e-300
    delta = gains.sum() / length.sum()
    residuals = gains - delta * length
    error = math.sqrt(len(triples) / (len(triples) - 1) * (residuals**2).sum()) / length.sum()
    assert found.delta == pytest.approx(delta, rel=1e-9, abs=1e-12 * scale / length.sum())
    assert found.standard_error == pytest.approx(error, rel=1e-6, abs=1e-9 * scale / length.sum())


@moderate
@given(pairs)
def test_the_paired_difference_is_antisymmetric_and_that_of_both_bpbs(
    triples: list[tuple[float, float, int]],
) -> None:
    old, new = scores([(a, size) for a, _, size in triples]), scores([(b, size) for _, b, size in triples])
    there, back = paired_difference(old, new), paired_difference(new, old)
    assert there.delta == -back.delta
    assert there.standard_error == back.standard_error >= 0
    apart = bits_per_byte(old) - bits_per_byte(new)
    assert there.delta == pytest.approx(apart, rel=1e-9, abs=1e-12 * (1 + bits_per_byte(old)))


@moderate
@given(st.lists(st.tuples(costs, sizes), min_size=1, max_size=8), st.integers(1, 5))
def test_the_mean_of_equal_runs_is_that_run(given_scores: list[tuple[float, int]], count: int) -> None:
    run = scores(given_scores)
    for found, score in zip(mean_scores([run] * count), run, strict=True):
        assert (found.id, found.bytes) == (score.id, score.bytes)
        assert found.bits == pytest.approx(score.bits, rel=1e-15)


@moderate
@given(st.integers(1, 200), st.data())
def test_the_upper_bound_grows_with_failures_and_lies_above_the_rate(cases: int, data: st.DataObject) -> None:
    failures = data.draw(st.integers(0, cases - 1))
    bound = upper_bound(failures, cases)
    assert failures / cases < bound < upper_bound(failures + 1, cases) <= 1
    assert bound > upper_bound(failures, cases + 1)
    assert bound < upper_bound(failures, cases, 0.99)


@moderate
@given(st.integers(1, 200), st.floats(0.55, 0.999))
def test_fewer_degrees_of_freedom_ask_for_more(freedom: int, confidence: float) -> None:
    assert critical_value(confidence, freedom) > critical_value(confidence, freedom + 1)
    assert critical_value(confidence, freedom) > critical_value(confidence, None) > 0


@moderate
@given(st.floats(1e-6, 0.9999))
def test_the_cases_needed_are_the_fewest_whose_bound_is_tolerated(tolerate: float) -> None:
    needed = cases_needed(tolerate)
    assert upper_bound(0, needed) <= tolerate * (1 + 1e-9)
    if needed > 1:
        assert upper_bound(0, needed - 1) > tolerate * (1 - 1e-9)


@moderate
@given(
    st.floats(0.001, 0.99),
    st.lists(st.booleans(), min_size=1, max_size=100),
    st.randoms(use_true_random=False),
)
def test_a_rate_passes_exactly_if_its_bound_is_tolerated(
    tolerate: float, failed: list[bool], random: Random
) -> None:
    mode = FailureMode("FM-01", "fails", None, (), tolerate)
    judged = rate(mode, failed)
    assert judged == rate(mode, random.sample(failed, len(failed)))
    assert (judged.failures, judged.cases) == (sum(failed), len(failed))
    assert judged.passed == (upper_bound(sum(failed), len(failed)) <= tolerate)
    assert ("at most the tolerated" in sentence(judged)) == judged.passed


@moderate
@given(st.floats(0.001, 0.99), st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_one_more_failure_never_makes_a_rate_pass(
    tolerate: float, failed: list[bool], data: st.DataObject
) -> None:
    mode = FailureMode("FM-01", "fails", None, (), tolerate)
    assume(not all(failed))
    place = data.draw(st.sampled_from([index for index, value in enumerate(failed) if not value]))
    worse = [*failed[:place], True, *failed[place + 1 :]]
    assert rate(mode, failed).passed or not rate(mode, worse).passed
