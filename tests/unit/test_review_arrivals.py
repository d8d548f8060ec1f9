"""Traces that are recorded while somebody reads: found once, whatever the writers do to the files meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.arrivals import Arrivals
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.traces import Library, StoredTrace, append, encode


def trace(number: int, output: str = "a") -> StoredTrace:
    return StoredTrace(f"t-{number:03}", "s", float(number), Trace(f"q{number}", output))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    append(tmp_path / "traces/evals.jsonl", [trace(1), trace(3)])
    return tmp_path


def begin(folder: Path) -> tuple[Arrivals, Library]:
    arrivals = Arrivals(folder / "traces", folder / "labels")
    return arrivals, Library.load(folder / "traces", folder / "labels")


def test_what_was_added_is_found_in_old_files_new_ones_and_copies(folder: Path) -> None:
    arrivals, library = begin(folder)
    assert arrivals.into(library) is library
    append(folder / "traces/evals.jsonl", [trace(2)])
    append(folder / "traces/run-1.jsonl", [trace(5), trace(1)])
    grown = arrivals.into(library)
    assert list(grown.traces) == ["t-001", "t-002", "t-003", "t-005"]
    assert arrivals.into(grown) is grown
    with Labels.open(
        folder / "labels", write=True
    ) as labels:  # as a pull of somebody else's labels brings them
        labels.change(trace(4), "Ada", 1.0, passed=True)
    assert list(arrivals.into(grown).traces) == [f"t-{number:03}" for number in range(1, 6)]
    assert list(library.traces) == ["t-001", "t-003"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(folder: Path) -> None:
    arrivals, library = begin(folder)
    line = encode(trace(2))
    with (folder / "traces/evals.jsonl").open("ab", buffering=0) as file:
        for start, end in ((0, 10), (10, len(line) - 1)):
            file.write(line[start:end])
            library = arrivals.into(library)
            assert list(library.traces) == ["t-001", "t-003"]
        file.write(b"\n")
    library = arrivals.into(library)
    assert list(library.traces) == ["t-001", "t-002", "t-003"]
    assert library.problems == ()


def test_lines_that_are_no_traces_are_told_once_with_their_number(folder: Path) -> None:
    with (folder / "traces/evals.jsonl").open("ab") as file:
        file.write(b"{}\n")
    arrivals, library = begin(folder)
    [old] = library.problems
    assert "evals.jsonl, line 3: not a trace" in old
    with (folder / "traces/evals.jsonl").open("ab") as file:
        file.write(encode(trace(4)) + b"nothing\n" + encode(trace(1, "other")))
    library = arrivals.into(library)
    assert list(library.traces) == ["t-001", "t-003", "t-004"]
    assert library.traces["t-001"].trace.output == "a"
    first, other, last = library.problems
    assert first == old
    assert "evals.jsonl, line 5: not a trace" in other
    assert "'t-001' has other content than the one that is shown" in last
    assert arrivals.into(library) is library


def test_a_file_that_was_replaced_cut_or_removed_takes_nothing_away(folder: Path) -> None:
    arrivals, library = begin(folder)
    file = folder / "traces/evals.jsonl"
    append(file, [trace(4)])
    library = arrivals.into(library)
    file.unlink()
    assert arrivals.into(library) is library
    append(file, [trace(7)])
    library = arrivals.into(library)
    file.write_bytes(encode(trace(8)))
    library = arrivals.into(library)
    assert list(library.traces) == ["t-001", "t-003", "t-004", "t-007", "t-008"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=5), max_size=8))
def test_in_steps_one_knows_what_a_new_start_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[tuple[str, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("steps")
    arrivals, library = begin(folder)
    for step in steps:
        for name, number in step:
            append(folder / f"traces/{name}.jsonl", [trace(number)])
        library = arrivals.into(library)
        assert library == Library.load(folder / "traces", folder / "labels")
