"""Rates of labels: the numbers of the method, against scipy, and sentences that do not promise too much."""

from __future__ import annotations

import pytest
from scipy import stats

from bench.coverage import HIGHEST, LOWEST, TABLE, Row, coverage, fixed_rate, ours
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.rates import (
    Agreement,
    Interval,
    ModeRate,
    Saturation,
    agreement,
    corrected,
    mode_rates,
    saturation,
    unseen,
    wilson,
)

GOOD = Agreement(20, 18, 20, 18)


def read(*modes: str | None, start: int = 0) -> list[Label]:
    """Labels in reading order; a name is a mode that occurs, None a trace that passes."""
    return [
        Label(f"t{number}", passed=not mode, modes={mode: True} if mode else {}, at=number, first=number)
        for number, mode in enumerate(modes, start + 1)
    ]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (18, 20), (35, 35), (0, 100), (7, 1000)])
def test_wilson_is_the_score_interval(successes: int, n: int, confidence: float) -> None:
    known = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson(successes, n, confidence)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)


def test_18_of_20_are_no_proof_of_more_than_70_percent() -> None:
    assert round(wilson(18, 20).low, 3) == 0.699


def test_it_takes_35_of_35_to_clear_90_percent() -> None:
    assert wilson(34, 34).low < 0.9 < wilson(35, 35).low


def test_nothing_seen_leaves_everything_open() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


def test_an_end_that_is_reached_is_reached_exactly() -> None:
    assert wilson(0, 7).low == 0.0
    assert wilson(7, 7).high == 1.0


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 5), (0, -1)])
def test_impossible_counts_are_no_rate(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of {n} is no rate"):
        wilson(successes, n)
    with pytest.raises(ValueError, match=f"{successes} of {n} is no rate"):
        corrected(successes, n, GOOD)


def test_the_rate_of_a_mode_is_over_the_traces_that_were_labelled_for_it() -> None:
    labels = [
        Label("a", passed=False, modes={"FM-01": True, "FM-02": False}),
        Label("b", passed=True, modes={"FM-01": False}),
        Label("c", passed=False),
        Label("d", deferred=True, modes={"FM-01": True, "FM-09": True}),
    ]
    modes = [Mode("FM-02", "second"), Mode("FM-01", "first"), Mode("FM-03", "third")]
    assert mode_rates(labels, modes) == (
        ModeRate("FM-02", 0, 1, wilson(0, 1)),
        ModeRate("FM-01", 2, 3, wilson(2, 3)),
        ModeRate("FM-03", 0, 0, None),
    )


def test_the_curve_of_saturation_follows_the_order_of_reading() -> None:
    found = saturation(reversed(read("a", None, "a", "b", None, None)))
    assert (found.read, found.found, found.since) == (6, (1, 1, 1, 2, 2, 2), 2)


def test_labelling_an_early_trace_again_does_not_move_it() -> None:
    early, *others = read("a", None, "b", None)
    again = Label("t1", passed=False, modes={"a": True}, at=99, first=early.first)
    assert saturation([*others, again]) == saturation([early, *others])


@pytest.mark.parametrize(
    "label",
    [Label("x", first=9), Label("x", deferred=True, first=9), Label("x", note="?", first=9)],
    ids=["taken back", "deferred", "a note alone"],
)
def test_a_trace_without_a_verdict_was_not_read(label: Label) -> None:
    assert saturation([*read("a"), label]).read == 1


def test_a_mode_that_does_not_occur_was_not_found() -> None:
    assert saturation([Label("x", passed=True, modes={"a": False})]).found == (0,)


@pytest.mark.parametrize(
    ("quiet", "before", "saturated"), [(20, 80, True), (19, 81, False), (20, 79, False), (100, 0, True)]
)
def test_saturated_is_a_hundred_read_and_twenty_without_a_new_mode(
    quiet: int, before: int, saturated: bool
) -> None:
    labels = read(*["a"] * (before - 1), *["b"] * bool(before), *["a" if before else None] * quiet)
    found = saturation(labels)
    assert (found.since, found.saturated) == (quiet, saturated)


def test_the_rule_can_be_set() -> None:
    labels = read("a", None, None)
    assert saturation(labels, enough=3, quiet=2).saturated
    assert "the rule (3 read, none new in 2)" in saturation(labels, enough=3, quiet=2).sentence


def test_what_saturation_does_not_prove_stands_in_its_sentence() -> None:
    found = saturation(read(*["a"] * 79, "b", *["a"] * 20))
    assert found.sentence == (
        "100 traces read, 2 failure modes found, none new in the last 20. That is saturated by the rule (100 read, "
        "none new in 20), which does not prove that there are no others: a mode with 5% prevalence stays unseen in "
        "20 traces with probability 36%, one with 1% in 100 traces with 37%."
    )


def test_the_odds_are_those_of_what_was_read() -> None:
    found = saturation(read(*["a"] * 30))
    assert found.sentence == (
        "30 traces read, 1 failure mode found, none new in the last 29. Read on until 100 are read and 20 in a row "
        "show none that is new: a mode with 5% prevalence stays unseen in 29 traces with probability 23%, one with "
        "1% in 30 traces with 74%."
    )
    assert unseen(0.05, 29) == pytest.approx(0.2259, abs=1e-4)


def test_before_the_first_label_the_sentence_says_what_to_do() -> None:
    assert saturation([]) == Saturation(
        0,
        (),
        0,
        False,
        "Nothing is labelled yet. Read about 100 traces, until 20 in a row show no new failure mode.",
    )


def test_a_new_mode_in_the_last_trace_is_said() -> None:
    assert "a new one in the last trace. Read on" in saturation(read("a", "b")).sentence


def test_agreement_counts_what_has_a_verdict_and_a_label() -> None:
    human = {"a": True, "b": True, "c": False, "d": False, "e": False, "f": True}
    said = {"a": True, "b": False, "c": False, "d": True, "e": False, "x": True}
    found = agreement(said, human)
    assert found == Agreement(passes=2, true_passes=1, fails=3, true_fails=2)
    assert found.tpr == pytest.approx(1 / 2)
    assert found.tnr == pytest.approx(2 / 3)
    assert (found.tpr_interval, found.tnr_interval) == (wilson(1, 2), wilson(2, 3))


def test_without_labels_there_is_no_rate_of_agreement() -> None:
    assert (Agreement(0, 0, 3, 1).tpr, Agreement(3, 1, 0, 0).tnr) == (None, None)
    assert Agreement(0, 0, 3, 1).tpr_interval == Interval(0.0, 1.0)


def test_the_corrected_rate_is_that_of_rogan_and_gladen() -> None:
    found = corrected(78, 100, GOOD)
    assert found is not None
    assert found.rate == pytest.approx((0.78 + 0.9 - 1) / (0.9 + 0.9 - 1))


@pytest.mark.parametrize(
    ("observed", "measured"),
    [
        (10, Agreement(20, 10, 20, 10)),
        (10, Agreement(20, 18, 20, 1)),
        (10, Agreement(0, 0, 20, 18)),
        (10, Agreement(20, 18, 0, 0)),
        (0, GOOD),
    ],
    ids=["chance", "worse than chance", "no human pass", "no human fail", "no verdicts"],
)
def test_who_knows_nothing_corrects_nothing(observed: int, measured: Agreement) -> None:
    assert corrected(0, observed, measured) is None


def test_a_perfect_test_split_leaves_an_interval() -> None:
    found = corrected(84, 100, Agreement(20, 20, 20, 20))
    assert found is not None
    assert found.interval.low < 0.8
    assert found.interval.high > 0.9


def test_with_endless_labels_only_the_verdicts_are_uncertain() -> None:
    found = corrected(70, 100, Agreement(10**7, 10**7, 10**7, 10**7))
    assert found is not None
    expected = stats.beta(70.5, 30.5).ppf([0.025, 0.975])
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected), abs=5e-3)


