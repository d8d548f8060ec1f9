"""What stands between the review page's server and every other page that the same browser has open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from pytest_evalloop.review.entry import TOKEN, Entry, same

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROOF: Final = "x-evalloop-token"
LARGEST_BODY: Final = 2_000_000
"""Bytes of one request at most; a note of a person is a few hundred."""

# Nothing is loaded from elsewhere, nothing inline runs, and no string can become markup (Trusted Types).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered: an HTTP status and a sentence."""

    status: int
    reason: str


def hosts_of(port: int) -> frozenset[str]:
    """Return the only values of the Host header under which a server on loopback is meant."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))


def refusal(
    method: str, headers: Iterable[tuple[str, str]], hosts: frozenset[str], token: str, *, known: bool
) -> Refusal | None:
    """Decide whether a request came from our own page in a browser that is `known`; None lets it pass.

    Header names are lower case. A name that was rebound to loopback shows in Host, another site in Origin and
    Sec-Fetch-Site, and a form that another site submits has no token.
    """
    given = _by_name(headers)
    refused = _from_elsewhere(method, given, hosts)
    if refused is None and not known:
        refused = Refusal(
            401,
            "This browser was not let in. Open the address that pytest-evalloop review printed: it ends in a token.",
        )
    if refused is None and method not in {"GET", "HEAD"}:
        refused = _no_change_of_ours(given, token)
    return refused


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    return given


def _from_elsewhere(method: str, given: Mapping[str, list[str]], hosts: frozenset[str]) -> Refusal | None:
    host = given.get("host", [])
    if len(host) != 1 or host[0].lower() not in hosts:
        named = ", ".join(host) or "no host"
        return Refusal(
            421, f"This server answers on loopback alone, not as {named}. Use the printed address."
        )
    ours = hosts >= {origin.removeprefix("http://") for origin in given.get("origin", [])}
    # A person may follow a link to the page; nobody else's page may fetch anything from it.
    navigation = method == "GET" and given.get("sec-fetch-mode") == ["navigate"]
    if not ours or not (navigation or {"same-origin", "none"}.issuperset(given.get("sec-fetch-site", []))):
        return Refusal(403, "The request came from another site, so it was refused.")
    return None


def _no_change_of_ours(given: Mapping[str, list[str]], token: str) -> Refusal | None:
    proof, length = given.get(PROOF, []), given.get("content-length", ["0"])[0]
    if len(proof) != 1 or not same(proof[0], token):
        return Refusal(403, "The request has no valid token: the server was started anew. Reload the page.")
    if given.get("content-type", [""])[0].partition(";")[0].strip() != "application/json":
        return Refusal(415, "Changes are sent as application/json.")
    if "transfer-encoding" in given or not length.isdecimal() or int(length[:20]) > LARGEST_BODY:
        return Refusal(413, f"A change has a known length of at most {LARGEST_BODY:,} bytes.")
    return None


class Guard:
    """Refuses what is not from our own page, and adds the protecting headers to every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str, entry: Entry) -> None:
        self._app, self._hosts, self._token, self._entry = app, hosts, token, entry
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application answer it."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        if scope["type"] != "http":  # neither websockets nor anything else is spoken here
            return
        await (self._answer(scope) or self._app)(scope, receive, protected)

    def _answer(self, scope: Scope) -> Response | None:
        """Return what a request gets that is none of the application's business."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        tokens = parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN, [])
        front = scope["method"] == "GET" and scope["path"] == "/"
        known = self._entry.knows(value for name, value in headers if name == "cookie")
        coming = front and len(tokens) == 1
        # Another site that links here is told apart first, and uses no token up.
        refused = refusal(scope["method"], headers, self._hosts, self._token, known=known or coming)
        if refused is None and coming and not (self._entry.opens(tokens[0]) or known):
            refused = refusal(scope["method"], headers, self._hosts, self._token, known=False)
        if refused is not None:
            return _refused(refused, page=front)
        return _welcome(self._entry) if coming else None


def _refused(refusal: Refusal, *, page: bool) -> Response:
    from starlette.responses import HTMLResponse, JSONResponse

    if page and refusal.status == 401:  # a person reads this one
        return HTMLResponse(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Review</title><p>{refusal.reason}</html>\n",
            status_code=refusal.status,
        )
    return JSONResponse({"error": refusal.reason}, status_code=refusal.status)


def _welcome(entry: Entry) -> Response:
    """Hand the cookie out and go on to the page, whose address then holds no secret.

    It goes on as a page and not as a redirect: what another site led here would carry no strict cookie further.
    """
    from starlette.responses import HTMLResponse

    text = (
        '<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content="0; url=/">'
        "<title>Review</title><p><a href=/>To the review page</a></html>\n"
    )
    return HTMLResponse(text, headers={"set-cookie": entry.grant()})
