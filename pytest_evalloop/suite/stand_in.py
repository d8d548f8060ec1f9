"""A planted fault, or human text, in the place of the candidate's client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from pytest_evalloop.candidate.client import CandidateError, Client
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.protocols import Fault, LanguageModel
from pytest_evalloop.records import Document, DocumentScore
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.assignment import Assignment
from pytest_evalloop.suite.control import HumanText
from pytest_evalloop.suite.faults import HUMAN, Rewritten, expecting
from pytest_evalloop.suite.hosts import HOST, Hosts, read_primer

Documents: TypeAlias = Callable[[], Sequence[Document]]
"""Asks for the documents that people wrote, once the control needs them."""
_TEXT_BYTES = 64 * 10**6


class StandIn:
    """What evals see of a stand-in: the attributes of `Client`, over a model in this very process.

    The harness wrote it, or the suite's own conftest did, so that it needs no wall.
    """

    def __init__(self, model: LanguageModel, primer: bytes, identity: tuple[str, str]) -> None:
        self._model = model
        self._tokens = tuple(model.token_bytes())
        self.id, self.commit = identity
        self.primer = primer
        self.primer_tokens: tuple[int, ...] = tuple(model.encode(primer)) if primer else ()
        self.known: dict[tuple[str, int], DocumentScore] = {}

    def known_score(self, documents: Sequence[Document]) -> BitsPerByte | None:
        """Return what documents cost if that is known already: a stand-in may differ in what it writes alone."""
        found = [self.known.get((document.id, len(document.text))) for document in documents]
        scores = [score for score in found if score is not None]
        return BitsPerByte(scores) if scores and len(scores) == len(documents) else None

    def token_bytes(self) -> Sequence[bytes]:
        """Return the bytes of every token id."""
        return self._tokens

    def encode(self, text: bytes) -> Sequence[int]:
        """Return the model's token ids for `text`."""
        return self._model.encode(text)

    def encode_all(self, texts: Sequence[bytes]) -> list[list[int]]:
        """Return token ids for several texts."""
        return [list(self._model.encode(text)) for text in texts]

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Any]:
        """Return float64 arrays of nats per token, one array a document."""
        import numpy as np

        return [np.asarray(costs, dtype=np.float64) for costs in self._model.nll(documents, primer=primer)]

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Any:  # noqa: ANN401
        """Return a float64 array of shape (prefixes, vocabulary)."""
        import numpy as np

        return np.asarray(self._model.logits(prefixes, primer=primer), dtype=np.float64)

    def generate(
        self, prompt: bytes, *, max_bytes: int = 256, seed: int = 0, temperature: float = 0.8
    ) -> bytes:
        """Return what the model writes after the primer and `prompt`, at most `max_bytes`."""
        text = self._model.generate(
            self.primer + prompt, max_bytes=max_bytes, seed=seed, temperature=temperature
        )
        return bytes(text[:max_bytes])


class Supplies:
    """The materials of a fault: the training text, and the baseline's process once it is asked for."""

    def __init__(self, settings: Settings, hosts: Hosts, stack: contextlib.ExitStack) -> None:
        self._settings = settings
        self._hosts = hosts
        self._stack = stack

    @cached_property
    def training_text(self) -> bytes:
        """The files below the training data, joined, up to a limit."""
        parts: list[bytes] = []
        left = _TEXT_BYTES
        data = self._settings.root / self._settings.data
        for path in sorted(path for path in data.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                parts.append(file.read(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def baseline(self) -> LanguageModel:
        """Return the model behind the assigned artifacts, as it was loaded: the primer is the stand-in's part."""
        return self._client

    @cached_property
    def _client(self) -> Client:
        client = self._stack.enter_context(self._hosts.open(HOST))
        client.primer, client.primer_tokens = b"", ()
        return client


@contextlib.contextmanager
def open_stand_in(
    settings: Settings,
    assignment: Assignment,
    hosts: Hosts,
    faults: Mapping[str, Fault],
    human: Documents,
) -> Iterator[StandIn]:
    """Yield the stand-in that an assignment names; raises `CandidateError` when it cannot be made."""
    name = assignment.stand_in
    with contextlib.ExitStack() as stack:
        supplies = Supplies(settings, hosts, stack)
        try:
            if name == HUMAN:
                text = HumanText([document.text for document in human()])
                model: LanguageModel = Rewritten(supplies.baseline(), text.write)
            else:
                model = faults[name](supplies)
            stand_in = StandIn(model, read_primer(settings, assignment), (assignment.id, assignment.commit))
        except CandidateError:
            raise
        except Exception as error:
            raise CandidateError(f"{name!r} cannot be planted: {type(error).__name__}: {error}") from error
        if assignment.scores and isinstance(expecting(model), Client):
            stand_in.known = _read_scores(Path(assignment.scores))
        yield stand_in


def _read_scores(path: Path) -> dict[tuple[str, int], DocumentScore]:
    import msgspec

    scores = msgspec.json.decode(path.read_bytes(), type=list[DocumentScore])
    return {(score.id, score.bytes): score for score in scores}
