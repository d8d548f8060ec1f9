"""The arithmetic of the blind audit: which positions, in which order, and what agreement proves.

One process claims what every token of every document costs; another one, which has seen no document, is asked
to predict after prefixes. Everything here is the grader's own and takes plain numbers.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_evalloop.records import Audit

CONFIDENCE = 0.95
MEAN_SHARE = 0.02
"""The mean difference may be at most this share of the tolerance of one position: rounding has no direction."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """One token of one document, by their indices."""

    document: int
    token: int


def draw(lengths: Sequence[int], count: int, chance: random.Random) -> list[Position]:
    """Draw `count` different positions of documents of `lengths` tokens, each as likely as any other.

    Returns all positions, in order, when there are no more than `count`.
    """
    starts: list[int] = []
    total = 0
    for length in lengths:
        starts.append(total)
        total += length
    chosen = range(total) if total <= count else sorted(chance.sample(range(total), count))
    positions: list[Position] = []
    document = 0
    for place in chosen:
        while place >= starts[document] + lengths[document]:
            document += 1
        positions.append(Position(document, place - starts[document]))
    return positions


def rounds(positions: Sequence[Position], limit: int) -> list[list[Position]]:
    """Order positions so that no prefix tells what is to be predicted after another one asked before or with it.

    A longer prefix of a document holds the answer to a shorter one. So every call holds one position of a
    document at most, earlier positions come in earlier calls, and a call holds at most `limit` positions. Documents
    with the most positions left are asked first, so that there are as few calls as that allows.
    """
    waiting: dict[int, list[Position]] = {}
    for position in sorted(positions, key=lambda at: (at.document, -at.token)):
        waiting.setdefault(position.document, []).append(position)
    calls: list[list[Position]] = []
    while waiting:
        asked = heapq.nlargest(limit, waiting, key=lambda document: len(waiting[document]))
        calls.append([waiting[document].pop() for document in asked])
        waiting = {document: left for document, left in waiting.items() if left}
    return calls


def conclude(
    claimed: Sequence[float], blind: Sequence[float], *, tokens: int, size: int, tolerance: float
) -> Audit:
    """Compare what audited tokens were claimed to cost with what the blind predictions say, in nats.

    `tokens` and `size` are those of all documents, `size` in bytes; `tolerance` is in nats. The estimate is
    the mean of a simple random sample without replacement, blown up to all tokens, with its normal interval
    (Cochran, Sampling Techniques, 1977, ch. 2). `fraction` is the share of positions that escapes this many
    draws with a probability of 5 %. Raises `ValueError` when nothing was audited.
    """
    count = len(claimed)
    if count == 0 or count != len(blind) or size <= 0:
        raise ValueError("an audit needs positions, as many predictions, and documents that are not empty")
    differences = [asked - said for said, asked in zip(claimed, blind, strict=True)]
    mean = math.fsum(blind) / count
    spread = math.hypot(*(cost - mean for cost in blind)) / math.sqrt(count - 1) if count > 1 else 0.0
    error = spread / math.sqrt(count) * math.sqrt(1.0 - count / tokens)
    per_byte = tokens / size / math.log(2)
    fraction = 0.0 if count >= tokens else 1.0 - math.pow(1.0 - CONFIDENCE, 1.0 / count)
    worst = sorted(blind, reverse=True)[: math.ceil(fraction * count)]
    return Audit(
        positions=count,
        tokens=tokens,
        tolerance=tolerance,
        disagreements=sum(not abs(difference) <= tolerance for difference in differences),
        largest=max(abs(difference) for difference in differences),
        mean=math.fsum(differences) / count,
        estimate=mean * per_byte,
        error=1.96 * error * per_byte,
        fraction=fraction,
        hidden=fraction * (math.fsum(worst) / len(worst) if worst else 0.0) * per_byte,
    )


def floor(audit: Audit, size: int) -> float:
    """Return the bits per byte by which two audited scores of `size` bytes may differ for nothing.

    Each may lie by the mean difference that its audit lets pass, in opposite directions.
    """
    return 2.0 * MEAN_SHARE * audit.tolerance * audit.tokens / size / math.log(2)


def problem(audit: Audit) -> str:
    """Say why an audit failed, in one sentence; empty when the two processes agree."""
    if audit.disagreements:
        return (
            f"the audit found that at {audit.disagreements} of {audit.positions} positions nll is not what logits "
            f"predict: they differ by up to {audit.largest:.3g} nats, allowed are {audit.tolerance:g}"
        )
    allowed = MEAN_SHARE * audit.tolerance
    if not abs(audit.mean) <= allowed:
        return (
            f"the audit found that nll and logits differ by {audit.mean:.3g} nats in the mean of "
            f"{audit.positions} positions, allowed are {allowed:.1g}"
        )
    return ""


def sentence(audit: Audit) -> str:
    """Say what an audit looked at, what it bounds, and its own estimate."""
    text = (
        f"audit: {audit.positions:,} of {audit.tokens:,} positions, largest difference {audit.largest:.2g} nats "
        f"(allowed {audit.tolerance:g})"
    )
    if audit.fraction:
        text += (
            f"; a cheat at {100 * audit.fraction:.2g}% of the positions would have been seen with 95%, "
            f"so at most {audit.hidden:.3f} bpb are hidden"
        )
    return f"{text}; its own estimate is {audit.estimate:.3f} ± {audit.error:.3f} bpb"


@dataclass(frozen=True, slots=True)
class Surprise:
    """How much a sample surprises the model that is said to have written it, per token and in nats.

    `excess` is the mean of cost minus expected cost, `error` its standard error were the sample drawn from
    the model's own predictions.
    """

    excess: float
    error: float
    positions: int


SURPRISE_ALLOWED = 0.15
RELIEF_ALLOWED = 0.5
SURPRISE_ERRORS = 4.0


def surprise(costs: Sequence[float], expected: Sequence[float], variances: Sequence[float]) -> Surprise:
    """Compare what written tokens cost with the entropy of the predictions that they are said to be drawn from.

    A token drawn from p costs -ln p, in the mean the entropy of p, with the variance of -ln p. Raises
    `ValueError` when there is no token.
    """
    if not costs:
        raise ValueError("there is no token to compare")
    excess = math.fsum(cost - mean for cost, mean in zip(costs, expected, strict=True)) / len(costs)
    return Surprise(excess, math.sqrt(math.fsum(variances)) / len(costs), len(costs))


def surprise_problem(found: Surprise) -> str:
    """Say why text cannot come from the model at the temperature asked for, in one sentence; empty when it can.

    More room is left to text that is likelier than a random draw: to cut off rare tokens is an honest way to write.
    """
    noise = SURPRISE_ERRORS * found.error
    if found.excess > SURPRISE_ALLOWED + noise:
        side, allowed = "more", SURPRISE_ALLOWED + noise
    elif found.excess < -(RELIEF_ALLOWED + noise):
        side, allowed = "less", RELIEF_ALLOWED + noise
    else:
        return ""
    return (
        "the audit found that what generate wrote was not drawn from the model as asked: over "
        f"{found.positions} tokens it costs {abs(found.excess):.2f} nats a token {side} than the model's own samples "
        f"would, allowed are {allowed:.2f}"
    )
