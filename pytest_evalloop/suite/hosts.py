"""The processes of the candidate that a session asks: its host, and the blind one that audits it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_evalloop.candidate.client import Client, begin
from pytest_evalloop.candidate.process import Limits
from pytest_evalloop.candidate.sandbox import for_candidates
from pytest_evalloop.candidate.training import memory_limit
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.assignment import Assignment, log_file

HOST, BLIND = "host", "blind"


class Hosts:
    """Starts fresh processes of one candidate, also ahead of the moment at which they are asked for.

    A context manager that ends those that were started ahead. Raises `SettingsError` if the sandbox that the
    settings want does not work.
    """

    def __init__(self, settings: Settings, assignment: Assignment) -> None:
        self._settings = settings
        self._assignment = assignment
        self._jail = for_candidates(settings)
        self._ahead: dict[str, Client] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start(self, *names: str) -> None:
        """Start processes that import the candidate's code while this one goes on; its artifacts may come later."""
        for name in names:
            self._ahead[name] = self._stack.enter_context(self._begin(name))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[Client]:
        """Yield the client of a process that has loaded the candidate; raises `CandidateError` when it cannot.

        One that was started ahead is given out once.
        """
        with contextlib.ExitStack() as stack:
            client = self._ahead.pop(name, None) or stack.enter_context(self._begin(name))
            primer = read_primer(self._settings, self._assignment)
            client.load(Path(self._assignment.artifacts), primer)
            yield client

    def _begin(self, name: str) -> contextlib.AbstractContextManager[Client]:
        settings, assignment = self._settings, self._assignment
        return begin(
            tree=Path(assignment.tree),
            artifacts=Path(assignment.artifacts),
            load=settings.load,
            log=log_file(assignment, name),
            limits=Limits(memory_bytes=memory_limit(settings)),
            answer_seconds=settings.grade_seconds,
            identity=(assignment.id, assignment.commit),
            sandbox=self._jail,
        )


def read_primer(settings: Settings, assignment: Assignment) -> bytes:
    """Return the primer in the candidate's tree, empty where there is none."""
    primer = Path(assignment.tree) / settings.prompt if settings.prompt else None
    return primer.read_bytes() if primer is not None and primer.is_file() else b""
