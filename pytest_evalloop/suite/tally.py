"""The failure modes of one session: read from markers, their cases folded from reports, judged at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_evalloop.suite.failure_modes import FailureMode, MarkerError, base, from_marker, rate, sentence

if TYPE_CHECKING:
    from pytest_evalloop.records import Rate

_MODE = pytest.StashKey[FailureMode]()
_EXAMPLES = 3


class Case(NamedTuple):
    """One test of a failure mode: whether it failed, what it said, and whether it looks at written text."""

    nodeid: str
    failed: bool
    message: str
    generates: bool


class Judgement(NamedTuple):
    """One rate, the node id under which it is reported, and what to say if it failed."""

    rate: Rate
    nodeid: str
    failure: str | None


class Tally:
    """Knows the failure modes of a session and counts their cases."""

    def __init__(self) -> None:
        self._modes: dict[str, FailureMode] = {}
        self._cases: dict[str, list[Case]] = {}

    def read(self, item: pytest.Item) -> None:
        """Read the marker of a test; raises `MarkerError` when it makes no sense or contradicts another one."""
        mark = item.get_closest_marker("failure_mode")
        if mark is None:
            return
        try:
            mode = from_marker(mark)
        except MarkerError as error:
            raise MarkerError(f"{item.nodeid}: {error}") from None
        known = self._modes.setdefault(mode.id, mode)
        if known != mode:
            raise MarkerError(
                f"{item.nodeid}: failure mode {mode.id} was declared before with other words or limits. "
                "Declare it once and use that marker for all of its cases."
            )
        item.stash[_MODE] = known

    def note(self, item: pytest.Item, call: pytest.CallInfo[None]) -> dict[str, Any]:
        """Return what the report of a test's own phase carries to the main process; empty for no case.

        Only a check that says no is a case that failed; any other error is a failing test of its own.
        """
        mode = item.stash.get(_MODE, None)
        occurred = call.excinfo is not None and call.excinfo.errisinstance(
            (AssertionError, pytest.fail.Exception)
        )
        if mode is None or (call.excinfo is not None and not occurred):
            return {}
        message = call.excinfo.exconly()[:500] if call.excinfo is not None else ""
        generates = "generate" in getattr(item, "fixturenames", ())
        limits = [mode.tolerate, mode.false_alarms]
        words = [mode.id, mode.title, mode.severity, list(mode.traces), *limits]
        note: dict[str, Any] = {"mode": words, "case": [item.nodeid, occurred, message, generates]}
        return note | ({"tolerated": True} if occurred and mode.tolerate > 0 else {})

    def fold(self, note: dict[str, Any]) -> None:
        """Count the case that a report carries, if any."""
        if "mode" not in note:
            return
        identity, title, severity, traces, *limits = note["mode"]
        self._modes[identity] = FailureMode(identity, title, severity, tuple(traces), *limits)
        self._cases.setdefault(identity, []).append(Case(*note["case"]))

    def judge(self) -> Iterator[Judgement]:
        """Yield the verdict on every failure mode that had a case, by id."""
        for identity, cases in sorted(self._cases.items()):
            mode = self._modes[identity]
            judged = rate(
                mode,
                (case.failed for case in cases),
                tests=sorted({base(case.nodeid) for case in cases}),
                generates=any(case.generates for case in cases),
            )
            file = cases[0].nodeid.partition("::")[0]
            failed = sorted((case.nodeid, case.message) for case in cases if case.failed)
            examples = [f"  {nodeid}: {text}" for nodeid, text in failed[:_EXAMPLES]]
            failure = None if judged.passed else "\n".join([sentence(judged), "for example", *examples])
            yield Judgement(judged, f"{file}::{identity}", failure)
