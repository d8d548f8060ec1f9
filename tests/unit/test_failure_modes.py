"""Failure modes: what a marker may say, when a rate passes, and how that reads."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.metric.statistics import upper_bound
from pytest_evalloop.suite.failure_modes import (
    FailureMode,
    MarkerError,
    base,
    cases_needed,
    from_marker,
    rate,
    sentence,
)

STRICT = FailureMode("FM-01", "never ends", None, (), 0.0)
TOLERANT = dataclasses.replace(STRICT, tolerate=0.2)


def marker(*arguments: object, **options: object) -> pytest.Mark:
    return pytest.mark.failure_mode(*arguments, **options).mark


def results(failures: int, cases: int) -> list[bool]:
    return [True] * failures + [False] * (cases - failures)


def test_a_marker_needs_no_more_than_an_id_and_a_title() -> None:
    assert from_marker(marker("FM-01", "never ends")) == STRICT


def test_a_marker_says_everything_there_is_to_say() -> None:
    mark = marker("FM-01", "never ends", severity="high", traces=["t1", "t2"], tolerate=0.2, false_alarms=0.1)
    assert from_marker(mark) == FailureMode("FM-01", "never ends", "high", ("t1", "t2"), 0.2, 0.1)


def test_a_marker_may_name_its_first_two_words() -> None:
    assert from_marker(marker(id="FM-01", title="never ends")) == STRICT


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (marker(), "needs an id and a title"),
        (marker("FM-01"), "needs an id and a title"),
        (marker("", "never ends"), "needs an id and a title"),
        (marker("FM-01", ""), "needs an id and a title"),
        (marker(1, "never ends"), "needs an id and a title"),
        (marker("FM-01", None), "needs an id and a title"),
        (marker("FM-01", "never ends", "high"), "traces=, tolerate= and false_alarms= by name"),
        (marker("FM-01", "never ends", tolerance=0.1, weight=2), "it does not know tolerance, weight"),
        (marker("FM-01", "never ends", tolerate=1.0), "tolerate is 1.0; it is a rate of failures"),
        (marker("FM-01", "never ends", tolerate=-0.1), "tolerate is -0.1; it is a rate of failures"),
        (marker("FM-01", "never ends", tolerate=20), "tolerate is 20; it is a rate of failures"),
        (marker("FM-01", "never ends", tolerate=math.nan), "tolerate is nan; it is a rate of failures"),
        (marker("FM-01", "never ends", tolerate=True), "tolerate is True; it is a rate of failures"),
        (marker("FM-01", "never ends", tolerate="20%"), "tolerate is '20%'; it is a rate of failures"),
        (
            marker("FM-01", "x", false_alarms=1.0),
            "false_alarms is 1.0; it is a rate of failures on human text",
        ),
        (marker("FM-01", "x", false_alarms="5%"), "false_alarms is '5%'; it is a rate of failures on human"),
        (marker("FM-01", "never ends", traces="t1"), "traces is 't1'; it is a list of trace ids"),
        (marker("FM-01", "never ends", traces=7), "traces is 7; it is a list of trace ids"),
    ],
    ids=[
        "nothing",
        "no title",
        "empty id",
        "empty title",
        "a number for an id",
        "None for a title",
        "a third word",
        "unknown names",
        "everything may fail",
        "less than nothing",
        "percent",
        "not a number",
        "a truth",
        "words",
        "all people are blamed",
        "false alarms in words",
        "one trace as a word",
        "a number of traces",
    ],
)
def test_a_marker_that_makes_no_sense_is_refused(mark: pytest.Mark, message: str) -> None:
    with pytest.raises(MarkerError) as caught:
        from_marker(mark)
    assert message in str(caught.value)


@pytest.mark.parametrize(("failures", "passed"), [(0, True), (1, False), (40, False)])
def test_without_tolerance_every_case_has_to_pass(failures: int, passed: bool) -> None:
    judged = rate(STRICT, results(failures, 40))
    assert (judged.failures, judged.cases, judged.passed) == (failures, 40, passed)


@pytest.mark.parametrize(
    ("failures", "cases", "passed"),
    [(0, 13, False), (0, 14, True), (1, 20, False), (1, 22, True), (3, 40, True), (4, 40, False)],
)
def test_with_tolerance_the_bound_decides_and_not_the_share(failures: int, cases: int, passed: bool) -> None:
    judged = rate(TOLERANT, results(failures, cases))
    assert failures / cases < 0.2
    assert judged.passed is passed
    assert judged.upper == upper_bound(failures, cases)
    assert (judged.id, judged.title, judged.tolerate) == ("FM-01", "never ends", 0.2)


@pytest.mark.parametrize("mode", [STRICT, TOLERANT], ids=["strict", "tolerant"])
def test_no_case_at_all_is_no_pass(mode: FailureMode) -> None:
    judged = rate(mode, iter(()))
    assert (judged.cases, judged.passed, judged.upper) == (0, False, 1.0)


@pytest.mark.parametrize(("tolerate", "needed"), [(0.5, 5), (0.2, 14), (0.1, 29), (0.05, 59), (0.01, 299)])
def test_the_cases_needed_are_those_of_the_rule_of_three(tolerate: float, needed: int) -> None:
    assert cases_needed(tolerate) == needed
    mode = dataclasses.replace(STRICT, tolerate=tolerate)
    assert rate(mode, results(0, needed)).passed
    assert not rate(mode, results(0, needed - 1)).passed


@pytest.mark.parametrize("tolerate", [1e-9, 1e-17, 1e-300])
def test_a_tolerance_next_to_none_needs_very_many_cases(tolerate: float) -> None:
    assert cases_needed(tolerate) == pytest.approx(-math.log(0.05) / tolerate)
    assert "can" in sentence(rate(dataclasses.replace(STRICT, tolerate=tolerate), results(0, 10)))


@settings(max_examples=100)
@given(st.integers(1, 10_000))
def test_a_tolerance_just_at_a_bound_needs_just_those_cases(cases: int) -> None:
    tolerate = upper_bound(0, cases)
    judged = rate(dataclasses.replace(STRICT, tolerate=tolerate), results(0, cases))
    assert judged.passed
    assert "cannot" not in sentence(judged)


@pytest.mark.parametrize(
    ("mode", "failures", "cases", "expected"),
    [
        (STRICT, 0, 32, "FM-01 (never ends): 0 of 32 cases failed; none is tolerated"),
        (STRICT, 2, 32, "FM-01 (never ends): 2 of 32 cases failed; none is tolerated"),
        (
            TOLERANT,
            1,
            32,
            "FM-01 (never ends): 1 of 32 cases failed, so up to 14% fail (95 % bound), at most the tolerated 20%",
        ),
        (
            TOLERANT,
            4,
            32,
            "FM-01 (never ends): 4 of 32 cases failed, so up to 26.4% fail (95 % bound), above the tolerated 20%",
        ),
        (
            TOLERANT,
            182,
            1000,
            "FM-01 (never ends): 182 of 1,000 cases failed, so up to 20.3% fail (95 % bound), above the tolerated 20%",
        ),
        (
            TOLERANT,
            0,
            4,
            "FM-01 (never ends): 0 of 4 cases failed, so up to 52.7% fail (95 % bound), above the tolerated 20%; "
            "4 cases cannot show it, 14 can",
        ),
    ],
    ids=["strict pass", "strict fail", "pass", "fail", "just above", "too few"],
)
def test_a_rate_reads_as_a_sentence(mode: FailureMode, failures: int, cases: int, expected: str) -> None:
    assert sentence(rate(mode, results(failures, cases))) == expected


def test_a_rate_carries_what_the_control_needs_to_know() -> None:
    judged = rate(STRICT, [False], tests=["a.py::test"], generates=True)
    assert (judged.false_alarms, judged.tests, judged.generates) == (0.05, ("a.py::test",), True)
    assert rate(STRICT, [False]).generates is False


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("evals/test_a.py::test_a", "evals/test_a.py::test_a"),
        ("evals/test_a.py::test_a[0]", "evals/test_a.py::test_a"),
        ("evals/test_a.py::Test::test_a[x::y[0]]", "evals/test_a.py::Test::test_a"),
        ("ev[a]ls/test_a.py::test_a[0]", "ev[a]ls/test_a.py::test_a"),
    ],
)
def test_the_base_of_a_node_id_has_no_parameters(nodeid: str, expected: str) -> None:
    assert base(nodeid) == expected
