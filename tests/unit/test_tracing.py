"""Traces from evals: what is kept of which session, once, and with the author's words untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.traces import StoredTrace, content_id, read
from pytest_evalloop.suite.assignment import Assignment
from pytest_evalloop.suite.tracing import Recorder, RecordTrace, Shelf, TraceBuilder, text

LOOP = Assignment("", "", "", "", "main/7", "c7")


def record(root: Path, assignment: Assignment | None = None, mark: pytest.Mark | None = None) -> RecordTrace:
    item: Any = SimpleNamespace(nodeid="evals/test_a.py::test_a[0]", get_closest_marker=lambda name: mark)
    return Recorder(root, assignment).of(item)


def stored(root: Path, name: str = "evals") -> list[StoredTrace]:
    found, problems = read(root / f".evalloop/traces/{name}.jsonl")
    assert not problems
    return found


def test_a_trace_says_where_it_is_from(tmp_path: Path) -> None:
    mark = pytest.mark.failure_mode("FM-01", "x").mark
    identity = record(tmp_path, mark=mark)(input="a", output="b", steps=[{"name": "call"}])
    (found,) = stored(tmp_path)
    assert (found.id, found.source) == (identity, "eval:evals/test_a.py::test_a[0]")
    assert found.trace == Trace(
        "a",
        "b",
        ({"name": "call"},),
        {"test": "evals/test_a.py::test_a[0]", "failure_mode": "FM-01", "candidate": "working tree"},
    )
    assert identity == content_id(found.trace)


def test_a_loops_candidates_have_files_of_their_own(tmp_path: Path) -> None:
    record(tmp_path, LOOP)(input="a")
    (found,) = stored(tmp_path, "main-7")
    assert found.source == "loop:main/7 evals/test_a.py::test_a[0]"
    assert found.trace.metadata["candidate"] == "main/7"


def test_the_authors_metadata_hold(tmp_path: Path) -> None:
    keep = record(tmp_path, mark=pytest.mark.failure_mode(id="FM-02", title="x").mark)
    keep(Trace("a", "b", metadata={"candidate": "mine", "x": 1}), metadata={"x": 2, "test": None})
    (found,) = stored(tmp_path)
    assert found.trace.metadata == {"candidate": "mine", "x": 2, "test": None, "failure_mode": "FM-02"}


def test_bytes_are_read_as_far_as_they_are_text(tmp_path: Path) -> None:
    record(tmp_path)(input=b"\xffa", output="ü".encode())
    assert stored(tmp_path)[0].trace.input == "\ufffda"
    assert stored(tmp_path)[0].trace.output == "ü"


def test_a_trace_and_parts_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a trace or its parts, not both"):
        record(tmp_path)(Trace("a", "b"), output="c")


@pytest.mark.parametrize(
    "change", [{"stand_in": "gzip"}, {"objective_only": True}, {"split": "vault"}, {"few": 100}]
)
def test_what_says_nothing_of_a_candidate_is_not_kept(tmp_path: Path, change: dict[str, Any]) -> None:
    assignment = Assignment("", "", "", "", "main/7", "c7", **change)
    assert record(tmp_path, assignment)(input="a") == content_id(Trace("a", ""))
    assert not (tmp_path / ".evalloop").exists()


def test_the_same_trace_is_kept_once_also_by_another_session(tmp_path: Path) -> None:
    keep = record(tmp_path)
    assert keep(input="a", metadata={"x": 1}) == keep(input="a", metadata={"x": 2})
    again = record(tmp_path)
    again(input="a")
    again(input="b")
    keep(input="b")
    assert [found.trace.input for found in stored(tmp_path)] == ["a", "b"]


def test_a_line_that_a_killed_session_left_half_written_is_no_obstacle(tmp_path: Path) -> None:
    keep = record(tmp_path)
    keep(input="a")
    file = tmp_path / ".evalloop/traces/evals.jsonl"
    with file.open("ab") as stream:
        stream.write(b'{"id":"t-half')
    keep(input="b")
    assert [found.trace.input for found in stored(tmp_path)] == ["a", "b"]
    file.write_bytes(b"")
    keep(input="c")
    assert [found.trace.input for found in stored(tmp_path)] == ["c"]


def test_several_processes_at_once_keep_each_trace_once(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pytest_evalloop.records import Trace\n"
        "from pytest_evalloop.review.traces import StoredTrace\n"
        "from pytest_evalloop.suite.tracing import Shelf\n"
        "shelf = Shelf(Path(sys.argv[1]))\n"
        "for number in range(200):\n"
        "    shelf.put(StoredTrace(f't-{number}', 'x', 1.0, Trace('a' * 9000, str(number))))\n"
    )
    file = tmp_path / "traces.jsonl"
    workers = [subprocess.Popen([sys.executable, "-c", code, str(file)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    found, problems = read(file)
    assert not problems
    assert sorted(each.id for each in found) == sorted(f"t-{number}" for number in range(200))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    from pytest_evalloop.store.home import StoreError

    (tmp_path / "traces").write_text("")
    with pytest.raises(StoreError, match=os.sep + "traces"):
        Shelf(tmp_path / "traces/evals.jsonl").put(StoredTrace("t-1", "x", 1.0, Trace("", "")))


def test_a_builder_collects_what_happened_in_order() -> None:
    assert TraceBuilder().empty
    builder = TraceBuilder()
    builder.step("search", name="a name of its own", query="x")
    builder.step("answer")
    assert builder.steps == [{"name": "a name of its own", "query": "x"}, {"name": "answer"}]
    assert not builder.empty
    misspelt: Any = builder
    with pytest.raises(AttributeError):
        misspelt.out_put = "x"


@pytest.mark.parametrize("value", [{"answer": 1}, 7, None, ["a"]])
def test_what_is_no_text_is_refused_before_it_is_written(value: object) -> None:
    with pytest.raises(TypeError, match=r"are text, and not .*json\.dumps"):
        text(value)
