"""Labels as spreadsheets: nothing is lost on the way, and every edit, conflict and mistake is told with its place."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.cells import letters
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.sheets import Edit, apply, compare, export
from pytest_evalloop.review.tables import CELL, escape, read_table, unescape
from pytest_evalloop.review.traces import ReviewError, StoredTrace

MODES = (Mode("FM-01", "never ends"), Mode("FM-02", "repeats itself"))
ANN, BEN = "ann", "ben"
KINDS = ("csv", "xlsx")
# Anything but lone surrogates, with what is odd in spreadsheets more often than chance has it.
ODD = st.sampled_from(
    (
        *(
            "=1+1",
            "+",
            "-",
            "@",
            "'",
            "''=",
            "\t",
            "\r\n",
            "\r",
            "\n",
            "\0",
            "\x07",
            "\ufeff",
            "\uffff",
            "\U0001f600",
        ),
        *("_x0041_", "_x005F_", "x005F_", "\u27e6U+0007\u27e7", "\u27e6", "é"),
        *(",", ";", '"', "#N/A", "TRUE", "007", "1e5", " ", "sep=;", "x"),
    )
)
TEXT = st.lists(ODD | st.text(max_size=5), max_size=5).map("".join)
# The first cell of a sheet says what separates the others.
IDS = TEXT.filter(lambda text: bool(text.strip()))


def trace(identity: str, asked: str = "What?", answered: str = "Nothing.") -> StoredTrace:
    return StoredTrace(identity, "test", 1.0, Trace(asked, answered))


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    with Labels.open(tmp_path / "labels", write=True) as opened:
        yield opened


def by_id(*stored: StoredTrace) -> dict[str, StoredTrace]:
    return {each.id: each for each in stored}


def rows_of(path: Path) -> list[list[str]]:
    table = read_table(path)
    return [list(table.header), *(list(row.cells) for row in table.rows)]


def edited(path: Path, change: dict[tuple[str, str], Any], drop: tuple[str, ...] = ()) -> None:
    """Change cells by trace and column, and take columns away, in the way of an ordinary program."""
    rows = rows_of(path)
    for row in rows[1:]:
        for (name, column), value in change.items():
            if row[0] == name:
                row[rows[0].index(column)] = value
    keep = [place for place, name in enumerate(rows[0]) if name not in drop]
    kept = [[row[place] for place in keep] for row in rows]
    if path.suffix == ".csv":
        with path.open(
            "w", newline="", encoding="utf-8-sig"
        ) as stream:  # what Excel writes in much of Europe
            csv.writer(stream, delimiter=";").writerows(kept)
    else:
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in kept:
            book.active.append(row)
        book.save(path)


@settings(max_examples=500)
@given(TEXT)
@example("'=")
@example("\u27e6U+0007\u27e7")
@example("__x0041_x0042_")
def test_what_is_escaped_comes_back_and_is_harmless(text: str) -> None:
    cell = escape(text)
    assert unescape(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert "\r" not in cell
    assert "\0" not in cell


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-- so bad", "'-- so bad"),
        ("'=1", "''=1"),
        ("it's", "it's"),
        ("'quoted'", "'quoted'"),
        ("a\nb", "a\nb"),
        ("a\x07b", "a\u27e6U+0007\u27e7b"),
        ("_x0041_", "\u27e6U+005F\u27e7x0041_"),
        ("x005F_", "\u27e6U+0078\u27e7005F_"),
    ],
)
def test_a_cell_reads_as_people_would_write_it(text: str, cell: str) -> None:
    assert escape(text) == cell


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        IDS,
        st.tuples(
            TEXT,
            TEXT,
            st.fixed_dictionaries(
                {},
                optional={
                    "passed": st.none() | st.booleans(),
                    "deferred": st.booleans(),
                    "note": TEXT,
                    "modes": st.dictionaries(
                        st.sampled_from(["FM-01", "FM-02", "FM-03"]), st.none() | st.booleans()
                    ),
                },
            ),
        ),
        max_size=4,
    )
)
def test_a_sheet_that_nobody_edited_changes_nothing(kind: str, given_rows: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"sheet.{kind}"
        stored = by_id(*(trace(each, asked, said) for each, (asked, said, _) in given_rows.items()))
        with Labels.open(Path(name), write=True) as labels, labels.together():
            for each, (_, _, fields) in given_rows.items():
                labels.change(stored[each], ANN, 1.0, **fields)
            assert export(path, stored.values(), labels, MODES) == len(stored)
            report = compare(path, labels, stored, MODES)
            assert (report.edits, report.conflicts, report.problems) == ((), (), ())
            assert report.rows == len(stored)
            # And all of it is in the sheet: read where nothing is labelled, it makes the same labels.
            with Labels.open(Path(name) / "fresh", write=True) as fresh:
                blank = compare(path, fresh, stored, [*MODES, Mode("FM-03", "third")])
                said = {label.trace for label in labels.all().values()}
                assert {edit.trace for edit in (*blank.edits, *blank.conflicts)} == said
                for edit in (*blank.edits, *blank.conflicts):
                    label = labels.get(edit.trace)
                    assert edit.field != "note" or edit.after == label.note


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_has_the_columns_that_people_expect(tmp_path: Path, labels: Labels, kind: str) -> None:
    stored = [trace("t-1", "=cmd|' /C calc'!A0", "<b>\x1b[31m"), trace("t-2"), trace("t-3")]
    labels.change(stored[0], ANN, 1.0, passed=False, note="- stops", modes={"FM-01": True, "FM-02": False})
    labels.change(stored[1], ANN, 1.0, passed=True, deferred=True)
    path = tmp_path / f"out/sheet.{kind}"
    assert export(path, stored, labels, MODES) == 3
    assert rows_of(path) == [
        ["trace_id", "input", "output", "pass_fail", "note", "FM-01", "FM-02", "revision"],
        ["t-1", "'=cmd|' /C calc'!A0", "<b>\u27e6U+001B\u27e7[31m", "fail", "'- stops", "1", "0", "1"],
        ["t-2", "What?", "Nothing.", "pass, defer", "", "", "", "1"],
        ["t-3", "What?", "Nothing.", "", "", "", "", ""],
    ]


def test_a_workbook_holds_text_as_text_and_numbers_as_numbers(tmp_path: Path, labels: Labels) -> None:
    stored = [trace("007", "#N/A", "TRUE")]
    labels.change(stored[0], ANN, 1.0, modes={"FM-01": True})
    export(tmp_path / "sheet.xlsx", stored, labels, MODES)
    sheet = openpyxl.load_workbook(tmp_path / "sheet.xlsx").worksheets[0]
    cells = {str(head.value): cell for head, cell in zip(sheet[1], sheet[2], strict=True)}
    assert [(cells[name].value, cells[name].data_type) for name in ("trace_id", "output", "FM-01")] == [
        ("007", "s"),
        ("TRUE", "s"),
        (1, "n"),
    ]
    assert sheet.freeze_panes == "B2"


@pytest.mark.parametrize("kind", KINDS)
def test_edits_are_told_first_and_then_taken_over(tmp_path: Path, labels: Labels, kind: str) -> None:
    stored = by_id(trace("t-1"), trace("t-2"), trace("t-3"))
    labels.change(stored["t-1"], ANN, 1.0, passed=False, note="old", modes={"FM-01": True})
    path = tmp_path / f"sheet.{kind}"
    export(path, stored.values(), labels, MODES)
    edited(
        path,
        {
            ("t-1", "pass_fail"): "",
            ("t-1", "note"): 'new; \n"line"',
            ("t-1", "FM-01"): "",
            ("t-1", "FM-02"): "TRUE",
            ("t-2", "pass_fail"): "Pass",
            ("t-3", "pass_fail"): "fail defer",
        },
    )
    report = compare(path, labels, stored, MODES)
    assert (report.conflicts, report.problems, report.rows) == ((), (), 3)
    assert [(edit.trace, edit.row, edit.field, edit.before, edit.after) for edit in report.edits] == [
        ("t-1", 2, "pass_fail", "fail", ""),
        ("t-1", 2, "note", "old", 'new; \n"line"'),
        ("t-1", 2, "FM-01", "1", ""),
        ("t-1", 2, "FM-02", "", "1"),
        ("t-2", 3, "pass_fail", "", "pass"),
        ("t-3", 4, "pass_fail", "", "fail, defer"),
    ]
    assert labels.get("t-1").revision == 1  # comparing changes nothing
    assert "  row 2, t-1, FM-01: '1' becomes ''" in report.lines()
    assert apply(report, labels, stored, BEN, 2.0) == ()
    label = labels.get("t-1")
    assert (label.passed, label.note, label.modes) == (None, 'new; \n"line"', {"FM-02": True})
    assert (label.by, label.revision) == (BEN, 2)
    third = labels.get("t-3")
    assert (third.passed, third.deferred) == (False, True)
    assert compare(path, labels, stored, MODES).edits == ()  # the same sheet again says nothing new
    labels.undo(BEN, 3.0)
    labels.undo(BEN, 3.0)
    undone = labels.undo(BEN, 3.0)
    assert undone is not None
    assert (undone.passed, undone.note, undone.modes) == (False, "old", {"FM-01": True})


def test_only_what_both_changed_is_a_conflict_and_it_stays(tmp_path: Path, labels: Labels) -> None:
    stored = by_id(trace("t-1"))
    labels.change(stored["t-1"], ANN, 1.0, passed=True, note="old")
    path = tmp_path / "sheet.csv"
    export(path, stored.values(), labels, MODES)
    labels.change(stored["t-1"], BEN, 2.0, passed=None, note="theirs", modes={"FM-02": True})
    edited(path, {("t-1", "note"): "mine", ("t-1", "FM-01"): "0"})
    report = compare(path, labels, stored, MODES)
    assert report.conflicts == (Edit("t-1", 2, "note", "theirs", "mine", "old", 2),)
    assert report.edits == (Edit("t-1", 2, "FM-01", "", "0", "", 2),)  # nobody else said anything of FM-01
    assert (
        "  row 2, t-1, note: 'theirs' becomes 'mine' (it was 'old' when the sheet was made)" in report.lines()
    )
    assert apply(report, labels, stored, ANN, 3.0) == ()
    label = labels.get("t-1")
    assert (label.passed, label.note, label.modes) == (None, "theirs", {"FM-01": False, "FM-02": True})


def test_who_labels_between_comparing_and_applying_is_not_overwritten(tmp_path: Path, labels: Labels) -> None:
    stored = by_id(trace("t-1"), trace("t-2"))
    path = tmp_path / "sheet.csv"
    export(path, stored.values(), labels, MODES)
    edited(path, {("t-1", "note"): "mine", ("t-2", "note"): "mine"})
    report = compare(path, labels, stored, MODES)
    labels.change(stored["t-1"], BEN, 2.0, note="theirs")
    assert [edit.trace for edit in apply(report, labels, stored, ANN, 3.0)] == ["t-1"]
    assert [labels.get(name).note for name in stored] == ["theirs", "mine"]


def test_a_sheet_without_revisions_overwrites_nothing(tmp_path: Path, labels: Labels) -> None:
    stored = by_id(trace("t-1"), trace("t-2"))
    labels.change(stored["t-1"], ANN, 1.0, passed=True)
    path = tmp_path / "sheet.csv"
    path.write_text("trace_id,pass_fail\nt-1,fail\nt-2,fail\n")
    report = compare(path, labels, stored, MODES)
    assert [(edit.trace, edit.before, edit.after) for edit in report.conflicts] == [("t-1", "pass", "fail")]
    assert [(edit.trace, edit.after) for edit in report.edits] == [("t-2", "fail")]
    path.write_text("trace_id,pass_fail,revision\nt-1,fail,9\n")  # from another log of labels
    assert [edit.base for edit in compare(path, labels, stored, MODES).conflicts] == [None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_used_is_named_by_row_and_column(tmp_path: Path, labels: Labels, kind: str) -> None:
    long = "This is a text that is long enough. "
    stored = by_id(*(trace(f"t-{number}", long + str(number), long) for number in range(8)))
    path = tmp_path / f"sheet.{kind}"
    export(path, stored.values(), labels, MODES)
    edited(
        path,
        {
            ("t-0", "pass_fail"): "5 stars",
            ("t-1", "FM-01"): "maybe",
            ("t-2", "revision"): "two",
            ("t-3", "trace_id"): "t-9",
            ("t-4", "trace_id"): "t-0",
            ("t-5", "input"): long + "6",
            ("t-6", "trace_id"): "",
            ("t-7", "pass_fail"): "pass fail",
            ("t-1", "note"): "the rest of the row counts",
        },
        drop=("FM-02",),
    )
    rows = rows_of(path)
    rows[0].append("stars")
    if kind == "csv":
        path.write_text("\n".join(",".join(row) for row in rows))
    else:
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        book.save(path)
    report = compare(path, labels, stored, MODES)
    assert [(edit.trace, edit.field) for edit in report.edits] == [("t-1", "note")]
    told = [problem.removeprefix(f"{path}, ") for problem in report.problems]
    assert told == [
        "row 1, column H (stars): it is neither one of trace_id, input, output, pass_fail, note, revision nor the id "
        "of a failure mode, so it is not read. A new failure mode has to be named first.",
        "row 2, column D (pass_fail): it says '5 stars', so the cell is left out. It says pass, fail, defer or empty.",
        "row 3, column F (FM-01): it says 'maybe', so the cell is left out. It says 1, 0 or empty.",
        "row 4, column G (revision): 'two' is no revision, so the row is left out. Leave that column as it was.",
        "row 5, column A (trace_id): there is no trace 't-9', so the row is left out.",
        "row 6, column A (trace_id): 't-0' was in row 2 already, so this row is left out.",
        "row 7, column B (input): this is not the input of trace 't-5', so the row is left out. "
        "Was only a part of the sheet sorted? A trace itself cannot be edited.",
        "row 8, column A (trace_id): it is empty, so the row is left out.",
        "row 9, column D (pass_fail): it says 'pass fail', so the cell is left out. "
        "It says pass, fail, defer or empty.",
    ]
    assert all(f"  {problem}" in report.lines() for problem in report.problems)


def test_formulas_and_errors_are_no_labels(tmp_path: Path, labels: Labels) -> None:
    stored = by_id(trace("t-1"), trace("t-2"))
    path = tmp_path / "sheet.xlsx"
    export(path, stored.values(), labels, MODES)
    book = openpyxl.load_workbook(path)
    book.worksheets[0]["D2"] = '=IF(1,"pass","fail")'
    book.worksheets[0]["E3"] = "#REF!"
    book.worksheets[0]["F3"] = True
    book.save(path)
    report = compare(path, labels, stored, MODES)
    assert [problem.partition(": ")[0].removeprefix(f"{path}, ") for problem in report.problems] == [
        "row 2, column D (pass_fail)",
        "row 3, column E (note)",
    ]
    assert "it holds a formula or an error" in report.problems[0]
    assert [(edit.trace, edit.field, edit.after) for edit in report.edits] == [("t-2", "FM-01", "1")]


@pytest.mark.parametrize("kind", KINDS)
def test_long_notes_are_whole_and_long_texts_are_cut_with_a_mark(
    tmp_path: Path, labels: Labels, kind: str
) -> None:
    note = ("=\U0001f600 \x07 x005F_ 'note'\r\n" * 5_000)[:70_001]
    stored = by_id(trace("t-1", "i" * 100_000, "o"), trace("t-2"))
    labels.change(stored["t-1"], ANN, 1.0, note=note)
    path = tmp_path / f"sheet.{kind}"
    export(path, stored.values(), labels, MODES)
    report = compare(path, labels, stored, MODES)
    assert (report.edits, report.conflicts, report.problems) == ((), (), ())
    with Labels.open(tmp_path / "fresh", write=True) as fresh:
        edits = compare(path, fresh, stored, MODES).conflicts
        assert [edit.after for edit in edits] == [note]
    longest = max(len(cell.encode("utf-16-le")) // 2 for row in rows_of(path) for cell in row)
    if kind == "csv":
        assert longest > 100_000
    else:
        assert longest <= 32_767
        assert rows_of(path)[1][1] == "i" * CELL + " […: 100,000 characters, of which a cell holds 16,000]"


def test_what_a_spreadsheet_program_saves_is_read(tmp_path: Path, labels: Labels) -> None:
    """Shared strings, rich text, floats for whole numbers and a wrong dimension."""
    stored = by_id(trace("t-1", "a\x07 _x0041_ x005F_ long enough to be looked at"))
    labels.change(stored["t-1"], ANN, 1.0, note="a\x07 _x0041_ x005F_ \r\n")
    path = tmp_path / "sheet.xlsx"
    export(path, stored.values(), labels, MODES)
    rows = rows_of(path)
    strings: list[str] = []

    def cell(place: int, number: int, text: str) -> str:
        reference = f"{letters(place)}{number}"
        if text.isdecimal():
            return f'<c r="{reference}"><v>{text}.0</v></c>'
        strings.append(text.replace("&", "&amp;").replace("<", "&lt;"))
        return f'<c r="{reference}" t="s"><v>{len(strings) - 1}</v></c>'

    data = "".join(
        f'<row r="{number}">'
        + "".join(cell(place, number, text) for place, text in enumerate(row) if text)
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = f'<worksheet {main}><dimension ref="A1"/><sheetData>{data}</sheetData></worksheet>'
    table = "".join(f'<si><r><t xml:space="preserve">{text}</t></r></si>' for text in strings)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "saved.xlsx", "w") as new:
        for item in old.namelist():
            if item == "xl/worksheets/sheet1.xml":
                new.writestr(item, sheet)
            elif item == "[Content_Types].xml":
                kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
                part = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
                new.writestr(item, old.read(item).decode().replace("</Types>", part))
            else:
                new.writestr(item, old.read(item))
        new.writestr("xl/sharedStrings.xml", f"<sst {main}>{table}</sst>")
    report = compare(tmp_path / "saved.xlsx", labels, stored, MODES)
    assert (report.edits, report.conflicts, report.problems, report.rows) == ((), (), (), 1)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,note\nt-1,x\n", "row 1: there is no column 'trace_id' among id, note"),
        ("a.csv", b"trace_id,note,NOTE\n", "two columns 'note'"),
        ("a.csv", b"trace_id,note\nt-1,\xff\n", "line 2: byte 0xff is no UTF-8"),
        ("a.xlsx", b"PK\x03\x04", "is no XLSX that can be read"),
        ("a.xls", b"\xd0\xcf\x11\xe0", "is an old Excel file"),
    ],
)
def test_what_is_no_sheet_is_refused(
    tmp_path: Path, labels: Labels, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ReviewError) as caught:
        compare(tmp_path / name, labels, {}, MODES)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_what_cannot_be_exported_is_refused(tmp_path: Path, labels: Labels) -> None:
    with pytest.raises(ReviewError, match=r"ends in \.ods\. A spreadsheet ends in \.csv or \.xlsx"):
        export(tmp_path / "a.ods", [], labels, MODES)
    with pytest.raises(ReviewError, match="has an id that no cell of XLSX holds"):
        export(tmp_path / "a.xlsx", [trace("x" * 40_000)], labels, MODES)
    with pytest.raises(ReviewError, match="two failure modes 'FM-01' but for upper and lower case"):
        export(tmp_path / "a.csv", [], labels, [Mode("FM-01", "a"), Mode("fm-01", "b")])


def test_csv_survives_a_program_that_saves_it_in_its_own_way(tmp_path: Path, labels: Labels) -> None:
    stored = by_id(trace("t-1"), trace("t-2"))
    labels.change(stored["t-1"], ANN, 1.0, passed=True, note='=a;b,"c"\nd')
    path = tmp_path / "sheet.csv"
    export(path, stored.values(), labels, MODES)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))
    for separator, encoding in ((";", "utf-8-sig"), ("\t", "utf-16"), (",", "utf-8")):
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            reversed_rows(rows)
        )
        path.write_bytes(text.getvalue().encode(encoding))
        report = compare(path, labels, stored, MODES)
        assert (report.edits, report.conflicts, report.problems) == ((), (), ())


def reversed_rows(rows: list[list[str]]) -> list[list[str]]:
    return [list(reversed(rows[0])), *(list(reversed(row)) for row in reversed(rows[1:]))]


def test_columns_have_letters() -> None:
    assert [letters(place) for place in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
