"""What stands between the review page's server and every other page that the same browser has open."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
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
    method: str, headers: Iterable[tuple[str, str]], hosts: frozenset[str], token: str
) -> Refusal | None:
    """Decide whether a request came from our own page; None lets it pass.

    Header names are lower case. A name that was rebound to loopback shows in Host, another site in Origin and
    Sec-Fetch-Site, and a form that another site submits has no token.
    """
    given: dict[str, list[str]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    refused = _from_elsewhere(method, given, hosts)
    if refused is None and method not in {"GET", "HEAD"}:
        refused = _no_change_of_ours(given, token)
    return refused


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
    if len(proof) != 1 or not hmac.compare_digest(proof[0].encode(), token.encode()):
        return Refusal(403, "The request has no valid token: the server was started anew. Reload the page.")
    if given.get("content-type", [""])[0].partition(";")[0].strip() != "application/json":
        return Refusal(415, "Changes are sent as application/json.")
    if "transfer-encoding" in given or not length.isdecimal() or int(length[:20]) > LARGEST_BODY:
        return Refusal(413, f"A change has a known length of at most {LARGEST_BODY:,} bytes.")
    return None


class Guard:
    """Refuses what is not from our own page, and adds the protecting headers to every answer."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], token: str) -> None:
        self._app, self._hosts, self._token = app, hosts, token
        self._headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application answer it."""
        from starlette.responses import JSONResponse

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        if scope["type"] != "http":  # neither websockets nor anything else is spoken here
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        refused = refusal(scope["method"], headers, self._hosts, self._token)
        if refused is None:
            await self._app(scope, receive, protected)
        else:
            answer = JSONResponse({"error": refused.reason}, status_code=refused.status)
            await answer(scope, receive, protected)
