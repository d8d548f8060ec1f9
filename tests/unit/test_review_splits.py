"""Splits of labelled traces: the shares of the method, kept for good."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pytest_evalloop.review.events import Label
from pytest_evalloop.review.splits import Split, assign, human, read_splits, settle
from pytest_evalloop.review.traces import ReviewError

MODE = "FM-07"


def verdicts(passes: int, fails: int, name: str = "t") -> dict[str, bool]:
    return {f"{name}-{number}": number < passes for number in range(passes + fails)}


def shares(splits: dict[str, Split], said: dict[str, bool], *, passed: bool) -> dict[Split, float]:
    counts = Counter(split for trace, split in splits.items() if said[trace] is passed)
    return {split: count / counts.total() for split, count in counts.items()}


def test_a_pass_is_a_trace_in_which_the_mode_does_not_occur() -> None:
    labels = [
        Label("a", passed=False, modes={MODE: True}),
        Label("b", passed=False, modes={MODE: False, "FM-01": True}),
        Label("c", passed=True),
        Label("d", passed=False, modes={"FM-01": True}),
    ]
    assert human(labels, MODE) == {"a": False, "b": True}


@pytest.mark.parametrize(("passes", "fails"), [(50, 50), (20, 20), (100, 30), (500, 41)])
def test_passes_and_fails_are_shared_out_as_the_method_says(passes: int, fails: int) -> None:
    said = verdicts(passes, fails)
    splits = assign(said, {})
    assert splits.keys() == said.keys()
    for passed in (True, False):
        found = shares(splits, said, passed=passed)
        assert 0.10 <= found[Split.TRAIN] <= 0.20
        assert 0.40 <= found[Split.DEV] <= 0.45
        assert 0.40 <= found[Split.TEST] <= 0.45


def test_examples_that_nobody_put_anywhere_go_to_train() -> None:
    said = verdicts(50, 50)
    splits = assign(said, {}, ["t-3", "t-60", "elsewhere"])
    assert (splits["t-3"], splits["t-60"]) == (Split.TRAIN, Split.TRAIN)
    assert "elsewhere" not in splits
    assert 0.10 <= shares(splits, said, passed=True)[Split.TRAIN] <= 0.20


def test_examples_stay_where_they_were_put() -> None:
    said = verdicts(50, 50)
    splits = assign(said, {})
    tested = next(trace for trace, split in splits.items() if split is Split.TEST)
    assert assign(said, splits, [tested]) == splits


def test_what_was_settled_is_on_disk_and_stays(tmp_path: Path) -> None:
    first = settle(tmp_path, MODE, verdicts(20, 20))
    assert read_splits(tmp_path, MODE) == first
    more = settle(tmp_path, MODE, {**verdicts(20, 20), **verdicts(20, 20, "u")})
    assert {trace: more[trace] for trace in first} == first
    assert read_splits(tmp_path, MODE) == more
    assert settle(tmp_path, MODE, {"t-0": False}) == {"t-0": first["t-0"]}


def test_settling_again_writes_nothing(tmp_path: Path) -> None:
    settle(tmp_path, MODE, verdicts(20, 20))
    before = (tmp_path / "splits.jsonl").read_bytes()
    settle(tmp_path, MODE, verdicts(20, 20))
    assert (tmp_path / "splits.jsonl").read_bytes() == before


def test_without_labels_nothing_is_written(tmp_path: Path) -> None:
    assert settle(tmp_path, MODE, {}) == {}
    assert not (tmp_path / "splits.jsonl").exists()


def test_the_same_labels_are_split_the_same_way_anywhere(tmp_path: Path) -> None:
    one = settle(tmp_path / "one", MODE, verdicts(20, 20))
    other = settle(tmp_path / "other", MODE, dict(reversed(verdicts(20, 20).items())))
    assert one == other


def test_each_mode_has_its_own_splits(tmp_path: Path) -> None:
    settle(tmp_path, MODE, verdicts(5, 5))
    assert read_splits(tmp_path, "FM-01") == {}


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train")])
def test_of_two_branches_the_one_that_saw_more_counts(tmp_path: Path, order: tuple[str, str]) -> None:
    lines = [f'{{"mode":"FM-07","trace":"a","split":"{split}"}}\n' for split in order]
    (tmp_path / "splits.jsonl").write_text("".join(lines))
    assert read_splits(tmp_path, MODE) == {"a": Split.TRAIN}


def test_a_torn_last_line_is_assigned_again(tmp_path: Path) -> None:
    first = settle(tmp_path, MODE, verdicts(5, 5))
    path = tmp_path / "splits.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    again = settle(tmp_path, MODE, verdicts(5, 5))
    kept = sorted(first)[:-1]
    assert {trace: again[trace] for trace in kept} == {trace: first[trace] for trace in kept}
    assert read_splits(tmp_path, MODE) == again


@pytest.mark.parametrize(
    "line",
    ['{"mode":"FM-07","trace":"a","split":"exam"}', '{"mode":"FM-07","trace":"a"}', "[1]", "\ufeff{", "\x00"],
)
def test_a_damaged_line_is_named_and_nothing_is_shuffled_anew(tmp_path: Path, line: str) -> None:
    path = tmp_path / "splits.jsonl"
    path.write_text(f'{{"mode":"FM-07","trace":"b","split":"dev"}}\n{line}\n')
    with pytest.raises(ReviewError, match=r"splits\.jsonl, line 2 says of no trace in which split it is"):
        settle(tmp_path, MODE, verdicts(5, 5))
