"""Chat completions as applications log them, to traces: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pytest_evalloop.records import Trace

Json = Mapping[str, object]

_TEXT_KEYS: Final = frozenset({"role", "content", "parts", "refusal", "finish_reason"})
_TEXT_TYPES: Final = frozenset({"text", "input_text", "output_text"})


class ShapeError(ValueError):
    """An object that cannot become a trace; the message says which part of it, and why."""


def is_chat(said: Json) -> bool:
    """Tell whether an object is a chat completion, its request, or a pair of them."""
    request, response = _halves(said)
    return isinstance(request.get("messages"), list) or isinstance(response.get("choices"), list)


def chat_traces(said: Json) -> Iterator[Trace]:
    """Yield one trace for every choice of a chat: what the user said last is the input, the answer the output.

    The system prompt, earlier turns and calls of tools are steps, in their order; everything else is metadata.
    Raises ShapeError for a chat without an answer.
    """
    request, response = _halves(said)
    messages = _messages(request.get("messages", []))
    system = request.get("system")
    if system:
        messages.insert(0, {"role": "system", "content": system})
    metadata = _metadata(said, request, response)
    answers = [*_answers(response)]
    if not answers:
        if not messages or messages[-1].get("role") != "assistant":
            raise ShapeError("messages: the last one is not the assistant's, so nothing was answered")
        answers = [(messages.pop(), {})]
    for answer, more in answers:
        yield conversation(messages, answer, {**metadata, **more})


def conversation(messages: Sequence[Json], answer: Json, metadata: Json) -> Trace:
    """Return the trace of the messages that led to an answer."""
    last = max(
        (place for place, message in enumerate(messages) if message.get("role") == "user"), default=None
    )
    asked = None if last is None else messages[last]
    # A message that is more than its text stays whole among the steps, as images and calls of tools do.
    steps = [message for place, message in enumerate(messages) if place != last or not is_text(message)]
    if not is_text(answer):
        steps.append(answer)
    return Trace("" if asked is None else content_text(asked), content_text(answer), tuple(steps), metadata)


def content_text(message: Json) -> str:
    """Return what a message says, with the kind of what is no text in brackets; calls of tools if it says nothing."""
    parts = [part for part in _parts(message) if part]
    if not parts and message.get("tool_calls"):
        return json.dumps(message["tool_calls"], ensure_ascii=False, indent=1)
    return "\n".join(parts)


def _parts(message: Json) -> Iterator[str]:
    content = message.get("content", message.get("parts"))
    if content is None or isinstance(content, str):
        yield content or ""
        yield text if isinstance(text := message.get("refusal"), str) else ""
        return
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            text = part.get("text", part.get("content"))
            if isinstance(text, str):
                yield text
            elif str(part.get("type", "")).startswith("tool_call"):
                yield json.dumps(part, ensure_ascii=False)
            else:
                yield f"[{part.get('type', 'something that is no text')}]"
        else:
            yield json.dumps(part, ensure_ascii=False)


def is_text(message: Json) -> bool:
    """Tell whether `content_text` holds all that a message says."""
    if any(value for key, value in message.items() if key not in _TEXT_KEYS):
        return False
    content = message.get("content", message.get("parts"))
    parts = content if isinstance(content, list) else [content]
    return all(
        part is None
        or isinstance(part, str)
        or (isinstance(part, Mapping) and str(part.get("type", "text")) in _TEXT_TYPES)
        for part in parts
    )


def _halves(said: Json) -> tuple[Json, Json]:
    """Return request and response, each with the body that HTTP logs wrap it in; one object may be both."""
    request, response = (said.get(name) for name in ("request", "response"))
    if not isinstance(request, Mapping) and not isinstance(response, Mapping):
        inner = said.get("body")
        return (inner, inner) if isinstance(inner, Mapping) else (said, said)
    return _body(request if isinstance(request, Mapping) else said), _body(response)


def _body(half: object) -> Json:
    if not isinstance(half, Mapping):
        return {}
    inner = half.get("body")
    return inner if isinstance(inner, Mapping) else half


def _messages(said: object) -> list[Json]:
    if not isinstance(said, list):
        raise ShapeError(f"messages: it is {type(said).__name__} where a list belongs")
    for place, message in enumerate(said, 1):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ShapeError(f"messages, message {place}: it is no object with a role")
    return [*said]


def _answers(response: Json) -> list[tuple[Json, Json]]:
    """Return every answer with what is known of it alone."""
    choices = response.get("choices")
    if choices is None:
        # A response that is itself the message, as some services answer.
        if response.get("role") == "assistant" and "content" in response:
            return [({"role": "assistant", "content": response["content"]}, {})]
        return []
    if not isinstance(choices, list) or not choices:
        raise ShapeError("choices: it is empty, so nothing was answered")
    answers: list[tuple[Json, Json]] = []
    for place, choice in enumerate(choices, 1):
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if isinstance(choice, Mapping) and isinstance(choice.get("text"), str):
            message = {"role": "assistant", "content": choice["text"]}
        if not isinstance(message, Mapping):
            raise ShapeError(f"choices, choice {place}: it has neither a message nor text")
        more = {"finish_reason": choice["finish_reason"]} if choice.get("finish_reason") else {}
        answers.append((message, more | ({"choice": place} if len(choices) > 1 else {})))
    return answers


def _metadata(said: Json, request: Json, response: Json) -> dict[str, object]:
    """Return everything that is no message; where request and response differ, the response's is the plain name."""
    taken = {"messages", "choices", "request", "response", "body", "metadata", "system"}
    found: dict[str, object] = {}
    for half in (said, request, response):
        for name, value in half.items():
            if name in taken or value is None or (half is response and name in {"role", "content"}):
                continue
            if half is response and half is not request and found.get(name, value) != value:
                found[f"request.{name}"] = found[name]
            found[name] = value
    for half in (said, request, response):
        if isinstance(more := half.get("metadata"), Mapping):
            found |= more
    return found
