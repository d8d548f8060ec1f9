"""What people said of traces, one event at a time: events to labels, and lines to events; pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from pytest_evalloop.review.modes import AN_ID, is_id
from pytest_evalloop.review.traces import ReviewError, plain


class Fields(TypedDict, total=False):
    """What one action says; `modes` is merged key by key, and None takes a mode back."""

    passed: bool | None
    deferred: bool
    note: str
    modes: Mapping[str, bool | None]


_KINDS: Final = {
    "passed": "true, false or none",
    "deferred": "true or false",
    "note": "text",
    "modes": "true, false or none for each id of a failure mode",
}


@dataclass(frozen=True, slots=True)
class Label:
    """The state of one trace: what a person says of it.

    `modes` holds for each failure mode that was judged whether it occurs in this trace. `by` and `at` (seconds since
    the epoch) are those of the last event, `first` is the time of the first one, and `revision` counts all.
    """

    trace: str
    passed: bool | None = None
    deferred: bool = False
    note: str = ""
    modes: Mapping[str, bool] = field(default_factory=dict)
    by: str = ""
    at: float = 0.0
    revision: int = 0
    first: float = 0.0

    @property
    def says_something(self) -> bool:
        """Whether anything is left that was not taken back."""
        return self.passed is not None or self.deferred or bool(self.note) or bool(self.modes)


@dataclass(frozen=True, slots=True)
class Event:
    """One action of one labeller; `undoes` is the id of the event that it takes back."""

    id: str
    trace: str
    by: str
    at: float
    fields: Fields
    undoes: str = ""


def apply(label: Label, event: Event) -> Label:
    """Return the label after an event: field by field, the last word counts."""
    said, modes = event.fields, label.modes
    if "modes" in said:
        modes = {mode: occurs for mode, occurs in {**modes, **said["modes"]}.items() if occurs is not None}
    return Label(
        label.trace,
        said.get("passed", label.passed),
        said.get("deferred", label.deferred),
        said.get("note", label.note),
        modes,
        event.by,
        event.at,
        label.revision + 1,
        label.first if label.revision else event.at,
    )


def fold(trace: str, events: Iterable[Event]) -> Label:
    """Return the label of a trace after all its events."""
    return functools.reduce(apply, events, Label(trace))


def changes(label: Label, fields: Fields) -> bool:
    """Tell whether an action says anything that the label does not say already."""
    modes = fields.get("modes", {})
    return any(value != getattr(label, name) for name, value in fields.items() if name != "modes") or any(
        label.modes.get(mode) is not occurs for mode, occurs in modes.items()
    )


def taking_back(events: Iterable[Event], undone: str) -> Fields:
    """Return what turns the label of a trace into what it would be without one of its events.

    What others said of the same fields since then stays.
    """
    events = list(events)
    gone = {event.undoes for event in events} | {undone}
    trace = events[0].trace
    now = fold(trace, events)
    then = fold(trace, (event for event in events if event.id not in gone and not event.undoes))
    fields: Fields = {}
    if now.passed is not then.passed:
        fields["passed"] = then.passed
    if now.deferred is not then.deferred:
        fields["deferred"] = then.deferred
    if now.note != then.note:
        fields["note"] = then.note
    modes = {
        mode: then.modes.get(mode)
        for mode in (*then.modes, *now.modes)
        if then.modes.get(mode) is not now.modes.get(mode)
    }
    if modes:
        fields["modes"] = modes
    return fields


def checked(fields: Mapping[str, object]) -> Fields:
    """Return what an action says, with text as a file keeps it; raises ReviewError for what no label has."""
    said: Fields = {}
    for name, value in fields.items():
        if name == "passed" and (value is None or isinstance(value, bool)):
            said["passed"] = value
        elif name == "deferred" and isinstance(value, bool):
            said["deferred"] = value
        elif name == "note" and isinstance(value, str):
            said["note"] = plain(value)
        elif name == "modes" and isinstance(value, Mapping):
            said["modes"] = {_mode(mode): _occurs(mode, occurs) for mode, occurs in value.items()}
        elif name in _KINDS:
            raise ReviewError(f"{name} is {value!r} in a label; it is {_KINDS[name]}.")
        else:
            raise ReviewError(f"A label has no {name!r}; it has {', '.join(_KINDS)}.")
    return said


def _mode(mode: object) -> str:
    if isinstance(mode, str) and is_id(mode):
        return mode
    raise ReviewError(f"{mode!r} cannot name a failure mode. An id is {AN_ID}.")


def _occurs(mode: object, occurs: object) -> bool | None:
    if occurs is None or isinstance(occurs, bool):
        return occurs
    raise ReviewError(f"{mode} is {occurs!r} in a label; it is true, false or none.")


def encode(event: Event) -> bytes:
    """Return an event as one line, with its end."""
    import msgspec

    line = {"id": event.id, "trace": event.trace, "by": event.by, "at": event.at, **event.fields}
    if event.undoes:
        line["undoes"] = event.undoes
    return msgspec.json.encode(line) + b"\n"


def decode(line: bytes) -> Event:
    """Return the event of a line; raises ReviewError, saying why, if it is none."""
    import msgspec

    try:
        said = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReviewError(str(error)) from error
    words = [said.pop(name, "") for name in ("id", "trace", "by", "undoes")]
    identity, trace, by, undoes = (word if isinstance(word, str) else "" for word in words)
    at = said.pop("at", None)
    if not (identity and trace and isinstance(at, (int, float)) and not isinstance(at, bool)):
        raise ReviewError("it needs id, trace and at")
    return Event(identity, trace, by, float(at), checked(said), undoes)
