"""What a step costs is found under any start-up and any noise that comes now and then."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalloop.candidate.pace import (
    COUNTED,
    TOLERANCE,
    Ratio,
    Sample,
    granted,
    overdrawn,
    ratio,
    ratio_in_turns,
    step_cost,
    tryout,
)
from pytest_evalloop.records import Budget, Status, Training
from pytest_evalloop.settings import BUDGET_UNITS, parse_budget

moderate = settings(max_examples=60)
costs = st.floats(1e-4, 100)
starts = st.floats(0, 1000)
amounts = st.integers(1, 10**9).map(float)


@st.composite
def places(draw: st.DrawFn, least: int = 3) -> list[int]:
    """Return the steps that a training reports, in order."""
    return sorted(draw(st.sets(st.integers(1, 10_000), min_size=least, max_size=30)))


def straight(steps: list[int], cost: float, start: float = 0.0) -> list[Sample]:
    return [Sample(step, start + cost * step) for step in steps]


@moderate
@given(places(), costs, starts)
def test_the_cost_of_equal_steps_is_exact_whatever_the_start_took(
    steps: list[int], cost: float, start: float
) -> None:
    assert step_cost(straight(steps, cost, start)) == pytest.approx(cost, rel=1e-6)


@moderate
@given(places(least=8), costs, st.floats(0, 1e6), st.data())
def test_a_single_hiccup_stays_within_what_the_steps_around_it_cost(
    steps: list[int], cost: float, hiccup: float, data: st.DataObject
) -> None:
    when = data.draw(st.sampled_from([steps[0], steps[1], steps[-1]]))
    samples = [Sample(step, cost * step + (hiccup if step >= when else 0.0)) for step in steps]
    assert step_cost(samples) == pytest.approx(cost, rel=1e-6)


@moderate
@given(places(), places(), costs, st.floats(0.1, 10), starts, starts)
def test_a_ratio_has_no_unit_and_no_error_where_nothing_is_uneven(
    one: list[int], other: list[int], cost: float, times: float, start: float, later: float
) -> None:
    found = ratio(straight(one, cost * times, start), straight(other, cost, later))
    assert found is not None
    assert found.value == pytest.approx(times, rel=1e-5)
    assert found.error == pytest.approx(0, abs=1e-5 * times)


def turns(speeds: list[float], cost: float, start: int, until: int) -> list[Sample]:
    """Return what a training says that has a processor for a second a turn, at the speed it has just then."""
    done, found = 0.0, []
    for turn, speed in enumerate(speeds[:until]):
        done += speed / cost if turn >= start else 0.0
        if turn >= start:
            found.append(Sample(done, turn + 1.0))
    return found


@moderate
@given(
    st.lists(st.floats(0.2, 5), min_size=12, max_size=30),
    st.floats(0.1, 10),
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(9, 30),
    st.integers(9, 30),
)
def test_what_slows_both_that_take_turns_counts_for_nothing(
    speeds: list[float], times: float, start: int, later: int, end: int, sooner: int
) -> None:
    candidate, incumbent = turns(speeds, times, start, end), turns(speeds, 1.0, later, sooner)
    found = ratio_in_turns(candidate, incumbent)
    assert found is not None
    assert found.value == pytest.approx(times, rel=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6 * times)
    back = ratio_in_turns(incumbent, candidate)
    assert back is not None
    assert back.value == pytest.approx(1 / times, rel=1e-6)


@moderate
@given(places(), places(), costs, st.floats(0.1, 10))
def test_in_turns_equal_steps_cost_what_they_cost_alone(
    one: list[int], other: list[int], cost: float, times: float
) -> None:
    candidate, incumbent = straight(one, cost * times), straight(other, cost)
    alone, found = ratio(candidate, incumbent), ratio_in_turns(candidate, incumbent)
    assert alone is not None
    assert found is None or found.value == pytest.approx(alone.value, rel=1e-5)


def test_trainings_that_shared_no_part_have_no_ratio_in_turns() -> None:
    first, then = straight([1, 2, 3, 4], 1.0), straight([1, 2, 3, 4], 1.0, start=100.0)
    assert ratio_in_turns(first, then) is ratio_in_turns([], first) is ratio_in_turns(first, []) is None


@moderate
@given(places(), places(), costs, costs, st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_units_of_progress_and_of_compute_cancel_out(
    one: list[int], other: list[int], above: float, below: float, stretch: float, slower: float
) -> None:
    def scaled(samples: list[Sample]) -> list[Sample]:
        return [Sample(sample.done * stretch, sample.compute_seconds * slower) for sample in samples]

    candidate, incumbent = straight(one, above, 1.0), straight(other, below, 2.0)
    plain, other_units = ratio(candidate, incumbent), ratio(scaled(candidate), scaled(incumbent))
    assert plain is not None
    assert other_units is not None
    assert other_units.value == pytest.approx(plain.value, rel=1e-5)


@moderate
@given(amounts, st.sampled_from(COUNTED), st.floats(0.01, 100))
def test_what_is_granted_costs_what_the_budget_costs(amount: float, unit: str, value: float) -> None:
    budget = granted(Budget(amount, unit), Ratio(value, 0.0))
    assert budget.unit == unit
    assert budget.amount >= 1
    assert budget.amount == int(budget.amount)
    if abs(value - 1) <= TOLERANCE:
        assert budget.amount == amount
    else:
        assert abs(budget.amount * value - amount) <= max(0.5 * value, value - amount) + 1e-9 * amount


@moderate
@given(amounts, st.sampled_from(COUNTED), st.floats(0.01, 100), st.floats(0, 10))
def test_an_unsure_ratio_grants_no_more_than_a_sure_one(
    amount: float, unit: str, value: float, error: float
) -> None:
    budget = Budget(amount, unit)
    unsure, sure = granted(budget, Ratio(value, error)), granted(budget, Ratio(value, 0.0))
    assert unsure.amount == sure.amount or unsure.amount == amount < sure.amount


@moderate
@given(amounts, st.sampled_from(BUDGET_UNITS), st.floats(0.01, 100), st.floats(0, 10))
def test_seconds_are_never_scaled(amount: float, unit: str, value: float, error: float) -> None:
    budget = Budget(amount, unit)
    assert granted(budget, None) == budget
    assert granted(budget, Ratio(value, error)) == budget or unit in COUNTED


@moderate
@given(amounts, st.floats(0, 1e6), st.floats(0.1, 100))
def test_a_tryout_is_a_part_of_the_budget(amount: float, used: float, seconds: float) -> None:
    training = Training("k", 0, Status.COMPLETED, "", used, used, 1)
    found = tryout(Budget(amount, "steps"), training, seconds)
    assert 1 <= found.amount <= amount
    assert found.amount == int(found.amount)
    assert (found.amount - 1) * used <= amount * seconds * (1 + 1e-9)
    assert found.amount == amount or found.amount * used >= amount * seconds * (1 - 1e-9)
    assert parse_budget(str(found)) == found


@moderate
@given(places(least=5), starts, st.floats(0.1, 1000), st.floats(0.01, 1), st.floats(0.01, 5))
def test_a_training_that_keeps_to_its_budget_is_never_stopped_and_who_exceeds_it_is(
    steps: list[int], start: float, allowed: float, tolerance: float, beyond: float
) -> None:
    def course(cost: float) -> list[Sample]:
        return [Sample(step / steps[-1], start + cost * step / steps[-1]) for step in steps]

    assume(steps[-1] - steps[0] > 0.2 * steps[-1])
    honest = course(allowed * (1 + 0.99 * tolerance))
    assert [overdrawn(honest[:end], allowed, tolerance) for end in range(len(honest) + 1)] == [""] * (
        len(honest) + 1
    )
    most = allowed * (1 + tolerance / (1 - steps[0] / steps[-1]))
    assert overdrawn(course(most * (1 + beyond)), allowed, tolerance)
