"""The grader's exact score: every document whole, every byte once, whatever the tokenizer says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_evalloop.metric.bpb import BitsPerByte, bits
from pytest_evalloop.protocols import LanguageModel
from pytest_evalloop.records import Document, DocumentScore

TOKENS_PER_CALL = 2**17
"""How many tokens one call of `nll` may hold: bounds the memory of both sides, never the result."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Bits per byte with what they were summed from: the tokens of each document and their costs in nats."""

    bpb: BitsPerByte
    tokens: tuple[Sequence[int], ...]
    nats: tuple[Any, ...]


class ScoringError(Exception):
    """The candidate's numbers cannot be a score; the message names the document and says why."""


def score(
    model: LanguageModel,
    documents: Sequence[Document],
    *,
    primer: Sequence[int] = (),
    tokens_per_call: int = TOKENS_PER_CALL,
) -> Scored:
    """Return the exact bits per byte of `documents` given `primer`, with all tokens and their costs.

    The denominator is the documents' raw bytes; token bytes must join to each document. Raises
    `ScoringError` when they do not, or when a cost is negative, infinite or not a number, and
    `ValueError` when there is nothing to score.
    """
    alphabet = list(model.token_bytes())
    encoded = [_encode(model, alphabet, document) for document in documents]
    scores: list[DocumentScore] = []
    claimed: list[Any] = []
    for batch in _batches(zip(documents, encoded, strict=True), tokens_per_call):
        nats = model.nll([tokens for _, tokens in batch], primer=primer)
        if len(nats) != len(batch):
            raise ScoringError(f"nll answered {len(nats)} documents for {len(batch)} that were asked for")
        for (document, tokens), costs in zip(batch, nats, strict=True):
            if len(costs) != len(tokens):
                raise ScoringError(f"{document.id}: {len(costs)} costs for {len(tokens)} tokens")
            try:
                scores.append(DocumentScore(document.id, bits(costs), len(document.text)))
            except ValueError as error:
                raise ScoringError(f"{document.id}: {error}") from error
            claimed.append(costs)
    return Scored(BitsPerByte(scores), tuple(encoded), tuple(claimed))


def _encode(model: LanguageModel, alphabet: list[bytes], document: Document) -> list[int]:
    tokens = list(model.encode(document.text))
    if any(not 0 <= token < len(alphabet) for token in tokens):
        raise ScoringError(f"{document.id}: encode answered a token id outside of 0..{len(alphabet) - 1}")
    if b"".join([alphabet[token] for token in tokens]) != document.text:
        raise ScoringError(f"{document.id}: the bytes of its tokens do not join to the document")
    return tokens


def _batches(
    items: Iterable[tuple[Document, list[int]]], limit: int
) -> Iterator[list[tuple[Document, list[int]]]]:
    batch: list[tuple[Document, list[int]]] = []
    tokens = 0
    for item in items:
        if batch and tokens + len(item[1]) > limit:
            yield batch
            batch, tokens = [], 0
        batch.append(item)
        tokens += len(item[1])
    if batch:
        yield batch
