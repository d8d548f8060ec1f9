"""What the cells of a sheet of labels say, and what one of them cannot say; pure but for its list of problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.review.labels import Fields, Label
from pytest_evalloop.review.modes import COLUMNS
from pytest_evalloop.review.tables import Row, Table, unescape, unquote, unspell
from pytest_evalloop.review.traces import ReviewError, StoredTrace

_MORE: Final = re.compile(r"note \(\d{1,4}\)")
_LOOKED_AT: Final = 10_000  # characters at the beginning of a text, of which
_SAME: Final = 500  # printable ones have to be the same
_LEAST: Final = 20  # below so many, programs make numbers and dates of a text
_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("pass", "passed", "p", "true", "1"), "pass"),
    **dict.fromkeys(("fail", "failed", "f", "false", "0"), "fail"),
    **dict.fromkeys(("defer", "deferred", "d"), "defer"),
}
_OCCURS: Final[Mapping[str, str]] = {
    "": "",
    **dict.fromkeys(("1", "1.0", "true", "yes"), "1"),
    **dict.fromkeys(("0", "0.0", "false", "no"), "0"),
}


def shown(label: Label, column: str) -> str:
    """Return what a column says of a label, as text."""
    if column == "note":
        return label.note
    if column == "pass_fail":
        words = [] if label.passed is None else ["pass" if label.passed else "fail"]
        return ", ".join([*words, *["defer"] * label.deferred])
    occurs = label.modes.get(column)
    return "" if occurs is None else str(int(occurs))


def fields(said: Iterable[tuple[str, str]]) -> Fields:
    """Return what turns a label into one of which columns say these texts."""
    found: Fields = {}
    modes: dict[str, bool | None] = {}
    for column, text in said:
        if column == "note":
            found["note"] = text
        elif column == "pass_fail":
            words = text.split(", ")
            found["passed"] = "pass" in words if {"pass", "fail"} & set(words) else None
            found["deferred"] = "defer" in words
        else:
            modes[column] = None if not text else text == "1"
    if modes:
        found["modes"] = modes
    return found


def places_of(path: Path, table: Table, modes: Sequence[str], problems: list[str]) -> dict[str, int]:
    """Return where each column stands by our name for it; raises ReviewError for a sheet without traces."""
    ours = {name.casefold(): name for name in (*COLUMNS, *modes)}
    places: dict[str, int] = {}
    for place, cell in enumerate(table.header):
        name = unescape(cell).strip()
        if name.casefold() in ours:
            places[ours[name.casefold()]] = place
        elif _MORE.fullmatch(name.casefold()):
            places[name.casefold()] = place
        elif name:
            problems.append(
                f"{path}, row 1, column {letters(place)} ({name}): it is neither one of {', '.join(COLUMNS)} nor "
                "the id of a failure mode, so it is not read. A new failure mode has to be named first."
            )
    if "trace_id" not in places:
        raise ReviewError(
            f"{path}, row 1: there is no column 'trace_id' among {', '.join(table.header)}, so nothing says which "
            "traces are meant. Export a sheet, and fill that one in."
        )
    return places


@dataclass(frozen=True, slots=True)
class Cells:
    """One row, with the place of each column; what cannot be used is added to `problems`, with row and column."""

    path: Path
    row: Row
    places: Mapping[str, int]
    problems: list[str]

    def refuse(self, column: str, why: str) -> None:
        """Say why a cell cannot be used."""
        where = f"column {letters(self.places[column])} ({column})"
        self.problems.append(f"{self.path}, row {self.row.number}, {where}: {why}.")

    def trace(self, traces: Mapping[str, StoredTrace]) -> StoredTrace | None:
        """Return the trace of the row, None if there is none."""
        name = unescape(self._cell("trace_id"))
        found = traces.get(name) or traces.get(name.strip())
        if found is None:
            what = f"there is no trace {name!r}" if name.strip() else "it is empty"
            self.refuse("trace_id", f"{what}, so the row is left out")
        return found

    def revision(self) -> int | None:
        """Return the revision that the row was exported with, 0 if it says none, None if it says nonsense."""
        text = self._cell("revision").strip()
        if not text:
            return 0
        if re.fullmatch(r"\d{1,9}(\.0)?", text):
            return int(text.partition(".")[0])
        self.refuse(
            "revision", f"{text[:40]!r} is no revision, so the row is left out. Leave that column as it was"
        )
        return None

    def same_text(self, stored: StoredTrace) -> bool:
        """Tell whether the row shows the text of its trace; it does not where a part of a sheet was sorted."""
        for column, text in (("input", stored.trace.input), ("output", stored.trace.output)):
            told, true = _look(unescape(self._cell(column))), _look(text)
            if told and len(true) >= _LEAST and told != true:
                why = f"this is not the {column} of trace {stored.id!r}, so the row is left out"
                self.refuse(
                    column, f"{why}. Was only a part of the sheet sorted? A trace itself cannot be edited"
                )
                return False
        return True

    def said(self) -> Iterator[tuple[str, str]]:
        """Yield what the row says of its trace, column by column, as `shown` would."""
        more = sorted(
            (name for name in self.places if _MORE.fullmatch(name)), key=lambda name: int(name[6:-1])
        )
        for column in self.places:
            if column in {"trace_id", "input", "output", "revision", *more}:
                continue
            parts = [column, *more] if column == "note" else [column]
            computed = next((name for name in parts if self.places[name] in self.row.formulas), None)
            if computed is not None:
                self.refuse(
                    computed, "it holds a formula or an error, so the cell is left out. Paste it as a value"
                )
                continue
            if column == "note":
                yield column, unspell("".join(unquote(self._cell(part)) for part in parts))
                continue
            text = self._cell(column).strip()
            value = _verdict(text) if column == "pass_fail" else _OCCURS.get(text.casefold())
            if value is None:
                wanted = "pass, fail, defer or empty" if column == "pass_fail" else "1, 0 or empty"
                self.refuse(column, f"it says {text[:40]!r}, so the cell is left out. It says {wanted}")
            else:
                yield column, value

    def _cell(self, column: str) -> str:
        place = self.places.get(column)
        return "" if place is None or place >= len(self.row.cells) else self.row.cells[place]


def _verdict(text: str) -> str | None:
    words = {_WORDS.get(word) for word in re.split(r"[\s,]+", text.casefold()) if word}
    if None in words or {"pass", "fail"} <= words:
        return None
    return ", ".join(word for word in ("pass", "fail", "defer") if word in words)


def _look(text: str) -> str:
    """Return what of a text no program changes."""
    return "".join(each for each in text[:_LOOKED_AT] if each.isprintable() and each != " ")[:_SAME]


def letters(place: int) -> str:
    """Return the letters of a column as spreadsheets show them."""
    found = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        found = chr(ord("A") + letter) + found
    return found
