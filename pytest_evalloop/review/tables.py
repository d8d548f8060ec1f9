"""Tables as spreadsheets save them: CSV with any usual separator and mark, and XLSX; text in, text out."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
import warnings
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Final

from pytest_evalloop.review.counts import count
from pytest_evalloop.review.journal import ReviewError

CELL: Final = 16_000
"""Characters that we put into one cell of XLSX, which holds 32,767 units of UTF-16."""

_SEPARATORS: Final = ",;\t|"
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
# What a spreadsheet would compute, whatever it is quoted by; apostrophes keep that from happening.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n]")
_KEPT: Final = re.compile(r"'+[=+\-@\t\r\n]")
# What XML cannot hold or changes, what spreadsheets take for an escape of their own, and our own escape.
_ODD: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\ufffe\uffff]"
    r"|_(?=x[0-9A-Fa-f]{4}_)|x(?=005F_)|\u27e6(?=U\+[0-9A-F]{4}\u27e7)"
)
_ESCAPE: Final = re.compile(r"\u27e6U\+([0-9A-F]{4})\u27e7")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number as spreadsheets show it, its cells, and the cells that hold no plain value."""

    number: int
    cells: tuple[str, ...]
    formulas: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Table:
    """The header, every row below it that is not empty, and what could not be read."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()


def escape(text: str) -> str:
    """Return text as a cell that no program computes, changes or refuses; `unescape` reverses it exactly."""
    return quote(spell(text))


def unescape(cell: str) -> str:
    """Return the text of a cell."""
    return unspell(unquote(cell))


def quote(cell: str) -> str:
    """Put an apostrophe before what a program would compute, or what looks as if we had done so."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unquote(cell: str) -> str:
    """Take that apostrophe away again."""
    return cell[1:] if _KEPT.match(cell) else cell


def spell(text: str) -> str:
    """Spell out the characters that no XLSX can hold or some program changes, such as ⟦U+0007⟧."""
    return _ODD.sub(lambda odd: f"\u27e6U+{ord(odd[0]):04X}\u27e7", text)


def unspell(text: str) -> str:
    """Return the text whose odd characters were spelled out."""
    return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)


def is_workbook(data: bytes) -> bool:
    """Tell whether a file begins like XLSX."""
    return data.startswith(b"PK\x03\x04")


def read_table(path: Path) -> Table:
    """Read CSV or XLSX, whichever the content is; raises ReviewError, with the place, if it is neither."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror or error}. Give another file.") from error
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise ReviewError(f"{path} is an old Excel file. Save it as XLSX, or as CSV UTF-8.")
    numbered, problems = (_workbook(path, data), []) if is_workbook(data) else _csv(path, text_of(path, data))
    rows = [row for row in numbered if any(cell.strip() for cell in row.cells) or row.formulas]
    if not rows:
        raise ReviewError(
            f"{path} is empty. Its first row names the columns, such as trace_id, input, output."
        )
    header = [cell.strip() for cell in rows[0].cells]
    while header and not header[-1]:
        header.pop()
    # Spreadsheets do not tell Note from note, and neither do people.
    folded = [name.casefold() for name in header]
    twice = next((name for name in header if name and folded.count(name.casefold()) > 1), None)
    if twice is not None:
        raise ReviewError(
            f"{path}, row {rows[0].number}: there are two columns {twice!r}. Rename one of them."
        )
    whole = []
    for row in rows[1:]:
        if any(cell.strip() for cell in row.cells[len(header) :]):
            problems.append(
                f"{path}, row {row.number}: it has {count(len(row.cells), 'cell')} and the header {len(header)}, so it "
                "is left out. Put text with separators or line breaks into quotation marks."
            )
        else:
            whole.append(Row(row.number, row.cells[: len(header)], row.formulas))
    return Table(tuple(header), tuple(whole), tuple(problems))


def text_of(path: Path, data: bytes) -> str:
    """Decode a file by its byte order mark, as UTF-8 without one; raises ReviewError with the line."""
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ReviewError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is no UTF-8. "
            "Save the file as UTF-8; in Excel that is 'CSV UTF-8'."
        ) from error


def _csv(path: Path, text: str) -> tuple[list[Row], list[str]]:
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r'"?sep=(.)"?\s*', first)  # how Excel is told the separator
    separator = told[1] if told else _separator(first)
    offset = 1 if told else 0
    rows: list[Row] = []
    problems: list[str] = []
    with _long_fields():
        reader = csv.reader(io.StringIO(rest if told else text, newline=""), delimiter=separator, strict=True)
        number = offset
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                place = f"{path}, row {number} (line {reader.line_num + offset})"
                problems.append(
                    f"{place}: it is no CSV ({error}), so it is left out. Look at its quotation marks."
                )
                continue
            rows.append(Row(number, tuple(cells)))
    return rows, problems


def _separator(header: str) -> str:
    """Return what separates the names of the header, by its own columns if it has some of ours."""

    def likely(separator: str) -> tuple[bool, int]:
        names = [name.strip(' "\r\n').casefold() for name in header.split(separator)]
        return bool({"trace_id", "id", "input", "output"} & set(names)), len(names)

    return max(_SEPARATORS, key=likely)


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """Let a field be as long as a trace; the limit belongs to the whole process, so it is put back."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _workbook(path: Path, data: bytes) -> list[Row]:
    from zipfile import BadZipFile

    load_workbook = _openpyxl(path).load_workbook
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl tells of validations and styles that it does not know
            book = load_workbook(io.BytesIO(data), read_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # some programs state them wrongly
            rows = []
            for number, cells in enumerate(sheet.iter_rows(), 1):
                odd = frozenset(place for place, cell in enumerate(cells) if cell.data_type in {"f", "e"})
                rows.append(Row(number, tuple(_cell(cell.value) for cell in cells), odd))
            return rows
    except (BadZipFile, KeyError, ValueError, IndexError, AttributeError, TypeError, SyntaxError) as error:
        raise ReviewError(
            f"{path} is no XLSX that can be read ({error}). Save it again, or as CSV UTF-8."
        ) from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def csv_bytes(rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows as CSV that every spreadsheet opens as UTF-8; cells are escaped already."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8-sig")


def workbook_bytes(
    path: Path, rows: Iterable[Sequence[str]], widths: Sequence[int], numbers: Container[int] = ()
) -> bytes:
    """Return rows as XLSX for `path` with a header that stays in view; cells are escaped and short enough.

    `widths` are in characters; the columns in `numbers` are numbers, where they are not empty.
    """
    openpyxl = _openpyxl(path)
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("labels")
    sheet.freeze_panes = "B2"
    for column, width in enumerate(widths, 1):
        sheet.column_dimensions[get_column_letter(column)].width = width
    top, bold = Alignment(vertical="top", wrap_text=True), Font(bold=True)
    for number, row in enumerate(rows):
        cells = []
        for column, text in enumerate(row):
            if number and column in numbers and text:
                cells.append(WriteOnlyCell(sheet, int(text)))
                continue
            cell = WriteOnlyCell(sheet, text or None)
            if text:
                cell.data_type = "s"  # text such as #N/A too, which would be taken for an error
            cell.alignment = top
            if not number:
                cell.font = bold
            cells.append(cell)
        sheet.append(cells)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _openpyxl(path: Path) -> ModuleType:
    try:
        import openpyxl
    except ImportError as error:
        raise ReviewError(
            f"{path} is XLSX, which needs openpyxl. Install it with: pip install 'pytest-evalloop[review]'; "
            "or save it as CSV UTF-8."
        ) from error
    return openpyxl
