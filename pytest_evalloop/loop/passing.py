"""What counts as a pass: pure functions from grades to the problems that they show, in sentences."""

from __future__ import annotations

import re
from dataclasses import replace

from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.records import Decision, Grade, Status, Training, Verdict

REPEATS_WITHIN = 1e-4
"""Bits per byte by which a second scoring of the same weights may differ: rounding on an accelerator."""
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)\b.*", re.MULTILINE)


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


def confirm(decision: Decision, first: Grade, second: Grade) -> Decision:
    """Uphold an acceptance only if a second scoring of the same weights, audited more closely, says the same."""
    problems = suite_problems(second, None)
    if problems:
        return replace(
            decision,
            verdict=Verdict.REJECTED,
            reason=f"the score does not hold up when it is measured again: {headline(problems[0])}",
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
    return _within((errors or lines or [""])[0], 300)


def broken_training(training: Training) -> str:
    """Say in one line how a training failed, with the exception that its log ends with, if it is Python's."""
    said = f"training {training.status.replace('_', ' ')}: {first_line(training.detail)}"
    raised = _EXCEPTION.findall(training.detail)
    return f"{said}: {_within(raised[-1].strip(), 200)}" if raised and raised[-1] not in said else said


def headline(text: str) -> str:
    """Return the first line that says anything: a reason is one line wherever it is printed."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing was said")


def _within(text: str, most: int) -> str:
    """Return `text` in `most` characters, cut in its middle: the name of a file that is missing stands at the end."""
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[head + 1 - most :]}"
