"""The model does not get stuck."""

from __future__ import annotations

from collections import Counter

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene, words
from pytest_evalloop import check

OFTEN = 3


def repetitions(scene: Scene) -> list[str]:
    """Return every run of four words that comes three times or more."""
    said = words(scene.text)
    runs = Counter(zip(said, said[1:], said[2:], said[3:], strict=False))
    return [" ".join(run) for run, count in runs.items() if count >= OFTEN]


@check("FM-09")
def repetitions_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return repetitions(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-09", "repeats itself", severity="major", tolerate=0.15)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_said_three_times(scene: Sample, seed: int) -> None:
    """No four words in a row come three times within a few lines."""
    assert not repetitions(scene(seed))


def test_real_scenes_repeat_little(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in twenty."""
    assert false_alarms(repetitions) <= 0.05
