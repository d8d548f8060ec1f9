"""Error bars against what scipy, a bootstrap and plain arithmetic say."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from pytest_evalloop.metric.statistics import (
    SeedNoise,
    beyond_seeds,
    critical_value,
    independent,
    mean_scores,
    paired_difference,
    seed_noise,
    seeds_over_documents,
    student,
    upper_bound,
)
from pytest_evalloop.records import DocumentScore


def documents(bits: list[float], sizes: list[int]) -> list[DocumentScore]:
    """Make one scored document a number."""
    pairs = zip(bits, sizes, strict=True)
    return [DocumentScore(str(number), cost, size) for number, (cost, size) in enumerate(pairs)]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(
    ("failures", "cases"), [(0, 1), (0, 32), (1, 32), (5, 12), (16, 32), (31, 32), (32, 32), (3, 1000)]
)
def test_the_upper_bound_is_that_of_clopper_and_pearson(failures: int, cases: int, confidence: float) -> None:
    exact = stats.binomtest(failures, cases, alternative="less").proportion_ci(confidence, method="exact")
    assert upper_bound(failures, cases, confidence) == pytest.approx(exact.high, rel=1e-9)


def test_the_upper_bound_is_at_95_percent_unless_told() -> None:
    assert upper_bound(2, 20) == upper_bound(2, 20, 0.95) != upper_bound(2, 20, 0.9)


@pytest.mark.parametrize(("failures", "cases"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_bound_nothing(failures: int, cases: int) -> None:
    with pytest.raises(ValueError, match=f"{failures} failures of {cases} cases is no rate"):
        upper_bound(failures, cases)


@pytest.mark.parametrize("freedom", [1, 2, 4, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_the_critical_value_is_that_of_students_t(confidence: float, freedom: int) -> None:
    assert critical_value(confidence, freedom) == pytest.approx(stats.t.ppf(confidence, freedom), rel=1e-9)


def test_the_critical_value_without_degrees_of_freedom_is_normal() -> None:
    assert critical_value(0.95, None) == pytest.approx(stats.norm.ppf(0.95), rel=1e-9)


def test_seed_noise_of_one_tree_is_the_sample_deviation() -> None:
    noise = seed_noise([[2.31, 2.33, 2.32]])
    assert noise is not None
    assert noise.sd == pytest.approx(0.01)
    assert noise.freedom == 2


def test_seed_noise_is_pooled_over_trees_whatever_their_level() -> None:
    noise = seed_noise([[2.31, 2.33, 2.32], [9.0], [], [1.0, 1.04]])
    assert noise is not None
    assert noise.freedom == 3
    assert noise.sd == pytest.approx(math.sqrt((2 * 0.01**2 + 0.02**2 * 2) / 3))


@pytest.mark.parametrize("groups", [[], [[]], [[2.3], [2.4]]], ids=["none", "empty", "one each"])
def test_seed_noise_without_a_second_seed_is_unknown(groups: list[list[float]]) -> None:
    assert seed_noise(groups) is None


def test_identical_results_are_one_sample() -> None:
    assert seed_noise([[2.3, 2.3, 2.3]]) == SeedNoise(0.0, 0)
    assert seed_noise([[2.3, 2.3], [1.0, 1.04]]) == seed_noise([[1.0, 1.04]])
    noise = SeedNoise(0.01, 10)
    assert independent([2.3, 2.3, 2.3], noise) == 1
    assert independent([2.3, 2.3 + 1e-6, 2.3 - 1e-6], noise) == 1
    assert independent([2.3, 2.31, 2.29], noise) == 3
    assert independent([2.3], noise) == 1
    assert independent([], noise) == 0
    assert independent([2.3, 2.3], SeedNoise(0.0, 0)) == 2


def test_a_tree_that_scatters_wildly_does_not_count() -> None:
    calm = [[2.31, 2.33, 2.32, 2.30, 2.325], [1.1, 1.12]]
    noise = seed_noise(calm)
    assert noise is not None
    assert noise.freedom == 5
    assert seed_noise([*calm, [1.0, 3.0]]) == noise
    assert seed_noise([*calm, [1.0, 1.03]]) != noise  # wider than the others, as some are


def test_students_value_is_exceeded_as_rarely_as_the_normal_one() -> None:
    assert student(2.4, None) == 2.4
    assert student(math.inf, 3) == math.inf
    for bound in (1.5, 2.4, 4.0):
        assert stats.t.sf(student(bound, 5), 5) == pytest.approx(stats.norm.sf(bound), rel=1e-9)


def test_mean_scores_average_every_document_on_its_own() -> None:
    runs = [documents([10.0, 4.0], [5, 7]), documents([20.0, 8.0], [5, 7]), documents([30.0, 0.0], [5, 7])]
    assert mean_scores(runs) == tuple(documents([20.0, 4.0], [5, 7]))


@pytest.mark.parametrize(
    "other",
    [
        [DocumentScore("1", 1.0, 5), DocumentScore("0", 1.0, 5)],
        [DocumentScore("0", 1.0, 5)],
        [DocumentScore("0", 1.0, 5), DocumentScore("1", 1.0, 6)],
    ],
    ids=["order", "count", "length"],
)
def test_different_documents_are_never_compared(other: list[DocumentScore]) -> None:
    first = documents([1.0, 1.0], [5, 5])
    with pytest.raises(ValueError, match="different documents"):
        paired_difference(first, other)
    with pytest.raises(ValueError, match="different documents"):
        mean_scores([first, other])


def test_no_documents_have_no_difference() -> None:
    with pytest.raises(ValueError, match="no bytes"):
        paired_difference([], [])


def test_one_document_says_nothing_about_others() -> None:
    difference = paired_difference(documents([3.0], [1]), documents([1.0], [1]))
    assert difference.delta == 2.0
    assert difference.standard_error == math.inf


def test_the_same_gain_a_byte_everywhere_has_no_error() -> None:
    sizes = [10, 200, 3]
    old = documents([3.0 * size for size in sizes], sizes)
    new = documents([2.5 * size for size in sizes], sizes)
    difference = paired_difference(old, new)
    assert difference.delta == pytest.approx(0.5)
    assert difference.standard_error == pytest.approx(0.0, abs=1e-12)


def test_the_paired_error_is_that_of_a_bootstrap_over_documents() -> None:
    random = np.random.default_rng(7)
    sizes = random.integers(2_000, 9_000, 80)
    old_bits = sizes * random.normal(2.4, 0.3, 80)  # documents differ a lot
    new_bits = old_bits - sizes * random.normal(0.01, 0.02, 80)  # but what they gain differs little
    old, new = documents(old_bits.tolist(), sizes.tolist()), documents(new_bits.tolist(), sizes.tolist())

    draws = random.integers(0, 80, (8_000, 80))
    resampled = (old_bits - new_bits)[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    difference = paired_difference(old, new)
    assert difference.delta == pytest.approx((old_bits - new_bits).sum() / sizes.sum(), rel=1e-9)
    assert difference.standard_error == pytest.approx(resampled.std(), rel=0.05)

    unpaired = math.hypot(*(statistics.stdev(bits / sizes) for bits in (old_bits, new_bits))) / math.sqrt(80)
    assert difference.standard_error < unpaired / 10


def test_of_two_seeds_each_has_half_the_variance_of_their_difference() -> None:
    sizes = [100, 250, 80]
    one, other = documents([240.0, 600.0, 200.0], sizes), documents([250.0, 590.0, 190.0], sizes)
    apart = paired_difference(one, other).standard_error
    assert seeds_over_documents([one, other]) == pytest.approx(apart / math.sqrt(2))
    assert seeds_over_documents([one, other, one]) == pytest.approx(apart / math.sqrt(3))
    assert seeds_over_documents([one]) is None
    assert seeds_over_documents([]) is None


def test_what_seeds_leave_is_zero_where_they_move_all_documents_alike_and_unknown_for_one_document() -> None:
    sizes = [100, 250, 80]
    runs = [documents([bpb * size for size in sizes], sizes) for bpb in (2.4, 2.5, 2.3)]
    assert seeds_over_documents(runs) == pytest.approx(0.0, abs=1e-12)
    assert seeds_over_documents([documents([3.0], [1]), documents([1.0], [1])]) == math.inf


def test_what_seeds_do_to_documents_is_told_from_what_trees_do() -> None:
    random = np.random.default_rng(3)
    count, size, seeded, trees = 4000, 1000, 0.3, 0.2
    old = 2.4 + random.normal(0, 0.3, count)
    new = old + random.normal(0, trees, count)

    def runs(tree: np.ndarray[tuple[int], np.dtype[np.float64]], number: int) -> list[list[DocumentScore]]:
        drawn = tree + random.normal(0, 0.5, (number, 1)) + random.normal(0, seeded, (number, count))
        return [documents((row * size).tolist(), [size] * count) for row in drawn]

    known, found = runs(old, 5), runs(new, 2)
    alone = seeds_over_documents(known)
    assert alone is not None
    assert alone == pytest.approx(seeded / math.sqrt(count), rel=0.05)
    error = paired_difference(mean_scores(known), mean_scores(found)).standard_error
    assert error == pytest.approx(
        math.hypot(trees, seeded * math.sqrt(1 / 5 + 1 / 2)) / math.sqrt(count), rel=0.1
    )
    assert beyond_seeds(error, alone, 1 / 5 + 1 / 2) == pytest.approx(trees / math.sqrt(count), rel=0.1)


@pytest.mark.parametrize(
    ("error", "seeded", "share", "left"),
    [
        (5.0, 4.0, 1.0, 3.0),
        (5.0, 2.0, 4.0, 3.0),
        (5.0, 0.0, 2.0, 5.0),
        (5.0, 5.0, 1.0, 0.0),
        (4.0, 5.0, 1.0, 0.0),
        (5e300, 4e300, 1.0, 3e300),
        (math.inf, 1.0, 1.0, math.inf),
        (math.inf, math.inf, 1.0, math.inf),
        (1.0, math.inf, 1.0, 1.0),
    ],
)
def test_the_part_of_the_seeds_is_taken_off_in_squares(
    error: float, seeded: float, share: float, left: float
) -> None:
    assert beyond_seeds(error, seeded, share) == pytest.approx(left)
