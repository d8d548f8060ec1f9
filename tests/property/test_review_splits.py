"""Splits: whatever is labelled, and whenever, nothing moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.review.splits import SHARES, Split, assign

NAMES = st.text(min_size=1, max_size=8)
LABELLED = st.dictionaries(NAMES, st.booleans(), max_size=60)


@given(LABELLED, LABELLED)
def test_a_new_label_moves_no_other_trace(before: dict[str, bool], new: dict[str, bool]) -> None:
    known = assign(before, {})
    after = assign({**new, **before}, known)
    assert {trace: after[trace] for trace in before} == known


@given(LABELLED, st.data())
def test_a_changed_label_moves_nothing(labelled: dict[str, bool], data: st.DataObject) -> None:
    known = assign(labelled, {})
    changed = {trace: data.draw(st.booleans()) for trace in labelled}
    assert assign(changed, known) == known


@given(LABELLED, st.randoms())
def test_the_order_of_labels_does_not_matter(labelled: dict[str, bool], chance: object) -> None:
    names = list(labelled)
    chance.shuffle(names)  # type: ignore[attr-defined]
    assert assign({name: labelled[name] for name in names}, {}) == assign(labelled, {})


@given(LABELLED, LABELLED)
def test_no_split_strays_from_its_share(before: dict[str, bool], new: dict[str, bool]) -> None:
    every = {**new, **before}
    splits = assign(every, assign(before, {}))
    assert splits.keys() == every.keys()
    for passed in (True, False):
        mine = [split for trace, split in splits.items() if every[trace] is passed]
        for split in Split:
            assert abs(mine.count(split) - SHARES[split] * len(mine)) <= 1


@given(LABELLED, st.sets(NAMES, max_size=5))
def test_examples_are_in_train(labelled: dict[str, bool], examples: set[str]) -> None:
    splits = assign(labelled, {}, examples)
    assert {splits[trace] for trace in examples & labelled.keys()} <= {Split.TRAIN}
