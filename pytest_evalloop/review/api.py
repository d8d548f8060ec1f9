"""What the review page says to its server and hears from it, over HTTP: paths, JSON and statuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_evalloop.review.desk import Desk, ModeConflictError, NotFoundError, Since, label_json, mode_json
from pytest_evalloop.review.entry import Entry
from pytest_evalloop.review.guard import Guard, hosts_of
from pytest_evalloop.review.labels import Conflict
from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.traces import ReviewError
from pytest_evalloop.store.home import StoreError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

STATIC: Final = Path(__file__).parent / "static"
KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
AT_ONCE: Final = 50
"""Traces in one answer at most."""
_MARK: Final = "{{token}}"

Handler = Callable[["Request"], "Response"]


def application(desk: Desk, port: int, token: str, entry: Entry) -> ASGIApp:
    """Return the ASGI application of one desk that listens on a port of loopback.

    `token` is the proof that changes carry, `entry` lets browsers in.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    routes = Api(desk, token).routes()
    app = Starlette(routes=[Route(path, answered(act), methods=[verb]) for verb, path, act in routes])
    return Guard(app, hosts_of(port), token, entry)


def answered(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that works beside the event loop and whose errors are sentences with a status."""
    from starlette.concurrency import run_in_threadpool

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            request.state.body = await request.body()
            return await run_in_threadpool(handler, request)
        except StoreError as error:
            return refused(error)

    return answer


def refused(error: StoreError) -> Response:
    """Return an error as the page can show it; 5xx may succeed when it is tried again, 4xx does not."""
    body: dict[str, Any] = {"error": str(error)}
    if isinstance(error, Conflict):
        return answer(body | {"label": label_json(error.label)}, 409)
    if isinstance(error, ModeConflictError):
        return answer(body | {"mode": error.current and mode_json(error.current)}, 409)
    if isinstance(error, NotFoundError):
        return answer(body, 404)
    return answer(body, 422 if isinstance(error, ReviewError) else 507)


def answer(value: object, status: int = 200) -> Response:
    """Return a value as JSON; in ASCII, since a trace may hold what UTF-8 cannot say."""
    from starlette.responses import Response

    text = json.dumps(value, separators=(",", ":"))
    return Response(text, status_code=status, media_type="application/json")


class Api:
    """The handlers of one desk; each takes a request apart and asks the desk."""

    def __init__(self, desk: Desk, token: str) -> None:
        self._desk, self._token = desk, token

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Return method, path and handler of everything that can be asked for."""
        return [
            ("GET", "/", self.page),
            ("GET", "/static/{name}", self.static),
            ("GET", "/api/token", self.token),
            ("GET", "/api/index", self.index),
            ("GET", "/api/news", self.news),
            ("GET", "/api/traces", self.traces),
            ("GET", "/api/text", self.text),
            ("GET", "/api/search", self.search),
            ("GET", "/api/overview", self.overview),
            ("POST", "/api/label", self.label),
            ("POST", "/api/undo", self.undo),
            ("POST", "/api/mode", self.mode),
            ("POST", "/api/mode/remove", self.remove_mode),
        ]

    def page(self, _: Request) -> Response:
        """The page itself, with the token that its changes carry."""
        from starlette.responses import HTMLResponse

        text = (STATIC / "review.html").read_text(encoding="utf-8")
        return HTMLResponse(text.replace(_MARK, self._token))

    def static(self, request: Request) -> Response:
        """One of the files that the page consists of."""
        from starlette.responses import Response

        path = STATIC / request.path_params["name"]
        kind = KINDS.get(path.suffix)
        if kind is None or path.parent != STATIC or not path.is_file():
            raise NotFoundError("There is no such file.")
        return Response(path.read_bytes(), media_type=kind)

    def token(self, _: Request) -> Response:
        """The token, for a page that outlived its server."""
        return answer({"token": self._token})

    def index(self, _: Request) -> Response:
        """All traces without contents, labels and modes."""
        return answer(self._desk.index())

    def news(self, request: Request) -> Response:
        """What changed since the client last heard."""
        return answer(self._desk.news(Since.parse(request.query_params.get("since", ""))))

    def traces(self, request: Request) -> Response:
        """The contents of a few traces."""
        return answer(self._desk.contents(request.query_params.getlist("id")[:AT_ONCE]))

    def text(self, request: Request) -> Response:
        """All of one text that was sent shortened."""
        query = request.query_params
        places = [query.get(name, "") for name in ("section", "field")]
        section, field = (int(place) if place.isdecimal() and len(place) < 10 else -1 for place in places)
        return answer({"text": self._desk.whole(query.get("id", ""), section, field)})

    def search(self, request: Request) -> Response:
        """The ids of traces that mention something."""
        return answer({"ids": self._desk.search(request.query_params.get("text", ""))})

    def overview(self, _: Request) -> Response:
        """Progress, rates and saturation."""
        return answer(self._desk.overview())

    def label(self, request: Request) -> Response:
        """Change a label; answered when it is on disk."""
        body = sent(request)
        trace, revision, change = body.get("trace"), body.get("revision"), body.get("change")
        if not (isinstance(trace, str) and type(revision) is int and isinstance(change, Mapping)):
            raise ReviewError("A change of a label has trace, revision and change.")
        return answer({"label": label_json(self._desk.change(trace, revision, change))})

    def undo(self, _: Request) -> Response:
        """Take back the last change."""
        label = self._desk.undo()
        return answer({"label": label and label_json(label)})

    def mode(self, request: Request) -> Response:
        """Add or edit a failure mode."""
        body = sent(request)
        before = body.get("expected")
        self._desk.keep_mode(mode_of(body.get("mode")), None if before is None else mode_of(before))
        return answer({"modes": self._desk.modes()})

    def remove_mode(self, request: Request) -> Response:
        """Remove a failure mode that nothing speaks of."""
        self._desk.remove_mode(str(sent(request).get("id")))
        return answer({"modes": self._desk.modes()})


def sent(request: Request) -> dict[str, Any]:
    """Return the JSON object that came with a request, already read; raises ReviewError for anything else."""
    try:
        body = json.loads(request.state.body)  # `answered` read it, in the event loop
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"The change is no JSON ({error}).") from error
    if not isinstance(body, dict):
        raise ReviewError("The change is no JSON object.")
    return body


def mode_of(value: object) -> Mode:
    """Return a failure mode from JSON; raises ReviewError for anything else."""
    if not isinstance(value, dict):
        raise ReviewError("A failure mode is an object with id and title.")
    names = ("id", "title", "definition", "severity", "reviewed")
    words = {name: value[name] for name in names if name in value}
    examples = value.get("examples", [])
    texts = [*words.values(), *(examples if isinstance(examples, list) else [None])]
    if value.keys() - {*names, "examples"} or not all(isinstance(text, str) for text in texts):
        raise ReviewError(f"A failure mode has {', '.join(names)}, which are texts, and a list of examples.")
    if not words.get("id", "").strip() or not words.get("title", "").strip():
        raise ReviewError("A failure mode needs an id and a title.")
    return Mode(**{name: word.strip() for name, word in words.items()}, examples=tuple(examples))