def test_with_endless_verdicts_only_the_labels_are_uncertain() -> None:
    found = corrected(78 * 10**6, 10**8, GOOD)
    assert found is not None
    assert found.interval.high - found.interval.low > 0.2


def test_a_judge_that_may_be_no_better_than_chance_says_nothing() -> None:
    found = corrected(9, 10, Agreement(3, 2, 3, 2))
    assert found is not None
    assert found.interval == Interval(0.0, 1.0)


def test_even_unanimous_verdicts_do_not_end_in_a_point() -> None:
    found = corrected(100, 100, GOOD)
    assert found is not None
    assert (found.rate, found.interval.high) == (1.0, 1.0)
    assert 0.96 < found.interval.low < 0.98


def test_another_confidence_gives_another_interval() -> None:
    wide, narrow = corrected(50, 100, GOOD, 0.99), corrected(50, 100, GOOD, 0.8)
    assert wide is not None
    assert narrow is not None
    assert wide.interval.low < narrow.interval.low < narrow.interval.high < wide.interval.high


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_interval_covers_as_it_says(row: Row) -> None:
    assert LOWEST <= coverage(ours, row, 0.98) <= HIGHEST


@pytest.mark.parametrize(
    ("row", "published"), list(zip(TABLE, [0.81, 0.85, 0.78, 0.77, 0.28], strict=True)), ids=str
)
def test_keeping_the_observed_rate_does_not(row: Row, published: float) -> None:
    assert coverage(fixed_rate, row, 0.9) == pytest.approx(published, abs=0.07)
