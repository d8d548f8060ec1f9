"""The acceptance rule on plain examples: what passes, what does not, and the reason in words."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from pytest_evalloop.loop.acceptance import (
    Measurement,
    Rule,
    fallen_back,
    judge,
    promising,
    shares_weights,
)
from pytest_evalloop.loop.passing import broken_training, confirm, first_line, suite_problems
from pytest_evalloop.loop.references import enough
from pytest_evalloop.metric.statistics import SeedNoise
from pytest_evalloop.records import (
    Audit,
    CaseOutcome,
    Decision,
    DocumentScore,
    Grade,
    Rate,
    Status,
    Training,
    Verdict,
)

SIZES = (100, 250, 80, 400)
NODES = ("evals/test_a.py::test_a", "evals/test_a.py::test_b[0]", "evals/test_val_bpb.py::test_val_bpb")
QUIET = SeedNoise(0.001, 4)


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


def decide(
    incumbent: tuple[Measurement, ...],
    candidate: tuple[Measurement, ...],
    problems: tuple[str, ...],
    noise: SeedNoise | None,
    floor: float = 0.0,
) -> Decision:
    """Return the verdict of a comparison that is not open."""
    decision = judge(incumbent, candidate, problems, noise, Rule(), floor)
    assert decision is not None
    return decision


def seeds(bpbs: list[float], key: str = "new") -> tuple[Measurement, ...]:
    """Return one measurement a seed."""
    return tuple(measured(bpb, f"{key} {seed}", seed) for seed, bpb in enumerate(bpbs))


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
    still = SeedNoise(0.0, 0)
    assert decide(OLD, seeds([2.4 - 2e-6] * 2), (), still).verdict is Verdict.ACCEPTED
    decision = decide(OLD, seeds([2.4 - 2e-6] * 2), (), still, floor=3e-6)
    assert (decision.verdict, decision.margin) == (Verdict.REJECTED, 3e-6)
    assert decide(OLD, seeds([2.4 - 4e-6] * 2), (), still, floor=3e-6).verdict is Verdict.ACCEPTED


def test_a_fall_below_the_least_effect_does_not_count() -> None:
    rule = Rule(least_effect=0.02)
    small = judge(OLD, (measured(2.383),), (), QUIET, rule)
    assert small is not None
    assert (small.verdict, small.margin) == (Verdict.REJECTED, 0.02)
    large = judge(OLD, (measured(2.379),), (), QUIET, rule)
    assert large is not None
    assert large.verdict is Verdict.ACCEPTED


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
    assert decision.margin is not None
    assert decision.low is not None
    assert decision.high is not None
    # Student's t with four degrees of freedom, times the noise of one run on either side
    assert decision.high - 0.1 == pytest.approx(2.776445 * 0.001 * math.sqrt(2), rel=1e-5)
    assert 0.1 - decision.low == pytest.approx(decision.high - 0.1)
    # the first of several looks is stricter than a single one at the same level would be
    assert decision.margin > 3.96 * 0.001 * math.sqrt(2)
    assert decision.seeds == 1
    assert re.fullmatch(
        r"bpb 2\.4000 -> 2\.3000: the fall of 0\.1000 exceeds the margin of 0\.0\d+ "
        r"\(documents ±0\.0000, seeds ±0\.0014 from 1 and 1\)",
        decision.reason,
    )


def test_a_seed_that_wins_by_chance_is_rejected_with_a_sentence_that_says_why() -> None:
    noise = SeedNoise(0.012, 12)
    incumbent = seeds([2.39, 2.41, 2.40, 2.415, 2.385], "old")
    assert judge(incumbent, seeds([2.37]), (), noise, Rule()) is None  # 0.03 lower: another seed, please
    decision = decide(incumbent, seeds([2.37, 2.412, 2.408]), (), noise)
    assert decision.verdict is Verdict.REJECTED
    assert decision.seeds == 3
    assert "the seed alone moves bpb by 0.0120" in decision.reason
    assert decision.reason.endswith("; the first seed alone said a fall of 0.0300")
    assert re.search(r"8 seeds would show a gain with a chance of 2 %", decision.reason)


def test_identical_results_under_different_seeds_buy_no_certainty() -> None:
    noise = SeedNoise(0.01, 20)
    incumbent = seeds([2.39, 2.41, 2.40, 2.395, 2.405], "old")
    assert judge(incumbent, seeds([2.37]), (), noise, Rule()) is None
    decision = decide(incumbent, seeds([2.37] * 5), (), noise)
    assert decision.verdict is Verdict.REJECTED
    assert "other seeds changed nothing, so that they count as one" in decision.reason
    nearly = decide(incumbent, seeds([2.37, 2.37001, 2.36999, 2.37, 2.37001]), (), noise)
    assert nearly.verdict is Verdict.REJECTED
    honest = decide(incumbent, seeds([2.37, 2.378, 2.362, 2.371, 2.369]), (), noise)
    assert honest.verdict is Verdict.ACCEPTED


def test_where_seeds_change_nothing_a_second_one_has_to_show_it() -> None:
    still = SeedNoise(0.0, 0)
    assert judge(OLD, seeds([2.39]), (), still, Rule()) is None
    assert decide(OLD, seeds([2.39, 2.39]), (), still).verdict is Verdict.ACCEPTED
    assert decide(OLD, seeds([2.41]), (), still).verdict is Verdict.REJECTED


def test_an_acceptance_falls_back_when_fresh_seeds_alone_are_no_lower() -> None:
    before = seeds([2.40, 2.41, 2.39], "old")
    assert fallen_back(before, seeds([2.38, 2.39, 2.41])) == ""
    reason = fallen_back(before, seeds([2.41, 2.40, 2.40]))
    assert reason == (
        "under 3 fresh seeds it costs 2.4033 bpb, which is not below the 2.4000 that it replaced"
    )


def test_an_acceptance_on_shared_weights_is_held_against_the_same_weights() -> None:
    before = seeds([2.40, 2.30], "old")
    assert fallen_back(before, (measured(2.39, "old 0"),)) == ""
    assert fallen_back(before, (measured(2.31, "old 1", 1),)).startswith("under 1 fresh seed it costs 2.3100")


def test_a_candidate_is_promising_within_two_noises_of_a_number_that_flatters() -> None:
    assert not promising(OLD, (measured(2.41),), None)
    assert promising(OLD, (measured(2.41),), SeedNoise(0.01, 4))
    assert not promising(OLD, (measured(2.43),), SeedNoise(0.01, 4))
    assert not promising((), (measured(1.0),), None)


@pytest.mark.parametrize(
    ("noise", "seeds", "wanted"),
    [
        (None, 8, 8),
        (SeedNoise(0.01, 5), 8, 8),
        (SeedNoise(0.01, 6), 8, 3),
        (SeedNoise(0.01, 60), 2, 2),
        (SeedNoise(0.0, 0), 8, 1),
    ],
)
def test_an_incumbent_has_enough_seeds_for_what_is_known_of_the_noise(
    noise: SeedNoise | None, seeds: int, wanted: int
) -> None:
    assert enough(noise, seeds) == wanted


def test_an_improvement_within_the_noise_is_rejected_with_its_numbers() -> None:
    incumbent = seeds([2.39, 2.41, 2.40, 2.395, 2.405, 2.385, 2.415, 2.40], "old")
    decision = decide(incumbent, (measured(2.399),), (), SeedNoise(0.01, 30))
    assert decision.verdict is Verdict.REJECTED
    assert decision.reason.startswith("bpb 2.4000 -> 2.3990: the fall of 0.0010 is within the margin of 0.0")
    assert "would show a gain with a chance of" in decision.reason


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
    noise = SeedNoise(0.01, 400)
    one = decide(OLD, (measured(2.3),), (), noise)
    spread = [-0.01, 0.0, 0.01]
    old, new = seeds([2.4 + part for part in spread], "old"), seeds([2.3 + part for part in spread])
    three = decide(old, new, (), noise)
    assert one.margin is not None
    assert three.margin is not None
    assert three.margin < one.margin / math.sqrt(3) * 1.05


def test_a_single_document_is_never_enough() -> None:
    old = (Measurement("old", 0, (DocumentScore("only", 300.0, 100),)),)
    new = (Measurement("old", 0, (DocumentScore("only", 100.0, 100),)),)
    decision = decide(old, new, (), QUIET)
    assert (decision.verdict, decision.margin, decision.low) == (Verdict.REJECTED, None, None)
    assert "is within the margin of inf" in decision.reason


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


def tilted(bpb: float, key: str, tilt: float) -> Measurement:
    """Return a measurement in which short texts cost more than the others, or less, at the same bpb."""
    more = [tilt * (1 if size < 200 else -180 / 650) * size for size in SIZES]
    scores = (
        DocumentScore(str(size), bpb * size + bits, size) for size, bits in zip(SIZES, more, strict=True)
    )
    return Measurement(key, 0, tuple(scores))


def documents_error(decision: Decision) -> float:
    return float(re.findall(r"documents ±(\d\.\d+)", decision.reason)[0])


def test_what_seeds_do_to_documents_counts_once() -> None:
    noise = SeedNoise(0.1, 60)
    even = [tilted(2.4, f"old {tilt}", 0.0) for tilt in (-1, 1)]
    uneven = [tilted(2.4, f"old {tilt}", 0.03 * tilt) for tilt in (-1, 1)]
    candidate = (tilted(1.6, "new", 0.03),)
    alone, among = (decide(tuple(old), candidate, (), noise) for old in (even, uneven))
    assert documents_error(alone) > 0.005  # the trees differ by documents, as far as anybody knows
    assert documents_error(among) == 0.0  # the incumbent's seeds differ as much
    widths = [(found.high or math.inf) - (found.low or 0.0) for found in (alone, among)]
    assert widths[1] < widths[0] < math.inf
    unknown = decide((uneven[0],), (tilted(1.6, "new", 0.0),), (), noise)
    assert documents_error(unknown) > 0.005  # a single seed does not tell


def test_never_more_is_taken_off_the_documents_than_the_noise_puts_back() -> None:
    old = tuple(tilted(2.4, f"old {tilt}", 0.03 * tilt) for tilt in (-1, 1))
    new = (tilted(2.0, "new", 0.03),)
    still = decide(old, (*new, tilted(2.0, "new again", 0.03)), (), SeedNoise(0.0, 0))
    full = decide((tilted(2.4, "old", 0.0),), (*new, tilted(2.0, "new again", 0.03)), (), SeedNoise(0.0, 0))
    assert still.margin == pytest.approx(full.margin)


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
        ("x" * 1000, "x" * 149 + "…" + "x" * 150),
    ],
    ids=["empty", "blank lines", "an error line", "no error line", "long"],
)
def test_the_first_line_is_the_one_that_says_most(text: str, line: str) -> None:
    assert first_line(text) == line


def test_a_long_line_keeps_both_of_its_ends() -> None:
    said = first_line(f"FileNotFoundError: '/{'far/' * 200}weights.json'")
    assert said.startswith("FileNotFoundError: '/far")
    assert said.endswith("/weights.json'")
    assert len(said) == 300


@pytest.mark.parametrize(
    ("status", "detail", "reason"),
    [
        (
            Status.CRASHED,
            "exited with status 1\nKeyError: 'a'\nDuring that:\nmodel.ShapeError: 3 is not 4\nIt ran in a sandbox.",
            "training crashed: exited with status 1: model.ShapeError: 3 is not 4",
        ),
        (Status.CRASHED, "exited with status 3\nnot found", "training crashed: exited with status 3"),
        (Status.TIMED_OUT, "used 9.0 CPU seconds", "training timed out: used 9.0 CPU seconds"),
        (Status.CRASHED, "ValueError: x", "training crashed: ValueError: x"),
        (Status.CRASHED, "died of SIGKILL\nKeyboardInterrupt", "training crashed: died of SIGKILL: KeyboardInterrupt"),
        (Status.CRASHED, "", "training crashed: "),
    ],
)  # fmt: skip
def test_a_broken_training_is_told_by_its_exception(status: Status, detail: str, reason: str) -> None:
    assert broken_training(Training("k", 0, status, "", 0.0, 0.0, 0, detail)) == reason
