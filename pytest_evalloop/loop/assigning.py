"""What a grading is asked for, and the eval process that is started for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pytest_evalloop.loop.grading import Grading, Suite, begin
from pytest_evalloop.loop.slots import Slot
from pytest_evalloop.records import Candidate, DocumentScore
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.home import Home
from pytest_evalloop.store.workspace import Workspace
from pytest_evalloop.suite.assignment import Assignment

PATIENCE = 30.0
"""Seconds that a grading waits for a training to end, at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a grading is asked for.

    `split` (val or vault) is what is scored, `positions` how many of its positions are audited. A `stand_in`
    answers in the candidate's place. `scores` is what these artifacts are known to cost, so that a stand-in
    with the same costs is not scored. `few` is how many bytes of documents are scored at most, 0 for all.
    """

    objective_only: bool = False
    split: str = "val"
    positions: int | None = None
    stand_in: str = ""
    scores: tuple[DocumentScore, ...] = ()
    few: int = 0

    @property
    def ordinary(self) -> bool:
        """Whether it costs about what grading the baseline did: the same documents, and no closer look."""
        return self.split == "val" and self.positions is None and not self.stand_in

    def name(self, seed: int) -> str:
        """Return what such a grading of a training under a seed is called."""
        if self.stand_in:
            return f"canary-{self.stand_in}"
        purpose = "tryout" if self.few else "audit" if self.positions else {"val": "grade"}.get(self.split)
        return f"{purpose or self.split}-seed-{seed}"


SUITE = Asked()
"""The whole suite, on the candidate itself."""


@dataclass(frozen=True, slots=True)
class Most:
    """What a grading may use at most: seconds of wall clock, and an ordinary one CPU seconds; None is no cap."""

    seconds: float
    compute: float | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """The artifacts of a training under a seed, `finished` or about to be."""

    artifacts: Path
    seed: int
    finished: bool = True


class Assigner:
    """Starts the trusted suite on what candidates of one run have made."""

    def __init__(self, settings: Settings, run: str, home: Home, workspace: Workspace, suite: Suite) -> None:
        self._settings = settings
        self._run = run
        self._home = home
        self._workspace = workspace
        self._suite = suite

    @contextlib.contextmanager
    def begin(
        self, candidate: Candidate, asked: Asked, expected: Expected, slot: Slot, most: Most
    ) -> Iterator[Grading]:
        """Start a grading that uses no more than it may; it waits to be released where the artifacts are not finished.

        The artifacts are loaded by the candidate's own tree, in processes of their own.
        """
        name = asked.name(expected.seed)
        logs = self._home.candidate(self._run, candidate.number) / name
        known = logs / "scores.json"
        if asked.scores:
            logs.mkdir(parents=True, exist_ok=True)
            known.write_bytes(msgspec.json.encode(asked.scores))
        # Stand-ins are graded side by side, so each without workers.
        suite = replace(self._suite, workers=None) if asked.stand_in else self._suite
        with self._workspace.worktree(worktree_name(candidate.number, name), candidate.commit) as tree:
            assignment = Assignment(
                root=str(self._settings.root),
                tree=str(tree),
                artifacts=str(expected.artifacts),
                logs=str(logs),
                id=f"{self._run}/{candidate.number}",
                commit=candidate.commit,
                mutable=self._settings.mutable,
                objective_only=asked.objective_only,
                split=asked.split,
                positions=asked.positions,
                stand_in=asked.stand_in,
                scores=str(known) if asked.scores else "",
                few=asked.few,
            )
            begun = begin(
                suite,
                assignment,
                seconds=most.seconds if expected.finished else most.seconds + PATIENCE,
                compute=most.compute if asked.ordinary else None,
                variables=slot.variables,
                waits=not expected.finished,
            )
            with begun as grading:
                yield grading


def worktree_name(number: int, what: str) -> str:
    """Name a worktree after this process, so that loops of two runs never share one."""
    return f"loop-{os.getpid()}-{number}-{what}"
