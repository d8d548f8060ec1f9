"""Bits per byte of costs and of documents, and what is refused before it could become a score."""

from __future__ import annotations

import math

import pytest

from pytest_evalloop.metric.bpb import BitsPerByte, bits, bits_per_byte
from pytest_evalloop.records import DocumentScore

SCORES = (DocumentScore("a", 30.0, 10), DocumentScore("b", 10.0, 90), DocumentScore("empty", 0.0, 0))


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert bits([math.log(2)] * 5) == 5.0
    assert bits([]) == 0.0


def test_bits_are_rounded_once_and_not_at_every_addition() -> None:
    costs = [0.1] * 10
    assert sum(costs) != 1.0
    assert bits(costs) == 1.0 / math.log(2)


@pytest.mark.parametrize("cost", [-1e-300, -1.0, math.nan, math.inf, -math.inf])
def test_a_cost_that_no_probability_has_is_refused_with_its_position(cost: float) -> None:
    with pytest.raises(ValueError, match=r"token 2 costs .* nats; a cost is finite and never negative"):
        bits([0.0, 1.0, cost, -5.0])


def test_costs_too_large_to_be_added_are_refused() -> None:
    with pytest.raises(ValueError, match="never negative"):
        bits([1e308] * 10)


def test_bits_per_byte_divides_sums_and_is_no_mean_of_ratios() -> None:
    assert bits_per_byte(SCORES) == 40.0 / 100


def test_nothing_to_score_is_an_error_and_no_score() -> None:
    with pytest.raises(ValueError, match="no bytes"):
        bits_per_byte([])
    with pytest.raises(ValueError, match="no bytes"):
        bits_per_byte([DocumentScore("empty", 0.0, 0), DocumentScore("paid", 3.0, 0)])


def test_a_document_counted_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        bits_per_byte([*SCORES, DocumentScore("a", 1.0, 1)])


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf, -math.inf])
def test_one_impossible_document_among_good_ones_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="never negative"):
        bits_per_byte([*SCORES, DocumentScore("c", cost, 10)])


def test_documents_too_costly_to_be_added_are_refused() -> None:
    with pytest.raises(ValueError, match="never negative"):
        bits_per_byte([DocumentScore(str(number), 1e308, 1) for number in range(10)])


def test_a_negative_length_does_not_shrink_the_denominator() -> None:
    with pytest.raises(ValueError, match="bytes"):
        bits_per_byte([*SCORES, DocumentScore("c", 1.0, -50)])


def test_bits_per_byte_is_a_float_that_carries_its_documents() -> None:
    value = BitsPerByte(SCORES)
    assert isinstance(value, float)
    assert value == 0.4
    assert value <= 2.4 < value + 3
    assert f"{value:.4f}" == "0.4000"
    assert value.per_document == SCORES


def test_the_documents_cannot_be_changed_from_outside() -> None:
    given = list(SCORES)
    value = BitsPerByte(given)
    given.clear()
    assert value.per_document == SCORES


def test_bits_per_byte_of_impossible_documents_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no bytes"):
        BitsPerByte([])
