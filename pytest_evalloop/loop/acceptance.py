"""The decision rule: pure functions from grades to a verdict with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.metric.statistics import SeedNoise, critical_value, mean_scores, paired_difference
from pytest_evalloop.records import Decision, DocumentScore, Grade, Status, Verdict

CONFIDENCE = 0.95
REPEATS_WITHIN = 1e-4
"""Bits per byte by which a second scoring of the same weights may differ: rounding on an accelerator."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The documents' scores of one set of trained weights, which `training_key` identifies."""

    training_key: str
    seed: int
    scores: tuple[DocumentScore, ...]


def suite_problems(grade: Grade, baseline: Grade | None) -> tuple[str, ...]:
    """Return why `grade` is not a pass, in sentences; empty means that the full suite passed.

    A pass is exit status 0, every node id of `baseline` (None while it is graded itself) reported passed, none
    besides, and an objective that was measured on the same documents and audited. Skipped, xfailed, missing,
    or zero tests are not a pass.
    """
    if grade.status is not Status.COMPLETED:
        return (f"the eval process {grade.status.replace('_', ' ')}: {grade.detail}",)
    if not grade.outcomes:
        return (
            f"no test ran (the eval process ended with status {grade.exit_status}): {grade.detail}".rstrip(
                ": "
            ),
        )
    problems = [
        f"{case.nodeid} {case.outcome}{': ' + first_line(case.message) if case.message else ''}"
        for case in sorted(grade.outcomes, key=lambda case: case.nodeid.count("["))
        if case.outcome != "passed"
    ]
    seen = {case.nodeid for case in grade.outcomes}
    if baseline is not None:
        expected = {case.nodeid for case in baseline.outcomes}
        problems += [f"{nodeid} did not run" for nodeid in sorted(expected - seen)]
        problems += [
            f"{nodeid} ran, though the baseline has no such test" for nodeid in sorted(seen - expected)
        ]
    problems += [
        f"{rate.id} ({rate.title}) failed" for rate in grade.rates if not rate.passed and not problems
    ]
    if not grade.scores and not problems:
        problems.append("val_bpb was not measured")
    if grade.scores and grade.audit is None:
        problems.append("val_bpb was not audited")
    if grade.scores and baseline is not None and grade.documents != baseline.documents:
        problems.append("val_bpb was measured on other documents than the baseline's")
    if grade.exit_status != 0 and not problems:
        problems.append(
            f"the eval process ended with status {grade.exit_status}: {grade.detail}".rstrip(": ")
        )
    return tuple(problems)


def shares_weights(incumbent: tuple[Measurement, ...], candidate: tuple[Measurement, ...]) -> bool:
    """Tell whether the candidate is graded on the very weights of the incumbent, as after a prompt change."""
    known = {run.training_key for run in incumbent}
    return bool(candidate) and all(run.training_key in known for run in candidate)


def decide(
    incumbent: tuple[Measurement, ...],
    candidate: tuple[Measurement, ...],
    problems: tuple[str, ...],
    noise: SeedNoise | None,
    floor: float = 0.0,
) -> Decision:
    """Accept a candidate whose suite passed and whose bits per byte fell by more than the margin.

    The margin is a one-sided 95 % quantile times the standard error of the difference: the paired error
    over documents and, for new weights, the training noise of both sides, Student's t having the degrees
    of freedom of `noise`. On shared weights only the documents count. New weights without a known noise
    are never accepted. The margin is at least `floor`, what an audit cannot tell from nothing.
    """
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Decision(Verdict.REJECTED, f"evals failed: {_headline(problems[0])}{more}")
    try:
        shared = shares_weights(incumbent, candidate)
        keys = {run.training_key for run in candidate}
        paired = tuple(run for run in incumbent if run.training_key in keys) if shared else incumbent
        for run in (*paired, *candidate):
            bits_per_byte(run.scores)  # a mean would hide what one run cannot have cost
        old = mean_scores([run.scores for run in paired])
        new = mean_scores([run.scores for run in candidate])
        before, after = bits_per_byte(old), bits_per_byte(new)
        difference = paired_difference(old, new)
    except (ValueError, OverflowError) as error:
        return Decision(Verdict.REJECTED, f"bpb cannot be compared: {_headline(str(error))}")
    delta = difference.delta
    if not (math.isfinite(delta) and delta > 0 and after < before):
        return Decision(Verdict.REJECTED, f"bpb {after:.4f} is not below the incumbent's {before:.4f}", delta)
    if shared:
        margin = critical_value(CONFIDENCE, None) * difference.standard_error
        why = f"documents ±{difference.standard_error:.4f}, same weights"
    elif noise is None:
        return Decision(Verdict.REJECTED, "the training noise is unknown, so bpb cannot be judged", delta)
    else:
        training = noise.sd * math.sqrt(1 / len(paired) + 1 / len(candidate))
        total = math.hypot(difference.standard_error, training)
        margin = critical_value(CONFIDENCE, noise.seeds - 1 if noise.sd > 0 else None) * total
        why = f"documents ±{difference.standard_error:.4f}, seeds ±{training:.4f}"
    margin = max(margin, floor)
    if not delta > margin:
        return Decision(
            Verdict.REJECTED,
            f"bpb {before:.4f} -> {after:.4f}: the fall of {_bits(delta)} is within the margin of "
            f"{_bits(margin)} ({why})",
            delta,
            margin,
        )
    return Decision(
        Verdict.ACCEPTED,
        f"bpb {before:.4f} -> {after:.4f}: the fall of {_bits(delta)} exceeds the margin of {_bits(margin)} ({why})",
        delta,
        margin,
    )


def confirm(decision: Decision, first: Grade, second: Grade) -> Decision:
    """Uphold an acceptance only if a second scoring of the same weights, audited more closely, says the same."""
    problems = suite_problems(second, None)
    if problems:
        return replace(
            decision,
            verdict=Verdict.REJECTED,
            reason=f"the score does not hold up when it is measured again: {_headline(problems[0])}",
        )
    before, after = bits_per_byte(first.scores), bits_per_byte(second.scores)
    if not abs(before - after) <= REPEATS_WITHIN:
        return replace(
            decision,
            verdict=Verdict.REJECTED,
            reason=f"the score does not repeat: the same weights cost {before:.4f} bpb, then {after:.4f}",
        )
    positions = sum(grade.audit.positions for grade in (first, second) if grade.audit is not None)
    return replace(decision, reason=f"{decision.reason}; audited twice, at {positions:,} positions in all")


def first_line(text: str) -> str:
    """Return the line of a failure message that says most: pytest's `E` line, else the first one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (errors or lines or [""])[0][:300]


def _bits(value: float) -> str:
    """Show bits per byte with four decimals, or in powers of ten where these would say nothing."""
    return f"{value:.4f}" if value >= 5e-5 or value == 0 else f"{value:.0e}"


def _headline(text: str) -> str:
    """Return the first line that says anything: a reason is one line wherever it is printed."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing was said")
