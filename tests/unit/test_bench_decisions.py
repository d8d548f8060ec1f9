"""Loops that `bench/decisions.py` simulates: the rule keeps its level and finds what it is to find."""

from __future__ import annotations

import math
import statistics

import pytest

from bench.decisions import KNOWN, RULE, SEEDS, Loop, World, nulls, power
from bench.table import load

NORMAL = tuple(0.01 * statistics.NormalDist().inv_cdf((place + 0.5) / 400) for place in range(400))
WORLD = World(NORMAL, document_error=0.001, seeded=0.004, blur=(0.7, 1.0, 1.3))


def test_the_recorded_world_has_errors_over_documents_that_seeds_explain_but_for_a_little() -> None:
    world = World.recorded(load())
    assert math.isclose(statistics.fmean(world.blur), 1.0)
    assert 0 < world.document_error < world.seeded < world.sd


def test_the_rule_sees_of_documents_what_is_beyond_the_seeds() -> None:
    assert WORLD.error(1.0, 8, 2) == pytest.approx(0.001)
    assert WORLD.error(0.7, 8, 2) == 0.0
    assert WORLD.error(1.3, 8, 2) > 0.001
    assert WORLD.error(1.0, 1, 1) == pytest.approx(math.hypot(0.001, 0.004 * math.sqrt(2)))


def test_of_candidates_that_change_nothing_fewer_are_accepted_than_the_level_allows() -> None:
    found = nulls(WORLD, SEEDS, 60, 100)
    assert found.accepted <= 100 * RULE.level
    assert found.standing <= found.accepted
    assert found.accepted < found.naive / 3
    assert 1 < found.cost < 1.6


def test_a_gain_of_two_noises_is_found_four_times_of_five() -> None:
    small, large = (power(WORLD, effect, SEEDS, KNOWN, 1500) for effect in (2, 3))
    assert small.accepted >= 0.8
    assert small.candidate <= 3.5
    assert large.accepted >= 0.97
    assert large.candidate <= 2.5
    assert power(WORLD, 2, SEEDS, 0, 1500).accepted < small.accepted


def test_an_incumbent_is_measured_before_anything_is_compared_with_it() -> None:
    import random

    loop = Loop(WORLD, random.Random(0), SEEDS)
    outcome = loop.judge(30.0)
    assert outcome.accepted
    assert (
        outcome.incumbent == 1
    )  # whose noise has to be known, and no more for one that is so clearly better
