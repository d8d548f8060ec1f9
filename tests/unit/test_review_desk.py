"""The labeller's desk without HTTP: what is told of traces and labels, and what may be changed."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.arrivals import Arrivals
from pytest_evalloop.review.desk import Desk, ModeConflictError, NotFoundError, Since, agrees, stale
from pytest_evalloop.review.labels import Conflict, Label, Labels
from pytest_evalloop.review.modes import Mode, read_modes
from pytest_evalloop.review.server import announcement, port_of
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace, append

TRACES = [
    StoredTrace(f"t-{number}", "import:log.csv", number, Trace(f"q{number}", "a" * 10)) for number in range(5)
]
LIBRARY = Library({stored.id: stored for stored in TRACES})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Labels.open(tmp_path, write=True) as labels:
        yield Desk(LIBRARY, labels, tmp_path, "Ada", {"t-3": "drawn at random"})


def news(desk: Desk, since: str) -> tuple[str, list[str]]:
    told = desk.news(Since.parse(since))
    return told["at"], [label["trace"] for label in told["labels"]]


def test_the_index_has_no_contents_and_says_why_a_trace_is_shown(desk: Desk) -> None:
    index = desk.index()
    assert [each["id"] for each in index["traces"]] == [f"t-{number}" for number in range(5)]
    assert index["traces"][3]["facts"] == {"why": "drawn at random"}
    assert "a" * 10 not in json.dumps(index)


def test_news_are_what_changed_since_then_and_all_for_a_stranger(desk: Desk) -> None:
    start, changed = news(desk, "")
    assert changed == []
    desk.change("t-2", 0, {"passed": True})
    desk.change("t-1", 0, {"note": "odd"})
    desk.change("t-2", 1, {"passed": False})
    later, changed = news(desk, start)
    assert sorted(changed) == ["t-1", "t-2"]
    assert news(desk, later) == (later, [])
    for stranger in ("", "x", "abc:1", "abc:-1", later + "0", f"{later.partition(':')[0]}:99999"):
        assert sorted(news(desk, stranger)[1]) == ["t-1", "t-2"]
    desk.undo()
    assert news(desk, later)[1] == ["t-2"]


def test_labels_that_version_control_brought_are_news(desk: Desk, tmp_path: Path) -> None:
    desk.change("t-0", 0, {"passed": True})
    shutil.copy(tmp_path / "labels.jsonl", tmp_path / "kept")
    desk.change("t-1", 0, {"passed": False})
    at, _ = news(desk, "")
    shutil.move(tmp_path / "kept", tmp_path / "labels.jsonl")
    desk.change("t-4", 0, {"passed": True})
    assert "t-4" in news(desk, at)[1]
    assert [label["passed"] for label in desk.news(Since.parse(""))["labels"] if label["trace"] == "t-4"] == [
        True
    ]


def test_a_change_needs_the_revision_unless_it_says_what_is_there(desk: Desk) -> None:
    first = desk.change("t-0", 0, {"passed": True, "deferred": False})
    assert desk.change("t-0", 0, {"passed": True}) == first
    with pytest.raises(Conflict) as caught:
        desk.change("t-0", 0, {"passed": False})
    assert caught.value.label == first
    with pytest.raises(NotFoundError):
        desk.change("t-9", 0, {"passed": True})
    with pytest.raises(ReviewError, match="no failure mode FM-01"):
        desk.change("t-0", 1, {"modes": {"FM-01": True}})


@pytest.mark.parametrize(
    ("said", "agreed"),
    [
        ({}, True),
        ({"passed": True, "note": "n"}, True),
        ({"passed": False}, False),
        ({"modes": {"a": True, "b": None}}, True),
        ({"modes": {"a": True, "b": False}}, False),
        ({"modes": {"a": None}}, False),
        ({"modes": ["a"]}, False),
        ({"unknown": 1}, False),
    ],
)
def test_a_label_agrees_with_what_it_says_already(said: dict[str, object], agreed: bool) -> None:
    assert agrees(Label("t", passed=True, note="n", modes={"a": True}), said) is agreed


def test_modes_are_kept_edited_and_removed_only_as_they_were_seen(desk: Desk, tmp_path: Path) -> None:
    first, second = Mode("FM-01", "one"), Mode("FM-01", "two")
    desk.keep_mode(first, None)
    desk.keep_mode(first, None)  # an answer that was lost
    with pytest.raises(ModeConflictError, match="exists already") as caught:
        desk.keep_mode(second, None)
    assert caught.value.current == first
    desk.keep_mode(second, first)
    with pytest.raises(ModeConflictError, match="was changed meanwhile"):
        desk.keep_mode(Mode("FM-01", "three"), first)
    desk.change("t-0", 0, {"modes": {"FM-01": True}})
    with pytest.raises(ReviewError, match=r"FM-01 stands in 1 label \(t-0\), so it was not removed"):
        desk.remove_mode("FM-01")
    assert read_modes(tmp_path) == (second,)
    desk.undo()
    desk.remove_mode("FM-01")
    assert read_modes(tmp_path) == ()
    with pytest.raises(ModeConflictError, match="was removed meanwhile"):
        desk.keep_mode(first, second)


def test_a_search_finds_ids_texts_and_notes(desk: Desk) -> None:
    desk.change("t-4", 0, {"note": "Names NOBODY"})
    assert desk.search("nobody") == ["t-4"]
    assert desk.search("Q2") == ["t-2"]
    assert desk.search("T-1") == ["t-1"]
    assert desk.search("aaa") == list(LIBRARY.traces)
    assert desk.search("nothing like it") == []


def test_contents_are_those_that_are_there_and_as_many_as_an_answer_bears(tmp_path: Path) -> None:
    large = {
        f"t-{number}": StoredTrace(f"t-{number}", "s", 0, Trace("q", "a" * 600_000)) for number in range(9)
    }
    with Labels.open(tmp_path) as labels:
        desk = Desk(Library(large), labels, tmp_path, "Ada", {})
        assert [each["id"] for each in desk.contents(["t-1", "no", "t-2", "t-3"])] == ["t-1", "t-2"]
        assert desk.whole("t-1", 1, 0) == "a" * 600_000
        for place in ((-1, 0), (2, 0), (1, 1), (0, -1)):
            with pytest.raises(NotFoundError):
                desk.whole("t-1", *place)


def test_the_overview_counts_what_was_judged(desk: Desk) -> None:
    assert desk.overview()["interval"] is None
    desk.keep_mode(Mode("FM-01", "one", reviewed="2020-01-01"), None)
    desk.change("t-0", 0, {"passed": False, "modes": {"FM-01": True}})
    desk.change("t-1", 0, {"passed": True, "modes": {"FM-01": False}})
    desk.change("t-2", 0, {"deferred": True})
    seen = desk.overview()
    assert (seen["traces"], seen["judged"], seen["failed"], seen["deferred"]) == (5, 2, 1, 1)
    assert seen["interval"]["low"] < 0.5 < seen["interval"]["high"]
    assert [(rate["id"], rate["failures"], rate["labelled"]) for rate in seen["modes"]] == [("FM-01", 1, 2)]
    assert seen["saturation"]["found"] == (1, 1)
    assert seen["stale"] == ["FM-01"]


def test_traces_that_arrive_are_news_and_can_be_labelled(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path / "traces", tmp_path)
    with Labels.open(tmp_path, write=True) as labels:
        desk = Desk(LIBRARY, labels, tmp_path, "Ada", {}, arrivals)
        assert desk.index()["known"] == 5
        append(tmp_path / "traces/evals.jsonl", [StoredTrace("t-9", "s", 9.0, Trace("q9", "a"))])
        assert desk.news(Since.parse(""))["known"] == 6
        assert [each["id"] for each in desk.index()["traces"]][-1] == "t-9"
        assert desk.change("t-9", 0, {"passed": True}).passed
        assert desk.overview()["traces"] == 6


@pytest.mark.parametrize(
    ("reviewed", "old"),
    [("", False), ("2026-11-23", False), ("2026-10-26", False), ("2026-10-25", True), ("x", True)],
)
def test_a_mode_goes_stale_after_four_weeks(reviewed: str, old: bool) -> None:
    assert stale(Mode("FM-01", "one", reviewed=reviewed), dt.date(2026, 11, 23)) is old


def test_a_project_has_a_port_of_its_own_and_hears_what_could_not_be_read(tmp_path: Path) -> None:
    assert port_of(tmp_path) == port_of(tmp_path / "x" / "..")
    assert 20_000 <= port_of(tmp_path) < 30_000
    with Labels.open(tmp_path) as labels:
        text = announcement("http://127.0.0.1:1/", Library({}, ("line 3 is torn",)), labels, tmp_path)
    assert "There is nothing to read yet" in text
    assert text.endswith("line 3 is torn")
