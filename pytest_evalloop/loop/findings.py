"""Can the suite fail, and does it blame people? Pure judgement over the gradings of stand-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_evalloop.loop.passing import first_line
from pytest_evalloop.records import Grade, Rate, Status
from pytest_evalloop.suite.failure_modes import base
from pytest_evalloop.suite.faults import describe


@dataclass(frozen=True, slots=True)
class Planted:
    """What the suite did about one fault: the failure modes and the plain tests that failed.

    `trouble` says why the fault could not be planted, so that nothing is known about it.
    """

    name: str
    modes: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def caught(self) -> bool:
        """Whether anything failed."""
        return bool(self.modes or self.tests)


@dataclass(frozen=True, slots=True)
class Mode:
    """A failure mode and its false alarms: on how many of `cases` human texts its check fails.

    `cases` is 0 where the check looks at no text, or where the control could not be run.
    """

    id: str
    title: str
    false_alarms: int
    cases: int
    allowed: float

    @property
    def rate(self) -> float | None:
        """The share of human texts on which the check fails, None where nothing is known."""
        return self.false_alarms / self.cases if self.cases else None

    @property
    def within(self) -> bool:
        """Whether the false alarms are within what is allowed."""
        return self.rate is None or self.rate <= self.allowed


@dataclass(frozen=True, slots=True)
class Canary:
    """What planted faults and human text said about an eval suite.

    `tests` are the plain tests, those of no failure mode, without parameters; `blaming` are those of them that
    fail on human text. `trouble` says why the control could not be run.
    """

    faults: tuple[Planted, ...]
    modes: tuple[Mode, ...]
    tests: tuple[str, ...]
    blaming: tuple[str, ...] = ()
    trouble: str = ""
    seconds: float = 0.0

    def catches(self, mode: str) -> tuple[str, ...]:
        """Return the faults that a failure mode catches."""
        return tuple(fault.name for fault in self.faults if mode in fault.modes)

    @property
    def passed(self) -> bool:
        """Whether every fault was caught and no check is over its allowance."""
        return all(fault.caught for fault in self.faults) and not refusals(self)


def judge(
    baseline: Grade, faults: Mapping[str, Grade | str], control: Grade | str, seconds: float = 0.0
) -> Canary:
    """Read the gradings of faults and control against the baseline's; a text is why there is none."""
    owners = _owners(baseline)
    bases = dict.fromkeys(base(case.nodeid) for case in baseline.outcomes)
    tests = tuple(name for name in bases if name not in owners)
    planted = tuple(_planted(name, baseline, grade, owners, tests) for name, grade in faults.items())
    trouble = _trouble(control)
    if isinstance(control, str) or trouble:
        modes = tuple(Mode(rate.id, rate.title, 0, 0, rate.false_alarms) for rate in baseline.rates)
        return Canary(planted, modes, tests, trouble=trouble, seconds=seconds)
    modes = tuple(_mode(rate, control) for rate in baseline.rates)
    failed = _failed(baseline, control)
    return Canary(planted, modes, tests, tuple(name for name in tests if name in failed), seconds=seconds)


def refusals(canary: Canary) -> tuple[str, ...]:
    """Return why the suite cannot gate, in sentences; empty when it can."""
    sentences = []
    planted = [fault for fault in canary.faults if not fault.trouble]
    if not planted:
        sentences.append("No fault could be planted, so that nobody knows whether the suite can fail.")
    elif not any(fault.caught for fault in planted):
        names = ", ".join(fault.name for fault in planted)
        sentences.append(
            f"No planted fault makes the suite fail: every test passes on each of {names}. A suite that cannot fail "
            "cannot gate. Lower the threshold on val_bpb to what the baseline reaches, or check what it writes."
        )
    sentences += [
        f"{mode.id} ({mode.title}) raises false alarms: its check fails on {mode.false_alarms} of {mode.cases} "
        f"human texts, which is {percent(mode.rate)}, and {percent(mode.allowed)} are allowed. Repair the check, "
        "or raise false_alarms in its marker and say why beside it."
        for mode in canary.modes
        if not mode.within
    ]
    return tuple(sentences)


