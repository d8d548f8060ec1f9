"""The labels of a project: an append-only log that one process writes, on disk before anything is acknowledged."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from pytest_evalloop.review import traces
from pytest_evalloop.review.events import (
    Event,
    Fields,
    Label,
    apply,
    changes,
    checked,
    decode,
    encode,
    fold,
    taking_back,
)
from pytest_evalloop.review.journal import Journal, read_lines
from pytest_evalloop.review.traces import ReviewError, StoredTrace, plain

__all__ = ["Conflict", "Fields", "Label", "Labels"]


class Conflict(ReviewError):  # noqa: N818 - it is news, and no fault of anybody
    """Somebody else changed the label since it was read; `label` is what it says now."""

    def __init__(self, message: str, label: Label) -> None:
        super().__init__(message)
        self.label = label


class Labels:
    """The labels in one folder; methods may be called from several threads.

    The file is looked at again before every change, since version control may replace it at any time.
    """

    def __init__(self, folder: Path, *, write: bool) -> None:
        self.folder = folder
        self._path = folder / "labels.jsonl"
        self._copies = folder / "traces.jsonl"
        self._durable = True
        self._write = write
        self._guard = threading.RLock()
        self._journal: Journal | None = None
        self._copied: dict[str, bytes] = {}
        self._labels: dict[str, Label] = {}
        self._events: dict[str, list[Event]] = {}
        self._undoable: dict[str, dict[str, Event]] = {}
        self._load()

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> Self:
        """Read the labels of a folder; with `write` nobody else may write them until this is closed.

        Raises ReviewError, naming the process, if somebody else writes them, and naming the line if one of the
        log is damaged. A torn last line, which was never acknowledged, does not count.
        """
        return cls(folder, write=write)

    def all(self) -> Mapping[str, Label]:
        """Return every label that says something, by trace, in the order of first labelling."""
        with self._guard:
            return {trace: label for trace, label in self._labels.items() if label.says_something}

    def get(self, trace: str) -> Label:
        """Return the label of a trace; one that says nothing if there is none."""
        with self._guard:
            return self._labels.get(trace, Label(trace))

    def was(self, trace: str, revision: int) -> Label | None:
        """Return the label as it was at a revision, None if it has not come that far."""
        with self._guard:
            events = self._events.get(trace, [])
            return fold(trace, events[:revision]) if 0 <= revision <= len(events) else None

    def refresh(self) -> None:
        """Read the log again; what is open for writing does so only if somebody else changed it."""
        with self._guard:
            if self._journal is None or self._journal.changed:
                self._load()

    def change(
        self,
        trace: StoredTrace,
        by: str,
        at: float,
        *,
        expected: int | None = None,
        **fields: Unpack[Fields],
    ) -> Label:
        """Record what somebody says of a trace, and return its label; on disk when this returns.

        `modes` is merged key by key, None takes a mode back; `at` is seconds since the epoch. What the same
        labeller said already is not recorded again. The trace is copied on its first label. Raises Conflict,
        with nothing changed, if `expected` is not the revision of the label, and StoreError if the label cannot be
        written.
        """
        with self._guard:
            journal = self._writable()
            said, label = checked(fields), self.get(plain(trace.id))
            if expected is not None and expected != label.revision:
                raise Conflict(
                    f"The label of {label.trace} was changed by {label.by or 'somebody'} in the meantime: it has "
                    f"revision {label.revision}, and revision {expected} was expected. Look at it and decide again.",
                    label,
                )
            if not changes(label, said) and (label.by == plain(by) or not label.revision):
                return label
            self._copy(trace)
            return self._record(journal, self._event(label.trace, by, at, said))

    def undo(self, by: str, at: float) -> Label | None:
        """Take back the last change of a labeller that still stands, and return what its label is then.

        What others said of the trace since then stays. None if there is nothing left to take back. Raises
        StoreError if it cannot be written.
        """
        with self._guard:
            journal = self._writable()
            standing = self._undoable.get(plain(by))
            if not standing:
                return None
            last = standing[next(reversed(standing))]
            fields = taking_back(self._events[last.trace], last.id)
            return self._record(journal, replace(self._event(last.trace, by, at, fields), undoes=last.id))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make many changes in a row quickly: they are on disk when the block ends, and not before."""
        with self._guard:
            self._durable = False
            try:
                yield
            finally:
                self._durable = True
                if self._copies.exists():
                    with Journal.open(self._copies) as journal:
                        journal.sync()
                if self._journal is not None:
                    self._journal.sync()

    def close(self) -> None:
        """Let others write; harmless when it was closed before."""
        with self._guard:
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> None:
        """Read the whole log, with the lock first so that nothing is written in between.

        If that fails, what was known before stays, and the next action tries again.
        """
        self.close()
        journal = Journal.open(self._path) if self._write else None
        try:
            said = self._read()
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        self._journal = journal
        self._copied = traces.lines_by_id(self._copies) if self._write else {}
        self._labels, self._events, self._undoable = {}, {}, {}
        for event in said:
            self._take(event)

    def _read(self) -> list[Event]:
        events, damaged = [], []
        for number, line in enumerate(read_lines(self._path), 1):
            if not line.strip():
                continue
            try:
                events.append(decode(line))
            except ReviewError as error:
                damaged.append(f"line {number}: {error}")
        if not damaged:
            return events
        more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
        raise ReviewError(
            f"{self._path} holds lines that are no labels, so it was not read and nothing was changed: "
            f"{'; '.join(damaged[:3])}{more}. Mend or remove them; version control may hold the file as it was."
        )

    def _writable(self) -> Journal:
        if not self._write:
            raise ReviewError(
                f"{self._path} is open for reading alone. Open it for writing to change a label."
            )
        self.refresh()
        assert self._journal is not None
        return self._journal

    def _event(self, trace: str, by: str, at: float, fields: Fields) -> Event:
        if not math.isfinite(at):
            raise ReviewError(f"The time of a label is {at}; it is seconds since the epoch.")
        return Event(secrets.token_hex(6), trace, plain(by), float(at), fields)

    def _record(self, journal: Journal, event: Event) -> Label:
        journal.append(encode(event), durable=self._durable)
        return self._take(event)

    def _take(self, event: Event) -> Label:
        """Bring everything that is held in memory up to an event that is on disk."""
        self._events.setdefault(event.trace, []).append(event)
        standing = self._undoable.setdefault(event.by, {})
        if event.undoes:
            standing.pop(event.undoes, None)
        else:
            standing[event.id] = event
        label = apply(self._labels.get(event.trace, Label(event.trace)), event)
        self._labels[event.trace] = label
        return label

    def _copy(self, trace: StoredTrace) -> None:
        """Keep a trace beside its label, since recordings are not committed and labels without them mean nothing."""
        stored = traces.plain_stored(trace)
        copy = self._copied.get(stored.id)
        if copy is None:
            line = traces.encode(stored)
            with Journal.open(self._copies) as journal:
                journal.append(line, durable=self._durable)
            self._copied[stored.id] = line
        elif not traces.same_content(traces.decode(copy).trace, stored.trace):
            raise ReviewError(
                f"Trace {stored.id!r} was labelled with other content, which is kept in {self._copies}. "
                "Give the new trace another id."
            )
