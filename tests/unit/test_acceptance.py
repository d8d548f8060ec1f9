"""The acceptance rule on plain examples: what passes, what does not, and the reason in words."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from pytest_evalloop.loop.acceptance import (
    Measurement,
    confirm,
    decide,
    first_line,
    shares_weights,
    suite_problems,
)
from pytest_evalloop.metric.statistics import SeedNoise
from pytest_evalloop.records import Audit, CaseOutcome, Decision, DocumentScore, Grade, Rate, Status, Verdict

SIZES = (100, 250, 80, 400)
NODES = ("evals/test_a.py::test_a", "evals/test_a.py::test_b[0]", "evals/test_val_bpb.py::test_val_bpb")
QUIET = SeedNoise(0.001, 3)


def measured(bpb: float, key: str = "new", seed: int = 0) -> Measurement:
    """Return a measurement in which every byte of every document costs the same."""
    return Measurement(key, seed, tuple(DocumentScore(str(size), bpb * size, size) for size in SIZES))


OLD = (measured(2.4, "old"),)
AUDIT = Audit(
    positions=512,
    tokens=4000,
    tolerance=1e-4,
    disagreements=0,
    largest=0.0,
    mean=0.0,
    estimate=2.31,
    error=0.1,
    fraction=0.0058,
    hidden=0.03,
)
GRADE = Grade(
    status=Status.COMPLETED,
    exit_status=0,
    outcomes=tuple(CaseOutcome(nodeid, "passed", 0.1) for nodeid in NODES),
    rates=(Rate("FM-01", "never ends", 1, 40, 0.11, 0.2, passed=True),),
    scores=measured(2.3).scores,
    check_seconds=1.0,
    wall_seconds=2.0,
    audit=AUDIT,
    documents="d1",
)


def judged(bpb: float, noise: SeedNoise | None = QUIET, key: str = "new") -> Decision:
    return decide(OLD, (measured(bpb, key),), (), noise)


def test_a_clean_grade_has_no_problem() -> None:
    assert suite_problems(GRADE, GRADE) == ()
    assert suite_problems(GRADE, None) == ()


@pytest.mark.parametrize("outcome", ["failed", "skipped", "xfailed", "error", "", "PASSED"])
def test_a_test_that_did_not_pass_is_named(outcome: str) -> None:
    bad = replace(
        GRADE.outcomes[1], outcome=outcome, message="def test():\n>   assert x\nE   assert 1 == 2\n"
    )
    grade = replace(GRADE, outcomes=(GRADE.outcomes[0], bad, GRADE.outcomes[2]))
    assert suite_problems(grade, GRADE) == (f"{NODES[1]} {outcome}: assert 1 == 2",)
    assert suite_problems(grade, None) != ()


def test_a_test_that_is_missing_is_named() -> None:
    assert suite_problems(replace(GRADE, outcomes=GRADE.outcomes[1:]), GRADE) == (f"{NODES[0]} did not run",)


def test_a_test_that_the_baseline_has_not_is_named() -> None:
    fewer = replace(GRADE, outcomes=GRADE.outcomes[:2])
    assert suite_problems(GRADE, fewer) == (f"{NODES[2]} ran, though the baseline has no such test",)


def test_what_an_audit_cannot_tell_from_nothing_is_no_improvement() -> None:
    still = SeedNoise(0.0, 3)
    assert decide(OLD, (measured(2.4 - 2e-6),), (), still).verdict is Verdict.ACCEPTED
    decision = decide(OLD, (measured(2.4 - 2e-6),), (), still, floor=3e-6)
    assert (decision.verdict, decision.margin) == (Verdict.REJECTED, 3e-6)
    assert decide(OLD, (measured(2.4 - 4e-6),), (), still, floor=3e-6).verdict is Verdict.ACCEPTED


def test_a_score_that_was_not_audited_is_no_pass() -> None:
    assert suite_problems(replace(GRADE, audit=None), GRADE) == ("val_bpb was not audited",)


def test_a_score_of_other_documents_is_no_pass() -> None:
    (problem,) = suite_problems(replace(GRADE, documents="d2"), GRADE)
    assert problem == "val_bpb was measured on other documents than the baseline's"


def accepted() -> Decision:
    decision = decide(OLD, (measured(2.3),), (), QUIET)
    assert decision.verdict is Verdict.ACCEPTED
    return decision


def test_an_acceptance_is_upheld_when_a_second_scoring_says_the_same() -> None:
    second = replace(GRADE, audit=replace(AUDIT, positions=4096))
    upheld = confirm(accepted(), GRADE, second)
    assert upheld.verdict is Verdict.ACCEPTED
    assert upheld.delta == accepted().delta
    assert upheld.reason.endswith("; audited twice, at 4,608 positions in all")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (replace(GRADE, scores=measured(2.3002).scores), r"does not repeat: .* 2\.3000 bpb, then 2\.3002"),
        (replace(GRADE, audit=None), "does not hold up .*: val_bpb was not audited"),
        (
            replace(GRADE, status=Status.CRASHED, detail="gone"),
            "does not hold up .*: the eval process crashed: gone",
        ),
        (replace(GRADE, scores=()), "does not hold up .*: val_bpb was not measured"),
    ],
)
def test_an_acceptance_that_does_not_hold_up_is_a_rejection(second: Grade, reason: str) -> None:
    fallen = confirm(accepted(), GRADE, second)
    assert fallen.verdict is Verdict.REJECTED
    assert re.search(reason, fallen.reason)


def test_no_test_at_all_is_no_pass_whatever_is_expected() -> None:
    empty = replace(GRADE, outcomes=(), exit_status=5)
    assert suite_problems(empty, replace(GRADE, outcomes=())) == (
        "no test ran (the eval process ended with status 5)",
    )
    assert suite_problems(empty, None) == suite_problems(empty, replace(GRADE, outcomes=()))


@pytest.mark.parametrize("exit_status", [None, 1, 2, 5, -9])
def test_an_exit_status_but_zero_is_no_pass(exit_status: int | None) -> None:
    (problem,) = suite_problems(replace(GRADE, exit_status=exit_status, detail="Interrupted"), GRADE)
    assert problem == f"the eval process ended with status {exit_status}: Interrupted"


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT, Status.KILLED])
def test_an_eval_process_that_did_not_complete_is_no_pass(status: Status) -> None:
    (problem,) = suite_problems(replace(GRADE, status=status, detail="ran for 9 seconds"), GRADE)
    assert problem == f"the eval process {status.replace('_', ' ')}: ran for 9 seconds"


def test_a_rate_over_its_bound_is_no_pass() -> None:
    failed = replace(GRADE.rates[0], passed=False)
    assert suite_problems(replace(GRADE, rates=(failed,)), GRADE) == ("FM-01 (never ends) failed",)


def test_an_objective_that_was_not_measured_is_no_pass() -> None:
    assert suite_problems(replace(GRADE, scores=()), GRADE) == ("val_bpb was not measured",)


def test_a_clear_improvement_is_accepted_with_its_numbers() -> None:
    decision = judged(2.3)
    assert decision.verdict is Verdict.ACCEPTED
    assert decision.delta == pytest.approx(0.1)
    # Student's t with two degrees of freedom, times the noise of one run on either side
    assert decision.margin == pytest.approx(2.919986 * 0.001 * math.sqrt(2), rel=1e-5)
    assert decision.reason == (
        "bpb 2.4000 -> 2.3000: the fall of 0.1000 exceeds the margin of 0.0041 (documents ±0.0000, seeds ±0.0014)"
    )


def test_an_improvement_within_the_noise_is_rejected_with_its_numbers() -> None:
    decision = judged(2.399, SeedNoise(0.01, 3))
    assert decision.verdict is Verdict.REJECTED
    assert decision.reason.startswith(
        "bpb 2.4000 -> 2.3990: the fall of 0.0010 is within the margin of 0.0413"
    )


@pytest.mark.parametrize("bpb", [2.4, 2.5], ids=["equal", "worse"])
def test_what_is_not_lower_is_rejected(bpb: float) -> None:
    decision = judged(bpb)
    assert decision.verdict is Verdict.REJECTED
    assert decision.reason == f"bpb {bpb:.4f} is not below the incumbent's 2.4000"


def test_new_weights_under_unknown_noise_are_rejected() -> None:
    decision = judged(0.1, noise=None)
    assert decision.verdict is Verdict.REJECTED
    assert decision.reason == "the training noise is unknown, so bpb cannot be judged"


def test_shared_weights_need_no_training_noise() -> None:
    decision = judged(2.399, noise=None, key="old")
    assert decision.verdict is Verdict.ACCEPTED
    assert decision.reason.endswith("(documents ±0.0000, same weights)")
    assert decision == judged(2.399, SeedNoise(5.0, 2), key="old")


def test_shared_weights_are_compared_with_the_very_runs_they_share() -> None:
    incumbent = (measured(2.4, "first", 0), measured(2.0, "second", 1))
    assert decide(incumbent, (measured(2.3, "first"),), (), None).verdict is Verdict.ACCEPTED
    assert decide(incumbent, (measured(2.3, "second"),), (), None).verdict is Verdict.REJECTED


def test_a_candidate_shares_weights_only_if_all_its_runs_do() -> None:
    known, new = measured(2.4, "old"), measured(2.4, "new")
    assert shares_weights(OLD, (known,))
    assert not shares_weights(OLD, (new,))
    assert not shares_weights(OLD, (known, new))
    assert not shares_weights(OLD, ())


def test_more_runs_of_both_sides_narrow_the_margin() -> None:
    noise = SeedNoise(0.01, 4)
    one = decide(OLD, (measured(2.3),), (), noise)
    three = decide(OLD * 3, tuple(measured(2.3, f"new {seed}", seed) for seed in range(3)), (), noise)
    assert one.margin is not None
    assert three.margin == pytest.approx(one.margin / math.sqrt(3))


def test_a_single_document_is_never_enough() -> None:
    old = (Measurement("old", 0, (DocumentScore("only", 300.0, 100),)),)
    new = (Measurement("old", 0, (DocumentScore("only", 100.0, 100),)),)
    decision = decide(old, new, (), QUIET)
    assert (decision.verdict, decision.margin) == (Verdict.REJECTED, math.inf)


@pytest.mark.parametrize("side", ["incumbent", "candidate"])
def test_nothing_measured_is_rejected(side: str) -> None:
    decision = decide((), OLD, (), QUIET) if side == "incumbent" else decide(OLD, (), (), QUIET)
    assert decision.verdict is Verdict.REJECTED
    assert decision.reason == "bpb cannot be compared: there is no run to average"


@pytest.mark.parametrize("bits", [1e160, 1e308])
def test_an_absurd_cost_is_rejected_and_no_crash(bits: float) -> None:
    absurd = Measurement("new", 0, tuple(DocumentScore(str(size), bits, size) for size in SIZES))
    assert decide(OLD, (absurd,), (), QUIET).verdict is Verdict.REJECTED
    assert decide((absurd, absurd), OLD, (), QUIET).verdict is Verdict.REJECTED


def test_a_failed_suite_is_rejected_however_good_the_number_is() -> None:
    decision = decide(OLD, (measured(0.1),), ("test_a failed: boom", "test_b failed", "test_c failed"), QUIET)
    assert decision == Decision(Verdict.REJECTED, "evals failed: test_a failed: boom (and 2 more)")
    assert decide(OLD, (measured(0.1),), ("a", "b"), QUIET).reason == "evals failed: a (and 1 more)"
    assert decide(OLD, (measured(0.1),), ("a",), QUIET).reason == "evals failed: a"


def test_a_reason_is_one_line_even_if_a_log_follows() -> None:
    grade = replace(GRADE, status=Status.CRASHED, detail="exited with status 3\nTraceback\n  boom")
    decision = decide(OLD, (measured(2.3),), suite_problems(grade, GRADE), QUIET)
    assert decision.reason == "evals failed: the eval process crashed: exited with status 3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n  \n only this \n", "only this"),
        ("def test():\n    assert x\nE   assert 1 == 2\nE    +  where", "assert 1 == 2"),
        ("Error\nE", "Error"),
        ("x" * 1000, "x" * 300),
    ],
    ids=["empty", "blank lines", "an error line", "no error line", "long"],
)
def test_the_first_line_is_the_one_that_says_most(text: str, line: str) -> None:
    assert first_line(text) == line
