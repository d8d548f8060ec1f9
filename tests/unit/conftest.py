"""What several unit tests share: a model behind a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_httpserver import HTTPServer

from tests.judging import Model


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as running:
        yield running


@pytest.fixture
def model(server: HTTPServer) -> Iterator[Model]:
    made = Model(server)
    yield made
    made.release.set()
    server.clear()
    server.check()
