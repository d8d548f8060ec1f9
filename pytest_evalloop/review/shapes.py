"""What JSON files hold, one value after another, and the traces that these are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytest_evalloop.records import Trace
from pytest_evalloop.review import spans as otel
from pytest_evalloop.review.chat import Json, ShapeError, chat_traces, conversation, is_chat
from pytest_evalloop.review.tables import text_of
from pytest_evalloop.review.traces import ReviewError

_PAIRS: Final = "objects with input and output"
_CHATS: Final = "chat completions"
_SPANS: Final = "OpenTelemetry spans"
_SHAPES: Final = (
    "Known are tables with the columns trace_id, input and output, and JSON that is objects with input and output, "
    "chat completions with messages or choices, or OpenTelemetry spans of generative AI."
)
_BETWEEN: Final = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True)
class Found:
    """A trace before it is stored: where it stood, and what it was called and when it was, if that was said."""

    place: str
    trace: Trace
    id: str = ""
    recorded: float | None = None
    source: str = ""


def json_values(file: Path, data: bytes, problems: list[str]) -> Iterator[tuple[str, object]]:
    """Yield every value of a JSON file with its place: one a line, one array, or one after another."""
    lines = data.split(b"\n")
    first = next((line for line in lines if line.strip()), b"")
    try:
        parsed = _json(first)
    except ValueError:
        parsed = None
    if isinstance(parsed, Mapping):
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"{file}, line {number}", _json(line)
            except (ValueError, RecursionError) as error:
                problems.append(f"{file}, line {number}: it is no JSON ({error}), so it is left out.")
        return
    text = text_of(file, data).lstrip("\ufeff \t\r\n")
    decoder, end, number = json.JSONDecoder(), 0, 0
    while end < len(text):
        try:
            value, end = decoder.raw_decode(text, end)
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}: from character {end} on it is no JSON ({error}), so that is left out.")
            return
        space = _BETWEEN.match(text, end)
        end = end if space is None else space.end()
        for inner in value if isinstance(value, list) else [value]:
            number += 1
            yield f"{file}, item {number}", inner


def _json(line: bytes) -> object:
    """Return the value of a line; raises ValueError, RecursionError among them for what is nested too deep."""
    import msgspec

    line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Slower, and takes what others write though no standard has it: NaN, and halves of an emoji.
        return json.loads(line.decode())


def json_traces(
    file: Path, values: Iterable[tuple[str, object]], problems: list[str]
) -> tuple[str, list[Found]]:
    """Return the kind of most values in words, and every trace that they hold."""
    found: list[Found] = []
    traced: dict[str, list[otel.Span]] = {}
    kinds: Counter[str] = Counter()
    for place, value in values:
        try:
            kind, said = _kind(value)
            if kind == _SPANS:
                for span in otel.read_spans(said):
                    traced.setdefault(span.trace, []).append(span)
            else:
                found += _chats(place, said) if kind == _CHATS else [_object(place, said)]
            kinds[kind] += 1
        except ShapeError as error:
            problems.append(f"{place}, {error}. It is left out.")
    for identity, spans in traced.items():
        place = f"{file}, trace {identity}"
        try:
            trace = otel.spans_trace(spans)
        except ShapeError as error:
            problems.append(f"{place}: {error}. It is left out.")
            continue
        found.append(Found(place, trace, identity, min(span.start for span in spans) or None))
    if not kinds:
        told = f" The first problem: {problems[0]}" if problems else ""
        raise ReviewError(f"{file} holds no traces of a known shape. {_SHAPES}{told}")
    return kinds.most_common(1)[0][0], found


def _kind(value: object) -> tuple[str, Json]:
    if not isinstance(value, Mapping):
        raise ShapeError(f"it is {type(value).__name__} where an object belongs")
    if otel.is_span(value):
        return _SPANS, value
    if "input" in value and "output" in value:
        return _PAIRS, value
    if is_chat(value):
        return _CHATS, value
    if "input" in value or "output" in value:
        raise ShapeError(f"{'output' if 'input' in value else 'input'}: it is missing")
    keys = ", ".join(map(repr, list(value)[:6])) or "no keys"
    raise ShapeError(
        f"its keys ({keys}) are neither input and output, nor messages or choices, nor those of a span"
    )


def _chats(place: str, value: Json) -> list[Found]:
    traces = list(chat_traces(value))
    response = value.get("response")
    inner = response if isinstance(response, Mapping) else {}
    body = inner.get("body")
    sources = [value, *([body] if isinstance(body, Mapping) else []), inner]
    identity = _name(sources, "trace_id", "custom_id", "id")
    recorded = _when(sources)
    return [
        Found(place, trace, f"{identity}#{number}" if identity and len(traces) > 1 else identity, recorded)
        for number, trace in enumerate(traces, 1)
    ]


def _object(place: str, value: Json) -> Found:
    """Read an object with input and output: a line of ours, or what somebody else wrote much like it."""
    for name in ("input", "output"):
        if value[name] is None:
            raise ShapeError(f"{name}: it is null")
    steps, metadata = value.get("steps") or [], value.get("metadata") or {}
    if not isinstance(steps, (list, tuple)) or not all(isinstance(step, Mapping) for step in steps):
        raise ShapeError("steps: it is no list of objects")
    if not isinstance(metadata, Mapping):
        raise ShapeError("metadata: it is no object")
    recorded = value.get("recorded")
    ours = (
        isinstance(value.get("source"), str)
        and isinstance(recorded, (int, float))
        and otel.seconds_of(recorded) == recorded
    )
    taken = {
        "input",
        "output",
        "steps",
        "metadata",
        "trace_id",
        "id",
        *(("source", "recorded") if ours else ()),
    }
    more = {name: inner for name, inner in value.items() if name not in taken} | dict(metadata)
    asked, answered = value["input"], value["output"]
    if (
        isinstance(asked, list)
        and asked
        and all(isinstance(each, Mapping) and "role" in each for each in asked)
    ):
        answer = (
            answered if isinstance(answered, Mapping) else {"role": "assistant", "content": _text(answered)}
        )
        trace = conversation(asked, answer, more)
        trace = replace(trace, steps=(*trace.steps, *steps))
    else:
        trace = Trace(_text(asked), _text(answered), tuple(steps), more)
    recorded = float(str(value["recorded"])) if ours else _when([value])
    return Found(
        place, trace, _name([value], "trace_id", "id"), recorded, str(value["source"]) if ours else ""
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def _name(values: Iterable[Json], *names: str) -> str:
    for value in values:
        for name in names:
            if (
                isinstance(found := value.get(name), (str, int))
                and not isinstance(found, bool)
                and str(found)
            ):
                return str(found)
    return ""


def _when(values: Iterable[Json]) -> float | None:
    for value in values:
        for name in ("timestamp", "created", "created_at"):
            if found := otel.seconds_of(value.get(name)):
                return found
    return None
