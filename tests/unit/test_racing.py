"""Racing on curves that are made up: who is stopped, who is not, and what is said about it."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from pytest_evalloop.loop.racing import (
    BOUND,
    Curve,
    Decided,
    Lesson,
    Outlook,
    Race,
    Standing,
    first_hopeless,
    hopeless,
    lessons,
    lost,
    outlook,
    progress_curve,
    reason,
    spared,
    standing,
)

NOISE = 0.01
STEPS = range(1, 41)


def curve(end: float, start: float = 8.0, jitter: float = 0.0, seed: int = 0) -> Curve:
    chance = random.Random(seed)
    return Curve(
        tuple((step / 40, end + (start - end) * 0.9**step + chance.gauss(0, jitter)) for step in STEPS)
    )


INCUMBENT = curve(2.3)


def taught(count: int, slope: float, sd: float, seed: int = 0) -> list[Lesson]:
    chance = random.Random(seed)
    found = [chance.uniform(-0.05, 0.3) for _ in range(count)]
    return [Lesson(gap, slope * gap + chance.gauss(0, sd)) for gap in found]


def test_a_progress_file_is_read() -> None:
    data = (
        b'{"step": 10, "fraction": 0.25, "train_bpb": 3.5}\n'
        b'{"step": 20, "fraction": 0.5, "tr\n'
        b'[0.6, 3.0]\n\xff\xfe\n{"fraction": "0.7", "train_bpb": 3}\n'
        b'{"fraction": NaN, "train_bpb": 1}\n{"fraction": 0.8, "train_bpb": 1e999}\n'
        b'{"fraction": 0.3, "train_bpb": ' + b"1" * 5000 + b"}\n" + b"[" * 100_000 + b"\n"
        b'{"step": 30, "fraction": 0.75, "train_bpb": 3}'
    )
    assert progress_curve(data).points == ((0.25, 3.5), (0.75, 3.0))
    assert progress_curve(b"") == Curve()


def test_a_loss_beyond_all_measure_is_only_very_bad() -> None:
    wild = Curve.of((step / 40, 1e308) for step in STEPS)
    known = standing(wild, INCUMBENT, 0.25)
    assert known is not None
    assert hopeless(outlook(known.gap, 0.25, [], NOISE))


def test_a_curve_stands_between_its_points() -> None:
    line = Curve(((0.2, 4.0), (0.4, 3.0)))
    assert line.at(0.2) == 4.0
    assert line.at(0.3) == pytest.approx(3.5)
    assert line.at(0.4) == 3.0
    assert line.at(0.1) is line.at(0.5) is Curve().at(0.0) is None
    assert (line.fraction, Curve().fraction) == (0.4, 0.0)


def test_who_said_nothing_of_late_does_not_stand_anywhere() -> None:
    early = Curve(INCUMBENT.points[:10])
    assert standing(early, INCUMBENT, 0.25) is not None
    assert standing(early, INCUMBENT, 0.5) is None
    assert standing(Curve(), INCUMBENT, 0.5) is None
    assert standing(INCUMBENT, Curve(), 0.5) is None


def test_a_gap_is_averaged_over_several_points() -> None:
    one = [standing(curve(2.3, jitter=0.05, seed=seed), INCUMBENT, 0.5) for seed in range(200)]
    assert statistics.stdev(known.gap for known in one if known is not None) < 0.05 / 1.7


def test_a_clear_loser_is_stopped_early_and_a_close_one_never() -> None:
    loser = first_hopeless(curve(3.4), INCUMBENT, [], NOISE)
    assert loser is not None
    known, seen = loser
    assert known.fraction < 0.5
    assert seen.chance < BOUND
    assert first_hopeless(curve(2.31), INCUMBENT, [], NOISE) is None
    assert first_hopeless(curve(3.4), INCUMBENT, [], NOISE, bound=0.0) is None
    later = first_hopeless(curve(3.4), INCUMBENT, [], NOISE, after=known.fraction)
    assert later is not None
    assert later[0].fraction > known.fraction


@pytest.mark.parametrize(("gap", "look", "stopped"), [
    (0.1, 0.25, False),
    (0.8, 0.25, True),
    (0.05, 0.5, False),
    (0.3, 0.75, True),
    (-0.5, 0.75, False),
])  # fmt: skip
def test_the_first_candidates_are_stopped_only_when_they_are_far_behind(
    gap: float, look: float, *, stopped: bool
) -> None:
    assert hopeless(outlook(gap, look, [], NOISE)) is stopped


def test_what_is_believed_without_a_history_is_known() -> None:
    found = outlook(0.3, 0.5, [], NOISE)
    residual = 2 * NOISE**2 + (0.06 * 0.5) ** 2  # seeds, and what the second half may add
    scale = math.sqrt(
        residual * (1 + (0.3 / 0.6) ** 2) + (0.1 * 0.3) ** 2
    )  # far behind, and an unknown slope
    assert found.expected == pytest.approx(0.15)
    assert found.sd == pytest.approx(scale * math.sqrt(4 / 2))  # Student's t with 4 degrees of freedom


def test_a_history_is_learned_from() -> None:
    before = outlook(0.15, 0.25, [], NOISE)
    after = outlook(0.15, 0.25, taught(40, 0.8, 0.02), NOISE)
    assert not hopeless(before)
    assert hopeless(after)
    assert after.expected == pytest.approx(0.12, abs=0.01)
    assert 0.02 < after.sd < 0.6 * before.sd


def test_a_history_of_surprises_makes_the_rule_careful() -> None:
    gap = 0.4
    assert hopeless(outlook(gap, 0.5, taught(10, 0.8, 0.02), NOISE))
    assert not hopeless(outlook(gap, 0.5, taught(40, -0.2, 0.1), NOISE))


def test_one_that_diverged_does_not_hide_the_others() -> None:
    known = taught(20, 0.8, 0.02)
    for bad in (Lesson(5.0, 3.0), Lesson(0.02, 4.0)):
        assert outlook(0.3, 0.5, [*known, bad], NOISE).sd < 3 * outlook(0.3, 0.5, known, NOISE).sd
        assert hopeless(outlook(0.3, 0.5, [*known, bad], NOISE))


def test_a_prediction_is_never_surer_than_the_seeds() -> None:
    exact = [Lesson(gap / 100, gap / 200) for gap in range(1, 100)]
    assert outlook(0.01, 0.9, exact, NOISE).sd >= NOISE


def test_predictions_are_as_sure_as_they_say() -> None:
    chances = []
    for seed in range(400):
        *known, (asked) = taught(16, 0.6, 0.05, seed)
        found = outlook(asked.gap, 0.5, known, NOISE)
        chances.append((found.chance, asked.final < 0))
    expected = sum(chance for chance, _ in chances)
    assert sum(won for _, won in chances) == pytest.approx(expected, rel=0.15)


def test_lessons_are_of_the_same_point() -> None:
    behind = curve(2.4)
    race = Race(behind, INCUMBENT, 0.09)
    (lesson,) = lessons([race, Race(behind, INCUMBENT, float("nan")), Race(Curve(), INCUMBENT, 0.1)], 0.9)
    assert lesson.gap == pytest.approx(0.1, abs=0.02)
    assert lesson.final == 0.09


def test_what_changed_nothing_teaches_nothing() -> None:
    assert lessons([Race(INCUMBENT, INCUMBENT, 0.0)], 0.5) == ()


def test_about_the_promised_share_is_spared() -> None:
    found = [spared(7, number) for number in range(2000)]
    assert 0.08 < statistics.mean(found) < 0.12
    assert found != [spared(8, number) for number in range(2000)]


def test_a_reason_says_where_how_far_and_how_likely() -> None:
    text = reason(Standing(0.27, 2.914, 2.778), Outlook(0.002, 0.08, 0.03), 0.01)
    assert text == (
        "stopped at 27 % of the budget: train bpb 2.914 against the incumbent's 2.778 at the same point; "
        "the chance to end below it is 0.2 % (bound 1 %)"
    )
    assert "under 0.01 %" in reason(Standing(0.27, 2.9, 2.7), Outlook(1e-9, 0.08, 0.03))
    assert "against candidate 7's 2.700 at" in reason(
        Standing(0.27, 2.9, 2.7), Outlook(0.002, 0.08, 0.03), 0.01, "candidate 7"
    )


def test_nothing_stopped_is_nothing_lost() -> None:
    found = lost([Decided(None, won=True), Decided(None, won=False)])
    assert (found.stopped, found.estimate, found.most) == (0, None, None)
    assert str(found) == "racing stopped no candidate"


def test_what_was_lost_is_unknown_when_none_was_spared() -> None:
    found = lost([Decided(0.001, None)] * 4)
    assert str(found) == (
        "racing stopped 4 candidates that had 0.004 winners to expect; none was let run on, so what was lost "
        "is not known"
    )


def test_each_that_was_spared_stands_for_those_that_were_not() -> None:
    decided = [Decided(0.001, None)] * 18 + [Decided(0.001, won=True), Decided(0.001, won=False)]
    found = lost([*decided, *[Decided(None, won=True)] * 8])
    assert found.estimate == pytest.approx(9 / (9 + 9))
    assert found.most == pytest.approx(18 * 0.9747 / (18 * 0.9747 + 9), abs=1e-3)


def test_many_that_were_spared_and_lost_show_that_nothing_is_missed() -> None:
    found = lost([Decided(0.0, None)] * 10 + [Decided(0.0, won=False)] * 90 + [Decided(None, won=True)] * 10)
    assert found.estimate == 0
    assert found.most == pytest.approx(10 * (1 - 0.05 ** (1 / 90)) / (10 * (1 - 0.05 ** (1 / 90)) + 10))
    assert str(found).startswith("racing stopped 10 candidates that had 0 winners to expect; of 90 such that")