def unnoticed(fault: Planted) -> str:
    """Say that a fault was not caught, and what to do; empty when it was."""
    clause = describe(fault.name)
    what = f"{fault.name} ({clause})" if clause else fault.name
    if fault.trouble:
        return f"The fault {what} could not be planted: {fault.trouble}"
    if fault.caught:
        return ""
    return f"The suite does not notice the fault {what}: every test passes. Write a check that fails on it."


def remarks(canary: Canary) -> tuple[str, ...]:
    """Return what else should be known about the suite, in sentences."""
    sentences = []
    if canary.trouble:
        sentences.append(f"The false alarms on human text are unknown: {canary.trouble}")
    sentences += [
        f"{mode.id} ({mode.title}) catches no planted fault. See it fail once: plant a fault of your own with "
        "pytest_evalloop_faults."
        for mode in canary.modes
        if not canary.catches(mode.id)
    ]
    sentences += [
        f"{name} fails on human text. Repair it, or give it a failure mode." for name in canary.blaming
    ]
    return tuple(sentences)


def percent(share: float | None) -> str:
    """Write a share as a percentage, a dash where there is none."""
    return "-" if share is None else f"{100 * share:.3g} %"


def _owners(baseline: Grade) -> dict[str, str]:
    """Return the failure mode of every test that has one, and of the result under which its rate is reported."""
    owners = {}
    for rate in baseline.rates:
        for test in rate.tests:
            owners[test] = owners[f"{test.partition('::')[0]}::{rate.id}"] = rate.id
    return owners


def _planted(
    name: str, baseline: Grade, grade: Grade | str, owners: Mapping[str, str], tests: tuple[str, ...]
) -> Planted:
    trouble = _trouble(grade)
    if isinstance(grade, str) or trouble:
        return Planted(name, trouble=trouble)
    failed = _failed(baseline, grade)
    ids = {rate.id for rate in grade.rates if not rate.passed} | {
        owners[test] for test in failed if test in owners
    }
    modes = tuple(rate.id for rate in baseline.rates if rate.id in ids)
    return Planted(name, modes, tuple(test for test in tests if test in failed))


def _trouble(grade: Grade | str) -> str:
    """Say why a stand-in was not graded; empty when it was."""
    if isinstance(grade, str):
        return grade
    if grade.status is not Status.COMPLETED:
        return f"the eval process {grade.status.replace('_', ' ')}: {first_line(grade.detail)}"
    if grade.host_seconds <= 0:  # whatever stands in for the candidate says how long that took
        messages = [case.message for case in grade.outcomes if case.message]
        return first_line(messages[0]) if messages else f"no test asked for it ({first_line(grade.detail)})"
    return ""


def _failed(baseline: Grade, grade: Grade) -> set[str]:
    """Return the tests that did not pass; those that did not even run only count when nothing else failed."""
    failed = {base(case.nodeid) for case in grade.outcomes if case.outcome != "passed"}
    seen = {case.nodeid for case in grade.outcomes}
    return failed or {base(case.nodeid) for case in baseline.outcomes if case.nodeid not in seen}


def _mode(rate: Rate, control: Grade) -> Mode:
    """Count the cases of a failure mode that fail on human text, whichever way they fail."""
    if not rate.generates:
        return Mode(rate.id, rate.title, 0, 0, rate.false_alarms)
    tests = set(rate.tests)
    failed = sum(case.outcome != "passed" and base(case.nodeid) in tests for case in control.outcomes)
    if rate.tolerate > 0:  # such a case passes, and is counted in the rate alone
        failed += sum(found.failures for found in control.rates if found.id == rate.id)
    return Mode(rate.id, rate.title, min(failed, rate.cases), rate.cases, rate.false_alarms)
