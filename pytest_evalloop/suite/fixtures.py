"""The fixtures of an eval author."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_evalloop.candidate.client import Client
    from pytest_evalloop.metric.bpb import BitsPerByte
    from pytest_evalloop.records import Document
    from pytest_evalloop.suite.session import SuiteSession


def _suite(config: pytest.Config) -> SuiteSession:
    plugin: SuiteSession = config.pluginmanager.getplugin("evalloop-suite")
    return plugin


@pytest.fixture(scope="session")
def evalloop_root(pytestconfig: pytest.Config) -> Path:
    """The project's root, where `.evalloop/` lies, also when the suite runs from a trusted snapshot."""
    return _suite(pytestconfig).root()


@pytest.fixture(scope="session")
def val_documents() -> list[Document]:
    """The validation documents; a project overrides this fixture in its conftest.py."""
    pytest.fail(
        "val_documents is not defined. Define it in conftest.py as a session fixture that returns "
        "a list of pytest_evalloop.Document(id, text), text being bytes.",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def vault_documents() -> list[Document]:
    """The vault's documents; a project overrides this fixture in its conftest.py."""
    pytest.fail(
        "vault_documents is not defined. Define it in conftest.py as a session fixture that returns "
        "a list of pytest_evalloop.Document(id, text), text being bytes.",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def candidate(pytestconfig: pytest.Config, evalloop_root: Path) -> Iterator[Client]:  # noqa: ARG001 - data first
    """The candidate, behind the wall: `encode`, `nll`, `logits`, `generate`, `id` and `commit`."""
    with _suite(pytestconfig).connect() as client:
        yield client


@pytest.fixture(scope="session")
def val_bpb(pytestconfig: pytest.Config, candidate: Client, val_documents: list[Document]) -> BitsPerByte:
    """Exact bits per byte over `val_documents`, a float with `.per_document`; using it makes it the objective."""
    from pytest_evalloop.candidate.scoring import score

    value = score(candidate, val_documents, primer=candidate.primer_tokens)
    _suite(pytestconfig).measured(value)
    return value


@pytest.fixture(scope="session")
def generate(candidate: Client) -> Callable[..., bytes]:
    """`generate(prompt, *, max_bytes=256, seed=0, temperature=0.8) -> bytes`, run in the candidate's process."""
    return candidate.generate
