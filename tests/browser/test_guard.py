"""The server's guard, asked over plain HTTP as another site, another name or a careless program would."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator

import psutil
import pytest

from pytest_evalloop.review.guard import HEADERS, hosts_of, refusal
from tests.browser.conftest import Desk, plain

Answer = tuple[int, dict[str, str], str]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One server for all, since hardly any of these requests changes anything."""
    made = Desk(tmp_path_factory.mktemp("guard"))
    made.add(*plain(3))
    made.start()
    yield made
    made.kill()


def ask(desk: Desk, method: str, path: str, body: object = None, **headers: str) -> Answer:
    """Ask as a browser that was let in, or as one with another cookie."""
    headers = {"cookie": desk.cookie} | headers
    connection = http.client.HTTPConnection("127.0.0.1", desk.port, timeout=10)
    try:
        sent = body if isinstance(body, str) or body is None else json.dumps(body)
        connection.request(
            method, path, sent, {name.replace("_", "-"): each for name, each in headers.items()}
        )
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): each for name, each in answer.getheaders()},
            answer.read().decode(),
        )
    finally:
        connection.close()


def token(desk: Desk) -> str:
    found = re.search(r'name="token" content="([\w-]{30,})"', ask(desk, "GET", "/")[2])
    assert found is not None
    return found[1]


CHANGE = {"trace": "t-000", "revision": 0, "change": {"passed": True}}


def change(desk: Desk, body: object = CHANGE, **headers: str) -> Answer:
    return ask(desk, "POST", "/api/label", body, **{"content_type": "application/json"} | headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost.evil.example:{port}", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/index", "/static/review.js"])
def test_a_name_that_was_rebound_to_loopback_gets_nothing(desk: Desk, host: str, path: str) -> None:
    status, headers, text = ask(desk, "GET", path, host=host.format(port=desk.port))
    assert status in {400, 421}
    assert "Question" not in text
    assert "token" not in text
    if status == 421:
        assert headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_both_names_of_loopback_are_answered(desk: Desk) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        assert ask(desk, "GET", "/", host=f"{name}:{desk.port}")[0] == 200


def test_a_change_with_the_token_is_made_and_one_without_is_not(desk: Desk) -> None:
    for proof in ({}, {"x_evalloop_token": ""}, {"x_evalloop_token": token(desk)[:-1]}):
        status, _, text = change(desk, **proof)
        assert (status, "no valid token" in text) == (403, True)
    assert "t-000" not in desk.labels()
    assert change(desk, CHANGE | {"trace": "t-001"}, x_evalloop_token=token(desk))[0] == 200
    assert desk.labels()["t-001"].passed is True


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:{port}"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_another_site_changes_nothing_even_with_the_token(desk: Desk, elsewhere: dict[str, str]) -> None:
    given = {name: value.format(port=desk.port) for name, value in elsewhere.items()}
    assert change(desk, x_evalloop_token=token(desk), **given)[0] == 403
    assert "t-000" not in desk.labels()


def test_another_site_reads_nothing_but_may_link_to_the_page(desk: Desk) -> None:
    assert ask(desk, "GET", "/api/index", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403
    assert ask(desk, "GET", "/api/token", sec_fetch_site="cross-site", sec_fetch_mode="cors")[0] == 403
    assert ask(desk, "GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH"])
def test_no_other_method_is_allowed_to_anybody(desk: Desk, method: str) -> None:
    status, headers, _ = ask(desk, method, "/api/label", origin="http://evil.example")
    assert status == 403
    status, headers, _ = ask(
        desk, method, "/api/label", "{}", x_evalloop_token=token(desk), content_type="application/json"
    )
    assert status == 405
    assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize(
    "path", ["/", "/static/review.css", "/api/index", "/api/traces?id=t-000", "/api/text", "/no"]
)
def test_every_answer_carries_the_protecting_headers(desk: Desk, path: str) -> None:
    _, headers, _ = ask(desk, "GET", path)
    assert HEADERS.items() <= headers.items()
    assert "server" not in headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    "name", ["../server.py", "%2e%2e/server.py", "..%2fserver.py", "no.js", "", "review.html", "%00.js"]
)
def test_nothing_but_the_files_of_the_page_is_served(desk: Desk, name: str) -> None:
    status, _, text = ask(desk, "GET", f"/static/{name}")
    assert status == 404
    assert "import" not in text


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("{", 422, "is no JSON"),
        ("[]", 422, "is no JSON object"),
        ({}, 422, "has trace, revision and change"),
        ({"trace": "t-000", "revision": True, "change": {}}, 422, "has trace, revision and change"),
        (CHANGE | {"trace": "t-999"}, 404, "no trace 't-999'"),
        (CHANGE | {"change": {"passed": "yes"}}, 422, "passed"),
        (CHANGE | {"change": {"score": 4}}, 422, "score"),
        (CHANGE | {"change": {"modes": {"FM-99": True}}}, 422, "no failure mode FM-99"),
        (CHANGE | {"change": {"modes": [1]}}, 422, "modes"),
        (CHANGE | {"change": {"note": "n" * 3_000_000}}, 413, "at most"),
        (CHANGE | {"revision": 7}, 409, "revision"),
    ],
)
def test_what_is_no_change_is_refused_in_words(desk: Desk, body: object, status: int, says: str) -> None:
    found, _, text = change(desk, body, x_evalloop_token=token(desk))
    assert (found, says in json.loads(text)["error"]) == (status, True), text
    assert "t-000" not in desk.labels()


def test_a_change_of_another_type_is_refused(desk: Desk) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert change(desk, x_evalloop_token=token(desk), content_type=kind)[0] == 415


def test_the_answer_to_a_change_that_was_lost_can_be_asked_for_again(desk: Desk) -> None:
    proof = token(desk)
    first, again = (change(desk, CHANGE | {"trace": "t-002"}, x_evalloop_token=proof) for _ in range(2))
    assert first[0] == again[0] == 200
    assert json.loads(first[2]) == json.loads(again[2])


def test_only_loopback_is_listened_to(desk: Desk) -> None:
    assert desk.process is not None
    sockets = psutil.Process(desk.process.pid).net_connections("inet")
    assert {each.laddr for each in sockets if each.status == psutil.CONN_LISTEN} == {("127.0.0.1", desk.port)}


def test_two_hosts_in_one_request_are_none(desk: Desk) -> None:
    with socket.create_connection(("127.0.0.1", desk.port), timeout=10) as connection:
        host = f"127.0.0.1:{desk.port}"
        lines = ["GET /api/index HTTP/1.1", f"Host: {host}", "Host: evil.example", f"Cookie: {desk.cookie}"]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(100).split()[1] in {b"400", b"421"}


def test_a_body_without_a_length_is_refused() -> None:
    headers = [
        ("host", "127.0.0.1:7"),
        ("x-evalloop-token", "t"),
        ("content-type", "application/json; charset=utf-8"),
    ]
    assert refusal("POST", headers, hosts_of(7), "t", known=True) is None
    refused = refusal("POST", [*headers, ("transfer-encoding", "chunked")], hosts_of(7), "t", known=True)
    assert refused is not None
    assert refused.status == 413
