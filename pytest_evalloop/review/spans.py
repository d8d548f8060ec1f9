"""OpenTelemetry spans of generative AI, as exporters write them, to traces: pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pytest_evalloop.records import Trace
from pytest_evalloop.review.chat import Json, ShapeError, content_text, conversation, is_text

# Messages in attributes: gen_ai.prompt.0.content, and before that gen_ai.prompt as one text.
_OLD: Final = re.compile(r"gen_ai\.(prompt|completion)\.(\d{1,6})\.(.+)")
_CONTENT: Final = re.compile(
    r"gen_ai\.(prompt|completion)(\..*)?|gen_ai\.(input|output)\.messages|gen_ai\.system_instructions"
    r"|gen_ai\.tool\.(call\.arguments|call\.result|message)|gen_ai\.event\.content"
)
_ROLES: Final = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "choice": "assistant",
}
_TIMES: Final = ("{}TimeUnixNano", "{}_time_unix_nano", "{}_time")


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a trace; times are seconds since the epoch, `received` and `answered` are messages."""

    trace: str
    id: str
    parent: str
    name: str
    start: float
    end: float
    attributes: Json
    received: tuple[Json, ...]
    answered: tuple[Json, ...]

    @property
    def speaks(self) -> bool:
        """Whether it holds what was said."""
        return bool(self.received or self.answered)


def is_span(said: Json) -> bool:
    """Tell whether an object is a span, or a batch of them as OTLP has it."""
    if "resourceSpans" in said or "resource_spans" in said:
        return True
    attributes = said.get("attributes")
    named = _first(
        said, "spanId", "span_id", "parentSpanId", "parent_span_id", "parent_id", "context", "kind"
    )
    return (isinstance(attributes, (Mapping, list)) and named is not None) or any(
        name.startswith("gen_ai.") for name in said
    )


def read_spans(said: Json) -> Iterator[Span]:
    """Yield the spans of one object; raises ShapeError for what is no span."""
    batches = _first(said, "resourceSpans", "resource_spans")
    if batches is None:
        yield _span(said, {})
        return
    for batch in _objects(batches, "resourceSpans"):
        resource = batch.get("resource")
        shared = _attributes(resource.get("attributes")) if isinstance(resource, Mapping) else {}
        scopes = _first(batch, "scopeSpans", "scope_spans", "instrumentationLibrarySpans") or []
        for scope in _objects(scopes, "scopeSpans"):
            for span in _objects(scope.get("spans", []), "spans"):
                yield _span(span, shared)


