"""The results that the requirements document quotes: outcomes change them, dates and other tests do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.records import Rate
from pytest_evalloop.review.journal import ReviewError
from pytest_evalloop.suite.results import (
    FILE,
    ModeResult,
    Results,
    TestResult,
    encode,
    from_rate,
    merge,
    read,
)

PASS = from_rate(Rate("FM-01", "x", 1, 40, 0.1134567, 0.4, passed=True), passed=True)
FAIL = replace(PASS, failures=30, upper=0.85, passed=False)
ALL = {"FM-01", "FM-02", "a::b"}


def after(*sessions: tuple[str, ModeResult]) -> ModeResult:
    known = Results()
    for day, result in sessions:
        known = merge(known, {"FM-01": result}, {}, day, ALL)
    return known.modes["FM-01"]


def test_it_passes_since_the_first_pass_after_the_last_fail() -> None:
    assert after(("2026-01-01", PASS)).since == "2026-01-01"
    better = replace(PASS, failures=0)
    assert after(("2026-01-01", PASS), ("2026-01-02", better)).since == "2026-01-01"
    assert after(("2026-01-01", PASS), ("2026-01-02", FAIL)).since == ""
    again = after(("2026-01-01", PASS), ("2026-01-02", FAIL), ("2026-01-03", PASS))
    assert (again.since, again.date) == ("2026-01-03", "2026-01-03")


def test_the_same_outcome_changes_nothing_on_any_day() -> None:
    known = merge(Results(), {"FM-01": PASS}, {"a::b": True}, "2026-01-01", ALL)
    assert merge(known, {"FM-01": PASS}, {"a::b": True}, "2026-02-01", ALL) == known
    assert known.latest == "2026-01-01"


def test_what_did_not_run_keeps_its_result_and_what_is_gone_does_not() -> None:
    known = merge(Results(), {"FM-01": PASS}, {"a::b": False}, "2026-01-01", ALL)
    later = merge(known, {"FM-02": FAIL}, {}, "2026-02-01", ALL)
    assert later.modes["FM-01"] == known.modes["FM-01"]
    assert later.tests == {"a::b": TestResult(passed=False, since="", date="2026-01-01")}
    assert later.latest == "2026-02-01"
    assert merge(later, {}, {}, "2026-03-01", {"FM-02"}) == Results({"FM-02": later.modes["FM-02"]})


mode_results = st.builds(
    ModeResult,
    st.integers(0, 9),
    st.integers(0, 99),
    st.floats(0, 1).map(lambda value: round(value, 6)),
    st.sampled_from([0.0, 0.25]),
    st.booleans(),
    st.sampled_from(["", "2026-01-01"]),
    st.dates().map(str),
)


@given(st.dictionaries(st.text(max_size=5), mode_results, max_size=3), st.booleans())
def test_they_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, modes: dict[str, ModeResult], passed: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    results = Results(modes, {"evals/test_a.py::test_ü": TestResult(passed, "", "2026-01-01")})
    (folder / FILE).write_text(encode(results))
    assert read(folder) == results
    turned = replace(results, modes=dict(reversed(modes.items())))
    assert encode(turned) == encode(results)


def test_no_file_holds_no_results(tmp_path: Path) -> None:
    assert read(tmp_path) == Results()
    assert Results().latest == ""


@pytest.mark.parametrize(
    "text",
    [
        "<<<<<<< HEAD\n",
        "[]",
        '{"modes": []}',
        '{"modes": {"FM-01": {"failures": 1}}}',
        '{"tests": {"a": {"passed": 1, "since": "", "date": ""}}}',
        '{"tests": {"a": {"passed": true, "since": null, "date": ""}}}',
        "\udcff",
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, errors="surrogateescape")
    with pytest.raises(ReviewError, match=r"results\.json holds no results .* Take it back from version"):
        read(tmp_path)
