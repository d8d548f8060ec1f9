"""The interfaces that projects and extensions implement; nothing here runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from pytest_evalloop.records import Brief, Proposal, Trace

Array: TypeAlias = Any
"""Whatever `numpy.asarray` accepts: a numpy array, a CPU tensor, or a list of floats."""


class LanguageModel(Protocol):
    """What `evalloop_load` returns: a model that states what it expects of every byte of a text."""

    def token_bytes(self) -> Sequence[bytes]:
        """Return the bytes that each token id stands for, `b""` for control tokens."""
        ...

    def encode(self, text: bytes) -> Sequence[int]:
        """Return token ids whose `token_bytes`, joined, give `text` back."""
        ...

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Array]:
        """Return, for each document, nats per token given the primer and all tokens before it."""
        ...

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Array:
        """Return (n, vocabulary) logits: the prediction after the primer and each prefix."""
        ...

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        """Return at most `max_bytes` that continue `prompt`, the same for the same arguments."""
        ...


class Responder(Protocol):
    """An application around a model, whose prompt is what is mutated."""

    def respond(self, case: Mapping[str, object]) -> Trace:
        """Answer one case and return the whole trace."""
        ...


class Mutator(Protocol):
    """Proposes candidates by editing a worktree that stands at the incumbent."""

    def propose(self, brief: Brief) -> Proposal:
        """Edit files below `brief.worktree` and say in one line what was changed.

        Raises `MutatorError` when no change can be proposed.
        """
        ...


class MutatorError(Exception):
    """A mutator could not propose a candidate; the message says why and what to do."""


class MutatorFactory(Protocol):
    """Makes a mutator for one run from the project's settings."""

    def __call__(self, settings: Any) -> Mutator:  # noqa: ANN401 - Settings stands beside, not below
        """Return a mutator, or raise `pytest.UsageError` when it cannot work in this project."""
        ...
