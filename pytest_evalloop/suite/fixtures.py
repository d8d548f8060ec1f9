"""The fixtures of an eval author."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_evalloop.metric.bpb import BitsPerByte
    from pytest_evalloop.records import Document
    from pytest_evalloop.suite.examiner import Blind, Examiner, Subject
    from pytest_evalloop.suite.kept import Kept
    from pytest_evalloop.suite.session import SuiteSession
    from pytest_evalloop.suite.tracing import Recorder, RecordTrace, TraceBuilder
    from pytest_evalloop.suite.verdicts import Court


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
def human_documents(val_documents: list[Document]) -> list[Document]:
    """What people wrote, on which no check should fail; a project may override this fixture."""
    return val_documents


@pytest.fixture(scope="session")
def _evalloop_examiner(pytestconfig: pytest.Config, evalloop_root: Path) -> Iterator[Examiner]:  # noqa: ARG001 - data first
    with _suite(pytestconfig).examiner() as examiner:
        yield examiner


@pytest.fixture(scope="session")
def _evalloop_blind(_evalloop_examiner: Examiner) -> Iterator[Blind | None]:
    with _evalloop_examiner.open_blind() as blind:
        yield blind


@pytest.fixture(scope="session")
def candidate(request: pytest.FixtureRequest, _evalloop_examiner: Examiner) -> Iterator[Subject]:
    """The candidate, behind the wall: `encode`, `nll`, `logits`, `generate`, `id` and `commit`."""

    def human() -> list[Document]:
        documents: list[Document] = request.getfixturevalue("human_documents")
        return documents

    with _suite(request.config).connect(_evalloop_examiner, human) as subject:
        yield subject


@pytest.fixture(scope="session")
def val_bpb(
    request: pytest.FixtureRequest,
    _evalloop_examiner: Examiner,
    _evalloop_blind: Blind | None,  # before the candidate, so that both load at the same time
    candidate: Subject,
) -> BitsPerByte:
    """Exact bits per byte over `val_documents`, a float with `.per_document`; using it makes it the objective.

    Audited: a second process that has seen no document must predict what this one claims.
    """
    given = request.getfixturevalue(f"{_evalloop_examiner.assignment.split}_documents")
    documents = _evalloop_examiner.chosen(given)
    with _suite(request.config).findings():
        measured = _evalloop_examiner.measure(candidate, _evalloop_blind, documents)
    _suite(request.config).measured(measured)
    return measured.bpb


@pytest.fixture(scope="session")
def generate(
    pytestconfig: pytest.Config,
    _evalloop_examiner: Examiner,
    _evalloop_blind: Blind | None,
    candidate: Subject,
) -> Iterator[Callable[..., bytes]]:
    """`generate(prompt, *, max_bytes=256, seed=0, temperature=0.8) -> bytes`, run in the candidate's process.

    When all tests are done, what was written is audited: it has to come from the model's own predictions.
    """
    yield functools.partial(_evalloop_examiner.generate, candidate)
    with _suite(pytestconfig).findings():
        _suite(pytestconfig).sampled(_evalloop_examiner.audit_samples(candidate, _evalloop_blind))


@pytest.fixture(scope="session")
def _evalloop_recorder(evalloop_root: Path) -> Recorder:
    from pytest_evalloop.suite.tracing import Recorder

    return Recorder.open(evalloop_root)


@pytest.fixture(scope="session")
def judge(pytestconfig: pytest.Config, evalloop_root: Path) -> Court:
    """`judge("FM-07", trace)`: the verdict of a judge, with `.passed` and `.critique`.

    One that was not validated against labels, or was changed since, is an error and never a pass.
    """
    from pytest_evalloop.suite.verdicts import Court

    suite = _suite(pytestconfig)
    return Court(evalloop_root, pytestconfig.rootpath / suite.settings().labels, suite.unfit)


@pytest.fixture(scope="session")
def kept_trace(pytestconfig: pytest.Config) -> Kept:
    """`kept_trace("t-0c1d2e3f4a5b")`: the whole trace that is kept beside the labels, with `.input` and `.output`."""
    from pytest_evalloop.suite.kept import Kept

    return Kept(pytestconfig.rootpath / _suite(pytestconfig).settings().labels)


@pytest.fixture
def record_trace(request: pytest.FixtureRequest, _evalloop_recorder: Recorder) -> RecordTrace:
    """`record_trace(trace)`, or `record_trace(input=…, output=…, steps=…, metadata=…)`: kept for review.

    Returns the id of the trace. What was recorded already is not recorded again.
    """
    return _evalloop_recorder.of(request.node)


@pytest.fixture
def trace(record_trace: RecordTrace) -> Iterator[TraceBuilder]:
    """A trace to put together: `trace.input`, `trace.step(name, **details)`, `trace.output`, `trace.metadata`.

    It is recorded when the test ends, also when it failed.
    """
    from pytest_evalloop.suite.tracing import TraceBuilder

    builder = TraceBuilder()
    yield builder
    if not builder.empty:
        record_trace(
            input=builder.input, output=builder.output, steps=builder.steps, metadata=builder.metadata
        )
