"""Words stand apart."""

from __future__ import annotations

import re

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check

GLUED = re.compile(r"\S*(?:[a-z][A-Z]|[A-Za-z][,;:!?]+[A-Za-z]|[A-Z]{2,}[a-z])\S*")


def glued_words(scene: Scene) -> list[str]:
    """Return the words of speeches with a capital in their middle, or with another word behind a comma."""
    return GLUED.findall(scene.spoken)


@check("FM-14")
def words_that_run_together(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return glued_words(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-14", "runs words together", severity="minor", tolerate=0.85)
@pytest.mark.parametrize("seed", SEEDS)
def test_words_stand_apart(scene: Sample, seed: int) -> None:
    """No word goes on in capitals, and behind a comma there is a space: not "thoughtsBut" or "What,ide"."""
    assert not glued_words(scene(seed))


def test_real_words_stand_apart(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(glued_words) <= 0.01
