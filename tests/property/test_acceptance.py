"""Whatever is measured: nothing but a full pass and a fall beyond the noise is ever accepted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalloop.loop.acceptance import Look, Measurement, Rule, judge, weigh
from pytest_evalloop.loop.passing import suite_problems
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.metric.statistics import SeedNoise, mean_scores
from pytest_evalloop.records import Audit, CaseOutcome, Decision, DocumentScore, Grade, Rate, Status, Verdict

Runs = tuple[Measurement, ...]
moderate = settings(max_examples=50)
noises = st.builds(SeedNoise, st.floats(0, 0.5), st.integers(1, 30))
words = st.text(max_size=30)


@st.composite
def grades(draw: st.DrawFn) -> Grade:
    """Return a grade that passes."""
    nodeids = draw(
        st.lists(words.map("evals/test_a.py::test_{}".format), min_size=1, max_size=4, unique=True)
    )
    return Grade(
        status=Status.COMPLETED,
        exit_status=0,
        outcomes=tuple(CaseOutcome(nodeid, "passed", 0.0, draw(words)) for nodeid in nodeids),
        rates=tuple(Rate(draw(words), draw(words), 0, 9, 0.2, 0.3, passed=True) for _ in nodeids[1:]),
        scores=(DocumentScore("a", 10.0, 10), DocumentScore("b", 20.0, 20)),
        check_seconds=0.0,
        wall_seconds=0.0,
        detail=draw(words),
        audit=Audit(30, 30, 1e-4, 0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
        documents="digest",
    )


@st.composite
def comparisons(draw: st.DrawFn, *, shared: bool | None = None) -> tuple[Runs, Runs]:
    """Return an incumbent and a candidate that is about as likely better as worse, over the same documents."""
    count = draw(st.integers(2, 8))
    sizes = draw(st.lists(st.integers(1, 5000), min_size=count, max_size=count))
    start = draw(st.lists(st.floats(0.5, 8), min_size=count, max_size=count))
    spread = draw(st.sampled_from([0.0, 0.001, 0.1, 3.0]))

    def run(key: str, shift: float) -> Measurement:
        moved = [max(0.0, bpb + shift + spread * draw(st.floats(-1, 1))) for bpb in start]
        scores = [
            DocumentScore(str(index), bpb * size, size)
            for index, (bpb, size) in enumerate(zip(moved, sizes, strict=True))
        ]
        return Measurement(key, 0, tuple(scores))

    same = draw(st.booleans()) if shared is None else shared
    incumbent = tuple(run(f"old {index}", 0.0) for index in range(draw(st.integers(1, 3))))
    shift = draw(st.floats(-0.5, 0.5))
    keys = ["old 0"] if same else [f"new {index}" for index in range(draw(st.integers(1, 3)))]
    return incumbent, tuple(run(key, shift) for key in keys)


def broken(run: Measurement, place: int, **changed: object) -> Measurement:
    """Return the run with one of its documents changed."""
    scores = list(run.scores)
    scores[place % len(scores)] = replace(scores[place % len(scores)], **changed)  # type: ignore[arg-type]
    return replace(run, scores=tuple(scores))


def halved(run: Measurement) -> Measurement:
    """Return the run at half its cost, under new weights."""
    scores = tuple(replace(score, bits=score.bits / 2) for score in run.scores)
    return Measurement("half", run.seed, scores)


def decide(
    incumbent: Runs, candidate: Runs, problems: tuple[str, ...], noise: SeedNoise | None
) -> Decision | None:
    return judge(incumbent, candidate, problems, noise, Rule())


def rejected(decision: Decision | None) -> bool:
    """Tell whether the candidate is not accepted; it may still be open."""
    return decision is None or decision.verdict is Verdict.REJECTED


@moderate
@given(grades(), st.data())
def test_a_pass_is_exactly_a_pass(grade: Grade, data: st.DataObject) -> None:
    assert suite_problems(grade, grade) == ()
    place = data.draw(st.integers(0, len(grade.outcomes) - 1))
    before, case, after = grade.outcomes[:place], grade.outcomes[place], grade.outcomes[place + 1 :]
    outcome = data.draw(
        st.sampled_from(["failed", "skipped", "xfailed", "error"]) | words.filter("passed".__ne__)
    )
    not_zero = st.none() | st.integers().filter(bool)
    others = st.sampled_from([status for status in Status if status is not Status.COMPLETED])
    spoiled = {
        "not passed": replace(grade, outcomes=(*before, replace(case, outcome=outcome), *after)),
        "missing": replace(grade, outcomes=(*before, *after)),
        "extra": replace(grade, outcomes=(*grade.outcomes, CaseOutcome("another", "passed", 0.0))),
        "zero tests": replace(grade, outcomes=()),
        "exit status": replace(grade, exit_status=data.draw(not_zero)),
        "not completed": replace(grade, status=data.draw(others)),
        "rate": replace(grade, rates=(*grade.rates, Rate("FM", "x", 9, 9, 1.0, 0.1, passed=False))),
        "no objective": replace(grade, scores=()),
        "no audit": replace(grade, audit=None),
        "other documents": replace(grade, documents=data.draw(words.filter("digest".__ne__))),
    }
    new = (Measurement("old", 0, tuple(replace(score, bits=0.0) for score in grade.scores)),)
    old = (Measurement("old", 0, grade.scores),)
    assert not rejected(decide(old, new, (), None))
    for name, bad in spoiled.items():
        problems = suite_problems(bad, grade)
        assert problems, name
        assert rejected(decide(old, new, problems, None)), name


@moderate
@given(comparisons(), noises)
def test_half_the_cost_everywhere_is_accepted_under_little_noise(
    pair: tuple[Runs, Runs], noise: SeedNoise
) -> None:
    run = pair[0][0]
    even = replace(run, scores=tuple(replace(score, bits=2.0 * score.bytes) for score in run.scores))
    half = halved(even)
    twice = (half, replace(half, training_key="half again", seed=1))
    assert not rejected(decide((even,), twice, (), SeedNoise(0.0, 0)))
    little = SeedNoise(max(noise.sd / 100, 2e-9), noise.freedom + 3)
    assert not rejected(decide((even,), (half,), (), little))


@moderate
@given(comparisons(), st.sampled_from([math.nan, math.inf, -math.inf, -1.0]), st.integers(0, 7), noises)
def test_an_impossible_number_is_never_accepted(
    pair: tuple[Runs, Runs], bits: float, place: int, noise: SeedNoise
) -> None:
    incumbent, candidate = pair
    for bad in (broken(candidate[0], place, bits=bits), broken(halved(incumbent[0]), place, bits=bits)):
        assert rejected(decide(incumbent, (bad, *candidate[1:]), (), noise))
    assert rejected(decide((broken(incumbent[0], place, bits=bits),), candidate, (), noise))


@moderate
@given(comparisons(), noises | st.none())
def test_an_equal_result_is_never_accepted(pair: tuple[Runs, Runs], noise: SeedNoise | None) -> None:
    incumbent = pair[0][:1]
    for key in ("old 0", "new"):
        decision = decide(incumbent, (replace(incumbent[0], training_key=key),), (), noise)
        assert decision is not None
        assert decision.verdict is Verdict.REJECTED
        assert decision.delta == 0


@moderate
@given(comparisons(), noises, st.integers(0, 7), st.data())
def test_different_documents_are_never_accepted(
    pair: tuple[Runs, Runs], noise: SeedNoise, place: int, data: st.DataObject
) -> None:
    incumbent = pair[0][:1]
    half = halved(incumbent[0])
    size = half.scores[place % len(half.scores)].bytes
    shuffled = data.draw(st.permutations(half.scores))
    assume(tuple(shuffled) != half.scores)
    for other in (
        broken(half, place, id="another"),
        broken(half, place, bytes=size + data.draw(st.integers(1, 10**6))),
        replace(half, scores=half.scores[1:]),
        replace(half, scores=(*half.scores, DocumentScore("another", 0.0, 10**6))),
        replace(half, scores=(*half.scores, half.scores[0])),
        replace(half, scores=tuple(shuffled)),
        replace(half, scores=()),
    ):
        assert rejected(decide(incumbent, (other,), (), noise))


@moderate
@given(comparisons(shared=False))
def test_new_weights_under_unknown_noise_are_never_accepted(pair: tuple[Runs, Runs]) -> None:
    assert rejected(decide(*pair, (), None))
    assert rejected(decide(pair[0], (halved(pair[0][0]),), (), None))


@moderate
@given(comparisons(shared=True), noises | st.none(), noises | st.none())
def test_shared_weights_ignore_the_training_noise(
    pair: tuple[Runs, Runs], noise: SeedNoise | None, other: SeedNoise | None
) -> None:
    assert decide(*pair, (), noise) == decide(*pair, (), other)


@settings(max_examples=100)
@given(comparisons(), noises)
def test_accepted_is_a_fall_beyond_the_margin(pair: tuple[Runs, Runs], noise: SeedNoise) -> None:
    incumbent, candidate = pair
    decision = decide(incumbent, candidate, (), noise)
    shared = candidate[0].training_key == "old 0"
    old = mean_scores([run.scores for run in (incumbent[:1] if shared else incumbent)])
    before, after = bits_per_byte(old), bits_per_byte(mean_scores([run.scores for run in candidate]))
    if decision is None:
        return
    if rejected(decision):
        assert decision.margin is None or decision.delta is None or not decision.delta > decision.margin
    else:
        assert decision.delta is not None
        assert decision.margin is not None
        assert decision.delta > decision.margin >= 0
        assert decision.delta == pytest.approx(before - after, abs=1e-9)
        assert after < before


@settings(max_examples=100)
@given(comparisons(shared=False), noises, st.just(0.0) | st.floats(0.01, 1), st.integers(0, 8))
def test_more_noise_never_turns_a_rejection_into_an_acceptance(
    pair: tuple[Runs, Runs], noise: SeedNoise, more: float, fewer: int
) -> None:
    worse = SeedNoise(noise.sd + more, max(1, noise.freedom - fewer))
    assert rejected(decide(*pair, (), worse)) or not rejected(decide(*pair, (), noise))
    for broken_noise in (math.nan, math.inf):
        assert rejected(decide(*pair, (), replace(noise, sd=broken_noise)))


@moderate
@given(comparisons(), noises | st.none(), grades(), st.lists(words, max_size=3), st.data())
def test_a_reason_is_one_line_that_says_something(
    pair: tuple[Runs, Runs], noise: SeedNoise | None, grade: Grade, nodeids: list[str], data: st.DataObject
) -> None:
    messy = replace(
        grade,
        status=data.draw(st.sampled_from(Status)),
        outcomes=tuple(replace(case, outcome="failed") for case in grade.outcomes),
    )
    named = broken(pair[1][0], 0, id=data.draw(words))
    for decision in (
        decide(*pair, (), noise),
        decide(*pair, suite_problems(messy, None), noise),
        decide(*pair, suite_problems(grade, replace(grade, outcomes=messy.outcomes[1:])), noise),
        decide(*pair, tuple(nodeids), noise),
        decide(pair[0], (named,), (), noise),
        decide((named,), (broken(named, 0, bits=math.nan),), (), noise),
    ):
        if decision is None:
            continue
        assert decision.reason == decision.reason.strip()
        assert len(decision.reason.splitlines()) == 1
        assert " " in decision.reason


@settings(max_examples=200)
@given(
    st.floats(1e-4, 0.05),
    st.floats(0, 0.02),
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(1, 60),
    st.floats(-0.2, 0.2),
)
def test_a_look_is_open_only_while_there_are_seeds_to_spend(
    sd: float, error: float, incumbent: int, candidate: int, freedom: int, delta: float
) -> None:
    rule = Rule()
    found = weigh(Look(delta, error, incumbent, candidate), SeedNoise(sd, freedom), rule)
    assert found.margin > 0
    assert (found.accepted is True) == (delta > found.margin)
    if found.accepted is None:
        assert candidate < rule.most_seeds
        assert found.chance >= rule.hope
    final = weigh(Look(delta, error, incumbent, candidate, final=True), SeedNoise(sd, freedom), rule)
    assert final.accepted is (delta > found.margin)
    least = weigh(Look(delta, error, incumbent, candidate), SeedNoise(sd, freedom), Rule(least_effect=0.3))
    assert least.accepted is not True


@settings(max_examples=100)
@given(st.floats(1e-4, 0.05), st.floats(0, 0.02), st.integers(1, 12), st.integers(1, 8), st.floats(-0.2, 0.2))
def test_a_stricter_level_accepts_less(
    sd: float, error: float, incumbent: int, candidate: int, delta: float
) -> None:
    look, noise = Look(delta, error, incumbent, candidate), SeedNoise(sd, 20)
    assert (
        weigh(look, noise, Rule(level=0.001)).margin
        > weigh(look, noise, Rule(level=0.01)).margin
        > weigh(look, noise, Rule(level=0.05)).margin
        > 0
    )


@pytest.mark.parametrize(("known", "more"), [(3, 0), (5, 0), (8, 0), (8, 60), (3, 12)])
def test_all_looks_together_err_as_rarely_as_promised_though_the_noise_is_estimated(
    known: int, more: int
) -> None:
    draws, rule = 200_000, Rule(hope=0.0)
    numbers = np.random.default_rng(known + more)
    incumbent = numbers.normal(size=(draws, max(known, rule.most_seeds)))
    candidate = numbers.normal(size=(draws, rule.most_seeds))
    squares = numbers.chisquare(more, draws) if more else np.zeros(draws)
    found = np.zeros(draws, dtype=bool)
    for seeds in range(1, rule.most_seeds + 1):
        ours, theirs = candidate[:, :seeds], incumbent[:, : max(known, seeds)]
        later = candidate[:, 1:seeds]  # the first is chosen as soon as there is a second
        freedom = more + theirs.shape[1] - 1 + max(0, seeds - 2)
        spread = squares + theirs.var(axis=1) * theirs.shape[1]
        spread += later.var(axis=1) * later.shape[1] if seeds > 2 else 0.0
        # Without an error over documents, margins grow as the noise does
        margin = weigh(Look(0.0, 0.0, theirs.shape[1], seeds), SeedNoise(1.0, freedom), rule).margin
        found |= theirs.mean(axis=1) - ours.mean(axis=1) > margin * np.sqrt(spread / freedom)
    assert 0.009 < float(found.mean()) < 0.0115


def test_candidates_that_change_nothing_are_rejected_though_their_seeds_err_on_other_documents() -> None:
    """Half of the noise is that every training errs on other documents, so that it must not count twice."""
    numbers, size, count, whole = np.random.default_rng(1), 100, 24, 0.01
    rule, noise = Rule(), SeedNoise(whole, 60)
    repeats, accepted = {0.0: 1000, 2.0: 300}, {0.0: 0, 2.0: 0}

    def runs(number: int, effect: float, key: str) -> Runs:
        shared = numbers.normal(0, whole * math.sqrt(0.5), (number, 1))
        alone = numbers.normal(0, whole * math.sqrt(0.5 * count), (number, count))
        bits = (2.4 - effect * whole + shared + alone) * size
        return tuple(
            Measurement(
                f"{key} {seed}", seed, tuple(DocumentScore(str(i), b, size) for i, b in enumerate(row))
            )
            for seed, row in enumerate(bits.tolist())
        )

    for effect in accepted:
        for _ in range(repeats[effect]):
            incumbent, candidate = runs(8, 0.0, "old"), runs(rule.most_seeds, effect, "new")
            for seeds in range(1, rule.most_seeds + 1):
                decision = judge(incumbent, candidate[:seeds], (), noise, rule)
                if decision is not None:
                    accepted[effect] += decision.verdict is Verdict.ACCEPTED
                    break
    assert accepted[0.0] <= 20  # ten are expected of a thousand, at most
    assert accepted[2.0] >= 0.75 * repeats[2.0]  # 0.58 where it does
