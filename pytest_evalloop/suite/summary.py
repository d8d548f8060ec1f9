"""What a session of evals says about the objective when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_evalloop.metric.audit import sentence
from pytest_evalloop.records import Audit
from pytest_evalloop.review.counts import count


def objective(scores: Sequence[Sequence[Any]], audit: Sequence[Any]) -> list[str]:
    """Return the bits per byte and what its audit, if any, found, from the plain lists that reports carry."""
    bits, size = sum(score[1] for score in scores), sum(score[2] for score in scores)
    value = f"val_bpb {bits / size:.4f} over {len(scores)} documents, {size:,} bytes"
    return [value, sentence(Audit(*audit))] if audit else [value]


def unfit(mode: str, cases: int, problem: str) -> str:
    """Say why a judge may not speak, once for all the cases that have no verdict because of it."""
    return f"ERROR judge {mode}: {count(cases, 'case has', 'cases have')} no verdict. {problem}"


def sampling(excess: float, error: float, positions: int) -> str:
    """Say how much what `generate` wrote surprises the model."""
    return (
        f"audit: what generate wrote costs the model {excess:+.2f} ± {2 * error:.2f} nats a token more than its own "
        f"samples would, over {positions} tokens"
    )
