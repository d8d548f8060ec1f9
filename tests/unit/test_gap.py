"""Validation against vault: an honest gain shows on both, a stolen one on one."""

from __future__ import annotations

import random

import pytest

from pytest_evalloop.metric.gap import compare, gap
from pytest_evalloop.records import DocumentScore

CHANCE = random.Random(0)


def scores(prefix: str, bpb: float, spread: float = 0.05, count: int = 40) -> list[DocumentScore]:
    chance = random.Random(f"{prefix} {count}")
    return [
        DocumentScore(f"{prefix}-{index}", 1000 * (bpb + chance.gauss(0, spread)), 1000)
        for index in range(count)
    ]


def better(before: list[DocumentScore], by: float, seed: int = 0) -> list[DocumentScore]:
    chance = random.Random(seed)
    return [
        DocumentScore(score.id, score.bits - 1000 * (by + chance.gauss(0, 0.01)), score.bytes)
        for score in before
    ]


VALIDATION, VAULT = scores("val", 2.4), scores("vault", 2.5)


def test_a_gap_is_a_difference_with_the_error_of_both_sides() -> None:
    found = gap(VALIDATION, VAULT)
    assert found.difference == pytest.approx(-0.1, abs=0.03)
    assert found.error == pytest.approx(0.05 / 40**0.5 * 2**0.5, rel=0.25)


def test_an_honest_gain_is_not_flagged() -> None:
    found = compare((VALIDATION, VAULT), (better(VALIDATION, 0.05), better(VAULT, 0.05, 1)))
    assert found.validation.delta == pytest.approx(0.05, abs=0.005)
    assert found.vault.delta == pytest.approx(0.05, abs=0.005)
    assert not found.contaminated


def test_a_gain_that_the_vault_does_not_show_is_flagged() -> None:
    found = compare((VALIDATION, VAULT), (better(VALIDATION, 0.3), better(VAULT, 0.05, 1)))
    assert found.excess == pytest.approx(0.25, abs=0.01)
    assert found.contaminated


def test_texts_of_two_kinds_may_gain_differently() -> None:
    found = compare((VALIDATION, VAULT), (better(VALIDATION, 0.06), better(VAULT, 0.05, 1)))
    assert found.excess > 3 * found.error
    assert not found.contaminated


def test_a_vault_that_improved_more_is_no_contamination() -> None:
    assert not compare((VALIDATION, VAULT), (better(VALIDATION, 0.0), better(VAULT, 0.3, 1))).contaminated


def test_false_flags_are_rare() -> None:
    flags = [
        compare(
            (VALIDATION, VAULT), (better(VALIDATION, 0.05, seed), better(VAULT, 0.05, -seed))
        ).contaminated
        for seed in range(1, 400)
    ]
    assert sum(flags) <= 4


def test_other_documents_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="different documents"):
        compare((VALIDATION, VAULT), (VALIDATION, VALIDATION))
