"""A plugin for one errand: pytest collects the evals, and their checks are tried on all traces.

`pytest-evalloop review --sample disagreements:N` starts pytest with it, since only pytest knows how to import a
project's evals. What the checks said goes to the file that the environment names.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pytest_evalloop.review.traces import Library
from pytest_evalloop.store.home import write_atomically
from pytest_evalloop.suite.catalogue import Verdicts, checks, try_out

ERRAND = "EVALLOOP_POLL"


class Errand(msgspec.Struct, frozen=True):
    """Where traces and labels lie, and where the answer goes."""

    traces: str
    labels: str
    answer: str


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Try the checks before any test is deselected, and write down what they say."""
    errand = msgspec.json.decode(os.environ[ERRAND], type=Errand)
    library = Library.load(Path(errand.traces), Path(errand.labels))
    found = checks([item for item in items if isinstance(item, pytest.Function)], config.rootpath)
    said = list(try_out(found, lambda _: library.traces.values(), "traces"))
    write_atomically(Path(errand.answer), msgspec.json.encode(said), durable=False)


def read_answer(path: Path) -> list[Verdicts]:
    """Return what the checks said."""
    return msgspec.json.decode(path.read_bytes(), type=list[Verdicts])