def spans_trace(spans: Iterable[Span]) -> Trace:
    """Return the trace that the spans of one id make together; raises ShapeError if none holds a message.

    Input and output are those of the outermost spans that hold messages. Steps are the other messages, each one
    once, the calls of tools, and what else was traced, in the order of time.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    speaking = {span.id for span in ordered if span.speaks}
    if not speaking:
        raise ShapeError(
            f"none of its {len(ordered)} spans holds messages (gen_ai.input.messages, gen_ai.output.messages). "
            "Switch on the capture of content where the spans are made"
        )
    parents = {span.id: span.parent for span in ordered}
    talking = [span for span in ordered if span.speaks]
    # Where parents go round in a circle, none is outermost, and all count.
    outer = [span for span in talking if not _under(span.parent, parents, speaking)] or talking
    first = next((span for span in outer if span.received), outer[0])
    last = max((span for span in outer if span.answered), key=lambda span: span.end, default=None)
    answer = {} if last is None else last.answered[-1]
    steps = _steps(ordered, list(first.received), None if last is None else last)
    told = conversation(first.received, answer, _metadata(ordered, first))
    return Trace(told.input, told.output, (*told.steps, *steps), told.metadata)


def _under(parent: str, parents: Mapping[str, str], speaking: set[str]) -> bool:
    seen: set[str] = set()
    while parent and parent not in seen:
        if parent in speaking:
            return True
        seen.add(parent)
        parent = parents.get(parent, "")
    return False


def _steps(spans: Sequence[Span], history: list[Json], last: Span | None) -> Iterator[Json]:
    """Yield what happened besides the messages in `history` and the last answer."""
    final = None if last is None else last.answered[-1]
    for span in spans:
        if not span.speaks:
            yield _event(span)
            continue
        # Every call repeats the conversation so far: only what is new to it is a step.
        known = next(
            (n for n, (old, new) in enumerate(zip(history, span.received, strict=False)) if old != new),
            min(len(history), len(span.received)),
        )
        said = (*span.received[known:], *(span.answered[:-1] if span is last else span.answered))
        yield from (message for message in said if message != final)
        if len(span.received) >= known and span.received:
            history = [*span.received, *span.answered]


def _event(span: Span) -> Json:
    """Return the step of a span that holds no messages: the call of a tool, or anything else."""
    attributes = {**span.attributes}
    result = attributes.pop("gen_ai.tool.call.result", attributes.pop("gen_ai.tool.message", ""))
    step: dict[str, object] = {
        "role": "tool" if "gen_ai.tool.name" in attributes else "span",
        "name": attributes.pop("gen_ai.tool.name", span.name),
        "content": result if isinstance(result, str) else json.dumps(result, ensure_ascii=False),
    }
    if "gen_ai.tool.call.arguments" in attributes:
        step["arguments"] = attributes.pop("gen_ai.tool.call.arguments")
    return {**step, "seconds": round(span.end - span.start, 6), "attributes": attributes}


def _metadata(spans: Sequence[Span], first: Span) -> dict[str, object]:
    found = {name: value for name, value in first.attributes.items() if not _CONTENT.fullmatch(name)}
    end = max(span.end for span in spans)
    return {"name": first.name, **found, "spans": len(spans), "seconds": round(end - spans[0].start, 6)}


def _span(said: Json, shared: Json) -> Span:
    context = said.get("context")
    inner = context if isinstance(context, Mapping) else {}
    trace = _first(said, "traceId", "trace_id") or _first(inner, "trace_id", "traceId")
    if not isinstance(trace, str) or not trace:
        raise ShapeError("traceId: it is missing, so the span belongs to no trace")
    attributes = {**shared, **_attributes(said.get("attributes"))}
    attributes |= {name: value for name, value in said.items() if name.startswith("gen_ai.")}
    status = said.get("status")
    if isinstance(status, Mapping) and status.get("message"):
        attributes["error"] = status["message"]
    spoken: tuple[list[Json], list[Json]] = ([], [])
    events = said.get("events")
    for event in events if isinstance(events, list) else []:
        if isinstance(event, Mapping):
            _hear(event, attributes, spoken)
    start = seconds_of(
        _first(said, "startTimeUnixNano", "start_time_unix_nano", "startTime", "start_time", "timestamp")
    )
    end = seconds_of(_first(said, "endTimeUnixNano", "end_time_unix_nano", "endTime", "end_time"))
    received, answered = _received(attributes), _said(attributes, "output", "completion", "assistant")
    return Span(
        trace.removeprefix("0x"),
        str(_first(said, "spanId", "span_id") or _first(inner, "span_id", "spanId") or "").removeprefix("0x"),
        str(_first(said, "parentSpanId", "parent_span_id", "parent_id", "parentId") or "").removeprefix("0x"),
        str(said.get("name") or "span"),
        start,
        max(start, end),
        attributes,
        tuple(received or spoken[0]),
        tuple(answered or spoken[1]),
    )


def _hear(event: Json, attributes: dict[str, object], spoken: tuple[list[Json], list[Json]]) -> None:
    """Take up an event: content as attributes, or one message each, as older conventions had it."""
    said = _attributes(event.get("attributes"))
    for name, value in said.items():
        if _CONTENT.fullmatch(name):
            attributes.setdefault(name, value)
    found = re.fullmatch(
        r"gen_ai\.(?:(system|user|assistant|tool)\.message|(choice))", str(event.get("name"))
    )
    if found is None:
        return
    body = _parsed(said.get("gen_ai.event.content", event.get("body")))
    told = {**said, **(body if isinstance(body, Mapping) else {})}
    message = _parsed(told.get("message"))
    if isinstance(message, Mapping):
        told |= message
    kept = {
        name: value for name, value in told.items() if name not in {"message", "gen_ai.event.content", "role"}
    }
    kind = found[1] or found[2]
    spoken[kind == "choice"].append(_message({"role": _ROLES[kind], **kept}))


def _received(attributes: Json) -> list[Json]:
    messages = _said(attributes, "input", "prompt", "user")
    system = _parsed(attributes.get("gen_ai.system_instructions"))
    if system:
        messages.insert(0, _message({"role": "system", "content": system}))
    return messages


def _said(attributes: Json, new: str, old: str, role: str) -> list[Json]:
    """Return the messages of one direction, whichever convention they were written by."""
    value = attributes.get(f"gen_ai.{new}.messages", attributes.get(f"gen_ai.{old}"))
    if value is not None:
        parsed = _parsed(value)
        found = parsed if isinstance(parsed, list) else [parsed]
        return [
            _message({"role": role, **each})
            if isinstance(each, Mapping)
            else {"role": role, "content": str(each)}
            for each in found
        ]
    numbered: dict[int, dict[str, object]] = {}
    for name, part in attributes.items():
        match = _OLD.fullmatch(name)
        if match is not None and match[1] == old:
            numbered.setdefault(int(match[2]), {})[match[3]] = part
    return [_message({"role": role, **numbered[number]}) for number in sorted(numbered)]


def _message(said: Json) -> Json:
    """Return a message with its text as its content, where it is text alone."""
    content = said.get("content", said.get("parts"))
    rest = {name: value for name, value in said.items() if name not in {"content", "parts"}}
    told = {**rest, "content": content}
    return {**rest, "content": content_text(told)} if is_text(told) else told


def _parsed(value: object) -> object:
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _attributes(said: object) -> dict[str, object]:
    """Return attributes as they are, or out of the lists of OTLP."""
    if isinstance(said, Mapping):
        return {str(name): value for name, value in said.items()}
    if not isinstance(said, list):
        return {}
    return {
        str(each["key"]): _value(each.get("value"))
        for each in said
        if isinstance(each, Mapping) and "key" in each
    }


def _value(said: object) -> object:
    if not isinstance(said, Mapping) or len(said) != 1:
        return said
    [(kind, value)] = said.items()
    kind = str(kind).replace("_value", "Value")
    inner = value.get("values") if isinstance(value, Mapping) else None
    inner = inner if isinstance(inner, list) else []
    if kind == "arrayValue":
        return [_value(each) for each in inner]
    if kind == "kvlistValue":
        return _attributes(inner)
    if kind == "intValue" and isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        return int(value)
    return value if kind.endswith("Value") else said


def seconds_of(said: object) -> float:
    """Return a time in seconds, whether it is nano-, micro- or milliseconds, seconds or ISO 8601; 0 if unknown."""
    if isinstance(said, str) and not re.fullmatch(r"\d+(\.\d+)?", said):
        try:
            return datetime.fromisoformat(said).timestamp()
        except ValueError:
            return 0.0
    if isinstance(said, bool) or not isinstance(said, (str, int, float)):
        return 0.0
    try:
        seconds = float(said)
    except OverflowError:
        return 0.0
    while 1e11 < seconds < 1e20:  # no trace was recorded after the year 5000
        seconds /= 1000
    return seconds if 0 <= seconds <= 1e11 else 0.0


def _objects(said: object, name: str) -> Iterator[Json]:
    if not isinstance(said, list) or not all(isinstance(each, Mapping) for each in said):
        raise ShapeError(f"{name}: it is no list of objects")
    yield from said


def _first(said: Json, *names: str) -> object:
    return next((said[name] for name in names if said.get(name) not in (None, "")), None)
