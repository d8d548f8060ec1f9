"""Racing stops nothing for what a candidate did not say, and no prediction is surer than its evidence."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_evalloop.loop.racing import (
    LOOKS,
    WINDOW,
    Curve,
    Decided,
    Lesson,
    Race,
    first_hopeless,
    hopeless,
    lessons,
    lost,
    outlook,
    progress_curve,
    spared,
    standing,
)

moderate = settings(max_examples=60, deadline=None)
fractions = st.floats(0, 1)
losses = st.floats(0.1, 9)
honest = st.dictionaries(fractions, losses, max_size=30).map(lambda found: sorted(found.items()))
gaps = st.floats(-3, 3)
noises = st.floats(0, 0.05)
looks = st.sampled_from(LOOKS)
nonsense = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.floats(max_value=-1e-9),
    st.sampled_from([math.nan, math.inf]),
)
past = st.lists(st.builds(Lesson, gaps, gaps), max_size=12)


def written(points: list[tuple[object, object]]) -> bytes:
    return b"".join(
        json.dumps({"step": 1, "fraction": share, "train_bpb": loss}).encode() + b"\n"
        for share, loss in points
    )


@given(honest)
def test_what_was_said_in_order_is_the_curve(points: list[tuple[float, float]]) -> None:
    assert progress_curve(written([*points])).points == tuple(points)


@given(
    honest,
    st.lists(st.tuples(nonsense | st.floats(min_value=1.001), losses) | st.tuples(fractions, nonsense)),
    st.randoms(),
)
def test_what_cannot_be_true_changes_nothing_wherever_it_stands(
    points: list[tuple[float, float]], lies: list[tuple[object, object]], chance: random.Random
) -> None:
    said: list[tuple[object, object]] = [*points, *lies]
    chance.shuffle(said)
    assert Curve.of(said) == Curve.of(points)
    assert progress_curve(written(said)) == Curve.of(points)


@given(honest, losses)
def test_what_was_said_once_is_not_taken_back(points: list[tuple[float, float]], later: float) -> None:
    assert Curve.of([*points, *((share, later) for share, _ in points)]) == Curve.of(points)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    points = progress_curve(data).points
    assert all(0 <= share <= 1 and math.isfinite(loss) for share, loss in points)


@given(honest, st.data())
def test_a_line_that_is_torn_loses_itself_alone(
    points: list[tuple[float, float]], data: st.DataObject
) -> None:
    whole = written([*points])
    cut = data.draw(st.integers(0, len(whole)))
    found = progress_curve(whole[:cut]).points
    assert found == tuple(points)[: len(found)]
    assert len(found) >= whole[:cut].count(b"\n")
    mended = progress_curve(whole[:cut] + b"\n" + written([(1, 1.5)]))
    assert mended.points[: len(found)] == found


@given(honest, honest, looks)
def test_nobody_is_ahead_of_himself_and_what_follows_a_look_does_not_count(
    points: list[tuple[float, float]], later: list[tuple[float, float]], look: float
) -> None:
    curve = Curve.of(points)
    same = standing(curve, curve, look)
    said = [share for share, _ in points if look - WINDOW < share <= look]
    assert (same is not None) == bool(said)
    assert same is None or same.gap == 0
    after = [(share, loss) for share, loss in later if share > look]
    assert standing(Curve.of([*points, *after]), curve, look) == same


@given(st.lists(fractions, min_size=2, unique=True), st.floats(-0.09, 3), looks)
def test_a_gap_is_what_lies_between_two_curves(shares: list[float], shift: float, look: float) -> None:
    incumbent = Curve.of((share, 0.1 + 3 * (1 - share)) for share in [0.0, 0.37, 1.0])
    shifted = Curve.of((share, 0.1 + 3 * (1 - share) + shift) for share in shares)
    known = standing(shifted, incumbent, look)
    assert known is None or known.gap == pytest.approx(shift, abs=1e-9)


curves = st.builds(
    lambda end, behind: Curve(tuple((n / 40, end + 3 * 0.9**n + behind * n / 40) for n in range(1, 41))),
    st.floats(1, 3),
    st.floats(0, 3),
)


@moderate
@given(curves, curves, st.lists(st.builds(Race, curves, curves, gaps), max_size=3), st.lists(fractions))
def test_what_is_decided_does_not_depend_on_when_it_is_asked(
    candidate: Curve, incumbent: Curve, past: list[Race], asked: list[float]
) -> None:
    at_once = first_hopeless(candidate, incumbent, past, 0.01)
    found, after = None, 0.0
    for until in [*sorted(asked), 1.0]:
        so_far = Curve(tuple(point for point in candidate.points if point[0] <= until))
        found = found or first_hopeless(so_far, incumbent, past, 0.01, after=after)
        after = so_far.fraction
    assert found == at_once


@given(curves)
def test_a_training_that_says_nothing_or_is_its_own_incumbent_is_never_stopped(curve: Curve) -> None:
    assert first_hopeless(Curve(), curve, [], 0.01, bound=0.5) is None
    assert first_hopeless(curve, curve, [], 0.01, bound=0.5) is None
    assert first_hopeless(curve, Curve(), [], 0.01, bound=0.5) is None


@moderate
@given(gaps, looks, past, noises)
def test_a_chance_is_a_chance(gap: float, look: float, known: list[Lesson], noise: float) -> None:
    found = outlook(gap, look, known, noise)
    assert 0 <= found.chance <= 1
    assert 0 < found.sd < math.inf
    assert math.isfinite(found.expected)
    assert found.expected * gap >= 0
    assert outlook(gap, look, known[::-1], noise).chance == pytest.approx(found.chance)


@moderate
@given(gaps, gaps, looks, noises)
def test_without_a_history_who_is_further_behind_is_never_better_off(
    one: float, other: float, look: float, noise: float
) -> None:
    ahead, behind = sorted((one, other))
    assert outlook(behind, look, [], noise).chance <= outlook(ahead, look, [], noise).chance + 1e-12


@moderate
@given(st.floats(0.001, 3), looks, looks, noises)
def test_without_a_history_the_same_gap_weighs_more_later(
    gap: float, one: float, other: float, noise: float
) -> None:
    sooner, later = sorted((one, other))
    assert outlook(gap, later, [], noise).chance <= outlook(gap, sooner, [], noise).chance + 1e-12


@moderate
@given(st.floats(-3, 0), looks, past, noises)
def test_who_is_not_behind_is_never_stopped_whatever_was_before(
    gap: float, look: float, known: list[Lesson], noise: float
) -> None:
    assert not hopeless(outlook(gap, look, known, noise), 0.5)


@moderate
@given(gaps, looks, past, noises, st.floats(0.01, 3), st.floats(3, 1e6))
def test_it_does_not_matter_how_badly_one_diverged(
    gap: float, look: float, known: list[Lesson], noise: float, was: float, final: float
) -> None:
    assume(final > 10)
    bad, worse = (outlook(gap, look, [*known, Lesson(was, end)], noise) for end in (final, final * 100))
    assert bad == worse


@given(st.integers(), st.integers(0), fractions, fractions)
def test_who_is_spared_stays_spared_under_a_larger_share(
    seed: int, number: int, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assert spared(seed, number, less) <= spared(seed, number, more)
    assert spared(seed, number, less) == spared(seed, number, less)


decisions = st.builds(Decided, st.none() | st.floats(0, 0.01), st.sampled_from([True, False])) | st.builds(
    Decided, st.floats(0, 0.01), st.none()
)


@given(st.lists(decisions, max_size=40), st.randoms())
def test_what_was_lost_is_a_share_below_its_bound(decided: list[Decided], chance: random.Random) -> None:
    found = lost(decided)
    if found.estimate is None or found.most is None:
        assert found.estimate is found.most is None
        assert found.spared == 0
    else:
        assert 0 <= found.estimate <= found.most <= 1
    assert "\n" not in str(found)
    chance.shuffle(decided)
    again = lost(decided)
    assert (again.stopped, again.spared, again.won, again.estimate) == (
        found.stopped,
        found.spared,
        found.won,
        found.estimate,
    )


@given(st.lists(st.builds(Race, honest.map(Curve.of), honest.map(Curve.of), st.floats())), looks)
def test_only_what_was_seen_at_a_look_and_at_the_end_teaches(past: list[Race], look: float) -> None:
    found = lessons(past, look)
    seen = [race for race in past if standing(race.candidate, race.incumbent, look) is not None]
    assert len(found) <= len(seen)
    assert all(math.isfinite(lesson.gap) and math.isfinite(lesson.final) for lesson in found)
