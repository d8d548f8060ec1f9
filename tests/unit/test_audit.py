"""The blind audit: which positions are asked, in which order, and what every kind of lie looks like."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.candidate.audit import (
    CPU_TOLERANCE,
    DEVICE_TOLERANCE,
    AuditError,
    Sample,
    audit_encoding,
    audit_samples,
    audit_score,
    log_softmax,
    tolerance,
)
from pytest_evalloop.candidate.scoring import Scored, score
from pytest_evalloop.metric.audit import Position, conclude, draw, floor, problem, rounds, sentence, surprise
from pytest_evalloop.records import Audit, Document

TEXT = b"the cat sat on the mat and the dog lay by the door while rain fell on the roof. "
DOCUMENTS = [Document(str(number), TEXT[number:] * 5) for number in range(6)]


@dataclass
class Bigram:
    """An honest model of bytes: the counts of `TEXT`, smoothed."""

    asked: list[list[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        counts = np.full((256, 256), 0.1)
        for before, after in zip(TEXT * 2, (TEXT * 2)[1:], strict=False):
            counts[before, after] += 1
        self.logs = np.log(counts / counts.sum(axis=1, keepdims=True))

    def token_bytes(self) -> list[bytes]:
        return [bytes([value]) for value in range(256)]

    def encode(self, text: bytes) -> Sequence[int]:
        return list(text)

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Any]:
        return [
            [-self.logs[before, after] for before, after in zip([*primer, 0, *tokens], tokens, strict=False)]
            if not primer
            else [-self.logs[b, a] for b, a in zip([primer[-1], *tokens], tokens, strict=False)]
            for tokens in documents
        ]

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Any:
        self.asked.append([bytes(prefix) for prefix in prefixes])
        last = [
            [*primer, 0][-1] if not prefix and not primer else [*primer, *prefix][-1] for prefix in prefixes
        ]
        return self.logs[last] + 7.0  # a constant is nothing: the grader normalises

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        chance = np.random.default_rng(seed)
        text = bytearray(prompt)
        for _ in range(max_bytes):
            chances = np.exp(self.logs[text[-1]] / temperature)
            text.append(int(chance.choice(256, p=chances / chances.sum())))
        return bytes(text[len(prompt) :])


def audited(
    model: Any, blind: Any = None, *, positions: int = 200, primer: Sequence[int] = (), seed: int = 0
) -> Audit:
    scored = score(model, DOCUMENTS, primer=primer)
    return audit_score(
        scored,
        blind or Bigram(),
        primer=primer,
        positions=positions,
        tolerance=CPU_TOLERANCE,
        chance=random.Random(seed),
    )


def altered(change: Any) -> Bigram:
    """Return a model whose claimed costs, one array a document, pass through `change`."""

    class Liar(Bigram):
        def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Any]:
            honest = super().nll(documents, primer=primer)
            return [change(np.array(costs), index) for index, costs in enumerate(honest)]

    return Liar()


def test_an_honest_model_agrees_to_the_last_digit() -> None:
    found = audited(Bigram())
    assert (found.disagreements, found.largest, found.mean) == (0, 0.0, 0.0) or found.largest < 1e-12
    assert found.positions == 200
    assert found.tokens == sum(len(document.text) for document in DOCUMENTS)


def test_an_honest_model_agrees_given_a_primer() -> None:
    assert audited(Bigram(), primer=list(b"abc")).disagreements == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda costs, _: costs * 0.0, id="nothing costs anything"),
        pytest.param(lambda costs, _: np.maximum(costs - 0.01, 0.0), id="a hundredth off every logit"),
        pytest.param(
            lambda costs, _: np.where(costs > np.median(costs), costs / 2, costs),
            id="half of the costly",
        ),
        pytest.param(
            lambda costs, _: np.where(np.arange(len(costs)) % 20 == 7, 0.0, costs),
            id="one in twenty",
        ),
        pytest.param(lambda costs, index: costs * (index != 3), id="one document of six"),
        pytest.param(lambda costs, _: np.roll(costs, 1), id="costs moved by one"),
        pytest.param(lambda costs, _: costs + 0.5, id="a larger number"),
    ],
)
def test_every_lie_about_a_cost_is_found(change: Any) -> None:
    with pytest.raises(AuditError, match=r"at \d+ of 200 positions nll is not what logits predict"):
        audited(altered(change))


def test_a_small_lie_everywhere_is_found_in_the_mean() -> None:
    with pytest.raises(AuditError, match="differ by 5e-05 nats in the mean"):
        audited(altered(lambda costs, _: np.maximum(costs - 5e-5, 0.0)))


def test_rounding_without_direction_is_no_lie() -> None:
    noise = np.random.default_rng(1)
    audited(altered(lambda costs, _: np.maximum(costs + noise.normal(0, 3e-6, len(costs)), 0.0)))


def test_more_positions_than_there_are_means_all() -> None:
    found = audited(Bigram(), positions=10**6)
    assert found.positions == found.tokens
    assert (found.fraction, found.hidden, found.error) == (0.0, 0.0, 0.0)
    assert found.estimate == pytest.approx(score(Bigram(), DOCUMENTS).bpb)


def test_no_call_holds_the_answer_to_another() -> None:
    blind = Bigram()
    audited(Bigram(), blind, positions=600)
    seen: set[bytes] = set()
    for call in blind.asked:
        for prefix in call:
            # Documents differ from their first byte on, so a prefix of a prefix is one of its own document.
            assert not any(other != prefix and other.startswith(prefix) for other in seen if prefix)
            assert not any(other != prefix and prefix and other.startswith(prefix) for other in call)
        seen.update(call)


@pytest.mark.parametrize(
    "row", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]], ids=["nan", "inf", "nothing"]
)
def test_logits_that_are_no_prediction_are_refused(row: list[float]) -> None:
    with pytest.raises(AuditError, match="logits that are no prediction"):
        log_softmax([[0.0, 1.0], row])


def test_what_is_impossible_may_be_minus_infinity() -> None:
    assert log_softmax([[-math.inf, 3.0]]).tolist() == [[-math.inf, 0.0]]


def test_large_logits_do_not_overflow() -> None:
    assert log_softmax([[1e300, 1e300]]) == pytest.approx(-math.log(2))


def test_unnormalised_logits_are_normalised_by_the_grader() -> None:
    class Loud(Bigram):
        """Claims what follows from logits that do not add up to one."""

        def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Any]:
            return [np.maximum(np.array(costs) - 1.0, 0.0) for costs in super().nll(documents, primer=primer)]

    with pytest.raises(AuditError, match="nll is not what logits predict"):
        audited(Loud(), Loud())


def test_positions_are_drawn_without_repetition_and_evenly() -> None:
    counts = dict.fromkeys([Position(0, 0), Position(2, 0), Position(2, 1), Position(2, 2)], 0)
    for seed in range(4000):
        drawn = draw([1, 0, 3], 2, random.Random(seed))
        assert len(set(drawn)) == 2
        for at in drawn:
            counts[at] += 1
    assert all(abs(count - 2000) < 150 for count in counts.values())


def test_rounds_take_the_earliest_position_of_each_document_first() -> None:
    positions = [Position(0, 5), Position(1, 9), Position(0, 2), Position(0, 7)]
    assert rounds(positions, 10) == [
        [Position(0, 2), Position(1, 9)],
        [Position(0, 5)],
        [Position(0, 7)],
    ]
    assert [len(call) for call in rounds([Position(index, 0) for index in range(7)], 3)] == [3, 3, 1]


@given(
    st.sets(st.builds(Position, st.integers(0, 5), st.integers(0, 20)), max_size=60).map(list),
    st.integers(1, 8),
)
def test_rounds_ask_for_every_position_once_in_as_few_calls_as_can_be(
    positions: list[Position], limit: int
) -> None:
    calls = rounds(positions, limit)
    assert sorted(position for call in calls for position in call) == sorted(positions)
    assert all(len({position.document for position in call}) == len(call) <= limit for call in calls)
    for document in range(6):
        tokens = [position.token for call in calls for position in call if position.document == document]
        assert tokens == sorted(tokens)
    longest = max(Counter(position.document for position in positions).values(), default=0)
    assert len(calls) == max(longest, math.ceil(len(positions) / limit))


def test_an_audit_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="an audit needs positions"):
        conclude([], [], tokens=0, size=0, tolerance=1e-4)


def test_the_bound_is_that_of_the_documentation() -> None:
    found = conclude([1.0] * 512, [1.0] * 512, tokens=10**6, size=2 * 10**6, tolerance=1e-4)
    assert found.fraction == pytest.approx(0.00583, abs=1e-5)
    assert (1 - found.fraction) ** 512 == pytest.approx(0.05)
    assert found.hidden == pytest.approx(found.fraction * 0.5 / math.log(2))


def test_what_two_audits_let_pass_is_the_least_improvement() -> None:
    found = conclude([1.0] * 512, [1.0] * 512, tokens=10**6, size=2 * 10**6, tolerance=1e-4)
    assert floor(found, 2 * 10**6) == pytest.approx(2 * 2e-6 * 0.5 / math.log(2))


def test_an_audit_is_said_in_one_sentence() -> None:
    found = conclude([2.0, 1.0] * 256, [2.0, 1.0] * 256, tokens=10**4, size=2 * 10**4, tolerance=1e-4)
    assert sentence(found) == (
        "audit: 512 of 10,000 positions, largest difference 0 nats (allowed 0.0001); a cheat at 0.58% of the "
        "positions would have been seen with 95%, so at most 0.008 bpb are hidden; its own estimate is "
        "1.082 ± 0.030 bpb"
    )
    assert problem(found) == ""


def test_a_tokenizer_that_does_not_repeat_itself_is_found() -> None:
    class Moody(Bigram):
        def encode(self, text: bytes) -> Sequence[int]:
            self.calls = getattr(self, "calls", 0) + 1
            return list(text) if self.calls <= len(DOCUMENTS) else list(text)[::-1]

    model = Moody()
    scored = score(model, DOCUMENTS)
    with pytest.raises(AuditError, match="encode does not repeat itself"):
        audit_encoding(scored, model, DOCUMENTS, random.Random(0))
    audit_encoding(score(Bigram(), DOCUMENTS), Bigram(), DOCUMENTS, random.Random(0))


def samples(model: Bigram, write: Any = None) -> list[Sample]:
    write = write or model.generate
    return [
        Sample(b"the ", write(b"the ", max_bytes=60, seed=seed, temperature=0.8), 60, seed, 0.8)
        for seed in range(20)
    ]


def surprised(given: list[Sample], model: Any = None) -> Any:
    model = model or Bigram()
    return audit_samples(given, model, Bigram(), primer=b"", positions=512, chance=random.Random(0))


def test_the_models_own_samples_do_not_surprise_it() -> None:
    found = surprised(samples(Bigram()))
    assert abs(found.excess) < 4 * found.error
    assert found.positions == 512


@pytest.mark.parametrize(
    "canned",
    [
        lambda prompt, *, max_bytes, seed, temperature: b"All happy families are alike; each unhappy one"[
            :max_bytes
        ],
        lambda prompt, *, max_bytes, seed, temperature: (TEXT[seed:] + TEXT)[::-1][:max_bytes],
        lambda prompt, *, max_bytes, seed, temperature: bytes(range(65, 65 + max_bytes)),
    ],
    ids=["a fixed text", "reversed training text", "the alphabet"],
)
def test_canned_text_is_found(canned: Any) -> None:
    class Canned(Bigram):
        generate = staticmethod(canned)

    with pytest.raises(AuditError, match="what generate wrote was not drawn from the model as asked"):
        surprised(samples(Bigram(), canned), Canned())


def test_a_generator_that_does_not_repeat_itself_is_found() -> None:
    class Moody(Bigram):
        def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
            return super().generate(prompt, max_bytes=max_bytes, seed=seed + 1, temperature=temperature)

    with pytest.raises(AuditError, match="generate does not repeat itself"):
        surprised(samples(Bigram()), Moody())


def test_nothing_written_is_nothing_to_judge() -> None:
    assert surprised([]) is None


def test_a_cut_off_of_rare_tokens_is_no_cheat_and_a_colder_draw_is() -> None:
    class Nucleus(Bigram):
        """Draws from the likeliest tokens that hold 80 % together."""

        def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
            chance, text = np.random.default_rng(seed), bytearray(prompt)
            for _ in range(max_bytes):
                chances = np.exp(self.logs[text[-1]] / temperature)
                chances /= chances.sum()
                order = np.argsort(-chances)
                kept = order[: int(np.searchsorted(np.cumsum(chances[order]), 0.8)) + 1]
                text.append(int(chance.choice(kept, p=chances[kept] / chances[kept].sum())))
            return bytes(text[len(prompt) :])

    class Cold(Bigram):
        def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
            return super().generate(prompt, max_bytes=max_bytes, seed=seed, temperature=temperature / 20)

    assert surprised(samples(Nucleus()), Nucleus()).excess < 0
    with pytest.raises(AuditError, match=r"it costs \d\.\d\d nats a token less than the model's own samples"):
        surprised(samples(Cold()), Cold())


def test_a_surprise_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token"):
        surprise([], [], [])


def test_the_tolerance_is_the_setting_or_that_of_the_device() -> None:
    assert tolerance(None, 0) == CPU_TOLERANCE
    assert tolerance(None, 1) == DEVICE_TOLERANCE
    assert tolerance(0.5, 1) == 0.5


def test_a_score_keeps_what_it_was_summed_from() -> None:
    scored: Scored = score(Bigram(), DOCUMENTS)
    total = sum(float(np.sum(costs)) for costs in scored.nats) / math.log(2)
    assert total / sum(len(document.text) for document in DOCUMENTS) == pytest.approx(scored.bpb)
