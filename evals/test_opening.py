"""A scene opens by showing who is there."""

from __future__ import annotations

import pytest

from evals.script import LABEL, SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def lost_opening(scene: Scene) -> list[str]:
    """Return the first line below the heading if it is neither a stage direction nor a speaker's name."""
    first = next((line for line in scene.text.split("\n")[1:] if line.strip()), "")
    return [] if first.startswith("_") or LABEL.fullmatch(first) else [first]


@check("FM-01")
def opening_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return lost_opening(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-01", "opens a scene in the middle of something", severity="major", tolerate=0.4)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_scene_opens_with_people(scene: Sample, seed: int) -> None:
    """Below its heading, a scene begins with a stage direction or with the name of who speaks."""
    assert not lost_opening(scene(seed))


def test_real_scenes_open_with_people(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in twenty."""
    assert false_alarms(lost_opening) <= 0.05
