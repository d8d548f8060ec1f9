"""Whatever is typed: it is read as something usable, or refused by option and value."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Budget
from pytest_evalloop.settings import (
    BUDGET_UNITS,
    SettingsError,
    parse_budget,
    parse_bytes,
    parse_command,
    parse_seconds,
    relative,
)

moderate = settings(max_examples=60)
units = st.sampled_from(BUDGET_UNITS)
amounts = st.floats(1e-300, 1e300)
typed = st.text(max_size=20) | st.text("0123456789.eE+-hms kKmMgGiIbB", max_size=12)


@moderate
@given(st.integers(1, 10**12 - 1) | st.floats(1e-6, 1e6).map(lambda value: float(f"{value:.12g}")), units)
def test_a_budget_is_read_back_exactly_up_to_twelve_digits(amount: float, unit: str) -> None:
    budget = Budget(amount, unit)
    assert parse_budget(str(budget)) == budget


@moderate
@given(amounts, units)
def test_any_budget_is_read_back_nearly_and_then_stays(amount: float, unit: str) -> None:
    once = parse_budget(str(Budget(amount, unit)))
    assert once.unit == unit
    assert once.amount == pytest.approx(amount, rel=1e-11)
    assert parse_budget(str(once)) == once


@moderate
@given(typed | st.tuples(typed, units).map("".join))
def test_a_budget_is_positive_and_finite_or_refused(text: str) -> None:
    try:
        budget = parse_budget(text)
    except SettingsError as error:
        assert str(error).startswith(f"evalloop_budget is {text!r}")
    else:
        assert 0 < budget.amount < math.inf
        assert budget.unit in BUDGET_UNITS
        assert text.strip().endswith(budget.unit)


@moderate
@given(typed, st.sampled_from([parse_seconds, parse_bytes]))
def test_times_and_sizes_are_positive_and_finite_or_refused(
    text: str, parse: Callable[[str, str], float]
) -> None:
    try:
        value = parse(text, "evalloop_this")
    except SettingsError as error:
        assert str(error).startswith(f"evalloop_this is {text!r}, which is no ")
        assert "Write for example" in str(error)
    else:
        assert 0 < value < math.inf


@moderate
@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_hours_minutes_and_seconds_add_up(hours: int, minutes: int, seconds: int) -> None:
    total = 3600 * hours + 60 * minutes + seconds
    if total:
        assert parse_seconds(f"{hours}h{minutes}m{seconds}s", "--evalloop-time") == total


@moderate
@given(st.lists(st.text(max_size=10), max_size=5))
def test_a_quoted_command_is_split_into_its_words(words: list[str]) -> None:
    assert parse_command(shlex.join(words), "evalloop_train") == tuple(words)


@moderate
@given(st.text(max_size=20) | st.lists(st.sampled_from(["a", "..", ".", "", "/"]), max_size=5).map("/".join))
def test_a_path_stays_inside_of_the_root_or_is_refused(value: str) -> None:
    root = Path("/home/me/project")
    try:
        path = relative(root, value, "evalloop_data")
    except SettingsError as error:
        assert f"evalloop_data names {value!r}" in str(error)
        assert ".." in value or value.startswith("/")
    else:
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert relative(root, path, "evalloop_data") == path
