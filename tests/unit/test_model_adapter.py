"""The trained model keeps the promises of the LanguageModel protocol."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from model.adapter import ScoredGPT, load
from model.config import Config
from model.gpt import GPT
from model.tokenizer import BPETokenizer

TEXT = (
    b"### SCENE I. Rome. A street.\n\n**FLAVIUS**  \nHence! home, you idle creatures get you home:  \n" * 30
)
TINY: Any = {"context": 64, "stride": 32, "n_layer": 2, "width": 96, "zero_init": False}


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, stored as training stores it."""
    folder = tmp_path_factory.mktemp("artifacts")
    torch.manual_seed(0)
    config = dataclasses.replace(Config(), **TINY)
    save_file(GPT(config, 300).state_dict(), folder / "model.safetensors")
    BPETokenizer.train([TEXT], 300).save(folder / "tokenizer.json")
    config.save(folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def model(artifacts: Path) -> ScoredGPT:
    return load(artifacts)


@pytest.fixture(scope="module")
def documents(model: ScoredGPT) -> list[list[int]]:
    """Empty, tiny, just below, at and above the context, and long."""
    tokens = model.encode(TEXT + bytes(range(256)))
    return [tokens[:length] for length in (0, 1, 2, 62, 63, 64, 65, 66, 96, 97, 300, 700)]


PRIMERS = [b"", b"A", b"You are reading a play.", TEXT[:700]]


def test_it_has_the_methods_of_the_protocol(model: ScoredGPT) -> None:
    assert model.token_bytes()[-1] == b""
    assert b"".join(model.token_bytes()[token] for token in model.encode(TEXT)) == TEXT


@pytest.mark.parametrize("primer", PRIMERS, ids=len)
def test_logits_are_the_predictions_that_were_scored(
    model: ScoredGPT, documents: list[list[int]], primer: bytes
) -> None:
    context = model.encode(primer)
    scores = model.nll(documents, primer=context)
    assert [len(score) for score in scores] == [len(document) for document in documents]
    places = [(i, at) for i, document in enumerate(documents) for at in range(0, len(document), 7)]
    logits = model.logits([documents[i][:at] for i, at in places], primer=context)
    assert logits.shape == (len(places), len(model.token_bytes()))
    expected = -logits.double().log_softmax(-1)[range(len(places)), [documents[i][at] for i, at in places]]
    scored = torch.stack([scores[i][at] for i, at in places]).double()
    torch.testing.assert_close(scored, expected, atol=1e-5, rtol=0)


def test_scores_do_not_depend_on_the_company(model: ScoredGPT, documents: list[list[int]]) -> None:
    together = model.nll(documents)
    order = random.Random(0).sample(range(len(documents)), len(documents))
    shuffled = model.nll([documents[i] for i in order])
    for place, i in enumerate(order):
        assert torch.equal(shuffled[place], together[i])
        assert torch.equal(model.nll([documents[i]])[0], together[i])


def test_logits_do_not_depend_on_the_company(model: ScoredGPT, documents: list[list[int]]) -> None:
    together = model.logits(documents)
    for i, document in enumerate(documents):
        assert torch.equal(model.logits([document])[0], together[i])


def test_nothing_to_score_is_no_error(model: ScoredGPT) -> None:
    assert model.nll([]) == []
    assert model.logits([]).shape == (0, len(model.token_bytes()))


def test_scores_are_probabilities(model: ScoredGPT) -> None:
    rows = model.logits([[], [1, 2, 3]])
    assert rows.dtype == torch.float32
    assert rows.isfinite().all()
    assert all((score >= 0).all() for score in model.nll([model.encode(TEXT)]))


@pytest.mark.parametrize("primed", [0, 5, 32])
@pytest.mark.parametrize("stride", [1, 16, 32, 64])
def test_every_position_is_in_one_window(
    model: ScoredGPT, monkeypatch: pytest.MonkeyPatch, stride: int, primed: int
) -> None:
    monkeypatch.setattr(model, "stride", stride)
    for position in range(300):
        start, end = model._window(position, primed)
        assert position < end
        assert position + 1 - start <= model.context  # BOS, at 0, is one place before the first position
        if start > 0:
            assert position + 1 - start > model.context - stride
        else:
            assert start == (-primed if position < 32 else 0)


def test_a_primer_changes_only_what_is_near_to_it(model: ScoredGPT, documents: list[list[int]]) -> None:
    alone, primed = (model.nll(documents[-1:], primer=model.encode(text))[0] for text in (b"", TEXT))
    assert not torch.equal(alone[:32], primed[:32])
    assert torch.equal(alone[32:], primed[32:])


def test_generation_is_decided_by_its_arguments(model: ScoredGPT) -> None:
    first = model.generate(b"**FLAVIUS**", max_bytes=200, seed=1, temperature=0.8)
    model.nll([model.encode(TEXT)])
    assert model.generate(b"**FLAVIUS**", max_bytes=200, seed=1, temperature=0.8) == first
    assert model.generate(b"**FLAVIUS**", max_bytes=200, seed=2, temperature=0.8) != first
    assert 190 < len(first) <= 200


@pytest.mark.parametrize("prompt", [b"", b"\xff\x00", TEXT], ids=len)
@pytest.mark.parametrize("max_bytes", [0, 1, 7])
def test_any_prompt_is_continued_within_the_limit(model: ScoredGPT, prompt: bytes, max_bytes: int) -> None:
    assert len(model.generate(prompt, max_bytes=max_bytes, seed=0, temperature=1.0)) == max_bytes


def test_the_likeliest_continuation_agrees_with_the_logits(model: ScoredGPT) -> None:
    """The cache and its windows change no prediction, also far beyond one context."""
    written = model.generate(b"Hence", max_bytes=300, seed=0, temperature=0)
    tokens, vocabulary = model.encode(b"Hence"), model.token_bytes()
    again = b""
    while len(again) < 300:
        logits = model.logits([tokens])[0].clone()
        logits[-1] = -torch.inf
        tokens = [*tokens, int(logits.argmax())]
        again += vocabulary[tokens[-1]]
    # Scores are bfloat16 and generation is float32, so a near tie may fall to the other side in the end.
    assert written[:100] == again[:100]
