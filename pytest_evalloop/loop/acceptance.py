"""The decision rule: pure functions from measurements to a verdict with its reason.

A candidate is compared seed after seed, in a group-sequential test: it is accepted once its fall exceeds a
margin that is planned so that all looks together accept a candidate which changes nothing with a chance of
`Rule.level` at most. It is rejected when it is not better, or when further seeds would hardly show that it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_evalloop.loop.passing import headline
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.metric.sequential import critical_values, prospect
from pytest_evalloop.metric.statistics import (
    Difference,
    SeedNoise,
    beyond_seeds,
    critical_value,
    independent,
    mean_scores,
    paired_difference,
    seeds_over_documents,
    student,
)
from pytest_evalloop.records import Decision, DocumentScore, Verdict

CONFIDENCE = 0.95
"""Of the interval that is printed beside an improvement."""
FLATTERY = 2.0
"""Seed noises by which the number of a just accepted candidate may be too low."""
_SHAPE = -2.0  # of the spending: little of the level early, when hardly anything is known


@dataclass(frozen=True, slots=True)
class Measurement:
    """The documents' scores of one set of trained weights, which `training_key` identifies."""

    training_key: str
    seed: int
    scores: tuple[DocumentScore, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """How strict acceptance is.

    `level` is the chance to accept a candidate that changes nothing, `most_seeds` how many seeds a candidate
    gets at most, `least_effect` the smallest fall in bits per byte that counts, and `hope` the chance of an
    acceptance below which no further seed is spent.
    """

    level: float = 0.01
    most_seeds: int = 8
    least_effect: float = 0.0
    hope: float = 0.15


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a candidate after so many seeds: its fall in bits per byte, and what it rests on.

    `error` is the standard error over documents, beyond what seeds do to them, `incumbent` and `candidate` count
    independent seeds;
    `final` says that a further seed would tell nothing more.
    """

    delta: float
    error: float
    incumbent: int
    candidate: int
    final: bool = False


@dataclass(frozen=True, slots=True)
class Weighed:
    """A look against its margin; `accepted` None means that it is open, and `chance` what more seeds may bring.

    `error` is the standard error of the fall, and `reach` half its interval of 95 %, in bits per byte.
    """

    accepted: bool | None
    margin: float
    error: float
    reach: float
    chance: float


def shares_weights(incumbent: tuple[Measurement, ...], candidate: tuple[Measurement, ...]) -> bool:
    """Tell whether the candidate is graded on the very weights of the incumbent, as after a prompt change."""
    known = {run.training_key for run in incumbent}
    return bool(candidate) and all(run.training_key in known for run in candidate)


def judge(
    incumbent: tuple[Measurement, ...],
    candidate: tuple[Measurement, ...],
    problems: tuple[str, ...],
    noise: SeedNoise | None,
    rule: Rule,
    floor: float = 0.0,
) -> Decision | None:
    """Return the verdict on a candidate, or None when it and the incumbent are to be trained under one more seed.

    Only a candidate whose suite passed, so without `problems`, can be accepted. On shared weights only the
    documents count, and there is one look. New weights without a known `noise` are never accepted. The margin
    is at least `floor`, what an audit cannot tell from nothing.
    """
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Decision(Verdict.REJECTED, f"evals failed: {headline(problems[0])}{more}")
    shared = shares_weights(incumbent, candidate)
    keys = {run.training_key for run in candidate}
    paired = tuple(run for run in incumbent if run.training_key in keys) if shared else incumbent
    try:
        for run in (*paired, *candidate):
            bits_per_byte(run.scores)  # a mean would hide what one run cannot have cost
        before, after = _mean(paired), _mean(candidate)
        difference = paired_difference(
            mean_scores([run.scores for run in paired]), mean_scores([run.scores for run in candidate])
        )
    except (ValueError, OverflowError) as error:
        return Decision(Verdict.REJECTED, f"bpb cannot be compared: {headline(str(error))}")
    delta, seeds = difference.delta, "" if len(candidate) == 1 else f" over {len(candidate)} seeds"
    if not (math.isfinite(delta) and delta > 0 and after < before):
        reason = f"bpb {after:.4f}{seeds} is not below the incumbent's {before:.4f}{_luck(before, candidate)}"
        return Decision(Verdict.REJECTED, reason, delta, seeds=len(candidate))
    if shared:
        weighed = weigh_documents(difference, len(candidate[0].scores), rule, floor)
        why, rest = f"documents ±{difference.standard_error:.4f}, same weights", ""
    elif noise is None or not math.isfinite(noise.sd):
        return Decision(Verdict.REJECTED, "the training noise is unknown, so bpb cannot be judged", delta)
    else:
        look = _look(difference, incumbent, candidate, noise)
        weighed = weigh(look, noise, rule, floor)
        training = noise.sd * math.sqrt(1 / look.incumbent + 1 / look.candidate)
        counts = f"{look.incumbent} and {look.candidate}"
        why = f"documents ±{look.error:.4f}, seeds ±{training:.4f} from {counts}"
        rest = f"; the seed alone moves bpb by {noise.sd:.4f}{_hope(look, weighed, rule)}{_luck(before, candidate)}"
    fall = f"bpb {before:.4f} -> {after:.4f}{seeds}: the fall of {_bits(delta)}"
    return _verdict(
        weighed, delta, len(candidate), f"{fall} {{}} the margin of {_bits(weighed.margin)} ({why})", rest
    )


def _verdict(weighed: Weighed, delta: float, seeds: int, reason: str, rest: str) -> Decision | None:
    """Put a weighed fall into a decision; what is not finite, with a single document, is unknown."""
    if weighed.accepted is None:
        return None
    margin, reach = (value if math.isfinite(value) else None for value in (weighed.margin, weighed.reach))
    low, high = (None, None) if reach is None else (delta - reach, delta + reach)
    if weighed.accepted:
        return Decision(Verdict.ACCEPTED, reason.format("exceeds"), delta, margin, low, high, seeds)
    return Decision(Verdict.REJECTED, reason.format("is within") + rest, delta, margin, low, high, seeds)


def promising(
    incumbent: tuple[Measurement, ...], candidate: tuple[Measurement, ...], noise: SeedNoise | None
) -> bool:
    """Tell whether a candidate may be better than an incumbent whose own number flatters it."""
    try:
        before, after = _mean(incumbent), _mean(candidate)
    except (ValueError, OverflowError):
        return False
    return after < before + (FLATTERY * noise.sd if noise is not None else 0.0)


def fallen_back(before: tuple[Measurement, ...], fresh: tuple[Measurement, ...]) -> str:
    """Say that an acceptance does not hold up under fresh seeds; empty if it does.

    It does not when these alone put it no lower than what it had replaced (`before`): half of those that were
    accepted by luck fall back so, and hardly any of the others. What shares weights is compared on these.
    """
    keys = {run.training_key for run in fresh}
    shared = tuple(run for run in before if run.training_key in keys)
    same = {run.training_key for run in shared}
    paired = tuple(run for run in fresh if run.training_key in same) if shared else fresh
    old, new = _mean(shared or before), _mean(paired)
    if new < old:
        return ""
    seeds = f"{len(paired)} fresh seed{'s' if len(paired) > 1 else ''}"
    return f"under {seeds} it costs {new:.4f} bpb, which is not below the {old:.4f} that it replaced"


def weigh_documents(difference: Difference, documents: int, rule: Rule, floor: float = 0.0) -> Weighed:
    """Weigh a fall that was measured on the same weights: only the drawing of documents is chance."""
    freedom, error = max(1, documents - 1), difference.standard_error
    margin = max(critical_value(1 - rule.level, freedom) * error, floor, rule.least_effect)
    reach = critical_value(0.5 + CONFIDENCE / 2, freedom) * error
    return Weighed(difference.delta > margin, margin, error, reach, 0.0)


def weigh(look: Look, noise: SeedNoise, rule: Rule, floor: float = 0.0) -> Weighed:
    """Weigh a fall between two sets of weights against the margin of this look.

    The variance of the fall is that of its documents and of both means over seeds; both sides are drawn
    independently, which is cautious where common seeds bring them closer. Bounds of the normal are turned into
    those of Student's t with the freedom of `noise`. A least effect raises the margin of every look.
    """
    most = max(rule.most_seeds, look.candidate)
    sampled, seeded = look.error * look.error, noise.sd * noise.sd
    variances = [
        seeded * (1 / max(look.incumbent, seeds) + 1 / seeds) + sampled for seeds in range(1, most + 1)
    ]
    variance, last = variances[look.candidate - 1], variances[-1]
    error, least = math.sqrt(variance), max(floor, rule.least_effect)
    freedom = noise.freedom or None
    reach = critical_value(0.5 + CONFIDENCE / 2, freedom) * error
    if not math.isfinite(variance):
        return Weighed(False, math.inf, error, reach, 0.0)
    if noise.still:
        # Trainings repeat: a second seed has to show that the candidate's do as well, and that is all.
        margin = max(critical_value(1 - rule.level, None) * error, least)
        better = look.delta > margin
        return Weighed(None if better and look.candidate < 2 else better, margin, error, reach, 0.0)
    bounds = critical_values(variances, rule.level, _SHAPE)
    margin = max(student(_last(bounds[: look.candidate]), freedom) * error, least)
    if look.delta > margin:
        return Weighed(True, margin, error, reach, 1.0)
    if look.final or look.candidate >= rule.most_seeds:
        return Weighed(False, margin, error, reach, 0.0)
    by_then = noise.freedom + (most - look.candidate) + max(0, most - look.incumbent)
    goal = max(student(_last(bounds), by_then) * math.sqrt(last), least)
    chance = prospect(look.delta, variance, last, goal)
    return Weighed(None if chance >= rule.hope else False, margin, error, reach, chance)


def _last(bounds: tuple[float, ...]) -> float:
    """Return the last bound there is: a look without new information is held against that of the one before."""
    return next(bound for bound in reversed(bounds) if math.isfinite(bound))


def _look(
    difference: Difference,
    incumbent: tuple[Measurement, ...],
    candidate: tuple[Measurement, ...],
    noise: SeedNoise,
) -> Look:
    known, found = (
        independent([bits_per_byte(run.scores) for run in runs], noise) for runs in (incumbent, candidate)
    )
    error, seeded = difference.standard_error, seeds_over_documents([run.scores for run in incumbent])
    if seeded is not None:
        # The incumbent's seeds, which nobody chose, speak for both sides; never more than the noise counts.
        error = beyond_seeds(error, min(seeded, noise.sd), 1 / len(incumbent) + 1 / len(candidate))
    return Look(difference.delta, error, known, found, final=found < len(candidate))


def _mean(runs: tuple[Measurement, ...]) -> float:
    return bits_per_byte(mean_scores([run.scores for run in runs]))


def _hope(look: Look, weighed: Weighed, rule: Rule) -> str:
    if look.final:
        return ", and other seeds changed nothing, so that they count as one"
    if look.candidate >= rule.most_seeds:
        return ""
    chance = f"{100 * weighed.chance:.0f} %" if weighed.chance >= 0.01 else "under 1 %"
    return f", and {rule.most_seeds} seeds would show a gain with a chance of {chance}"


def _luck(before: float, candidate: tuple[Measurement, ...]) -> str:
    """Say what the first seed alone would have said, once there are more."""
    if len(candidate) < 2:
        return ""
    first = before - bits_per_byte(candidate[0].scores)
    return f"; the first seed alone said a fall of {_bits(first)}" if first > 0 else ""


def _bits(value: float) -> str:
    """Show bits per byte with four decimals, or in powers of ten where these would say nothing."""
    return f"{value:.4f}" if value >= 5e-5 or value == 0 else f"{value:.0e}"
