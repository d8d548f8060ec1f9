"""When the pace of a training is looked at, and how long racing waits for that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from pytest_evalloop.candidate.pace import Sample
from pytest_evalloop.loop.pacing import Watch

if TYPE_CHECKING:
    from pytest_evalloop.candidate.training import RunningTraining


def samples(count: int, cost: float = 40.0, until: float = 1.0) -> tuple[Sample, ...]:
    """Return what a training said that used `cost` seconds in all, after three of start-up."""
    shares = [until * (number + 1) / count for number in range(count)]
    return tuple(Sample(share, 3 + cost * share) for share in shares)


@dataclass
class Running:
    samples: list[Sample] = field(default_factory=list)


def looks(watch: Watch, said: tuple[Sample, ...]) -> list[tuple[float, bool, str]]:
    """Feed what a training says, line by line; where it stood, whether that is pending, why it ended."""
    running, found = Running(), []
    for sample in said:
        running.samples.append(sample)
        reason = watch(cast("RunningTraining", running))
        found.append((sample.done, watch.pending, reason))
        if reason:
            break
    return found


def test_the_pace_is_pending_until_it_was_looked_at() -> None:
    watch = Watch(samples(45))
    assert watch.pending
    found = looks(watch, samples(45))
    assert [pending for _, pending, _ in found[:8]] == [True] * 7 + [False]
    assert not any(reason for _, _, reason in found)


@pytest.mark.parametrize("factor", [0.7, 2.0])
def test_other_steps_end_the_training_at_the_first_look(factor: float) -> None:
    *before, last = looks(Watch(samples(45)), samples(45, 40.0 * factor))
    assert all(pending for _, pending, _ in before)
    assert last[2].startswith(f"its steps cost {factor:.2f} times what the incumbent's did")


def test_a_long_training_is_looked_at_after_some_seconds_of_compute() -> None:
    *before, last = looks(Watch(samples(100, 300.0)), samples(100, 200.0))
    assert last[0] == pytest.approx(0.08)
    assert last[2].startswith("its steps cost 0.67 times what the incumbent's did")
    assert all(pending for _, pending, _ in before)
    *before, last = looks(Watch(samples(100, 100.0)), samples(100, 50.0))
    assert last[0] == pytest.approx(0.11)  # half a second a line


def test_one_that_says_less_than_the_incumbent_is_looked_at_late() -> None:
    found = looks(Watch(samples(45)), samples(6))
    assert [pending for done, pending, _ in found if done < 0.5] == [True, True]
    assert not any(pending for done, pending, _ in found if done >= 0.5)


def test_where_the_incumbent_said_too_little_nothing_is_pending() -> None:
    watch = Watch(samples(5))
    assert not watch.pending
    assert not any(reason for _, _, reason in looks(watch, samples(5, 10.0)))
