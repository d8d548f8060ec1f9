"""A scene is people who talk to each other."""

from __future__ import annotations

from itertools import pairwise

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def no_dialogue(scene: Scene) -> list[str]:
    """Return what is missing: anybody who speaks at all, or an answer from somebody else."""
    if not scene.speakers:
        return ["nobody speaks"]
    return [f"{name} answers {name}" for name, answer in pairwise(scene.speakers) if name == answer]


@check("FM-07")
def dialogue_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return no_dialogue(Scene.below_a_heading(output))


@pytest.mark.failure_mode(
    "FM-07", "lets nobody speak, or one person to themselves", severity="major", tolerate=0.15
)
@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_take_turns(scene: Sample, seed: int) -> None:
    """Somebody speaks, and who speaks next is somebody else."""
    assert not no_dialogue(scene(seed))


def test_real_speakers_take_turns(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in twenty."""
    assert false_alarms(no_dialogue) <= 0.05
