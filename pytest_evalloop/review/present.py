"""How a trace is laid out for reading: sections of plain text, long ones shortened; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pytest_evalloop.records import Trace

SHOWN: Final = 20_000
"""Characters of one text that are sent before somebody asks for all of it."""
ENOUGH: Final = 200_000
"""Characters of one trace after which texts are shortened to a few lines."""
_LEAST = 400
_TITLE, _FACT, _FACTS, _DEPTH, _PREVIEW = 90, 120, 40, 4, 120
_TALK = {"user", "assistant"}
_SYSTEM = {"system", "developer"}
_PROMPTS = {"system", "system_prompt"}
_TEXTS = ("content", "text", "message")


@dataclass(frozen=True, slots=True)
class Field:
    """One text of a section; the label is empty where the section's title says enough."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a trace: `role` is input, output, system, user, assistant, tool or step."""

    title: str
    role: str
    fields: tuple[Field, ...]
    folded: bool = False


def as_text(value: object) -> str:
    """Return a value as a person reads it: text as it is, anything else as indented JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=repr)


def sections(trace: Trace) -> tuple[Section, ...]:
    """Lay a trace out: the system prompt first and folded, then input, what happened between, and output.

    A step that repeats the input or the output stands for it, so that nothing is read twice.
    """
    prompts = [
        Section("System prompt", "system", (Field("", as_text(value)),), folded=True)
        for key, value in trace.metadata.items()
        if key in _PROMPTS and value
    ]
    between = [_step(step) for step in trace.steps]
    output = _text("Output", trace.output)
    if between and _says(between[-1], "assistant", trace.output):
        output = Section("Output", "output", between.pop().fields)
    turns = messages(trace.input)
    told = [*map(_step, turns), *between] if turns else _with_input(trace.input, between)
    return (*prompts, *told, output)


def _with_input(text: str, steps: Sequence[Section]) -> list[Section]:
    """Put the input where it was said: what a user said last, after the turns before it."""
    last = max((at for at, step in enumerate(steps) if step.role == "user"), default=None)
    if last is None:
        first = next((at for at, step in enumerate(steps) if step.role != "system"), len(steps))
        return [*steps[:first], _text("Input", text), *steps[first:]]
    answers = (
        at for at, step in enumerate(steps) if at > last and step.role == "assistant" and not step.folded
    )
    reply = next(answers, last)
    # A turn that ends with its reply is an earlier one, also where the same was said again.
    if _says(steps[last], "user", text) and not last < reply == len(steps) - 1:
        return [*steps[:last], Section("Input", "input", steps[last].fields), *steps[last + 1 :]]
    return [*steps[: reply + 1], _text("Input", text), *steps[reply + 1 :]]


def _text(title: str, text: str) -> Section:
    return Section(title, title.lower(), (Field("", text),))


def _says(step: Section, role: str, text: str) -> bool:
    return step.role == role and bool(step.fields) and step.fields[0] == Field("", text)


def messages(text: str) -> list[Mapping[str, object]]:
    """Return the turns of a conversation that was recorded as JSON; empty for every other text."""
    if not text.startswith("[") or '"role"' not in text[:SHOWN]:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    whole = isinstance(found, list) and all(isinstance(turn, dict) and "role" in turn for turn in found)
    return found if whole else []


def _step(step: Mapping[str, object]) -> Section:
    rest = {key: value for key, value in step.items() if value is not None}
    kind = next((key for key in ("role", "type", "kind") if isinstance(rest.get(key), str)), "")
    named = next((key for key in ("name", "tool") if isinstance(rest.get(key), str)), "")
    unnamed = "tool" if named == "tool" else "step"
    role, name = str(rest.pop(kind, unnamed)), str(rest.pop(named, ""))
    fields = [Field("", _content(rest[key])) for key in _TEXTS if key in rest]
    fields += [Field(key, as_text(value)) for key, value in rest.items() if key not in _TEXTS]
    if len(fields) > 1 and fields[0] == Field("", ""):  # a message that only calls tools
        del fields[0]
    if role in _SYSTEM:
        return Section("System prompt", "system", tuple(fields), folded=True)
    talk = role in _TALK and not any(field.label for field in fields)
    known = role if role in _TALK else "tool" if "tool" in role or "function" in role else "step"
    return Section(" · ".join(filter(None, (role, name))), known, tuple(fields), folded=not talk)


def _content(value: object) -> str:
    """Return a message's content as text; parts that are text are joined, others stay JSON."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return as_text(value)
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, Mapping) else part
        texts.append(text if isinstance(text, str) else as_text(part))
    return "\n".join(texts)


def shown(trace: Trace) -> list[dict[str, Any]]:
    """Return what is sent of a trace: the beginnings of its texts, shorter ones once there are many of them."""
    sent, left = list[dict[str, Any]](), ENOUGH
    for section in sections(trace):
        sent.append(_shown(section, max(_LEAST, min(SHOWN, left))))
        left -= sum(len(beginning(field.text)) for field in section.fields)
    return sent


def _shown(section: Section, most: int) -> dict[str, Any]:
    first = next((field.text for field in section.fields if field.text), "")
    return {
        "title": section.title,
        "role": section.role,
        "folded": section.folded,
        "preview": " ".join(first[: 2 * _PREVIEW].split())[:_PREVIEW],
        "fields": [
            {
                "label": field.label,
                "text": (part := beginning(field.text, most)),
                "whole": len(field.text),
                "cut": part != field.text,
            }
            for field in section.fields
        ],
    }


def beginning(text: str, most: int = SHOWN) -> str:
    """Return the part of a text that is sent at once, cut at a line's end where one is near."""
    if len(text) <= most:
        return text
    line = text.rfind("\n", most - most // 10, most)
    return text[: line + 1] if line >= 0 else text[:most]


def title(trace: Trace) -> str:
    """Return the first words of a trace's input, by which a person knows it again."""
    return " ".join(trace.input[: 4 * _TITLE].split())[:_TITLE]


def facts(metadata: Mapping[str, object]) -> dict[str, str]:
    """Return the small facts of a trace: what its metadata say in a few words, by name."""
    return dict(islice(_facts(metadata, "", _DEPTH), _FACTS))


def _facts(metadata: Mapping[str, object], above: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in metadata.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and depth:
            yield from _facts(value, f"{name}.", depth - 1)
        elif isinstance(value, (str, int, float)) and name not in _PROMPTS:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            yield name, text if len(text) <= _FACT else f"{text[:_FACT]}…"


def mentions(trace: Trace, words: str) -> bool:
    """Whether a trace's texts hold the words, in any case."""
    wanted = words.casefold()
    if wanted in trace.input.casefold() or wanted in trace.output.casefold():
        return True
    return any(wanted in as_text(step).casefold() for step in trace.steps)
