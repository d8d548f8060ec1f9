"""Labels as a spreadsheet and back: what was edited there is told first, and taken over only where it is clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.review.cells import Cells, fields, places_of, shown
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.labels import Conflict, Label, Labels
from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.tables import (
    CELL,
    csv_bytes,
    escape,
    quote,
    read_table,
    spell,
    workbook_bytes,
)
from pytest_evalloop.review.traces import ReviewError, StoredTrace
from pytest_evalloop.store.home import disk, write_atomically

_WIDTHS: Final = {"trace_id": 18, "input": 50, "output": 70, "pass_fail": 10, "note": 50}


@dataclass(frozen=True, slots=True)
class Edit:
    """One cell that says something else than the label: what the label says, and what the sheet says.

    `base` is what the sheet was exported with, None if that is not known. `revision` is that of the label.
    """

    trace: str
    row: int
    field: str
    before: str
    after: str
    base: str | None
    revision: int

    def __str__(self) -> str:
        """Render as one line."""
        was = "" if self.base in {self.before, None} else f" (it was {self.base!r} when the sheet was made)"
        return f"row {self.row}, {self.trace}, {self.field}: {self.before!r} becomes {self.after!r}{was}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a sheet would change, what both it and somebody else changed, and what cannot be used.

    Nothing of `conflicts` and `problems` is taken over.
    """

    rows: int
    edits: tuple[Edit, ...]
    conflicts: tuple[Edit, ...]
    problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report in words, one line for everything that needs looking at."""
        changed, rows = count(len(self.edits), "cell"), count(self.rows, "row")
        said = [f"{rows}: {changed} changed, {len(self.conflicts)} in conflict."]
        said += [f"  {edit}" for edit in self.edits]
        if self.conflicts:
            said.append(
                "Changed here and in the sheet, so that it stays as it is here. Decide on the review page:"
            )
            said += [f"  {edit}" for edit in self.conflicts]
        if self.problems:
            said.append("Not read:")
            said += [f"  {problem}" for problem in self.problems]
        return said


def export(path: Path, traces: Iterable[StoredTrace], labels: Labels, modes: Sequence[Mode]) -> int:
    """Write traces with their labels as CSV or XLSX, by the ending of the name, and return how many.

    Labels and notes are whole in both. The text of a trace, which is there to be read, is cut where a cell of XLSX
    holds no more. Raises ReviewError for another ending, and StoreError if the file cannot be written.
    """
    kind = path.suffix.casefold()
    if kind not in {".csv", ".xlsx"}:
        raise ReviewError(f"{path} ends in {path.suffix or 'nothing'}. A spreadsheet ends in .csv or .xlsx.")
    stored = list(traces)
    names = _modes(modes, labels)
    limit = CELL if kind == ".xlsx" else None
    written = [_row(each, labels.get(each.id), names, limit) for each in stored]
    notes = max((len(notes) for _, notes in written), default=1)
    header = ["trace_id", "input", "output", "pass_fail", "note", *names, "revision"]
    header += [f"note ({number})" for number in range(2, notes + 1)]
    rows = [header]
    for cells, parts in written:
        cells[4:4] = parts[:1]
        rows.append([*cells, *parts[1:], *[""] * (notes - len(parts))])
    if kind == ".csv":
        data = csv_bytes(rows)
    else:
        widths = [_WIDTHS.get(name, max(10, len(name) + 2)) for name in header]
        data = workbook_bytes(path, rows, widths, range(5, 6 + len(names)))
    with disk(f"the spreadsheet {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return len(stored)


def compare(path: Path, labels: Labels, traces: Mapping[str, StoredTrace], modes: Sequence[Mode]) -> Report:
    """Return what a sheet says otherwise than the labels; nothing is changed.

    A cell counts as edited if it differs from what the label said at the revision that the sheet was made with; a
    sheet without revisions was made before anything was labelled. Raises ReviewError if the file is no such sheet.
    """
    table = read_table(path)
    problems = [*table.problems]
    places = places_of(path, table, _modes(modes, labels), problems)
    edits: list[Edit] = []
    conflicts: list[Edit] = []
    rows: dict[str, int] = {}
    for row in table.rows:
        cells = Cells(path, row, places, problems)
        trace = cells.trace(traces)
        if trace is None:
            continue
        if trace.id in rows:
            cells.refuse(
                "trace_id", f"{trace.id!r} was in row {rows[trace.id]} already, so this row is left out"
            )
            continue
        rows[trace.id] = row.number
        revision = cells.revision()
        if revision is None or not cells.same_text(trace):
            continue
        now, base = labels.get(trace.id), labels.was(trace.id, revision)
        for name, said in cells.said():
            before, once = shown(now, name), None if base is None else shown(base, name)
            if said in {before, once}:
                continue
            edit = Edit(trace.id, row.number, name, before, said, once, now.revision)
            (edits if before == once else conflicts).append(edit)
    return Report(len(table.rows), tuple(edits), tuple(conflicts), tuple(problems))


def apply(
    report: Report, labels: Labels, traces: Mapping[str, StoredTrace], by: str, at: float
) -> tuple[Edit, ...]:
    """Take the edits of a report over, and return those that somebody was faster than; undo takes a row back.

    Raises StoreError if they cannot be written.
    """
    waiting: dict[str, list[Edit]] = {}
    for edit in report.edits:
        waiting.setdefault(edit.trace, []).append(edit)
    late: list[Edit] = []
    with labels.together():
        for trace, edits in waiting.items():
            said = fields((edit.field, edit.after) for edit in edits)
            try:
                labels.change(traces[trace], by, at, expected=edits[0].revision, **said)
            except Conflict:
                late += edits
    return tuple(late)


def _modes(modes: Sequence[Mode], labels: Labels) -> list[str]:
    """Return the failure modes that there are, those that only labels name at the end."""
    named = [mode.id for mode in modes]
    names = [*named, *sorted({mode for label in labels.all().values() for mode in label.modes} - set(named))]
    folded = [name.casefold() for name in names]
    twice = next((name for name in names if folded.count(name.casefold()) > 1), None)
    if twice is not None:
        raise ReviewError(
            f"There are two failure modes {twice!r} but for upper and lower case. Rename one of them."
        )
    return names


def _row(
    stored: StoredTrace, label: Label, modes: Sequence[str], limit: int | None
) -> tuple[list[str], list[str]]:
    """Return the cells of a row but for the note, and the note in as many cells as it needs."""
    trace = stored.trace
    cells = [
        escape(stored.id),
        _cut(escape(trace.input), limit),
        _cut(escape(trace.output), limit),
        shown(label, "pass_fail"),
        *(shown(label, mode) for mode in modes),
        str(label.revision or ""),
    ]
    if limit is not None and len(cells[0]) > limit:
        raise ReviewError(
            f"Trace {stored.id[:40]!r}… has an id that no cell of XLSX holds. Export it as CSV."
        )
    return cells, _parts(label.note, limit)


def _cut(cell: str, limit: int | None) -> str:
    if limit is None or len(cell) <= limit:
        return cell
    return f"{cell[:limit]} […: {len(cell):,} characters, of which a cell holds {limit:,}]"


def _parts(note: str, limit: int | None) -> list[str]:
    whole = spell(note)
    step = limit or max(1, len(whole))
    return [quote(whole[start : start + step]) for start in range(0, len(whole), step)] or [""]
