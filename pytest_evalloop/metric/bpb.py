"""Bits per byte: what a model pays for a text, divided by the raw bytes of that text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

from pytest_evalloop.records import DocumentScore


class BitsPerByte(float):
    """A float in bits per byte that carries the score of every document it was summed from."""

    per_document: tuple[DocumentScore, ...]

    def __new__(cls, per_document: Sequence[DocumentScore]) -> Self:
        """Sum `per_document`; raises `ValueError` where `bits_per_byte` does."""
        value = super().__new__(cls, bits_per_byte(per_document))
        value.per_document = tuple(per_document)
        return value


def bits(nats: Sequence[float]) -> float:
    """Return the sum of `nats` in bits, rounded once: the result does not depend on the order of addition.

    Raises `ValueError` when a number is negative, infinite or not a number: a probability is at most one.
    """
    values = [float(value) for value in nats]
    for position, value in enumerate(values):
        if not (math.isfinite(value) and value >= 0.0):
            raise ValueError(f"token {position} costs {value} nats; a cost is finite and never negative")
    return _sum(values) / math.log(2)


def bits_per_byte(scores: Sequence[DocumentScore]) -> float:
    """Return Σ bits / Σ bytes over whole documents.

    Raises `ValueError` when there is no document, no byte at all, a document twice, or one whose bits or
    bytes are impossible: a missing count is an error and never a score.
    """
    if len({score.id for score in scores}) != len(scores):
        raise ValueError("a document stands twice among the scored documents")
    for score in scores:
        if not (math.isfinite(score.bits) and score.bits >= 0.0):
            raise ValueError(f"{score.id} costs {score.bits} bits; a cost is finite and never negative")
        if score.bytes < 0:
            raise ValueError(f"{score.id} has {score.bytes} bytes; a length is never negative")
    total_bytes = sum(score.bytes for score in scores)
    if total_bytes == 0:
        raise ValueError("the scored documents have no bytes, so there is nothing to divide by")
    return _sum([score.bits for score in scores]) / total_bytes


def _sum(costs: Sequence[float]) -> float:
    try:
        return math.fsum(costs)
    except OverflowError:
        raise ValueError("the costs add up to infinity; a cost is finite and never negative") from None
