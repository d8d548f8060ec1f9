"""Whatever the documents and the tokenizer: the score is one exact sum, however it is cut into calls."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.candidate import scoring
from pytest_evalloop.candidate.scoring import ScoringError
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.records import Document

moderate = settings(max_examples=40)
texts = st.lists(st.binary(max_size=40) | st.text(max_size=15).map(str.encode), min_size=1, max_size=8)
pieces = st.lists(st.binary(max_size=4), max_size=12)


def score(model: Any, documents: Sequence[Document], **options: Any) -> BitsPerByte:
    return scoring.score(model, documents, **options).bpb


class Chopper:
    """Cuts texts at random into pieces that it knows, with control tokens in between."""

    def __init__(self, extra: list[bytes], seed: int) -> None:
        self.alphabet = [bytes([value]) for value in range(256)] + [b""] + extra
        self.seed = seed

    def token_bytes(self) -> Sequence[bytes]:
        return self.alphabet

    def encode(self, text: bytes) -> Sequence[int]:
        chance, tokens = Random(f"{self.seed} {text!r}"), []
        while text:
            fitting = [token for token, piece in enumerate(self.alphabet) if text.startswith(piece)]
            tokens.append(chance.choice(fitting))
            text = text[len(self.alphabet[tokens[-1]]) :]
        return tokens

    def cost(self, primer: Sequence[int], context: Sequence[int], token: int) -> float:
        return zlib.crc32(f"{list(primer)} {list(context)} {token}".encode()) / 2**30

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Any]:
        return [
            [self.cost(primer, document[:index], token) for index, token in enumerate(document)]
            for document in documents
        ]

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Any:
        raise NotImplementedError

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        raise NotImplementedError


def named(given_texts: list[bytes]) -> list[Document]:
    """Return one document a text, and one that is never empty."""
    return [Document(str(number), text) for number, text in enumerate([b"\xff", *given_texts])]


@moderate
@given(texts, pieces, st.integers(0, 99), st.lists(st.integers(0, 255), max_size=4))
def test_the_score_is_the_brute_force_sum(
    given_texts: list[bytes], extra: list[bytes], seed: int, primer: list[int]
) -> None:
    model, documents = Chopper(extra, seed), named(given_texts)
    value = score(model, documents, primer=primer)
    nats = 0.0
    for document in documents:
        tokens = model.encode(document.text)
        nats += sum(model.cost(primer, tokens[:index], token) for index, token in enumerate(tokens))
    assert value == pytest.approx(nats / math.log(2) / sum(len(d.text) for d in documents), rel=1e-12)
    assert [(part.id, part.bytes) for part in value.per_document] == [(d.id, len(d.text)) for d in documents]


@moderate
@given(texts, pieces, st.integers(1, 200), st.integers(1, 200), st.randoms(use_true_random=False))
def test_the_score_does_not_depend_on_batches_or_order(
    given_texts: list[bytes], extra: list[bytes], limit: int, other: int, random: Random
) -> None:
    model, documents = Chopper(extra, 0), named(given_texts)
    shuffled = random.sample(documents, len(documents))
    value, again = (
        score(model, documents, tokens_per_call=limit),
        score(model, shuffled, tokens_per_call=other),
    )
    assert value == again == score(model, documents)
    assert set(value.per_document) == set(again.per_document)


@moderate
@given(texts, pieces, st.data())
def test_a_text_that_lost_or_gained_a_token_with_bytes_is_no_document(
    given_texts: list[bytes], extra: list[bytes], data: st.DataObject
) -> None:
    model, documents = Chopper(extra, 0), named(given_texts)
    victim = data.draw(st.sampled_from([document for document in documents if document.text]))
    honest = list(model.encode(victim.text))
    place = data.draw(st.integers(0, len(honest)))
    changed = data.draw(
        st.sampled_from(
            [
                [*honest[:place], data.draw(st.integers(0, 255)), *honest[place:]],
                [token for token in honest if token != honest[-1]],
                [*honest[:place], len(model.alphabet) + data.draw(st.integers(0, 9)), *honest[place:]],
                [*honest[:place], data.draw(st.integers(max_value=-1)), *honest[place:]],
            ]
        )
    )
    encode = model.encode

    class Liar(Chopper):
        def encode(self, text: bytes) -> Sequence[int]:
            return changed if text == victim.text else encode(text)

    wrong = [document.id for document in documents if document.text == victim.text]
    with pytest.raises(ScoringError, match=f"^{wrong[0]}: "):
        score(Liar(extra, 0), documents)
