"""What comes out is text."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def invalid_characters(scene: Scene) -> list[str]:
    """Return the characters that no text has: bytes that are no UTF-8, and control characters."""
    # A sample may be cut off within a character, so its last one is not held against it.
    return [mark for mark in scene.text[:-1] if mark == "\ufffd" or not (mark.isprintable() or mark == "\n")]


@check("FM-10")
def characters_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return invalid_characters(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-10", "writes bytes that are no text", severity="major", tolerate=0.3)
@pytest.mark.parametrize("seed", SEEDS)
def test_samples_are_text(scene: Sample, seed: int) -> None:
    """A sample is valid UTF-8 without control characters, so that it can be shown anywhere."""
    assert not invalid_characters(scene(seed))


def test_real_scenes_are_text(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(invalid_characters) <= 0.01
