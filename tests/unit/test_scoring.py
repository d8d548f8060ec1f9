"""The exact score of whole documents, in this process and through a real host."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.candidate import scoring
from pytest_evalloop.candidate.client import CandidateError, begin
from pytest_evalloop.candidate.process import Limits
from pytest_evalloop.candidate.scoring import ScoringError
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.protocols import LanguageModel
from pytest_evalloop.records import Document

PROJECT = Path(__file__).parents[1] / "projects/ngram"
DOCUMENTS = [
    Document("verse", b"the cat sat on the mat, the dog did not\n" * 3),
    Document("empty", b""),
    Document("invalid", b"\xff\xfe\x80 \xe9t\xe9 \x00\xf0\x9f"),
    Document("unicode", "naïve 🙂 café".encode()),
    Document("byte", b"a"),
]


def score(model: LanguageModel, documents: Sequence[Document], **options: Any) -> BitsPerByte:
    return scoring.score(model, documents, **options).bpb


@dataclass(frozen=True)
class Ngram:
    """The n-gram project, trained, and its model loaded in this process."""

    tree: Path
    artifacts: Path
    model: LanguageModel
    validation: list[Document]


@pytest.fixture(scope="module")
def ngram(tmp_path_factory: pytest.TempPathFactory) -> Ngram:
    folder = tmp_path_factory.mktemp("ngram")
    tree, artifacts = folder / "tree", folder / "artifacts"
    shutil.copytree(PROJECT, tree)
    artifacts.mkdir()
    (tree / "model/config.py").write_text(
        (tree / "model/config.py").read_text().replace("= 0  # bytes", "= 2  # bytes")
    )
    told = {
        "EVALLOOP_ARTIFACTS": str(artifacts),
        "EVALLOOP_BUDGET": "5steps",
        "EVALLOOP_DATA": str(tree / "data/train"),
        "EVALLOOP_PROGRESS": str(folder / "progress.jsonl"),
    }
    subprocess.run([sys.executable, "-m", "model.train"], cwd=tree, env={**os.environ, **told}, check=True)
    spec = importlib.util.spec_from_file_location("ngram_adapter", tree / "model/adapter.py")
    assert spec is not None
    assert spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adapter)
    files = sorted((tree / "data/val").iterdir())
    return Ngram(tree, artifacts, adapter.load(artifacts), [Document(f.stem, f.read_bytes()) for f in files])


class Syllables:
    """A tokenizer of odd pieces: control tokens, one token for many bytes, two tokens for the same bytes."""

    pieces = (b"", b"the ", b"t", b"h", b"e", b" ", b"\xf0\x9f\x99\x82", b"\xf0\x9f", b"\x82 ", b"t", b"")

    def __init__(self) -> None:
        self.calls: list[int] = []

    def token_bytes(self) -> Sequence[bytes]:
        return (*self.pieces, *(bytes([value]) for value in range(256)))

    def encode(self, text: bytes) -> Sequence[int]:
        tokens, alphabet = [0], self.token_bytes()  # a control token stands before every text
        while text:
            token = max(
                range(1, len(alphabet)),
                key=lambda token: text.startswith(alphabet[token]) * len(alphabet[token]),
            )
            tokens.append(token)
            text = text[len(alphabet[token]) :]
        return [*tokens, 10]

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Any]:
        self.calls.append(sum(map(len, documents)))
        return [
            [self.cost([*primer, *document[:index]], token) for index, token in enumerate(document)]
            for document in documents
        ]

    def cost(self, context: Sequence[int], token: int) -> float:
        return math.sqrt(token + 0.1 * sum(context[-3:]) + 0.01 * len(context))

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Any:
        raise NotImplementedError

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        raise NotImplementedError


def by_hand(model: Syllables, documents: Sequence[Document], primer: Sequence[int] = ()) -> float:
    """Add token by token, in an order of its own."""
    nats = 0.0
    for document in reversed(documents):
        tokens = model.encode(document.text)
        for index in reversed(range(len(tokens))):
            nats += model.cost([*primer, *tokens[:index]], tokens[index])
    return nats / math.log(2) / sum(len(document.text) for document in documents)


def test_the_score_is_the_sum_over_all_tokens_by_all_bytes() -> None:
    model = Syllables()
    value = score(model, DOCUMENTS)
    assert value == pytest.approx(by_hand(model, DOCUMENTS), rel=1e-12)
    assert [(part.id, part.bytes) for part in value.per_document] == [(d.id, len(d.text)) for d in DOCUMENTS]


def test_the_primer_is_context_and_is_never_paid_for() -> None:
    model = Syllables()
    primed = score(model, DOCUMENTS, primer=[5, 6, 7])
    assert primed == pytest.approx(by_hand(model, DOCUMENTS, [5, 6, 7]), rel=1e-12)
    assert primed != score(model, DOCUMENTS)
    assert sum(part.bytes for part in primed.per_document) == sum(len(d.text) for d in DOCUMENTS)


def test_control_tokens_are_paid_for_but_have_no_bytes() -> None:
    model = Syllables()
    (part,) = score(model, [Document("one", b"t")]).per_document
    context = [0, 2]
    nats = [model.cost([], 0), model.cost([0], 2), model.cost(context, 10)]
    assert part.bits == pytest.approx(sum(nats) / math.log(2))
    assert part.bytes == 1


def test_an_empty_document_costs_its_control_tokens_among_others() -> None:
    parts = {part.id: part for part in score(Syllables(), DOCUMENTS).per_document}
    assert parts["empty"].bytes == 0
    assert parts["empty"].bits > 0


@pytest.mark.parametrize("limit", [1, 7, 100, 10**6])
def test_neither_batches_nor_order_change_any_bit(limit: int) -> None:
    reference = score(Syllables(), DOCUMENTS)
    value = score(Syllables(), DOCUMENTS[::-1], tokens_per_call=limit)
    assert value == reference
    assert value.per_document == reference.per_document[::-1]


def test_one_call_holds_as_many_tokens_as_it_may_and_no_more() -> None:
    model = Syllables()
    documents = [Document(str(number), b"t") for number in range(5)]  # of three tokens each
    for limit, calls in {1: [3] * 5, 5: [3] * 5, 6: [6, 6, 3], 8: [6, 6, 3], 9: [9, 6], 15: [15]}.items():
        model.calls.clear()
        score(model, documents, tokens_per_call=limit)
        assert model.calls == calls


@pytest.mark.parametrize("documents", [[], [Document("empty", b"")]], ids=["none", "an empty one"])
def test_nothing_to_score_is_an_error(documents: list[Document]) -> None:
    with pytest.raises(ValueError, match="no bytes"):
        score(Syllables(), documents)


def test_a_document_given_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        score(Syllables(), [DOCUMENTS[0], Document("verse", b"another text")])


# -- answers that are no score


class Swapped(Syllables):
    """Answers what the test wants instead of the tokens or costs of one document."""

    def __init__(self, *, tokens: Any = None, costs: Callable[[list[float]], Any] | None = None) -> None:
        super().__init__()
        self._tokens = tokens
        self._costs = costs

    def encode(self, text: bytes) -> Sequence[int]:
        chosen: Sequence[int] = super().encode(text)
        return self._tokens if self._tokens is not None and text == b"a" else chosen

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Any]:
        costs = super().nll(documents, primer=primer)
        if self._costs is None:
            return costs
        changed = self._costs(costs[-1])
        return costs[:-1] if changed is None else [*costs[:-1], changed]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0], "byte: the bytes of its tokens do not join to the document"),
        ([], "byte: the bytes of its tokens do not join to the document"),
        ([11 + 97, 11 + 97], "byte: the bytes of its tokens do not join to the document"),
        ([11 + 65], "byte: the bytes of its tokens do not join to the document"),
        ([11 + 97, 267], "byte: encode answered a token id outside of 0..266"),
        ([11 + 97, -1], "byte: encode answered a token id outside of 0..266"),
        ([11 + 97, 2**31], "byte: encode answered a token id outside of 0..266"),
    ],
    ids=["too short", "none", "too long", "another case", "one too high", "negative", "far too high"],
)
def test_tokens_that_are_not_the_document_are_refused_by_its_name(tokens: list[int], message: str) -> None:
    with pytest.raises(ScoringError) as caught:
        score(Swapped(tokens=tokens), DOCUMENTS)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda costs: costs[:-1], "byte: 2 costs for 3 tokens"),
        (lambda costs: [*costs, 0.0], "byte: 4 costs for 3 tokens"),
        (lambda costs: [], "byte: 0 costs for 3 tokens"),
        (lambda costs: [*costs[:-1], -0.001], "byte: token 2 costs -0.001 nats"),
        (lambda costs: [math.nan, *costs[1:]], "byte: token 0 costs nan nats"),
        (lambda costs: [costs[0], math.inf, costs[2]], "byte: token 1 costs inf nats"),
        (lambda costs: [1e308] * 3, "byte: the costs add up to infinity"),
        (lambda costs: None, "nll answered 4 documents for 5 that were asked for"),
    ],
    ids=[
        "one short",
        "one more",
        "none",
        "negative",
        "not a number",
        "infinite",
        "too large",
        "a document short",
    ],
)
def test_costs_that_are_none_are_refused_by_the_documents_name(
    change: Callable[[list[float]], Any], message: str
) -> None:
    with pytest.raises(ScoringError) as caught:
        score(Swapped(costs=change), DOCUMENTS)
    assert str(caught.value).startswith(message)


# -- through a real host


@pytest.fixture(scope="module")
def host(ngram: Ngram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageModel]:
    with begin(
        tree=ngram.tree,
        artifacts=ngram.artifacts,
        load="model.adapter:load",
        log=tmp_path_factory.mktemp("host") / "host.log",
        limits=Limits(),
        answer_seconds=60,
    ) as client:
        client.load(ngram.artifacts, b"")
        yield client


@pytest.mark.parametrize("primer", [b"", b"the cat sat\n"], ids=["plain", "primed"])
def test_the_score_is_the_same_number_on_both_sides_of_the_wall(
    ngram: Ngram, host: LanguageModel, primer: bytes
) -> None:
    documents = [*ngram.validation, *DOCUMENTS]
    here = score(ngram.model, documents, primer=list(primer))
    there = score(host, documents, primer=list(primer), tokens_per_call=64)
    assert here == there
    assert here.per_document == there.per_document
    assert 0 < here < 8


def test_a_trained_model_is_better_than_chance_on_its_own_language(ngram: Ngram, host: LanguageModel) -> None:
    assert score(host, ngram.validation) < 4 < score(host, [Document("noise", bytes(range(256)))])


BROKEN = """
from model.adapter import NGram, load as honest
import math

