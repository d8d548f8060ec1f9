"""Rates of labels: what holds whatever the counts."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalloop.review.events import Label
from pytest_evalloop.review.rates import Agreement, Corrected, corrected, saturation, wilson

SLACK = 0.02  # what rounding to few counts may move an end by


@st.composite
def shares(draw: st.DrawFn, most: int = 60) -> tuple[int, int]:
    n = draw(st.integers(1, most))
    return draw(st.integers(0, n)), n


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    true_passes, passes = draw(shares())
    true_fails, fails = draw(shares())
    return Agreement(passes, true_passes, fails, true_fails)


def found(verdicts: tuple[int, int], measured: Agreement) -> Corrected:
    result = corrected(*verdicts, measured)
    assume(result is not None)
    assert result is not None
    return result


def times(measured: Agreement, factor: int) -> Agreement:
    return Agreement(
        factor * measured.passes,
        factor * measured.true_passes,
        factor * measured.fails,
        factor * measured.true_fails,
    )


def able(measured: Agreement) -> bool:
    return (measured.tpr or 0) + (measured.tnr or 0) > 1.2


@given(shares(10_000), st.floats(0.5, 0.999))
def test_wilson_lies_within_bounds_and_around_the_share(share: tuple[int, int], confidence: float) -> None:
    interval = wilson(*share, confidence)
    assert 0 <= interval.low <= share[0] / share[1] + 1e-12
    assert share[0] / share[1] - 1e-12 <= interval.high <= 1
    assert interval.low < interval.high


@given(shares(1000), st.integers(2, 9))
def test_wilson_is_narrower_with_more(share: tuple[int, int], factor: int) -> None:
    few, many = wilson(*share), wilson(share[0] * factor, share[1] * factor)
    assert many.high - many.low < few.high - few.low


@given(shares(1000))
def test_wilson_does_not_care_what_is_called_success(share: tuple[int, int]) -> None:
    successes, n = share
    one, other = wilson(successes, n), wilson(n - successes, n)
    assert abs(one.low - (1 - other.high)) < 1e-12
    assert abs(one.high - (1 - other.low)) < 1e-12


@settings(max_examples=100)
@given(shares(2000), agreements())
def test_a_corrected_rate_lies_in_its_interval_and_that_in_bounds(
    verdicts: tuple[int, int], measured: Agreement
) -> None:
    result = found(verdicts, measured)
    assert 0 <= result.interval.low <= result.rate <= result.interval.high <= 1
    assert result.interval.low < result.interval.high
    assert corrected(*verdicts, measured) == result


@settings(max_examples=100)
@given(shares(2000), agreements())
def test_it_does_not_matter_whether_passes_or_fails_are_counted(
    verdicts: tuple[int, int], measured: Agreement
) -> None:
    result = found(verdicts, measured)
    mirrored = Agreement(measured.fails, measured.true_fails, measured.passes, measured.true_passes)
    other = found((verdicts[1] - verdicts[0], verdicts[1]), mirrored)
    assert abs(other.rate - (1 - result.rate)) < 1e-9
    assert abs(other.interval.low - (1 - result.interval.high)) < 1e-9
    assert abs(other.interval.high - (1 - result.interval.low)) < 1e-9


@settings(max_examples=100)
@given(shares(2000), agreements())
def test_another_pass_never_lowers_an_end(verdicts: tuple[int, int], measured: Agreement) -> None:
    assume(verdicts[0] < verdicts[1])
    below, above = found(verdicts, measured), found((verdicts[0] + 1, verdicts[1]), measured)
    assert below.rate <= above.rate + 1e-12
    assert below.interval.low <= above.interval.low + 1e-12
    assert below.interval.high <= above.interval.high + 1e-12


@settings(max_examples=100)
@given(shares(500), agreements(), st.integers(2, 9))
def test_fewer_labels_make_it_wider(verdicts: tuple[int, int], measured: Agreement, factor: int) -> None:
    assume(able(measured))
    few, many = found(verdicts, measured).interval, found(verdicts, times(measured, factor)).interval
    assert many.high - many.low <= few.high - few.low + SLACK


@settings(max_examples=100)
@given(shares(500), agreements(), st.integers(2, 9))
def test_fewer_verdicts_make_it_wider(verdicts: tuple[int, int], measured: Agreement, factor: int) -> None:
    assume(able(measured))
    few = found(verdicts, measured).interval
    many = found((verdicts[0] * factor, verdicts[1] * factor), measured).interval
    assert many.high - many.low <= few.high - few.low + SLACK


@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from("abcdef")), st.floats(1, 1e9))))
def test_the_curve_only_rises_and_ends_at_what_is_known(read: list[tuple[bool, set[str], float]]) -> None:
    labels = [
        Label(str(number), passed=passed, modes=dict.fromkeys(modes, True), first=first)
        for number, (passed, modes, first) in enumerate(read)
    ]
    result = saturation(labels)
    assert result.read == len(result.found) == len(read)
    assert list(result.found) == sorted(result.found)
    assert (result.found[-1] if read else 0) == len(set().union(*(modes for _, modes, _ in read)))
    assert len(set(result.found[len(read) - result.since :])) <= 1
    assert result == saturation(labels[::-1]) or len({first for _, _, first in read}) < len(read)
