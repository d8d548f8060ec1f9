"""What is said about candidates, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_evalloop.records import Candidate, Decision, Status, Verdict
from pytest_evalloop.report.summary import chances, costs, gain, nulls, outcome_line, table

BASELINE = Candidate(
    run="main",
    number=0,
    parent="c0",
    commit="c0",
    mutator="baseline",
    description="the tree as it stood",
    status=Status.COMPLETED,
    decision=Decision(Verdict.ACCEPTED, "the baseline passes its evals"),
    bpb=2.5,
    peak_bytes=200_000_000,
    train_seconds=40.0,
    check_seconds=3.0,
    overhead_seconds=1.0,
)
BETTER = replace(
    BASELINE,
    number=1,
    mutator="search",
    description="heads = 2",
    decision=Decision(Verdict.ACCEPTED, "bpb 2.5000 -> 2.4000", 0.1, 0.02, 0.08, 0.12, 3),
    passed=True,
    bpb=2.4,
    peak_bytes=300_000_000,
    train_seconds=50.4,
    check_seconds=4.0,
    overhead_seconds=2.0,
)
WORSE = replace(
    BETTER,
    number=2,
    decision=Decision(Verdict.REJECTED, "bpb 2.6000 is not below", -0.2, seeds=1),
    bpb=2.6,
    overhead_seconds=9.0,
)
BROKEN = replace(
    BASELINE,
    number=10,
    mutator="agent",
    description="x" * 61,
    status=Status.CRASHED,
    decision=Decision(Verdict.REJECTED, "training crashed: boom"),
    bpb=None,
    passed=None,
    peak_bytes=None,
    train_seconds=5.0,
    check_seconds=0.0,
)
OPEN = replace(
    BASELINE, number=11, mutator="prompt", description="add a line", status=None, decision=None, bpb=None
)


def test_the_baseline_is_said_with_its_number() -> None:
    assert outcome_line(BASELINE) == "main/0 baseline accepted at 2.5000 bpb: the baseline passes its evals"
    failed = replace(BASELINE, bpb=None, decision=Decision(Verdict.REJECTED, "evals failed: test_a"))
    assert outcome_line(failed) == "main/0 baseline rejected: evals failed: test_a"


def test_a_candidate_is_said_with_verdict_change_and_reason() -> None:
    assert outcome_line(BETTER) == "main/1 accepted: search: heads = 2\n    bpb 2.5000 -> 2.4000"
    assert outcome_line(BROKEN).splitlines()[1] == "    training crashed: boom"


def test_a_candidate_without_a_verdict_is_open() -> None:
    assert outcome_line(OPEN).startswith("main/11 open: prompt: add a line")


def test_the_table_has_a_row_a_candidate_in_aligned_columns() -> None:
    long = "x" * 59 + "…"
    assert table([BASELINE, BETTER, WORSE, BROKEN, OPEN]) == [
        " #  verdict      bpb   change  margin  seeds  mutator   what it tried",
        " 0  accepted  2.5000                          baseline  the tree as it stood",
        " 1  accepted  2.4000  -0.1000  0.0200      3  search    heads = 2",
        " 2  rejected  2.6000  +0.2000              1  search    heads = 2",
        f"10  rejected                                  agent     {long}",
        "11  open                                      prompt    add a line",
    ]


def test_an_acceptance_that_was_taken_back_is_shown_as_revoked() -> None:
    assert table([BASELINE, replace(BETTER, revoked="it fell back")])[2].startswith("1  revoked   2.4000")


def test_the_chance_of_luck_grows_with_every_candidate_that_was_compared() -> None:
    assert chances([BASELINE, BETTER, WORSE, BROKEN, OPEN], 0.008) == (
        "false accepts to expect so far: at most 0.016 (2 candidates compared, each with a chance of at most "
        "0.8 % if it changes nothing)"
    )


def test_of_null_candidates_both_rules_are_counted() -> None:
    lucky = replace(WORSE, number=3, bpb=2.45)
    luckier = replace(WORSE, number=4, bpb=2.44)
    fallen = replace(BETTER, number=5, bpb=2.46, revoked="it fell back")
    assert nulls([BASELINE, WORSE, lucky, luckier, fallen], 0.008) == (
        "A/A: 0 of 4 candidates that change nothing accepted and 1 accepted for a while; at most 0.032 to expect. "
        "Keep if lower would have kept 2"
    )


def test_no_change_has_no_minus_before_its_zero() -> None:
    equal = replace(WORSE, decision=Decision(Verdict.REJECTED, "bpb 2.5000 is not below", 0.0))
    assert " +0.0000 " in table([equal])[1]


def test_a_description_that_just_fits_is_whole() -> None:
    assert table([replace(BETTER, description="x" * 60)])[1].endswith(" " + "x" * 60)


def test_the_gain_is_that_over_the_baseline() -> None:
    assert (
        gain([BASELINE, BETTER], BETTER)
        == "incumbent: main/1, 2.4000 bpb, -0.1000 against the baseline's 2.5000"
    )


@pytest.mark.parametrize(
    ("baseline", "incumbent", "expected"),
    [
        (BASELINE, BASELINE, "incumbent: the baseline, 2.5000 bpb; no candidate was accepted"),
        (replace(BASELINE, bpb=None), BASELINE, "nothing was measured yet"),
        (BASELINE, replace(BETTER, bpb=None), "nothing was measured yet"),
    ],
    ids=["none accepted", "no baseline", "no incumbent"],
)
def test_without_a_gain_it_is_said_why(baseline: Candidate, incumbent: Candidate, expected: str) -> None:
    assert gain([baseline, WORSE], incumbent) == expected


def test_costs_are_those_of_all_and_overhead_that_of_the_graded() -> None:
    assert costs([BASELINE, BETTER, WORSE, BROKEN], 146.2) == (
        "compute: 146 s of training, 11 s of checks; overhead of the loop itself "
        "2.0 s per candidate (median, most 9.0 s); peak memory of a training 300 MB"
    )


def test_nothing_graded_costs_nothing_worth_a_line() -> None:
    assert costs([], 0.0) == costs([OPEN, BROKEN], 5.0) == "no candidate was graded"
