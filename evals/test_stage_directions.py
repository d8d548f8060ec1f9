"""Actors can tell what to do from what to say."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def open_directions(scene: Scene) -> list[str]:
    """Return the paragraphs in which a stage direction begins and does not end.

    Counted paragraph by paragraph: a direction may stand within a speech or run over several lines, but
    never over an empty one.
    """
    return [paragraph for paragraph in scene.paragraphs if paragraph.count("_") % 2]


@check("FM-02")
def directions_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return open_directions(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-02", "leaves a stage direction open", severity="major", tolerate=0.65)
@pytest.mark.parametrize("seed", SEEDS)
def test_stage_directions_close(scene: Sample, seed: int) -> None:
    """Every stage direction that is opened with an underscore is closed with one."""
    assert not open_directions(scene(seed))


def test_real_stage_directions_close(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(open_directions) <= 0.01
