"""A line fits on the page and can be said in one breath."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check

LONGEST = 80  # characters; the longest line of the validation plays has 78


def overlong_lines(scene: Scene) -> list[str]:
    """Return the lines of speech that are too long."""
    return [line for line in scene.spoken.split("\n") if len(line) > LONGEST]


@check("FM-06")
def lines_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return overlong_lines(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-06", "writes lines that never end", severity="major", tolerate=0.15)
@pytest.mark.parametrize("seed", SEEDS)
def test_lines_are_short(scene: Sample, seed: int) -> None:
    """No line of a speech has more than 80 characters."""
    assert not overlong_lines(scene(seed))


def test_real_lines_are_short(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(overlong_lines) <= 0.01
