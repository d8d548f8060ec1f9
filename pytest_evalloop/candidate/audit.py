"""The blind audit: asks a process that has seen no document for predictions, and holds them against claims."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_evalloop.candidate.scoring import Scored
from pytest_evalloop.metric.audit import (
    Position,
    Surprise,
    conclude,
    draw,
    problem,
    rounds,
    surprise,
    surprise_problem,
)
from pytest_evalloop.protocols import LanguageModel
from pytest_evalloop.records import Audit, Document

CPU_TOLERANCE = 1e-4
"""Nats by which an audited position may differ on a CPU; an honest model was measured to differ by 0."""
DEVICE_TOLERANCE = 5e-2
"""The same on an accelerator, where other batches round otherwise; not measured, so it can be set."""
_PREFIXES_PER_CALL = 16  # with more, many calls are not full: each holds one prefix of a document
_REPEATED_DOCUMENTS = 4


class AuditError(Exception):
    """The candidate's claims do not agree with its blind predictions; the message says by how much."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of `generate` and what it answered."""

    prompt: bytes
    output: bytes
    max_bytes: int
    seed: int
    temperature: float


def audit_score(
    scored: Scored,
    blind: LanguageModel,
    *,
    primer: Sequence[int],
    positions: int,
    tolerance: float,
    chance: random.Random,
) -> Audit:
    """Hold the costs of a score against `blind`, a process that has been shown no document.

    `chance` must be out of the candidate's reach. Raises `AuditError` when they disagree or when the
    predictions are no numbers.
    """
    import numpy as np

    drawn = draw([len(tokens) for tokens in scored.tokens], positions, chance)
    claimed: dict[Position, float] = {at: float(scored.nats[at.document][at.token]) for at in drawn}
    asked: dict[Position, float] = {}
    for call in rounds(drawn, _PREFIXES_PER_CALL):
        prefixes = [scored.tokens[at.document][: at.token] for at in call]
        costs = -log_softmax(blind.logits(prefixes, primer=primer))
        wanted = np.array([scored.tokens[at.document][at.token] for at in call])
        asked |= zip(call, costs[np.arange(len(call)), wanted].tolist(), strict=True)
    size = sum(score.bytes for score in scored.bpb.per_document)
    tokens = sum(map(len, scored.tokens))
    found = conclude(
        [claimed[at] for at in drawn],
        [asked[at] for at in drawn],
        tokens=tokens,
        size=size,
        tolerance=tolerance,
    )
    if complaint := problem(found):
        raise AuditError(complaint)
    return found


def audit_encoding(
    scored: Scored, model: LanguageModel, documents: Sequence[Document], chance: random.Random
) -> None:
    """Have some documents encoded once more; raises `AuditError` when the tokens are not the same."""
    for index in chance.sample(range(len(documents)), min(_REPEATED_DOCUMENTS, len(documents))):
        if list(model.encode(documents[index].text)) != list(scored.tokens[index]):
            raise AuditError(
                f"the audit found that encode does not repeat itself: it gave {documents[index].id} other tokens"
            )


def audit_samples(
    samples: Sequence[Sample],
    model: LanguageModel,
    blind: LanguageModel,
    *,
    primer: bytes,
    positions: int,
    chance: random.Random,
) -> Surprise | None:
    """Ask `blind` whether what `generate` wrote after `primer` and prompt may come from the model's predictions.

    Returns None when there is nothing to judge: no sample, or all at temperature 0. Raises `AuditError`
    when the text is none of the model's, or when `generate` does not repeat itself.
    """
    import numpy as np

    _audit_repetition(samples, model)
    drawn = [sample for sample in samples if sample.temperature > 0 and sample.output]
    texts, starts, temperatures = [], [], []
    for sample in drawn:
        tokens, start = _written(model, primer + sample.prompt, sample.output)
        texts.append(tokens)
        starts.append(start)
        temperatures.append(sample.temperature)
    # The last token may be cut off, so that it is another one than was drawn.
    lengths = [max(0, len(tokens) - 1 - start) for tokens, start in zip(texts, starts, strict=True)]
    costs, expected, variances = [], [], []
    for call in rounds(draw(lengths, positions, chance), _PREFIXES_PER_CALL):
        places = [(at.document, starts[at.document] + at.token) for at in call]
        logits = blind.logits([texts[text][:place] for text, place in places])
        heat = np.array([temperatures[text] for text, _ in places])[:, None]
        logs = log_softmax(np.asarray(logits, dtype=np.float64) / heat)
        chances = np.exp(logs)
        finite = np.where(chances > 0, logs, 0.0)
        mean = -(chances * finite).sum(axis=1)
        wanted = np.array([texts[text][place] for text, place in places])
        costs += np.minimum(-logs[np.arange(len(call)), wanted], 100.0).tolist()
        expected += mean.tolist()
        variances += ((chances * finite**2).sum(axis=1) - mean**2).clip(0.0).tolist()
    if not costs:
        return None
    found = surprise(costs, expected, variances)
    if complaint := surprise_problem(found):
        raise AuditError(complaint)
    return found


def tolerance(set_by_user: float | None, accelerators: int) -> float:
    """Return the tolerance of one position in nats: the setting, or that of the kind of device."""
    if set_by_user is not None:
        return set_by_user
    return DEVICE_TOLERANCE if accelerators else CPU_TOLERANCE


def log_softmax(logits: Any) -> Any:  # noqa: ANN401
    """Return float64 log-probabilities of logits of shape (n, vocabulary), each row normalised by the grader.

    Raises `AuditError` for a NaN, for plus infinity, and for a row in which nothing is possible.
    """
    import numpy as np

    rows = np.asarray(logits, dtype=np.float64)
    largest = rows.max(axis=1, keepdims=True) if rows.size else np.zeros((len(rows), 1))
    if not np.isfinite(largest).all():
        raise AuditError(
            "the audit found logits that are no prediction: a NaN, an infinity, or no token at all"
        )
    shifted = rows - largest
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _audit_repetition(samples: Sequence[Sample], model: LanguageModel) -> None:
    if not samples:
        return
    again = min(samples, key=lambda sample: len(sample.output))
    options: Mapping[str, Any] = {"max_bytes": again.max_bytes, "seed": again.seed}
    if model.generate(again.prompt, temperature=again.temperature, **options) != again.output:
        raise AuditError(
            "the audit found that generate does not repeat itself: the same prompt and seed gave another text"
        )


def _written(model: LanguageModel, before: bytes, output: bytes) -> tuple[list[int], int]:
    """Return the tokens of what was asked for and what was answered, and the first that lies in the answer."""
    alphabet = model.token_bytes()
    tokens = list(model.encode(before + output))
    place = 0
    for index, token in enumerate(tokens):
        if place >= len(before):
            return tokens, index
        place += len(alphabet[token])
    return tokens, len(tokens)
