"""Tells an eval process which candidate it grades; the loop writes it, the process only reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ASSIGNMENT = "EVALLOOP_ASSIGNMENT"
OUTCOMES = "EVALLOOP_OUTCOMES"
GATE = "EVALLOOP_GATE"
"""The descriptor that a process waits at before its first test: it is told when the artifacts are there."""
WORKING_TREE = "working tree"
"""The id of the candidate in a session that somebody started by hand."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One set of artifacts to grade: whose they are, the tree that loads them, where logs go.

    `root` is the user's project, `tree` the candidate's own, `mutable` the globs that evals may not
    import from. With `objective_only`, only the tests that use the objective run. `split` names the documents
    that are scored, `val` or `vault`; `positions` is how many of them are audited, None for the setting;
    `stand_in` is the planted fault, or the human text, that is graded in the candidate's place; `scores` is a
    file with what the documents cost the candidate, so that a stand-in with the same costs is not asked again;
    `few` is how many bytes of documents a tryout scores at most, 0 for all.
    """

    root: str
    tree: str
    artifacts: str
    logs: str
    id: str
    commit: str
    mutable: tuple[str, ...] = ()
    objective_only: bool = False
    split: str = "val"
    positions: int | None = None
    stand_in: str = ""
    scores: str = ""
    few: int = 0


def to_environment(assignment: Assignment, outcomes: int, gate: int | None = None) -> dict[str, str]:
    """Return the environment variables that hand `assignment` to an eval process, which may wait at a `gate`."""
    import msgspec

    handed = {ASSIGNMENT: msgspec.json.encode(assignment).decode(), OUTCOMES: str(outcomes)}
    return handed if gate is None else {**handed, GATE: str(gate)}


def wait_at_gate(environment: Mapping[str, str] = os.environ) -> bool:
    """Wait until the artifacts are there, where a gate is in the way; tells whether there is anything to grade."""
    gate = environment.get(GATE)
    return gate is None or os.read(int(gate), 1) != b""


def from_environment(environment: Mapping[str, str] = os.environ) -> Assignment | None:
    """Return the assignment of this process, None in a pytest session that somebody started by hand."""
    text = environment.get(ASSIGNMENT)
    if text is None:
        return None
    import msgspec

    return msgspec.json.decode(text, type=Assignment)


def log_file(assignment: Assignment, host: str) -> Path:
    """Return the log of one host of this process: its own, since `-n` starts hosts in every worker."""
    return Path(assignment.logs) / f"{host}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.log"
