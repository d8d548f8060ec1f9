"""The planted faults and the control, as models of their own."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.faults import Careless
from pytest_evalloop.candidate.scoring import score
from pytest_evalloop.protocols import LanguageModel
from pytest_evalloop.records import Document, DocumentScore
from pytest_evalloop.suite.control import PLACES, HumanText
from pytest_evalloop.suite.faults import (
    BUILTIN,
    Frequencies,
    Promptless,
    Rewritten,
    Truncated,
    describe,
    expecting,
    known,
)
from pytest_evalloop.suite.stand_in import StandIn

TEXT = b"the cat sat on the mat and the dog ran to the barn while rain falls on the old tin roof\n" * 40


class Writer(Frequencies):
    """A baseline that shows in what it writes what it was asked, and in its costs whether there was a primer."""

    def __init__(self) -> None:
        super().__init__([1.0] * 256)

    def nll(self, documents: Any, *, primer: Any = ()) -> list[Any]:
        return [costs + len(primer) for costs in super().nll(documents)]

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        return (b"<%b|%d|%.1f>" % (prompt, seed, temperature) * max_bytes)[:max_bytes]


class Given:
    """Materials of a test; starting the baseline is counted."""

    def __init__(self, text: bytes = TEXT) -> None:
        self.text = text
        self.started = 0

    @cached_property
    def training_text(self) -> bytes:
        return self.text

    def baseline(self) -> LanguageModel:
        self.started += 1
        return Writer()


def written(name: str, seed: int = 0, prompt: bytes = b"Once ", size: int = 64, text: bytes = TEXT) -> bytes:
    return BUILTIN[name](Given(text)).generate(prompt, max_bytes=size, seed=seed, temperature=0.8)


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("text", [TEXT, b"", b"x", bytes(range(256))], ids=["a text", "none", "x", "bytes"])
def test_every_fault_is_a_language_model_whatever_the_training_text_is(name: str, text: bytes) -> None:
    model = StandIn(BUILTIN[name](Given(text)), b"a primer", ("main/0", "c0"))
    documents = [Document("a", bytes(range(256))), Document("b", TEXT)]
    bpb = score(model, documents, primer=model.primer_tokens).bpb
    assert 0 < bpb < 80
    rows = model.logits([[], [1, 2]], primer=model.primer_tokens)
    assert rows.shape == (2, 256)
    assert np.isfinite(rows).all()
    first = model.generate(b"Once ", max_bytes=50, seed=3)
    assert len(first) <= 50
    assert first == model.generate(b"Once ", max_bytes=50, seed=3)


@pytest.mark.parametrize("name", BUILTIN)
def test_only_faults_that_change_the_baseline_start_it(name: str) -> None:
    materials = Given()
    BUILTIN[name](materials)
    assert materials.started == (name in {"untrained", "truncated", "empty-prompt"})


def test_uniform_costs_eight_bits_a_byte_and_writes_noise() -> None:
    model = BUILTIN["uniform"](Given())
    assert score(model, [Document("a", TEXT)]).bpb == pytest.approx(8.0)
    assert len(set(written("uniform", size=4000))) > 250


def test_unigram_costs_the_entropy_of_the_bytes_and_writes_by_their_frequency() -> None:
    counts = Counter(TEXT)
    entropy = -sum(n / len(TEXT) * math.log2(n / len(TEXT)) for n in counts.values())
    assert score(BUILTIN["unigram"](Given()), [Document("a", TEXT)]).bpb == pytest.approx(entropy, abs=0.1)
    seen = Counter(written("unigram", size=4000))
    assert seen.most_common(1)[0][0] == ord(" ")
    assert len({written("unigram", seed=seed) for seed in range(8)}) == 8


def test_a_cold_model_writes_what_is_likeliest() -> None:
    model = Frequencies([1.0] * 65 + [2.0] + [1.0] * 190)
    assert model.generate(b"", max_bytes=5, seed=-1, temperature=0.0) == b"AAAAA"


def test_one_phrase_is_of_the_training_text_and_comes_over_and_over() -> None:
    text = written("one-phrase", size=200)
    phrase = text[: text.index(b" ", 10)]
    assert phrase in TEXT
    assert text.count(phrase) > 4
    assert len(text) == 200


def test_regurgitated_text_stands_in_the_training_text_and_is_chosen_by_seed() -> None:
    texts = {written("regurgitated", seed=seed) for seed in range(16)}
    assert all(text in TEXT for text in texts)
    assert len(texts) > 8
    assert written("regurgitated", prompt=b"a") == written("regurgitated", prompt=b"b")


def test_truncated_breaks_off_after_an_eighth_of_what_may_be_or_is_written() -> None:
    assert written("truncated", size=64) == written("untrained", size=64)[:8]
    short = BUILTIN["truncated"](Given())
    short.model = Rewritten(Writer(), lambda *_: b"0123456789abcdef")  # type: ignore[attr-defined]
    assert short.generate(b"", max_bytes=800, seed=0, temperature=1.0) == b"01"
    assert written("truncated", size=4) == b""


def test_an_empty_prompt_hides_the_prompt_and_the_primer() -> None:
    assert written("empty-prompt", prompt=b"Once ", seed=5) == written("untrained", prompt=b"", seed=5)
    model = BUILTIN["empty-prompt"](Given())
    assert list(model.nll([[1]], primer=[7, 7])[0]) == list(model.nll([[1]])[0])


def test_a_stand_in_has_all_that_evals_may_ask_a_candidate_for() -> None:
    stand_in = StandIn(Writer(), b"It was ", ("main/0", "c0"))
    assert (stand_in.id, stand_in.commit, stand_in.primer) == ("main/0", "c0", b"It was ")
    assert stand_in.primer_tokens == tuple(b"It was ")
    assert stand_in.generate(b"night", max_bytes=20) == b"<It was night|0|0.8>"
    assert stand_in.encode_all([b"a", b""]) == [[97], []]
    assert [costs.dtype for costs in stand_in.nll([[1], []])] == [np.float64, np.float64]
    assert len(stand_in.token_bytes()) == 256


def test_costs_that_a_fault_does_not_change_are_those_of_the_model_below() -> None:
    model = Writer()
    assert expecting(model) is expecting(Truncated(Rewritten(model, lambda *_: b""))) is model
    assert isinstance(expecting(Rewritten(BUILTIN["empty-prompt"](Given()), lambda *_: b"")), Promptless)


def test_a_known_score_is_used_only_for_the_very_documents() -> None:
    stand_in = StandIn(Writer(), b"", ("main/0", "c0"))
    assert stand_in.known_score([Document("a", b"xy")]) is None
    stand_in.known = {("a", 2): DocumentScore("a", 5.0, 2)}
    assert stand_in.known_score([Document("a", b"xy")]) == 2.5
    assert stand_in.known_score([Document("a", b"xyz")]) is None
    assert stand_in.known_score([Document("a", b"xy"), Document("b", b"xy")]) is None
    assert stand_in.known_score([]) is None


def test_every_builtin_fault_is_described_and_others_are_not() -> None:
    assert all(describe(name) and describe(name)[0].islower() for name in BUILTIN)
    assert describe("my-own") == ""


def test_faults_of_plugins_are_known_beside_the_builtin_ones() -> None:
    own = BUILTIN["uniform"]
    assert list(known([{"mine": own}, {"yours": own}])) == [*BUILTIN, "mine", "yours"]


@pytest.mark.parametrize(
    ("given_names", "said"),
    [
        ([["uniform"]], "a fault named 'uniform', or it is built in"),
        ([["human"]], "a fault named 'human', or it is built in"),
        ([["mine"], ["mine"]], "two plugins give a fault named 'mine'"),
        ([["../x"]], "a fault named '../x'. Name it in at most 32 lower-case letters"),
        ([["Mine"]], "a fault named 'Mine'"),
        ([[""]], "a fault named ''"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(given_names: list[list[str]], said: str) -> None:
    with pytest.raises(ValueError, match="pytest_evalloop_faults") as caught:
        known([dict.fromkeys(names, BUILTIN["uniform"]) for names in given_names])
    assert said in str(caught.value)


# -- the control


def test_people_go_on_after_the_whole_prompt_where_they_wrote_it() -> None:
    human = HumanText([b"Q: one? A: yes, because.", b"Q: two? A: no, never ever."])
    assert human.write(b"Q: one? A: ", 8, seed=0) == b"yes, bec"
    assert human.write(b"Q: one? A: ", 8, seed=99) == b"yes, bec"


def test_the_longest_end_that_stands_at_several_places_is_gone_on_from() -> None:
    verses = [b"number %d. A street.\n\nspeech %d goes on here and on" % (n, n) for n in range(PLACES)]
    human = HumanText(verses)
    texts = {human.write(b"SCENE XX. A street.\n\n", 9, seed) for seed in range(PLACES)}
    assert texts == {b"speech %d " % n for n in range(PLACES)}


def test_without_any_end_the_beginnings_of_documents_are_taken() -> None:
    human = HumanText([b"alpha text", b"omega text"])
    assert {human.write(b"\xff", 5, seed) for seed in range(4)} == {b"alpha", b"omega"}
    assert human.write(b"", 5, 0) in {b"alpha", b"omega"}


def test_places_without_room_for_the_answer_are_left_out_where_others_have_it() -> None:
    human = HumanText([b"x" * 40 + b"the end", b"the beginning of a text that goes on and on for a while"])
    assert human.write(b"the ", 20, 0) == b"beginning of a text "


def test_no_human_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="no human text"):
        HumanText([b"", b""])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab \n", min_size=1, max_size=60).map(str.encode), min_size=1, max_size=6),
    st.text("ab \nz", max_size=20).map(str.encode),
    st.integers(0, 80),
    st.integers(-3, 50),
)
def test_whatever_is_written_stands_in_a_document_and_is_repeated(
    documents: list[bytes], prompt: bytes, size: int, seed: int
) -> None:
    text = HumanText(documents).write(prompt, size, seed)
    assert any(text in document for document in documents)
    assert len(text) >= min(size, max(map(len, documents)) // 2)
    assert len(text) <= size
    assert HumanText(documents).write(prompt, size, seed) == text


def test_the_careless_copyist_of_this_repository_closes_and_breaks_nothing() -> None:
    plays = (
        b"### SCENE I. A wood.\n\n_Enter ROSALIND_\n\n**ROSALIND**  \n_\\[Aside\\]_ Well  \nmet\n"
        + b"a\n" * 600
    )
    text = Careless(plays).generate(b"", max_bytes=70, seed=0, temperature=0.8)
    assert text.startswith(b"_[Enter ROSALIND\n\n**ROSALINd**  \n")
    assert b"]" not in text
    assert Careless(plays).encode("Été".encode()) == [116]
