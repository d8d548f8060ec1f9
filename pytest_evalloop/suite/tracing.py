"""Keeps what evals saw for review: traces of the candidate, as JSON lines below `.evalloop/traces/`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.journal import Journal
from pytest_evalloop.review.traces import StoredTrace, content_id, encode
from pytest_evalloop.store.home import Home
from pytest_evalloop.suite.assignment import WORKING_TREE, Assignment, from_environment


class RecordTrace(Protocol):
    """What the fixture `record_trace` returns."""

    def __call__(
        self,
        trace: Trace | None = None,
        *,
        input: str | bytes = "",  # noqa: A002 - the words of a trace
        output: str | bytes = "",
        steps: Sequence[Mapping[str, object]] = (),
        metadata: Mapping[str, object] | None = None,
    ) -> str:
        """Keep a trace for review, given whole or in parts, and return its id.

        Bytes are read as UTF-8, what is none becomes the replacement character. Raises `StoreError` if it cannot
        be written, `TypeError` for a trace and parts at once.
        """
        ...


class TraceBuilder:
    """A trace that a test puts together; it is recorded when the test ends, also when it failed."""

    __slots__ = ("input", "metadata", "output", "steps")

    def __init__(self) -> None:
        self.input: str | bytes = ""
        self.output: str | bytes = ""
        self.steps: list[Mapping[str, object]] = []
        self.metadata: dict[str, object] = {}

    def step(self, name: str, /, **details: object) -> None:
        """Add a step between input and output: a prompt, a call of a tool, an answer of it."""
        self.steps.append({"name": name, **details})

    @property
    def empty(self) -> bool:
        """Whether there is nothing to read in it."""
        return not (self.input or self.output or self.steps)


class Shelf:
    """The file of traces that one session, perhaps in several processes at once, appends to."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: set[str] = set()
        self._read = 0
        self._decoder = msgspec.json.Decoder(_Name)

    def put(self, stored: StoredTrace) -> None:
        """Append a trace unless it stands there already; raises `StoreError` if it cannot be written."""
        if stored.id in self._known:
            return
        with Journal.open(self._file, wait=True) as journal:
            self._catch_up()  # under the lock, so that no other process adds the same one in between
            if stored.id not in self._known:
                journal.append(encode(stored), durable=False)
                self._known.add(stored.id)

    def _catch_up(self) -> None:
        """Learn the ids of what was added since the last time."""
        with self._file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < self._read:  # somebody cleaned up
                self._known, self._read = set(), 0
            stream.seek(self._read)
            added = stream.read()
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.split(b"\n"):
            try:
                self._known.add(self._decoder.decode(line).id)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # whoever reads the traces says which lines hold none
        self._read += len(whole)


class _Name(msgspec.Struct):
    id: str


class Recorder:
    """Names the traces of one session after test and candidate, and keeps those that are worth reading.

    Left out is what tells nobody anything about the candidate: answers of a stand-in, of a tryout, and those of
    further seeds, in which only the objective is measured. Nothing of the vault is kept, since it would be read.
    """

    def __init__(self, root: Path, assignment: Assignment | None) -> None:
        self._candidate = WORKING_TREE if assignment is None else assignment.id
        self._by_hand = assignment is None
        name = "evals" if assignment is None else assignment.id.replace("/", "-")
        kept = assignment is None or not (
            assignment.stand_in or assignment.objective_only or assignment.few or assignment.split != "val"
        )
        self._shelf = Shelf(Home.open(root).traces / f"{name}.jsonl") if kept else None

    @classmethod
    def open(cls, root: Path) -> Recorder:
        """Return the recorder of this process; raises `StoreError` if `.evalloop/` cannot be used."""
        return cls(root, from_environment())

    def of(self, item: pytest.Item) -> RecordTrace:
        """Return what records the traces of one test."""

        def record(
            trace: Trace | None = None,
            *,
            input: str | bytes = "",  # noqa: A002
            output: str | bytes = "",
            steps: Sequence[Mapping[str, object]] = (),
            metadata: Mapping[str, object] | None = None,
        ) -> str:
            if trace is None:
                trace = Trace(text(input), text(output), tuple(steps))
            elif input or output or steps:
                raise TypeError("record_trace takes a trace or its parts, not both")
            said = {**self._where(item), **trace.metadata, **(metadata or {})}
            whole = Trace(text(trace.input), text(trace.output), tuple(trace.steps), said)
            return self._keep(item.nodeid, whole)

        return record

    def _where(self, item: pytest.Item) -> dict[str, object]:
        mark = item.get_closest_marker("failure_mode")
        where: dict[str, object] = {"test": item.nodeid, "candidate": self._candidate}
        if mark is not None:
            where["failure_mode"] = mark.args[0] if mark.args else mark.kwargs.get("id")
        return where

    def _keep(self, nodeid: str, trace: Trace) -> str:
        identity = content_id(trace)
        source = f"eval:{nodeid}" if self._by_hand else f"loop:{self._candidate} {nodeid}"
        if self._shelf is not None:
            self._shelf.put(StoredTrace(identity, source, time.time(), trace))
        return identity


def text(value: object) -> str:
    """Return text as it is, and bytes as far as they are UTF-8; raises `TypeError` for anything else."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    raise TypeError(
        f"The input and the output of a trace are text, and not {type(value).__name__}. Write an object as "
        "json.dumps(...), which the review page shows as such."
    )
