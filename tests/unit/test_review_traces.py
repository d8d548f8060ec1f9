"""Traces on disk: what is kept, what is left out and said, and in which order they are shown."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace, append, content_id, read
from pytest_evalloop.store.home import StoreError

TEXT = st.text(st.characters(), max_size=20)  # lone surrogates included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
TRACES = st.builds(
    Trace,
    TEXT,
    TEXT,
    st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=3).map(tuple),
    st.dictionaries(TEXT, JSON, max_size=3),
)


def stored(identity: str, output: str = "o", recorded: float = 1.0) -> StoredTrace:
    return StoredTrace(identity, "test", recorded, Trace("i", output))


def test_a_trace_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "traces" / "a.jsonl"
    whole = StoredTrace(
        "t-1",
        "loop:main/7",
        1764000000.25,
        Trace("<b>\x1b[31m\0", "é\u2028\n", ({"role": "tool", "n": [1, 2.5, None]},), {"model": "m"}),
    )
    append(file, [whole])
    append(file, [stored("t-2")])
    assert read(file) == ([whole, stored("t-2")], [])


@settings(max_examples=100)
@given(TRACES)
def test_whatever_was_recorded_is_read_and_keeps_its_name(trace: Trace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.jsonl"
        append(file, [StoredTrace("t", "s", 1.0, trace)])
        [once], problems = read(file)
        assert problems == []
        assert content_id(once.trace) == content_id(trace)
        append(file, [once])
        assert read(file)[0] == [once, once]  # what was read is kept exactly


def test_what_json_lacks_is_kept_as_text(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    odd = {1: math.nan, "path": Path("a/b"), "big": 2**80, "raw": b"\xff", "set": {1}, "lone": "\udc80"}
    append(file, [StoredTrace("t", "s", 0.0, Trace("i", "o", (), odd))])  # type: ignore[arg-type]
    [back], _ = read(file)
    assert back.trace.metadata == {
        "1": "nan",
        "path": "a/b",
        "big": str(2**80),
        "raw": "\\xff",
        "set": [1],
        "lone": "\\udc80",
    }


def test_a_name_depends_on_the_content_alone() -> None:
    one = Trace("i", "o", ({"a": 1, "b": 2},), {"m": 1})
    same = Trace("i", "o", ({"b": 2, "a": 1},), {"m": 2})
    assert content_id(one) == content_id(same)
    assert len(content_id(one)) == 14
    assert content_id(one).startswith("t-")
    others = [Trace("io", "", ({"a": 1, "b": 2},)), Trace("i", "o"), Trace("o", "i", ({"a": 1, "b": 2},))]
    assert len({content_id(trace) for trace in (one, *others)}) == 4


def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    append(file, [stored("t-1")])
    with file.open("ab") as stream:
        stream.write(
            b'not json\n{"id":"t"}\n\n[1]\n{"id":1,"source":"","recorded":0,"input":"","output":""}\n\xff\n'
        )
    append(file, [stored("t-2")])
    traces, problems = read(file)
    assert [each.id for each in traces] == ["t-1", "t-2"]
    assert [problem.split(": ")[0] for problem in problems] == [f"{file}, line {n}" for n in (2, 3, 5, 6, 7)]
    assert "missing required field `source`" in problems[1]


def test_a_torn_last_line_is_no_problem_and_is_healed(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    append(file, [stored("t-1"), stored("t-2")])
    file.write_bytes(file.read_bytes()[:-9])
    assert [each.id for each in read(file)[0]] == ["t-1"]
    assert read(file)[1] == []
    append(file, [stored("t-3")])
    assert ([each.id for each in read(file)[0]], read(file)[1]) == (["t-1", "t-3"], [])


def test_a_last_line_without_its_end_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    append(file, [stored("t-1")])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()[:-1])
    append(file, [stored("t-2")])
    assert ([each.id for each in read(file)[0]], read(file)[1]) == (["t-1", "t-2"], [])


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    code = (
        "import sys, pathlib\n"
        "from pytest_evalloop.records import Trace\n"
        "from pytest_evalloop.review.traces import *\n"
        "for n in range(50):\n"
        "    one = StoredTrace(f'{sys.argv[2]}-{n}', 's', 0.0, Trace('x' * 20_000, 'o'))\n"
        "    append(pathlib.Path(sys.argv[1]), [one])\n"
    )
    writers = [subprocess.Popen((sys.executable, "-c", code, file, str(n))) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    traces, problems = read(file)
    assert problems == []
    assert {each.id for each in traces} == {f"{who}-{n}" for who in range(3) for n in range(50)}


def test_the_library_holds_recordings_and_labelled_copies_in_the_order_of_time(tmp_path: Path) -> None:
    traces, labels = tmp_path / "traces", tmp_path / "labels"
    append(traces / "b.jsonl", [stored("t-2", recorded=2.0), stored("t-1", recorded=1.0)])
    append(traces / "a.jsonl", [stored("t-4", recorded=4.0), stored("t-4b", recorded=4.0)])
    before = Library.load(traces, labels)
    assert list(before.traces) == ["t-1", "t-2", "t-4", "t-4b"]
    append(labels / "traces.jsonl", [stored("t-4b", recorded=4.0), stored("t-3", recorded=3.0)])
    library = Library.load(traces, labels)
    assert list(library.traces) == ["t-1", "t-2", "t-3", "t-4", "t-4b"]  # labelling moves nothing
    assert library.problems == ()
    assert list(Library.load(tmp_path / "none", labels).traces) == ["t-3", "t-4b"]
    assert Library.load(tmp_path / "none", tmp_path / "none") == Library({})


def test_an_id_with_two_contents_is_a_problem_and_the_labelled_one_holds(tmp_path: Path) -> None:
    traces, labels = tmp_path / "traces", tmp_path / "labels"
    append(traces / "a.jsonl", [stored("t-1", "new"), stored("t-2", "first"), stored("t-2", "second")])
    append(traces / "b.jsonl", [stored("t-1", "labelled")])
    append(labels / "traces.jsonl", [stored("t-1", "labelled")])
    library = Library.load(traces, labels)
    assert {each.id: each.trace.output for each in library.traces.values()} == {
        "t-1": "labelled",
        "t-2": "first",
    }
    assert len(library.problems) == 2
    assert "trace 't-1' has other content than in" in library.problems[0]
    assert library.problems[1].startswith(f"{traces / 'a.jsonl'}: trace 't-2'")


def test_problems_of_all_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    assert "line 1" in Library.load(tmp_path, tmp_path).problems[0]
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(ReviewError, match="cannot be read"):
        Library.load(tmp_path, tmp_path / "none")
    assert issubclass(ReviewError, StoreError)


def test_ten_thousand_traces_load_in_well_under_a_second(tmp_path: Path) -> None:
    text = "word " * 100
    many = [
        StoredTrace(
            f"t-{n}", "s", float(n), Trace(text, text, ({"role": "tool", "content": text},), {"n": n})
        )
        for n in range(10_000)
    ]
    append(tmp_path / "a.jsonl", many)
    start = time.process_time()
    assert len(Library.load(tmp_path, tmp_path / "labels").traces) == 10_000
    assert time.process_time() - start < 1.0
