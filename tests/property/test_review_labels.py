"""Any sequence of actions leaves what a plain model says, also after a restart and with a torn last line."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Fields, Labels
from pytest_evalloop.review.traces import Library, StoredTrace

TRACES = ("t-1", "t-2")
PEOPLE = ("ann", "ben")
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "passed": st.none() | st.booleans(),
        "deferred": st.booleans(),
        "note": st.text(st.characters(codec="utf-8"), max_size=3),
        "modes": st.dictionaries(st.sampled_from(("FM-01", "FM-02")), st.none() | st.booleans()),
    },
)
CHANGE = st.tuples(st.just("change"), st.sampled_from(PEOPLE), st.sampled_from(TRACES), FIELDS)
UNDO = st.tuples(st.just("undo"), st.sampled_from(PEOPLE))
REOPEN = st.tuples(st.just("reopen"))
TEAR = st.tuples(st.just("tear"), st.integers(1, 300))
ACTIONS = st.lists(CHANGE | CHANGE | UNDO | REOPEN | TEAR, max_size=12)


@dataclass
class Model:
    """Every change that stands, in order; what a trace is said to be is computed afresh each time."""

    standing: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)

    def label(self, trace: str) -> dict[str, Any]:
        said: dict[str, Any] = {"passed": None, "deferred": False, "note": "", "modes": {}}
        for _, other, fields in self.standing:
            if other == trace:
                merged = {**said["modes"], **fields.get("modes", {})}
                said |= fields
                said["modes"] = {mode: occurs for mode, occurs in merged.items() if occurs is not None}
        return said

    def change(self, by: str, trace: str, fields: Mapping[str, Any]) -> None:
        before = self.label(trace)
        trial = Model([*self.standing, (by, trace, fields)])
        if trial.label(trace) != before or self.last.get(trace, by) != by:
            self.standing.append((by, trace, fields))
            self.last[trace] = by

    def undo(self, by: str) -> bool:
        for index in reversed(range(len(self.standing))):
            if self.standing[index][0] == by:
                self.last[self.standing.pop(index)[1]] = by
                return True
        return False


def check(labels: Labels, model: Model) -> None:
    for trace in TRACES:
        label = labels.get(trace)
        said = {name: getattr(label, name) for name in ("passed", "deferred", "note", "modes")}
        assert said == model.label(trace)
        assert label.by == model.last.get(trace, "")
        assert (trace in labels.all()) is label.says_something


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_labels_are_what_a_plain_model_says(actions: list[tuple[Any, ...]]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = Labels.open(folder, write=True)
        for at, (what, *words) in enumerate(actions):
            if what == "change":
                by, trace, fields = words
                said: Fields = fields
                labels.change(StoredTrace(trace, "s", 0.0, Trace("i", trace)), by, float(at), **said)
                model.change(by, trace, fields)
            elif what == "undo":
                assert (labels.undo(words[0], float(at)) is not None) is model.undo(words[0])
            else:
                labels.close()
                if what == "tear":
                    # The beginning of what a killed process was about to acknowledge.
                    line = b'{"id":"x","trace":"t-1","by":"ann","at":1.0,"note":"' + b"x" * 300 + b'"}'
                    with (folder / "labels.jsonl").open("ab") as stream:
                        stream.write(line[: words[0]])
                check(Labels.open(folder), model)
                labels = Labels.open(folder, write=True)
            check(labels, model)
        labels.close()
        again = Labels.open(folder)
        check(again, model)
        assert again.all() == labels.all()
        assert labels.all().keys() <= Library.load(folder / "none", folder).traces.keys()
