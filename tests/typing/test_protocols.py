"""What a project writes against the public names, as a type checker and as Python see it.

mypy holds the assignments below: an ignore that is no longer needed is an error, so a protocol that
became too lax is noticed like one that became too strict.
"""
# ruff: noqa: ARG002 - the smallest model ignores most of what it is told

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type, get_type_hints

import numpy as np
import pytest

import pytest_evalloop
from pytest_evalloop import (
    Brief,
    Document,
    Fault,
    LanguageModel,
    Materials,
    Mutator,
    MutatorError,
    Proposal,
    Responder,
    Trace,
    protocols,
    records,
)
from pytest_evalloop.candidate.client import Client
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.mutators.builtin import builtin
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.stand_in import StandIn

if TYPE_CHECKING:
    import numpy.typing as npt


class Bytes:
    """The smallest language model: every byte costs the same."""

    def token_bytes(self) -> list[bytes]:
        return [bytes([value]) for value in range(256)]

    def encode(self, text: bytes) -> list[int]:
        return list(text)

    def nll(
        self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()
    ) -> list[npt.NDArray[np.float64]]:
        return [np.full(len(document), 8 * np.log(2)) for document in documents]

    def logits(
        self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()
    ) -> npt.NDArray[np.float64]:
        return np.zeros((len(prefixes), 256))

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        return b"\0" * max_bytes


class Echo:
    """The smallest application."""

    def respond(self, case: Mapping[str, object]) -> Trace:
        return Trace(str(case["input"]), "echo", steps=({"tool": "none"},))


class Comment:
    """The smallest mutator."""

    def propose(self, brief: Brief) -> Proposal:
        if brief.number > 9:
            raise MutatorError("there is nothing left to say")
        return Proposal(f"comment number {brief.number}", {"line": brief.number})


class Positional(Bytes):
    """A model whose primer has no name: the harness could not pass it."""

    def nll(self, documents: Sequence[Sequence[int]], primer: Sequence[int] = (), /) -> list[Any]:  # type: ignore[override]
        return [*documents, primer]


class Textual(Bytes):
    """A model that takes text where bytes are given."""

    def encode(self, text: str) -> list[int]:  # type: ignore[override]
        return [ord(character) for character in text]


class Silent:
    """A model that cannot generate."""

    token_bytes = Bytes.token_bytes
    encode = Bytes.encode
    nll = Bytes.nll
    logits = Bytes.logits


def noise(materials: Materials) -> LanguageModel:
    """The smallest fault."""
    assert_type(materials.training_text, bytes)
    return Bytes() if materials.training_text else materials.baseline()


def is_fault(fault: Fault) -> Fault:
    return fault


def is_model(model: LanguageModel) -> LanguageModel:
    return model


def is_mutator(mutator: Mutator) -> Mutator:
    return mutator


def is_responder(responder: Responder) -> Responder:
    return responder


def checked_by_mypy(client: Client, settings: Settings, value: BitsPerByte) -> None:
    """Hold for the type checker; nobody calls it."""
    is_model(client)
    is_model(Positional())  # type: ignore[arg-type]
    is_model(Textual())  # type: ignore[arg-type]
    is_model(Silent())  # type: ignore[arg-type]
    is_model(Echo())  # type: ignore[arg-type]
    is_mutator(builtin()["search"](settings))
    is_mutator(Echo())  # type: ignore[arg-type]
    is_responder(Comment())  # type: ignore[arg-type]
    is_fault(noise)
    is_fault(lambda materials: materials.baseline())
    is_fault(Bytes())  # type: ignore[arg-type]
    Document("id", "text")  # type: ignore[arg-type]
    Document("id", b"text").text = b"other"  # type: ignore[misc]
    assert_type(value.per_document, tuple[records.DocumentScore, ...])
    assert_type(client.generate(b"prompt"), bytes)
    assert_type(value <= 2.4, bool)


def test_the_smallest_parts_of_a_project_fit() -> None:
    model, responder, mutator = is_model(Bytes()), is_responder(Echo()), is_mutator(Comment())
    assert model.encode(b"ab") == [97, 98]
    assert [len(costs) for costs in model.nll([[1, 2], []], primer=[3])] == [2, 0]
    assert responder.respond({"input": "hello"}) == Trace("hello", "echo", ({"tool": "none"},), {})
    assert callable(mutator.propose)


def test_the_public_names_are_all_there_and_no_other() -> None:
    assert sorted(pytest_evalloop.__all__) == pytest_evalloop.__all__
    for name in pytest_evalloop.__all__:
        assert getattr(pytest_evalloop, name) is getattr(records, name, getattr(protocols, name, None))
    with pytest.raises(AttributeError, match="module 'pytest_evalloop' has no attribute 'Judge'"):
        pytest_evalloop.Judge  # noqa: B018


@pytest.mark.parametrize("name", ["token_bytes", "encode", "nll", "logits", "generate"])
@pytest.mark.parametrize("kind", [Client, StandIn])
def test_the_client_takes_what_the_protocol_promises(name: str, kind: type) -> None:
    promised = inspect.signature(getattr(LanguageModel, name)).parameters
    taken = inspect.signature(getattr(kind, name)).parameters
    assert list(taken) == list(promised)
    for parameter in promised.values():
        other = taken[parameter.name]
        assert (other.kind, other.annotation) == (parameter.kind, parameter.annotation)
        assert parameter.default in (inspect.Parameter.empty, other.default)


def test_a_stand_in_has_every_attribute_of_a_client() -> None:
    public = {name for name in dir(Client) if not name.startswith("_")} - {"load"}
    assert public <= set(dir(StandIn))


def test_protocols_promise_exactly_what_the_harness_asks_for() -> None:
    methods = {
        protocol: {name for name in vars(protocol) if not name.startswith("_")}
        for protocol in (LanguageModel, Responder, Mutator)
    }
    assert methods == {
        LanguageModel: {"token_bytes", "encode", "nll", "logits", "generate"},
        Responder: {"respond"},
        Mutator: {"propose"},
    }


@pytest.mark.parametrize("record", [Document, Trace, Brief, Proposal])
def test_public_records_cannot_be_changed_and_their_types_resolve(record: type) -> None:
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert set(get_type_hints(record)) == set(record.__slots__)  # type: ignore[attr-defined]


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(pytest_evalloop.__file__).with_name("py.typed").is_file()
