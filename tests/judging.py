"""Traces, labels and judges for tests, and a model behind a real socket that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pytest_evalloop.records import Trace
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.judges import Example, Judge
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.review.wording import Verdict

MODE, MODEL = "FM-07", "judge-2026-01-31"
LOCAL = "http://127.0.0.1:9/v1"


def stored(name: str, output: str = "all is well", **more: Any) -> StoredTrace:
    """A trace whose content names it, so that no two are the same."""
    return StoredTrace(name, "import:test", 1.0, Trace(f"question of {name}", output, **more))


def label(name: str, *, occurs: bool, note: str = "") -> Label:
    return Label(name, passed=not occurs, note=note, modes={MODE: occurs}, first=1.0)


def labelled(passes: int, fails: int) -> tuple[dict[str, StoredTrace], dict[str, Label]]:
    """Traces and labels: those that fail say BAD, so that an honest model is always right."""
    traces, labels = {}, {}
    for number in range(passes + fails):
        name, occurs = f"t-{number:03}", number >= passes
        traces[name] = stored(name, "BAD" if occurs else "good")
        labels[name] = label(name, occurs=occurs, note="says BAD" if occurs else "")
    return traces, labels


def judge(base_url: str = LOCAL, examples: Sequence[Example] = (), **more: Any) -> Judge:
    values = {"prompt": "The failure mode: the output says BAD.", "model": MODEL, "retries": 0, **more}
    return Judge(mode=MODE, base_url=base_url, examples=tuple(examples), **values)


def example(trace: StoredTrace, *, passed: bool, critique: str = "it says BAD") -> Example:
    return Example(trace, Verdict(passed, critique))


def completion(content: object, model: str = MODEL, **choice: Any) -> dict[str, Any]:
    """What an endpoint answers; content that is no text is given as JSON."""
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    chosen = {"index": 0, "message": message, "finish_reason": "stop", **choice}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": model, "choices": [chosen]}


def said(verdict: str, critique: str = "because") -> dict[str, Any]:
    return completion({"critique": critique, "verdict": verdict})


def honest(asked: Mapping[str, Any]) -> object:
    """Fail what says BAD."""
    last = asked["messages"][-1]["content"]
    return said("fail" if "BAD" in last else "pass", f"about {last[len('<trace>') :].split()[1:4]}")


@dataclass
class Model:
    """What stands behind the socket: its answer to a request, and the requests that it got."""

    server: HTTPServer
    reply: Callable[[Mapping[str, Any]], object] = honest
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.server.expect_request("/v1/chat/completions", method="POST").respond_with_handler(self._answer)

    @property
    def base_url(self) -> str:
        return self.server.url_for("/v1")

    def _answer(self, request: Request) -> Response:
        asked = json.loads(request.get_data())
        self.asked.append(asked)
        reply = self.reply(asked)
        if isinstance(reply, Response):
            return reply
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return Response(text, content_type="application/json")

    def judge(self, *examples: Example, **more: Any) -> Judge:
        return judge(self.base_url, examples, **more)


def write_judge(folder: Path, text: str, mode: str = MODE) -> Path:
    path = folder / "judges" / f"{mode}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
