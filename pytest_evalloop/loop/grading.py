"""Grades one set of artifacts: an eval process over the trusted suite, one JSON line a test phase."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_evalloop.candidate.client import tail
from pytest_evalloop.candidate.process import Limits, clean_environment, launch
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
    lines, result, log = _run(suite, assignment, ["--collect-only"], seconds)
    found = [line for line in lines if isinstance(line, Collected)]
    finished = [line for line in lines if isinstance(line, Finished)]
    if result.returncode in (0, 5) and finished:
        return (found[0] if found else Collected((), objective=False)), ""
    return None, _why(finished, log)


def grade(
    suite: Suite,
    assignment: Assignment,
    *,
    seconds: float,
    variables: Mapping[str, str] | None = None,
) -> Grade:
    """Run the suite on the assigned artifacts for at most `seconds` of wall clock and return what it said.

    `variables` are added to the environment of its process.
    """
    started = time.monotonic()
    lines, result, log = _run(suite, assignment, [], seconds, variables)
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
        wall_seconds=time.monotonic() - started,
        host_seconds=sum(line.seconds for line in lines if isinstance(line, HostStarted)),
        detail="" if honest and finished[-1].exit_status in (0, 1) else _why(finished, log, result),
        audit=measured.audit,
        documents=measured.documents,
    )


def _run(
    suite: Suite,
    assignment: Assignment,
    extra: list[str],
    seconds: float,
    variables: Mapping[str, str] | None = None,
) -> tuple[list[Line], ProcessResult, Path]:
    """Run one eval process; its outcome lines come through an unnamed file that nobody else can open."""
    logs = Path(assignment.logs)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "evals.log"
    command = [sys.executable, "-m", "pytest", *suite.evals, "--rootdir", str(suite.tree)]
    command += ["-c", str(suite.tree / suite.inifile)] if suite.inifile is not None else []
    command += ["-p", "no:cacheprovider", "--tb=short", "--color=no", *extra]
    command += ["-n", suite.workers] if suite.workers and not extra else []
    with tempfile.TemporaryFile() as outcomes:
        # No example that one candidate failed decides about the next, and none is kept in the trusted tree.
        told = {"HYPOTHESIS_STORAGE_DIRECTORY": str(logs / "hypothesis"), **(variables or {})}
        environment = clean_environment(**told, **to_environment(assignment, outcomes.fileno()))
        with launch(
            command,
            cwd=suite.tree,
            env=environment,
            log=log,
            limits=Limits(wall_seconds=seconds),
            pass_fds=[outcomes.fileno()],
        ) as process:
            result = process.wait(tick=go_on)
        data = os.pread(outcomes.fileno(), os.fstat(outcomes.fileno()).st_size, 0)
    try:
        return decode(data), result, log
    except ValueError as error:
        return [], replace(result, status=Status.CRASHED, detail=str(error)), log


def _why(finished: list[Finished], log: Path, result: ProcessResult | None = None) -> str:
    said = finished[-1].detail if finished else ""
    ended = result.detail if result is not None and not finished else ""
    return "\n".join(part for part in (ended, said or tail(log), f"The whole log is {log}.") if part)