class Broken(NGram):
    def encode(self, text):
        return {"join": [97], "range": [*text, 256], "negative": [*text, -1]}.get(self.fault, list(text))

    def nll(self, documents, *, primer=()):
        costs = super().nll(documents, primer=primer)
        costs[0][0] = {"nan": math.nan, "inf": math.inf, "minus": -1e-9}.get(self.fault, costs[0][0])
        return [row[1:] for row in costs] if self.fault == "count" else costs

def load(artifacts):
    model = honest(artifacts)
    model.__class__ = Broken
    model.fault = "none"
    def choose(prompt, **_):
        model.fault = prompt.decode()
        return prompt
    model.generate = choose
    return model
"""


def test_what_is_no_score_is_refused_through_a_host_too(ngram: Ngram, tmp_path: Path) -> None:
    (ngram.tree / "model/broken.py").write_text(BROKEN)
    documents = [Document("verse", b"the cat sat")]
    with begin(
        tree=ngram.tree,
        artifacts=ngram.artifacts,
        load="model.broken:load",
        log=tmp_path / "host.log",
        limits=Limits(),
        answer_seconds=60,
    ) as client:
        client.load(ngram.artifacts, b"")
        assert score(client, documents) == score(ngram.model, documents)
        for fault, message in {
            "join": "verse: the bytes of its tokens do not join to the document",
            "range": r"verse: encode answered a token id outside of 0\.\.255",
            "negative": r"verse: encode answered a token id outside of 0\.\.255",
            "nan": "verse: token 0 costs nan nats",
            "inf": "verse: token 0 costs inf nats",
            "minus": "verse: token 0 costs -1e-09 nats",
        }.items():
            assert client.generate(fault.encode()) == fault.encode()
            with pytest.raises(ScoringError, match=message):
                score(client, documents)
        assert client.generate(b"count") == b"count"
        with pytest.raises(CandidateError, match="nll answered 10 costs for a document of 11 tokens"):
            score(client, documents)
