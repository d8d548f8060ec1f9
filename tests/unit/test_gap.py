"""Validation against vault: an honest gain shows on both, a stolen one on one."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from pytest_evalloop.metric.gap import compare, gap, honest_gain
from pytest_evalloop.metric.statistics import SeedNoise
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


def trained(before: list[DocumentScore], by: float, sd: float, chance: random.Random) -> list[DocumentScore]:
    """Return the scores of one more training, whose seed moves all documents, and each a bit besides."""
    luck = chance.gauss(0, sd)
    return [
        DocumentScore(score.id, score.bits - score.bytes * (by + luck + chance.gauss(0, 0.002)), score.bytes)
        for score in before
    ]


@pytest.mark.parametrize(("seeds", "freedom"), [(1, 3), (2, 3), (2, 30)])
def test_the_interval_of_an_honest_gain_covers_the_truth_as_often_as_it_says(
    seeds: int, freedom: int
) -> None:
    chance, sd, true = random.Random(0), 0.006, 0.02
    covered = 0
    for _ in range(1000):
        known = SeedNoise(statistics.stdev(chance.gauss(0, sd) for _ in range(freedom + 1)), freedom)
        old = [trained(VAULT, 0.0, sd, chance) for _ in range(seeds)]
        new = [trained(VAULT, true, sd, chance) for _ in range(seeds)]
        found = honest_gain(old, new, known)
        covered += abs(found.delta - true) <= found.reach
    assert 0.93 <= covered / 1000 <= 0.975


def test_on_shared_weights_only_documents_are_chance() -> None:
    after = better(VAULT, 0.05)
    found = honest_gain([VAULT], [after], None)
    error = compare((VAULT, VAULT), (after, after)).vault.standard_error
    assert found.delta == pytest.approx(0.05, abs=0.005)
    assert found.reach == pytest.approx(2.02 * error, rel=0.01)


def test_where_seeds_change_nothing_only_documents_are_chance() -> None:
    after = better(VAULT, 0.05)
    assert honest_gain([VAULT], [after], SeedNoise(0.0, 0)).reach == pytest.approx(
        honest_gain([VAULT], [after], None).reach, rel=0.05
    )


def test_without_known_noise_an_honest_gain_has_no_interval() -> None:
    assert math.isinf(honest_gain([VAULT], [better(VAULT, 0.05)], SeedNoise(math.inf, 1)).reach)


def test_what_seeds_do_to_documents_counts_once() -> None:
    chance = random.Random(1)
    old, new = ([trained(VAULT, by, 0.0, chance) for _ in range(4)] for by in (0.0, 0.02))
    once = honest_gain(old, new, SeedNoise(0.006, 30)).reach
    assert once == pytest.approx(2.042 * 0.006 * math.sqrt(1 / 2), rel=0.01)
