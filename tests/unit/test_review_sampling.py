"""Samples: the same for a seed, never larger than asked, with a share at random and a reason for every trace."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.sampling import Pick, at_random, disagreements, outliers, stratified
from pytest_evalloop.review.traces import StoredTrace


def trace(identity: str, output: str = "o", **metadata: object) -> StoredTrace:
    return StoredTrace(identity, "s", 1.0, Trace("i", output, (), metadata))


def many(count: int, **metadata: object) -> list[StoredTrace]:
    return [trace(f"t-{number}", "o", **metadata) for number in range(count)]


def opinions(said: dict[str, dict[str, bool]]) -> dict[str, dict[str, dict[str, bool]]]:
    """Two voices: a check, and a judge that knows half of the traces and says otherwise on some."""
    judge = {
        mode: {name: passes is (name > "t-2") for name, passes in each.items() if name[-1] in "02468"}
        for mode, each in said.items()
    }
    return {mode: {"a check": each, "the judge": judge[mode]} for mode, each in said.items()}


TRACES = st.lists(
    st.builds(
        lambda name, output, metadata: StoredTrace(name, "s", 1.0, Trace("i", output, (), metadata)),
        st.sampled_from([f"t-{number}" for number in range(30)]),
        st.text(max_size=5),
        st.dictionaries(st.sampled_from(["model", "k"]), st.integers(0, 3) | st.none() | st.text(max_size=2)),
    ),
    max_size=30,
    unique_by=lambda stored: stored.id,
)
VERDICTS = st.dictionaries(
    st.sampled_from(["FM-01", "FM-02"]),
    st.dictionaries(st.sampled_from([f"t-{number}" for number in range(30)]), st.booleans()),
)


@settings(max_examples=200)
@given(TRACES, st.integers(-1, 40), st.integers(), st.floats(0, 1), VERDICTS, VERDICTS)
def test_a_sample_is_as_large_as_it_can_be_and_does_not_depend_on_the_order(
    traces: list[StoredTrace],
    count: int,
    seed: int,
    share: float,
    said: dict[str, dict[str, bool]],
    human: dict[str, dict[str, bool]],
) -> None:
    mixed = sorted(traces, key=lambda stored: stored.id[::-1])
    for one, other in (
        (at_random(traces, count, seed), at_random(mixed, count, seed)),
        (stratified(traces, count, "model", seed, share), stratified(mixed, count, "model", seed, share)),
        (outliers(traces, count, seed, share), outliers(mixed, count, seed, share)),
        (
            disagreements(traces, opinions(said), human, count, seed, share),
            disagreements(mixed, opinions(said), human, count, seed, share),
        ),
    ):
        assert one == other
        assert len(one) == len({pick.id for pick in one}) == max(0, min(count, len(traces)))
        assert {pick.id for pick in one} <= {stored.id for stored in traces}
        assert all(pick.why for pick in one)


def test_a_larger_random_sample_begins_with_the_smaller_and_new_traces_disturb_it_little() -> None:
    traces = many(100)
    assert at_random(traces, 30, 1)[:10] == at_random(traces, 10, 1)
    assert at_random(traces, 10, 1) != at_random(traces, 10, 2)
    before, after = at_random(traces, 50, 1), at_random([*traces, trace("new")], 50, 1)
    assert len(set(before) & set(after)) >= 49


def test_groups_are_drawn_in_proportion_and_each_at_least_once() -> None:
    traces = [
        *many(80, model="a"),
        *(trace(f"b-{number}", model="b") for number in range(19)),
        trace("c-0"),
    ]
    picks = stratified(traces, 25, "model", 1)
    guided = [pick for pick in picks if pick.why != "drawn at random"]
    assert Counter(pick.id[0] for pick in guided) == {"t": 16, "b": 3, "c": 1}
    assert len(picks) - len(guided) == 5
    assert Pick("c-0", "model is (absent), as in 1 of 100 traces") in picks
    assert {pick.id[0] for pick in stratified(traces, 3, "model", 1)[:2]} == {"t", "b"}
    assert {pick.id[0] for pick in stratified(traces, 4, "model", 1)} == {"t", "b", "c"}


def test_what_is_unusual_is_drawn_with_the_reason() -> None:
    traces = [
        *(trace(f"t-{number}", "x" * (90 + number % 20), model="usual", time=number) for number in range(98)),
        trace("long", "x" * 100_000, model="usual", time=98),
        trace("rare", "x" * 100, model="rare", time=99),
    ]
    picks = outliers(traces, 5, 1)
    assert picks[0] == Pick("long", "100,000 characters of output, where 99 are typical")
    assert picks[1] == Pick("rare", "model is rare, as in 1 of 100 traces")
    assert picks[-1].why == "drawn at random"
    assert not any("time" in pick.why for pick in picks)


def test_where_nothing_is_unusual_all_is_drawn_at_random() -> None:
    assert {pick.why for pick in outliers(many(20), 5, 1)} == {"drawn at random"}
    assert outliers([], 5, 1) == ()


def test_disagreements_of_both_kinds_are_drawn_in_turn() -> None:
    traces = many(40)
    said = {
        "FM-01": {"f": {stored.id: number < 20 for number, stored in enumerate(traces)}},
        "FM-02": {"g": {"t-0": False}},
    }
    human = {"FM-01": {f"t-{number}": number % 2 == 0 for number in range(40)}, "FM-02": {"t-0": True}}
    picks = disagreements(traces, said, human, 10, 1)
    assert Counter(pick.why for pick in picks if pick.id != "t-0") == {
        "FM-01: f passes it and a person fails it": 4,
        "FM-01: f fails it and a person passes it": 4,
        "drawn at random": 2,
    }
    [both] = disagreements([traces[0]], said, human, 2, 1)
    assert both.why == "FM-02: g fails it and a person passes it"
    # Where people said nothing, one voice alone contradicts nobody.
    assert {pick.why for pick in disagreements(traces, said, {}, 10, 1)} == {"drawn at random"}


def test_checks_and_judges_that_contradict_each_other_are_drawn_where_people_said_nothing() -> None:
    traces = many(10)
    said = {
        "FM-01": {
            "f": {"t-1": True, "t-2": True, "t-3": False},
            "g": {"t-1": True, "t-2": True},
            "the judge": {"t-1": True, "t-2": False, "t-3": True},
        },
        "FM-02": {"h": {"t-1": True}},
    }
    human = {"FM-01": {"t-3": True}, "FM-02": {"t-1": False}}
    found = {pick.id: pick.why for pick in disagreements(traces, said, human, 5, 1)}
    assert [why for why in found.values() if why != "drawn at random"] == [
        "FM-02: h passes it and a person fails it",
        "FM-01: f fails it and a person passes it",
        "FM-01: f and g pass it and the judge fails it",
    ]
    assert list(found)[:3] == ["t-1", "t-3", "t-2"]


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="random_share is 2; it is a share between 0 and 1"):
        outliers(many(3), 2, 1, 2)
    assert {pick.why for pick in stratified(many(50, model="a"), 10, "model", 1, 1.0)} >= {"drawn at random"}
