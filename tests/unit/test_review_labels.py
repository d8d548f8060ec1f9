"""Labels: every action is on disk, the last word counts field by field, and anything can be taken back."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Conflict, Label, Labels
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace, read
from pytest_evalloop.store.home import StoreError

ANN, BEN = "ann", "ben"


def trace(identity: str = "t-1", output: str = "o") -> StoredTrace:
    return StoredTrace(identity, "test", 1.0, Trace("i", output))


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[Labels]:
    with Labels.open(tmp_path, write=True) as opened:
        yield opened


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


def test_a_label_is_on_disk_when_the_call_returns_with_its_trace(tmp_path: Path, labels: Labels) -> None:
    label = labels.change(trace(), ANN, 10.5, passed=False, note="stops in the middle", modes={"FM-01": True})
    assert label == Label("t-1", False, False, "stops in the middle", {"FM-01": True}, ANN, 10.5, 1, 10.5)
    again = Labels.open(tmp_path)
    assert again.get("t-1") == label == labels.get("t-1")
    assert again.all() == labels.all() == {"t-1": label}
    assert read(tmp_path / "traces.jsonl") == ([trace()], [])
    [event] = events(tmp_path)
    assert event.pop("id")
    assert event == {
        "trace": "t-1",
        "by": ANN,
        "at": 10.5,
        "passed": False,
        "note": "stops in the middle",
        "modes": {"FM-01": True},
    }


def test_the_last_word_counts_field_by_field(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace(), ANN, 1.0, passed=True, modes={"FM-01": True, "FM-02": False})
    labels.change(trace(), BEN, 2.0, note="hm", modes={"FM-01": None, "FM-03": True})
    labels.change(trace(), ANN, 3.0, passed=None, deferred=True)
    expected = Label("t-1", None, True, "hm", {"FM-02": False, "FM-03": True}, ANN, 3.0, 3, 1.0)
    assert labels.get("t-1") == Labels.open(tmp_path).get("t-1") == expected


def test_an_unknown_trace_has_a_label_that_says_nothing(labels: Labels) -> None:
    assert labels.get("t-9") == Label("t-9")
    assert not labels.get("t-9").says_something
    assert labels.all() == {}


def test_what_was_said_already_is_not_recorded_again(tmp_path: Path, labels: Labels) -> None:
    assert labels.change(trace(), ANN, 1.0, note="", modes={"FM-01": None}).revision == 0
    assert not (tmp_path / "traces.jsonl").exists()
    labels.change(trace(), ANN, 1.0, passed=True)
    assert labels.change(trace(), ANN, 2.0, passed=True).revision == 1
    assert labels.change(trace(), BEN, 3.0, passed=True).revision == 2  # that somebody else agrees is news
    assert len(events(tmp_path)) == 2


def test_who_saw_another_label_is_told_so_and_nothing_is_changed(tmp_path: Path, labels: Labels) -> None:
    seen = labels.change(trace(), ANN, 1.0, passed=True, expected=0)
    now = labels.change(trace(), BEN, 2.0, passed=False, expected=seen.revision)
    with pytest.raises(Conflict) as caught:
        labels.change(trace(), ANN, 3.0, note="mine", expected=seen.revision)
    assert caught.value.label == now == labels.get("t-1")
    assert "changed by ben in the meantime: it has revision 2, and revision 1 was expected" in str(
        caught.value
    )
    assert len(events(tmp_path)) == 2


def test_undo_goes_back_step_by_step_over_all_traces_and_a_restart(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace("t-1"), ANN, 1.0, passed=True)
    labels.change(trace("t-2"), ANN, 2.0, passed=False, note="a", modes={"FM-01": True})
    labels.change(trace("t-2"), ANN, 3.0, note="b", modes={"FM-01": None, "FM-02": True})
    labels.close()
    with Labels.open(tmp_path, write=True) as again:
        restored = again.undo(ANN, 4.0)
        assert restored == Label("t-2", False, False, "a", {"FM-01": True}, ANN, 4.0, 3, 2.0)
        assert again.undo(ANN, 5.0) == Label("t-2", by=ANN, at=5.0, revision=4, first=2.0)
        assert list(again.all()) == ["t-1"]
        assert again.undo(ANN, 6.0) == Label("t-1", by=ANN, at=6.0, revision=2, first=1.0)
        assert again.undo(ANN, 7.0) is None
        assert again.all() == {}
        again.change(trace("t-1"), ANN, 8.0, passed=True)
        assert again.undo(ANN, 9.0) == Label("t-1", by=ANN, at=9.0, revision=4, first=1.0)
        assert again.undo(ANN, 9.0) is None
    assert len(events(tmp_path)) == 8  # nothing is ever taken out of the log


def test_undo_takes_back_ones_own_and_leaves_what_others_said(labels: Labels) -> None:
    labels.change(trace(), ANN, 1.0, passed=True, note="ann's", modes={"FM-01": True})
    labels.change(trace(), BEN, 2.0, note="ben's", modes={"FM-02": True})
    assert labels.undo("somebody", 3.0) is None
    undone = labels.undo(ANN, 3.0)
    assert undone is not None
    assert (undone.passed, undone.note, undone.modes) == (None, "ben's", {"FM-02": True})
    undone = labels.undo(BEN, 4.0)
    assert undone is not None
    assert not undone.says_something


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"passed": 1}, "passed is 1 in a label; it is true, false or none"),
        ({"deferred": None}, "deferred is None in a label; it is true or false"),
        ({"note": None}, "note is None in a label; it is text"),
        ({"modes": ["FM-01"]}, "modes is ['FM-01'] in a label"),
        ({"modes": {"FM-01": 1}}, "FM-01 is 1 in a label; it is true, false or none"),
        ({"modes": {"": True}}, "'' cannot name a failure mode. An id is 1 to 64 letters"),
        ({"modes": {"Note": True}}, "'Note' cannot name a failure mode"),
        ({"score": 5}, "A label has no 'score'; it has passed, deferred, note, modes."),
    ],
)
def test_what_is_no_label_is_refused(
    tmp_path: Path, labels: Labels, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReviewError) as caught:
        labels.change(trace(), ANN, 1.0, **fields)
    assert message in str(caught.value)
    with pytest.raises(ReviewError, match="it is seconds since the epoch"):
        labels.change(trace(), ANN, math.nan, passed=True)
    assert (tmp_path / "labels.jsonl").read_bytes() == b""


def test_text_is_remembered_as_the_file_keeps_it(tmp_path: Path, labels: Labels) -> None:
    label = labels.change(trace("t\udc80"), "a\udc80", 1.0, note="\udc80 é \0 \u2028")
    assert label.note == "\\udc80 é \0 \u2028"
    assert Labels.open(tmp_path).get("t\\udc80") == label
    assert labels.undo("a\udc80", 2.0) is not None


def test_what_a_label_was_is_known(labels: Labels) -> None:
    first = labels.change(trace(), ANN, 1.0, passed=True)
    second = labels.change(trace(), BEN, 2.0, passed=False)
    assert [labels.was("t-1", revision) for revision in range(-1, 4)] == [
        None,
        Label("t-1"),
        first,
        second,
        None,
    ]
    assert labels.was("t-2", 0) == Label("t-2")


def test_many_changes_are_on_disk_together(tmp_path: Path, labels: Labels) -> None:
    with labels.together():
        for number in range(50):
            labels.change(trace(f"t-{number}"), ANN, 1.0, passed=True)
    assert Labels.open(tmp_path).all() == labels.all()
    assert len(read(tmp_path / "traces.jsonl")[0]) == 50


def test_only_one_process_writes_and_everybody_reads(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace(), ANN, 1.0, passed=True)
    code = "import sys, pathlib\nfrom pytest_evalloop.review.labels import Labels\n"
    code += "Labels.open(pathlib.Path(sys.argv[1]), write=sys.argv[2] == 'w')\n"
    reader = subprocess.run((sys.executable, "-c", code, tmp_path, "r"), check=False)
    assert reader.returncode == 0
    writer = subprocess.run(
        (sys.executable, "-c", code, tmp_path, "w"), check=False, capture_output=True, text=True
    )
    assert f"is being written by process {os.getpid()}" in writer.stderr or "another process" in writer.stderr
    with pytest.raises(ReviewError, match="one at a time"):
        Labels.open(tmp_path, write=True)
    labels.close()
    Labels.open(tmp_path, write=True).close()


def test_what_is_open_for_reading_cannot_be_changed_but_refreshed(tmp_path: Path, labels: Labels) -> None:
    reader = Labels.open(tmp_path)
    with pytest.raises(ReviewError, match="open for reading alone"):
        reader.change(trace(), ANN, 1.0, passed=True)
    with pytest.raises(ReviewError, match="open for reading alone"):
        reader.undo(ANN, 1.0)
    label = labels.change(trace(), ANN, 1.0, passed=True)
    assert reader.all() == {}
    reader.refresh()
    assert reader.get("t-1") == label


def test_reading_creates_nothing(tmp_path: Path) -> None:
    assert Labels.open(tmp_path / "labels").all() == {}
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize("cut", [1, 20, 10_000])
def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path, labels: Labels, cut: int) -> None:
    kept = labels.change(trace("t-1"), ANN, 1.0, passed=True)
    whole = (tmp_path / "labels.jsonl").read_bytes()
    labels.change(trace("t-2"), ANN, 2.0, passed=True, note="x" * 20_000)
    labels.close()
    data = (tmp_path / "labels.jsonl").read_bytes()
    (tmp_path / "labels.jsonl").write_bytes(data[: max(len(data) - cut - 1, len(whole) + 1)])
    assert Labels.open(tmp_path).all() == {"t-1": kept}
    with Labels.open(tmp_path, write=True) as again:
        again.change(trace("t-3"), ANN, 3.0, passed=False)
        assert list(again.all()) == ["t-1", "t-3"]
    assert Labels.open(tmp_path).all() == again.all()
    assert (tmp_path / "labels.jsonl").read_bytes().startswith(whole)
    assert len(events(tmp_path)) == 2


def test_a_torn_copy_of_a_trace_is_written_again(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace("t-1"), ANN, 1.0, passed=True)
    labels.close()
    whole = (tmp_path / "traces.jsonl").read_bytes()
    (tmp_path / "traces.jsonl").write_bytes(whole[:-5])
    with Labels.open(tmp_path, write=True) as again:
        again.change(trace("t-1"), ANN, 2.0, note="again")
    assert (tmp_path / "traces.jsonl").read_bytes() == whole
    assert Library.load(tmp_path / "none", tmp_path).problems == ()


def test_a_damaged_line_is_named_and_nothing_is_touched(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace(), ANN, 1.0, passed=True)
    labels.close()
    path = tmp_path / "labels.jsonl"
    good = path.read_bytes()
    for bad in (
        b"<<<<<<< ours\n",
        b"[1]\n",
        b'{"id":"a","trace":"t","by":"x"}\n',
        b'{"id":"a","trace":"t","at":1,"passed":2}\n',
        b'{"id":"a","trace":"t","at":1,"stars":5}\n',
        b"\xff\n",
    ):
        path.write_bytes(good + bad * 4 + good)
        for write in (False, True):
            with pytest.raises(ReviewError) as caught:
                Labels.open(tmp_path, write=write)
            assert "no labels, so it was not read and nothing was changed: line 2: " in str(caught.value)
            assert "and 1 more" in str(caught.value)
        assert path.read_bytes() == good + bad * 4 + good


def test_a_file_that_version_control_replaced_is_read_again_before_a_change(
    tmp_path: Path, labels: Labels
) -> None:
    path = tmp_path / "labels.jsonl"
    labels.change(trace("t-1"), ANN, 1.0, passed=True)
    older = path.read_bytes()
    labels.change(trace("t-2"), ANN, 2.0, passed=True)
    (tmp_path / "checkout").write_bytes(older)
    (tmp_path / "checkout").replace(path)
    labels.change(trace("t-3"), ANN, 3.0, passed=True)
    assert list(labels.all()) == ["t-1", "t-3"] == list(Labels.open(tmp_path).all())
    with pytest.raises(ReviewError, match="one at a time"):  # the new file is locked too
        Labels.open(tmp_path, write=True)
    path.unlink()
    with pytest.raises(Conflict):
        labels.change(trace("t-1"), ANN, 4.0, passed=False, expected=1)
    assert labels.change(trace("t-1"), ANN, 4.0, passed=False).revision == 1
    assert list(Labels.open(tmp_path).all()) == ["t-1"]


def test_a_file_that_was_damaged_meanwhile_is_not_written_to(tmp_path: Path, labels: Labels) -> None:
    path = tmp_path / "labels.jsonl"
    label = labels.change(trace(), ANN, 1.0, passed=True)
    good = path.read_bytes()
    path.write_bytes(b"<<<<<<< ours\n" + good)
    for _ in range(2):
        with pytest.raises(ReviewError, match="line 1: "):
            labels.change(trace(), ANN, 2.0, passed=False)
    assert labels.get("t-1") == label
    assert path.read_bytes() == b"<<<<<<< ours\n" + good
    path.write_bytes(good)
    assert labels.change(trace(), ANN, 2.0, passed=False).revision == 2


def test_other_content_under_a_labelled_id_cannot_be_labelled(tmp_path: Path, labels: Labels) -> None:
    labels.change(trace("t-1"), ANN, 1.0, passed=True)
    with pytest.raises(ReviewError, match="'t-1' was labelled with other content"):
        labels.change(trace("t-1", "another"), ANN, 2.0, passed=False)
    assert len(events(tmp_path)) == 1


def test_several_threads_label_at_once(tmp_path: Path, labels: Labels) -> None:
    def work(who: str) -> None:
        for number in range(20):
            labels.change(trace(f"{who}-{number}"), who, float(number), passed=True)
            if number % 4 == 0:
                labels.undo(who, float(number))

    threads = [threading.Thread(target=work, args=(who,)) for who in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(labels.all()) == 45
    assert Labels.open(tmp_path).all() == labels.all()


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="could not be written"):
        Labels.open(tmp_path / "file", write=True)
    assert issubclass(Conflict, ReviewError)
