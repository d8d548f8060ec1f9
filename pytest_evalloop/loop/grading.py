"""Grades one set of artifacts: an eval process over the trusted suite, one JSON line a test phase."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from pytest_evalloop.candidate.client import tail
from pytest_evalloop.candidate.process import Limits, Process, clean_environment, launch
from pytest_evalloop.loop.crew import go_on
from pytest_evalloop.records import Grade, ProcessResult, Status
from pytest_evalloop.suite.assignment import Assignment, to_environment
from pytest_evalloop.suite.outcomes import (
    Collected,
    Finished,
    HostStarted,
    Judged,
    Line,
    Measured,
    Phase,
    cases,
    decode,
)


@dataclass(frozen=True, slots=True)
class Suite:
    """The trusted suite: its checkout, the ini file in it, the eval folders, xdist's `-n` if any, its faults."""

    tree: Path
    inifile: Path | None
    evals: tuple[str, ...]
    workers: str | None = None
    faults: tuple[str, ...] = ()


def collect(suite: Suite, assignment: Assignment, *, seconds: float) -> tuple[Collected | None, str]:
    """Collect the suite without running it; returns what it holds, or None and why it cannot be collected."""
    with begin(suite, assignment, seconds=seconds, extra=("--collect-only",)) as grading:
        lines, result, log = grading.lines()
    found = [line for line in lines if isinstance(line, Collected)]
    finished = [line for line in lines if isinstance(line, Finished)]
    if result.returncode in (0, 5) and finished:
        return (found[0] if found else Collected((), objective=False)), ""
    return None, _why(finished, log)


class Grading:
    """An eval process under way; one that began before the artifacts were there waits for `release`."""

    def __init__(self, process: Process, outcomes: IO[bytes], gate: int | None, log: Path) -> None:
        self._process = process
        self._outcomes = outcomes
        self._gate = gate
        self._log = log
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since it began, or since it was released."""
        return time.monotonic() - self._began

    def release(self) -> None:
        """Let it run its tests: the artifacts are there."""
        if self._gate is not None:
            with contextlib.suppress(OSError):  # it has ended already, and says how
                os.write(self._gate, b"g")
        self._began = time.monotonic()

    def grade(self) -> Grade:
        """Wait for its end and return what it said."""
        return _grade(*self.lines(), self.seconds)

    def lines(self) -> tuple[list[Line], ProcessResult, Path]:
        """Wait for its end and return its lines, how it ended, and its log."""
        result, number = self._process.wait(tick=go_on), self._outcomes.fileno()
        try:
            return decode(os.pread(number, os.fstat(number).st_size, 0)), result, self._log
        except ValueError as error:
            return [], replace(result, status=Status.CRASHED, detail=str(error)), self._log


def _grade(lines: list[Line], result: ProcessResult, log: Path, seconds: float) -> Grade:
    outcomes = cases(lines)
    finished = [line for line in lines if isinstance(line, Finished)]
    honest = bool(finished) and finished[-1].exit_status == result.returncode
    status = Status.COMPLETED if honest else result.status
    if status is Status.COMPLETED and not honest:
        status = Status.CRASHED
    measured = next((line for line in lines if isinstance(line, Measured)), Measured(()))
    return Grade(
        status=status,
        exit_status=finished[-1].exit_status if finished else None,
        outcomes=outcomes,
        rates=tuple(line.rate for line in lines if isinstance(line, Judged)),
        scores=measured.scores,
        check_seconds=sum(line.seconds for line in lines if isinstance(line, Phase)),
        wall_seconds=seconds,
        host_seconds=sum(line.seconds for line in lines if isinstance(line, HostStarted)),
        detail="" if honest and finished[-1].exit_status in (0, 1) else _why(finished, log, result),
        audit=measured.audit,
        documents=measured.documents,
        compute_seconds=result.cpu_seconds,
    )


@contextlib.contextmanager
def begin(
    suite: Suite,
    assignment: Assignment,
    *,
    seconds: float,
    compute: float | None = None,
    variables: Mapping[str, str] | None = None,
    extra: Sequence[str] = (),
    waits: bool = False,
) -> Iterator[Grading]:
    """Start the suite on the assigned artifacts, for at most `seconds` of wall clock; its tree is killed on leaving.

    It may use `compute` CPU seconds, those of the candidate's hosts included. With `waits` it runs no test before
    it is released. `variables` are added to the environment of its process. Its outcome lines come through an
    unnamed file that nobody else can open.
    """
    logs = Path(assignment.logs)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "evals.log"
    command = [sys.executable, "-m", "pytest", *suite.evals, "--rootdir", str(suite.tree)]
    command += ["-c", str(suite.tree / suite.inifile)] if suite.inifile is not None else []
    command += ["-p", "no:cacheprovider", "--tb=short", "--color=no", *extra]
    command += ["-n", suite.workers] if suite.workers and not extra else []
    with contextlib.ExitStack() as stack:
        outcomes = stack.enter_context(tempfile.TemporaryFile())
        told_by, gate = os.pipe() if waits else (None, None)
        for end in (told_by, gate):
            if end is not None:
                stack.callback(os.close, end)
        passed = [outcomes.fileno()] + ([told_by] if told_by is not None else [])
        # No example that one candidate failed decides about the next, and none is kept in the trusted tree.
        told = {"HYPOTHESIS_STORAGE_DIRECTORY": str(logs / "hypothesis"), **(variables or {})}
        environment = clean_environment(**told, **to_environment(assignment, outcomes.fileno(), told_by))
        process = launch(
            command,
            cwd=suite.tree,
            env=environment,
            log=log,
            limits=Limits(wall_seconds=seconds, cpu_seconds=compute),
            pass_fds=passed,
        )
        yield Grading(stack.enter_context(process), outcomes, gate, log)


def _why(finished: list[Finished], log: Path, result: ProcessResult | None = None) -> str:
    said = finished[-1].detail if finished else ""
    ended = result.detail if result is not None and not finished else ""
    return "\n".join(part for part in (ended, said or tail(log), f"The whole log is {log}.") if part)
