"""How a trace is laid out for reading: nothing is lost, nothing is read twice, and long texts wait."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review import present
from pytest_evalloop.review.present import Field, Section, sections

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["role", "type", "name", "tool", "content", "text", "arguments", "result"]) | st.text(
    max_size=4
)
steps = st.lists(st.dictionaries(keys, values, max_size=5), max_size=4).map(tuple)
traces = st.builds(
    Trace, st.text(), st.text(), steps, st.dictionaries(st.text(max_size=4), values, max_size=4)
)


def shape(trace: Trace) -> list[tuple[str, str]]:
    return [(section.role, section.fields[0].text) for section in sections(trace)]


@given(traces)
def test_whatever_a_step_holds_can_be_shown(trace: Trace) -> None:
    found = sections(trace)
    assert (found[-1].role, found[-1].fields[0]) == ("output", Field("", trace.output))
    assert sum(section.role == "input" for section in found) == 1
    sent = json.loads(json.dumps(present.shown(trace)))
    assert [section["title"] for section in sent] == [section.title for section in found]
    said = "".join(
        section.title + "".join(field.label + field.text for field in section.fields) for section in found
    )
    for step in trace.steps:
        assert all(value in said for value in step.values() if isinstance(value, str))


@given(traces)
def test_facts_are_few_and_short(trace: Trace) -> None:
    facts = present.facts(trace.metadata)
    assert len(facts) <= 40
    assert all(len(value) <= 121 for value in facts.values())


@given(st.text(), st.integers(1, 50))
def test_a_beginning_is_one(text: str, most: int) -> None:
    part = present.beginning(text, most)
    assert text.startswith(part)
    assert len(part) <= most
    assert part == text or len(part) >= most - most // 10 - 1


def test_a_long_text_ends_with_a_line() -> None:
    text = ("x" * 99 + "\n") * 1000
    assert len(present.beginning(text)) == present.SHOWN
    assert present.beginning("y" + text).endswith("\n")
    assert len(present.beginning("z" * 10**6)) == present.SHOWN


def test_many_long_texts_become_short_ones() -> None:
    trace = Trace(
        "q", "o" * 10**6, tuple({"tool": str(number), "result": "r" * 30_000} for number in range(100))
    )
    sent = present.shown(trace)
    size = sum(len(field["text"]) for section in sent for field in section["fields"])
    assert size < present.ENOUGH + present.SHOWN + 102 * 400
    last = sent[-1]["fields"][0]
    assert (last["whole"], last["cut"], len(last["text"])) == (10**6, True, 400)


def test_a_system_prompt_stands_first_and_is_folded_and_a_later_one_keeps_its_place() -> None:
    steps = ({"role": "developer", "content": "first"}, {"tool": "t"}, {"role": "system", "content": "late"})
    trace = Trace("q", "a", steps, {"system": "outermost", "k": 1})
    found = sections(trace)
    assert [(section.role, section.folded) for section in found] == [
        ("system", True),
        ("system", True),
        ("input", False),
        ("tool", True),
        ("system", True),
        ("output", False),
    ]
    assert present.facts(trace.metadata) == {"k": "1"}


def test_what_a_tool_returned_is_shown_also_if_it_was_nothing() -> None:
    _, tool, call, _ = sections(
        Trace(
            "q", "a", ({"tool": "t", "result": ""}, {"role": "assistant", "content": "", "tool_calls": [1]})
        )
    )
    assert tool == Section("tool · t", "tool", (Field("result", ""),), folded=True)
    assert [field.label for field in call.fields] == ["tool_calls"]


EARLIER = ({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"})
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "look"}]}
FOUND = {"role": "tool", "content": "found"}


def test_input_and_output_that_are_steps_too_are_read_once_and_in_order() -> None:
    last = ({"role": "user", "content": "three"}, CALL, FOUND, {"role": "assistant", "content": "four"})
    expected = [("user", "one"), ("assistant", "two"), ("input", "three")]
    after = [("tool", "found"), ("output", "four")]
    found = shape(Trace("three", "four", (*EARLIER, *last)))
    assert (found[:3], found[4:]) == (expected, after)
    # An importer leaves the input out of the steps; it still stands behind the turns before it.
    found = shape(Trace("three", "four", (*EARLIER, CALL, FOUND)))
    assert (found[:3], found[4:]) == (expected, after)
    assert shape(Trace("one", "four", EARLIER))[2:] == [("input", "one"), ("output", "four")]  # said twice
    refused = {"role": "assistant", "content": "four", "refusal": "no"}
    (_, output) = sections(Trace("q", "four", (refused,)))
    assert output.fields == (Field("", "four"), Field("refusal", "no"))


def test_an_input_that_is_a_conversation_is_shown_as_one() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]
    assert shape(Trace(json.dumps(turns), "a")) == [("system", "s"), ("user", "u"), ("output", "a")]


@pytest.mark.parametrize(
    "text", ['[{"role": ', '["role"]', '[{"role": 1}, 2]', '{"role": 1}', "[" * 5000 + '"role"']
)
def test_an_input_that_is_no_conversation_is_text(text: str) -> None:
    assert shape(Trace(text, "a")) == [("input", text), ("output", "a")]


def test_facts_name_what_is_nested_and_leave_out_what_is_long() -> None:
    metadata = {
        "user": {"plan": "pro", "tags": ["x"]},
        "ok": True,
        "long": "l" * 500,
        "none": None,
        "score": 0.5,
    }
    assert present.facts(metadata) == {
        "user.plan": "pro",
        "ok": "true",
        "long": "l" * 120 + "…",
        "score": "0.5",
    }
    deep: dict[str, object] = {"end": 1}
    for _ in range(3000):
        deep = {"d": deep}
    assert present.facts(deep) == {}


@pytest.mark.parametrize(
    ("words", "found"), [("STRASSE", True), ("needle", True), ("tool says", True), ("no", False)]
)
def test_a_search_looks_into_every_text(words: str, found: bool) -> None:
    trace = Trace("Straße", "a Needle", ({"result": "Tool says"},))
    assert present.mentions(trace, words) is found
