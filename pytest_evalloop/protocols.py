"""The interfaces that projects and extensions implement; hardly anything here runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

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


class Materials(Protocol):
    """What a planted fault can be made of."""

    @property
    def training_text(self) -> bytes:
        """The files below `evalloop_data`, in the order of their paths, joined (the first 64 MB of them)."""
        ...

    def baseline(self) -> LanguageModel:
        """Start the baseline's own process and return its model; a fault that needs none does not ask."""
        ...


class Fault(Protocol):
    """Makes a model with a fault that every eval suite worth its name should notice."""

    def __call__(self, materials: Materials) -> LanguageModel:
        """Return the model that is graded in the candidate's place; it runs in the eval process."""
        ...


class Mutator(Protocol):
    """Proposes candidates by editing a worktree that stands at the incumbent.

    A mutator that cannot write code of its own says so with an attribute `writes_code = False`; candidates of
    any other do not run without a sandbox.
    """

    def propose(self, brief: Brief) -> Proposal:
        """Edit files below `brief.worktree` and say in one line what was changed.

        Raises `MutatorError` when no change can be proposed.
        """
        ...


CHECKS: Final = "evalloop_checks"
"""The attribute in which a check says for which failure modes it decides."""

Check = TypeVar("Check", bound=Callable[..., Sequence[object]])


def check(mode: str) -> Callable[[Check], Check]:
    """Say of a function that it decides whether a failure mode occurs in the output of a trace.

    The function takes the output as text and returns a list of what is wrong with it, an empty one if nothing is.
    Sessions of evals try it on the traces that people labelled, and report how far it agrees with them. It stays
    the function that it was. Raises `TypeError` unless `mode` is the id of a failure mode.
    """
    given: object = mode  # without parentheses it is the function
    if not isinstance(given, str) or not given:
        raise TypeError(f'check takes the id of a failure mode, such as @check("FM-01"), and not {mode!r}')

    def decorate(function: Check) -> Check:
        known: tuple[str, ...] = getattr(function, CHECKS, ())
        setattr(function, CHECKS, (*known, mode))
        return function

    return decorate


class MutatorError(Exception):
    """A mutator could not propose a candidate; the message says why and what to do."""


class MutatorFactory(Protocol):
    """Makes a mutator for one run from the project's settings."""

    def __call__(self, settings: Any) -> Mutator:  # noqa: ANN401 - Settings stands beside, not below
        """Return a mutator, or raise `pytest.UsageError` when it cannot work in this project."""
        ...
