"""Traces on disk: JSON lines that several processes may append to, and everything that can be reviewed."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_evalloop.records import Trace
from pytest_evalloop.review.journal import Journal, ReviewError, read_lines

__all__ = ["Library", "ReviewError", "StoredTrace", "append", "content_id", "read"]

_INTEGER = 2**63  # what every reader of JSON lines keeps exactly


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace with its name, where it came from, and when; `recorded` is seconds since the epoch."""

    id: str
    source: str
    recorded: float
    trace: Trace


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of a file of traces."""

    id: str
    source: str
    recorded: float
    input: str
    output: str
    steps: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def plain(value: object) -> Any:  # noqa: ANN401, PLR0911 - JSON can be anything; one line a kind
    """Return a value as JSON keeps it, losing nothing that can be read.

    Lone surrogates, which no file can hold as UTF-8, become their escapes; numbers that JSON lacks and objects
    of other kinds become text; keys become text.
    """
    if isinstance(value, str):
        # Nearly all text is clean, and finding that out is cheaper than making it so.
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_INTEGER <= value < _INTEGER else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {
            plain(key if isinstance(key, str) else str(key)): plain(inner) for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    return plain(str(value))


def plain_stored(stored: StoredTrace) -> StoredTrace:
    """Return a trace as it will be read back from disk."""
    trace = stored.trace
    kept = Trace(plain(trace.input), plain(trace.output), tuple(plain(trace.steps)), plain(trace.metadata))
    return StoredTrace(plain(stored.id), plain(stored.source), float(stored.recorded), kept)


def content_id(trace: Trace) -> str:
    """Return the name of a trace that was given none: the same input, steps and output have the same one."""
    import msgspec

    content = plain([trace.input, trace.steps, trace.output])
    return "t-" + hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:12]


def same_content(one: Trace, other: Trace) -> bool:
    """Tell whether a label of one trace holds for the other; metadata may differ."""
    return (one.input, one.output, tuple(one.steps)) == (other.input, other.output, tuple(other.steps))


def encode(stored: StoredTrace) -> bytes:
    """Return a trace as one line, with its end."""
    import msgspec

    kept = plain_stored(stored)
    trace = kept.trace
    line = _Line(
        kept.id, kept.source, kept.recorded, trace.input, trace.output, list(trace.steps), trace.metadata
    )
    return msgspec.json.encode(line) + b"\n"


def decode(line: bytes) -> StoredTrace:
    """Return the trace of a line; raises ReviewError, saying why, if there is none."""
    import msgspec

    try:
        said = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReviewError(str(error)) from error
    trace = Trace(said.input, said.output, tuple(said.steps), said.metadata)
    return StoredTrace(said.id, said.source, said.recorded, trace)


def append(file: Path, traces: Iterable[StoredTrace]) -> None:
    """Add traces to a file, one write a line; several processes may append at once.

    A torn last line that a killed process left is removed first. Raises StoreError if it cannot be written.
    """
    with Journal.open(file, wait=True) as journal:
        for stored in traces:
            journal.append(encode(stored), durable=False)


def read(file: Path) -> tuple[list[StoredTrace], list[str]]:
    """Return the traces of a file, and one problem for every line that holds none.

    A torn last line is no problem, a missing file holds nothing. Raises ReviewError if it cannot be read.
    """
    traces, problems = [], []
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        try:
            traces.append(decode(line))
        except ReviewError as error:
            problems.append(f"{file}, line {number}: not a trace, so it is left out ({error}).")
    return traces, problems


def lines_by_id(file: Path) -> dict[str, bytes]:
    """Return the first whole line of each trace of a file, by id."""
    lines: dict[str, bytes] = {}
    for line in read_lines(file):
        with contextlib.suppress(ReviewError):
            lines.setdefault(decode(line).id, line)
    return lines


@dataclass(frozen=True, slots=True)
class Library:
    """Everything that can be reviewed, by id, in the order of recording; and what could not be read."""

    traces: Mapping[str, StoredTrace]
    problems: tuple[str, ...] = ()

    @classmethod
    def load(cls, traces: Path, labels: Path) -> Library:
        """Read every `*.jsonl` in the folder `traces`, and the labelled copies in the folder `labels`.

        Where an id stands for several contents the labelled one holds, then the one that was recorded first,
        and the others are problems. Raises ReviewError if a file cannot be read.
        """
        found: dict[str, StoredTrace] = {}
        places: dict[str, Path] = {}
        problems: list[str] = []
        order: list[str] = []
        copies, *_ = files = files_of(traces, labels)
        for file in files:
            read_here, bad = read(file)
            problems += bad
            order += [] if file is copies else [stored.id for stored in read_here]
            for stored in read_here:
                first = found.setdefault(stored.id, stored)
                place = places.setdefault(stored.id, file)
                if first is not stored and not same_content(first.trace, stored.trace):
                    problems.append(
                        f"{file}: trace {stored.id!r} has other content than in {place}, so it is left out. "
                        "Give it another id."
                    )
        # By time of recording, so that what is new comes last, and a clean clone shows the same order. Labelling
        # moves no trace, so the order of the recordings counts among those of one time, and not that of copies.
        return cls(by_time(map(found.__getitem__, dict.fromkeys([*order, *found]))), tuple(problems))


def files_of(traces: Path, labels: Path) -> list[Path]:
    """Return the files that traces lie in, whether they are there or not: first the copies beside the labels."""
    return [labels / "traces.jsonl", *sorted(traces.glob("*.jsonl"))]


def by_time(traces: Iterable[StoredTrace]) -> dict[str, StoredTrace]:
    """Return traces by id, in the order of recording; what was recorded at one time stays as it is given."""
    return {each.id: each for each in sorted(traces, key=_recorded)}


def _recorded(stored: StoredTrace) -> float:
    return stored.recorded
