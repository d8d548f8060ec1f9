"""Searches over a recorded table: what holds for every one of them, whatever it sees."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.peers import decode, encode
from bench.replay import Handover, Meter, Replay, reached, true_quality
from bench.search_compute import median_interval
from bench.table import Choice
from tests.unit.test_bench_replay import EXACT, HEADER, NOISY, SECONDS

choices = st.sampled_from(list(HEADER.choices()))


@given(st.integers(0, 10_000))
def test_a_repeat_meets_every_shared_seed_once_in_an_order_of_its_own(repeat: int) -> None:
    replay = Replay.shuffled(NOISY, repeat)
    assert sorted(replay.seeds) == [0, 1, 2]
    assert replay == Replay.shuffled(NOISY, repeat)
    assert [replay.find({}, place).seed for place in range(3)] == list(replay.seeds)


@given(st.lists(st.tuples(choices, st.floats(0.01, 1), st.integers(0, 2))))
def test_nothing_is_paid_twice(looks: list[tuple[Choice, float, int]]) -> None:
    meter, furthest = Meter(Replay(NOISY, (2, 0, 1))), dict[tuple[object, int], float]()
    for choice, fraction, place in looks:
        assert meter.look(choice, fraction, place) == meter.replay.find(choice, place).train_bpb(fraction)
        run = HEADER.key(choice), place
        furthest[run] = max(fraction, furthest.get(run, 0.0))
    assert meter.spent == pytest.approx(SECONDS * sum(furthest.values()))


@given(st.lists(st.tuples(st.floats(0.1, 50), choices)), st.floats(2.63, 3.0), st.floats(1, 500))
def test_a_target_is_reached_where_it_is_kept(
    steps: list[tuple[float, Choice]], goal: float, limit: float
) -> None:
    at, handovers = 0.0, []
    for seconds, choice in steps:
        at += seconds
        handovers.append(Handover(at, choice))
    known = true_quality(EXACT)
    good = [(step.spent, known[HEADER.key(step.choice)] <= goal) for step in handovers if step.spent <= limit]
    kept = [spent for index, (spent, _) in enumerate(good) if all(each for _, each in good[index:])]
    assert reached(handovers, known, EXACT, goal, limit) == (kept[0] if kept else math.inf)


@given(choices)
def test_configurations_are_read_back_from_optunas_parameters(choice: dict[str, str | int | float]) -> None:
    assert decode(HEADER, encode(HEADER, choice)) == choice


@given(st.lists(st.floats(0, 100) | st.just(math.inf), min_size=1, max_size=40))
def test_the_interval_holds_the_median(values: list[float]) -> None:
    low, high = median_interval(values)
    assert low <= statistics.median(values) <= high
    assert {low, high} <= set(values)
