"""Traces from elsewhere: tables, JSON lines, chat completions and OpenTelemetry spans, told by their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytest_evalloop.records import Trace
from pytest_evalloop.review.shapes import Found, json_traces, json_values
from pytest_evalloop.review.tables import is_workbook, read_table
from pytest_evalloop.review.traces import (
    Library,
    ReviewError,
    StoredTrace,
    append,
    content_id,
    plain_stored,
    same_content,
)

_EMPTY: Final = "it is missing or empty"
_MICROSECOND: Final = 1e-6  # keeps the order of a file among traces that have no time of their own


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held: its kind in words, its traces, and a problem with its place for all that is left out."""

    kind: str
    traces: tuple[StoredTrace, ...]
    problems: tuple[str, ...]


def read_foreign(file: Path, now: float) -> Imported:
    """Return the traces of a file in any known format; `now` is the time of what has none.

    A row that cannot be used is a problem and the others are read. Raises ReviewError if the file cannot be read at
    all, or holds nothing of a known shape.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ReviewError(f"{file} cannot be read: {error.strerror or error}. Give another file.") from error
    problems: list[str] = []
    if not is_workbook(data) and data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}:
        kind, found = json_traces(file, json_values(file, data, problems), problems)
    else:
        kind, found = "a table", _table(file, problems)
    traces = tuple(_stored(found, file, now, problems))
    return Imported(kind, traces, tuple(problems))


def import_file(file: Path, traces: Path, labels: Path, now: float) -> Imported:
    """Add the traces of a file to the folder `traces`, and return those that were new.

    What is there already is left out silently; an id that stands for something else is a problem. Raises
    ReviewError if the file cannot be read, and StoreError if the traces cannot be written.
    """
    imported, library = read_foreign(file, now), Library.load(traces, labels)
    new, problems = [], [*imported.problems]
    for stored in imported.traces:
        known = library.traces.get(stored.id)
        if known is None:
            new.append(stored)
        elif not same_content(known.trace, stored.trace):
            problems.append(
                f"{file}: trace {stored.id!r} is known with other content ({known.source}), so it is left out. "
                "Give it another id."
            )
    if new:
        append(traces / f"import-{file.stem}.jsonl", new)
    return Imported(imported.kind, tuple(new), tuple(problems))


def _stored(found: Iterable[Found], file: Path, now: float, problems: list[str]) -> Iterator[StoredTrace]:
    """Yield the traces by name, each name once."""
    places: dict[str, str] = {}
    for number, each in enumerate(found):
        recorded = now + number * _MICROSECOND if each.recorded is None else each.recorded
        try:
            kept = plain_stored(
                StoredTrace(each.id, each.source or f"import:{file.name}", recorded, each.trace)
            )
        except RecursionError:
            problems.append(f"{each.place}: it is nested too deep, so it is left out.")
            continue
        identity = kept.id or content_id(kept.trace)
        if identity in places:
            what = f"trace_id {identity!r}" if each.id else "the same content"
            problems.append(
                f"{each.place}: {what} was in {places[identity]} already, so this one is left out. "
                f"{'Give it another id' if each.id else 'Give both an id'} if both are meant."
            )
            continue
        places[identity] = each.place.removeprefix(f"{file}, ")
        yield replace(kept, id=identity)


def _table(file: Path, problems: list[str]) -> list[Found]:
    table = read_table(file)
    problems += table.problems
    names = [name.casefold() for name in table.header]
    for name in ("input", "output"):
        if name not in names:
            raise ReviewError(
                f"{file}, row 1: there is no column {name!r} among {', '.join(table.header)}. Traces have the columns "
                "trace_id (may be absent), input and output; all others become metadata."
            )
    asked, answered = names.index("input"), names.index("output")
    named = next((names.index(name) for name in ("trace_id", "id") if name in names), None)
    rest = [
        (place, name)
        for place, name in enumerate(table.header)
        if name and place not in {asked, answered, named}
    ]
    found = []
    for row in table.rows:
        place = f"{file}, row {row.number}"
        cells = [*row.cells, *[""] * (len(names) - len(row.cells))]
        absent = [table.header[column] for column in (asked, answered) if column >= len(row.cells)]
        if absent:
            problems.append(f"{place}, column {absent[0]}: the row ends before it, so it is left out.")
            continue
        if named is not None and not cells[named].strip():
            problems.append(
                f"{place}, column {table.header[named]}: {_EMPTY}, so the row is left out. Name the trace."
            )
            continue
        metadata = {name: cells[column] for column, name in rest if cells[column]}
        trace = Trace(cells[asked], cells[answered], (), metadata)
        found.append(Found(place, trace, cells[named].strip() if named is not None else ""))
    return found
