"""Everything that is known of a requirement, and what somebody should look at. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from pytest_evalloop.review.rates import Agreement, Interval, ModeRate
from pytest_evalloop.review.validation import MINIMUM, Disagreement
from pytest_evalloop.suite.results import ModeResult, TestResult

STALE: Final = timedelta(weeks=6)
"""A failure mode has to be reviewed again after so long."""
FEWEST: Final = 30
"""Labelled traces below which a rate says next to nothing."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """An example trace, whole."""

    id: str
    input: str
    output: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stated:
    """A test without its parameters: what its docstring demands, and how it ended last."""

    nodeid: str
    statement: str
    result: TestResult | None = None


@dataclass(frozen=True, slots=True)
class Validated:
    """A check against labels; `problem` says in a sentence why it gave no verdict on some of them."""

    check: str
    agreement: Agreement
    disagreements: tuple[Disagreement, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judging:
    """A judge: what its last look at the test split found, when, and why it may not gate, if so."""

    fingerprint: str
    agreement: Agreement | None = None
    looked: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """All that is known of one failure mode.

    `named` tells whether people named it, in modes.toml; `called` are other titles that its tests give it. `cited`
    are its example traces, the best first, `quoted` those that are kept. `tolerate` is None where no test checks it.
    """

    id: str
    title: str
    severity: str
    definition: str
    reviewed: str
    named: bool
    rate: ModeRate
    cited: tuple[str, ...] = ()
    quoted: tuple[Quoted, ...] = ()
    called: tuple[str, ...] = ()
    tests: tuple[Stated, ...] = ()
    tolerate: float | None = None
    checks: tuple[Validated, ...] = ()
    judge: Judging | None = None
    result: ModeResult | None = None


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything that the document says.

    `thresholds` are tests of the objective, `others` all further tests without a failure mode. `latest` is the date
    of the last result, `search` says how far the search for failure modes went, `command` makes the document.
    """

    modes: tuple[Requirement, ...]
    thresholds: tuple[Stated, ...]
    others: tuple[Stated, ...]
    latest: str
    search: str
    command: str


def flags(mode: Requirement, latest: str) -> tuple[str, ...]:
    """Return, in sentences, what somebody should look at; `latest` is the date of the last result."""
    return tuple(_flags(mode, latest))


def flags_of_test(test: Stated) -> tuple[str, ...]:
    """Return the same of a test without a failure mode."""
    return () if test.statement else ("It has no docstring, so that it states no requirement.",)


def all_flags(requirements: Requirements) -> tuple[str, ...]:
    """Return the flags of all requirements."""
    found = [flag for mode in requirements.modes for flag in flags(mode, requirements.latest)]
    plain = (*requirements.thresholds, *requirements.others)
    return (*found, *(flag for test in plain for flag in flags_of_test(test)))


def _flags(mode: Requirement, latest: str) -> Iterator[str]:
    if not mode.named:
        yield "Nobody named this failure mode: a test checks it, and it is not in modes.toml."
    if not mode.tests:
        yield "No test checks this failure mode."
    if any(not test.statement for test in mode.tests):
        yield "A test of it has no docstring, so that it states no requirement."
    if mode.called:
        other = ", ".join(f'"{title}"' for title in sorted(mode.called))
        yield f"Its tests call it {other}, and modes.toml does not."
    yield from _unseen(mode)
    if not mode.reviewed:
        yield "It was never reviewed."
    elif latest and date.fromisoformat(mode.reviewed) < date.fromisoformat(latest) - STALE:
        yield f"It is stale: reviewed last on {mode.reviewed}, and results changed until {latest}."
    for check in sorted(mode.checks, key=by_check):
        if check.problem:
            yield f"{check.check} {check.problem}"
        yield from _weak(check.check, check.agreement)
    if mode.judge is not None and mode.judge.problem:
        yield mode.judge.problem


def _unseen(mode: Requirement) -> Iterator[str]:
    """Say what people have not looked at."""
    if not mode.cited:
        yield "It cites no trace."
    lost = sorted(set(mode.cited) - {each.id for each in mode.quoted})
    if lost:
        yield f"It cites traces that are not among the kept ones: {', '.join(lost)}."
    if not mode.rate.labelled:
        yield "No trace was labelled for it."
    elif mode.rate.labelled < FEWEST:
        count = "1 trace was" if mode.rate.labelled == 1 else f"{mode.rate.labelled} traces were"
        yield f"Only {count} labelled for it; {FEWEST} are the least that tell something."


def _weak(check: str, agreement: Agreement) -> Iterator[str]:
    for name, rate in (("TPR", agreement.tpr), ("TNR", agreement.tnr)):
        if rate is not None and rate < MINIMUM:
            yield f"{check} agrees too little with people: its {name} is {rate:.2f}, below {MINIMUM:.2f}."


def in_words(agreement: Agreement) -> str:
    """Return TPR and TNR with their Wilson bounds."""
    both = (
        ("TPR", agreement.tpr, agreement.tpr_interval, "pass"),
        ("TNR", agreement.tnr, agreement.tnr_interval, "fail"),
    )
    return ", ".join(
        f"{name} unknown (no label says {word})"
        if rate is None
        else f"{name} {rate:.2f} ({_between(bounds)})"
        for name, rate, bounds, word in both
    )


def _between(bounds: Interval) -> str:
    return f"{bounds.low:.2f} to {bounds.high:.2f}"


def validation(mode: Requirement) -> Iterator[str]:
    """Yield, in sentences, how far checks and judge of a failure mode agree with people, and where they do not."""
    # Where one check stands alone, the failure mode is name enough.
    alone = len(mode.checks) + (mode.judge is not None) == 1
    for check in sorted(mode.checks, key=by_check):
        name = "" if alone else f"{check.check}: "
        yield f"{name}{validated(check.agreement)}"
        yield from differences(check.disagreements, 3)
        if check.problem:
            yield f"{check.check} {check.problem}"
    if mode.judge is not None:
        name = f"judge {mode.judge.fingerprint}"
        measured = mode.judge.agreement
        yield f"{name}: {in_words(measured)}" if measured else f"{name}: never validated against labels"
    if not mode.checks and mode.judge is None:
        yield "never validated against labels"


def differences(found: Sequence[Disagreement], most: int) -> Iterator[str]:
    """Say on which traces people and a check differ, naming so many of each kind at most."""
    for said, kind in ((True, "false pass (too lenient)"), (False, "false fail (too strict)")):
        traces = sorted(each.trace for each in found if each.said is said)
        more = f" and {len(traces) - most} more" if len(traces) > most else ""
        if traces:
            yield f"{kind}: {', '.join(traces[:most])}{more}"


def validated(agreement: Agreement) -> str:
    """Say how far a check agrees with people, if anybody looked."""
    count = agreement.passes + agreement.fails
    if not count:
        return "never validated against labels"
    return f"validated against {count} label{'' if count == 1 else 's'}: {in_words(agreement)}"


def by_check(check: Validated) -> str:
    """Return what checks are sorted by."""
    return check.check
