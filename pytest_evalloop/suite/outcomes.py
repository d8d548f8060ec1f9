"""The outcome lines of an eval process: one JSON line a test phase, over a private descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

import msgspec

from pytest_evalloop.records import Audit, CaseOutcome, DocumentScore, Rate


class Collected(msgspec.Struct, frozen=True, tag=True):
    """What is about to run, whether any of it measures the objective, the vault if any, and plantable faults."""

    nodeids: tuple[str, ...]
    objective: bool
    vault: bool = False
    faults: tuple[str, ...] = ()


class Phase(msgspec.Struct, frozen=True, tag=True):
    """One phase (setup, call, teardown) of one test."""

    nodeid: str
    when: str
    outcome: str
    seconds: float
    message: str = ""


class Measured(msgspec.Struct, frozen=True, tag=True):
    """The objective: every document with its bits and bytes, their digest, and what the audit found."""

    scores: tuple[DocumentScore, ...]
    documents: str = ""
    audit: Audit | None = None


class HostStarted(msgspec.Struct, frozen=True, tag=True):
    """How long it took to start a host: a cost of the harness, not of a check."""

    seconds: float


class Judged(msgspec.Struct, frozen=True, tag=True):
    """The rate of one failure mode."""

    rate: Rate


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The last line: the exit status that the eval process is about to end with."""

    exit_status: int
    detail: str = ""


Line = Collected | Phase | Measured | HostStarted | Judged | Finished


class Writer:
    """Writes outcome lines to an inherited descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)

    def write(self, line: Line) -> None:
        """Write one line; a reader that is gone is no error, it has seen enough."""
        data = msgspec.json.encode(line) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except BrokenPipeError:
            return


def decode(data: bytes) -> list[Line]:
    """Read outcome lines; raises `ValueError` for a line that is none, but for a torn last one."""
    *whole, _torn = data.split(b"\n")
    try:
        return [msgspec.json.decode(line, type=Line) for line in whole if line]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the eval process wrote a line that is no outcome ({error})") from error


def cases(lines: Iterable[Line]) -> tuple[CaseOutcome, ...]:
    """Fold phases into one outcome a test: the first phase that did not pass decides, as in pytest.

    A test whose own phase is missing, as when its process died in it, is `unfinished`.
    """
    folded: dict[str, CaseOutcome] = {}
    called: set[str] = set()
    for line in lines:
        if not isinstance(line, Phase):
            continue
        if line.when == "call":
            called.add(line.nodeid)
        before = folded.get(line.nodeid)
        outcome = "error" if line.outcome == "failed" and line.when != "call" else line.outcome
        if before is None:
            folded[line.nodeid] = CaseOutcome(line.nodeid, outcome, line.seconds, line.message)
        else:
            decided = before.outcome != "passed" or outcome == "passed"
            folded[line.nodeid] = CaseOutcome(
                line.nodeid,
                before.outcome if decided else outcome,
                before.seconds + line.seconds,
                before.message if decided else line.message,
            )
    return tuple(
        replace(case, outcome="unfinished")
        if case.outcome == "passed" and case.nodeid not in called
        else case
        for case in folded.values()
    )
