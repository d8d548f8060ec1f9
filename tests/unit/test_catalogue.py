"""Checks on labelled traces: found by their decorator, tried one trace at a time, and never passed by accident."""

from __future__ import annotations

import functools

import pytest

import pytest_evalloop
from pytest_evalloop.protocols import CHECKS
from pytest_evalloop.records import Trace
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.suite.catalogue import Catalogue, Test, Verdicts, try_out
from pytest_evalloop.suite.failure_modes import FailureMode

TRACES = [StoredTrace(f"t-{text}", "x", 1.0, Trace("", text)) for text in ("good", "bad", "odd")]


def verdicts(function: object) -> Verdicts:
    (found,) = try_out({("FM-01", "a::b"): function}, lambda mode: TRACES)  # type: ignore[dict-item]
    return found


def test_a_check_stays_the_function_that_it_was() -> None:
    def wrong(text: str) -> list[str]:
        return [text] if text == "bad" else []

    assert pytest_evalloop.check("FM-01")(wrong) is wrong
    assert pytest_evalloop.check("FM-02")(wrong) is wrong
    assert getattr(wrong, CHECKS) == ("FM-01", "FM-02")
    assert getattr(functools.cache(wrong), CHECKS) == ("FM-01", "FM-02")


@pytest.mark.parametrize("mode", ["", None, 7, print])
def test_a_check_needs_a_failure_mode(mode: object) -> None:
    with pytest.raises(TypeError, match=r'check takes the id of a failure mode, such as @check\("FM-01"\)'):
        pytest_evalloop.check(mode)  # type: ignore[arg-type]


def test_an_empty_list_is_a_pass() -> None:
    assert verdicts(lambda text: ["x"] if text == "bad" else ()) == Verdicts(
        "a::b", "FM-01", {"t-good": True, "t-bad": False, "t-odd": True}
    )


def test_a_check_that_fails_on_a_trace_gives_no_verdict_on_it() -> None:
    found = verdicts(lambda text: [1 / (text != "odd")])
    assert found.said == {"t-good": False, "t-bad": False}
    assert found.problem == (
        "gave no verdict on 1 of 3 labelled traces, t-odd among them (ZeroDivisionError: division by zero)."
    )


@pytest.mark.parametrize("answer", [None, True, 0, "text", {}])
def test_a_check_that_returns_no_list_passes_nothing(answer: object) -> None:
    found = verdicts(lambda text: answer)
    assert found.said == {}
    assert f"it returned {answer!r}, and a check returns a list of what is wrong" in found.problem


@pytest.mark.parametrize("leave", [pytest.skip, pytest.fail])
def test_a_check_that_skips_passes_nothing(leave: object) -> None:
    assert verdicts(lambda text: leave("no corpus")).said == {}  # type: ignore[operator]


def test_a_worker_hands_over_all_of_it() -> None:
    mode = FailureMode("FM-01", "x", None, ("t-1",), 0.1)
    test = Test("a::b", "Says so.", mode, objective=False, cases=("a::b[0]", "a::b[1]"))
    whole = Catalogue((test,), ("c.py",), (Verdicts("a::f", "FM-01", {"t-1": True}, "?"),))
    assert Catalogue.from_plain(whole.to_plain()) == whole
    assert whole.of("FM-01") == (test,)
    assert whole.of("FM-02") == ()
