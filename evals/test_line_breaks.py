"""Verse is set as verse."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def lost_breaks(scene: Scene) -> list[str]:
    """Return the lines of speeches that would run on into the next one."""
    inner = [line for speech in scene.speeches for line in speech.split("\n")[:-1]]
    return [line for line in inner if not line.endswith("  ")]


@check("FM-05")
def breaks_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return lost_breaks(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-05", "loses the breaks between verses", severity="minor", tolerate=0.35)
@pytest.mark.parametrize("seed", SEEDS)
def test_lines_break_where_they_should(scene: Sample, seed: int) -> None:
    """Within a speech each line but the last ends in two spaces, so that verses do not run together."""
    assert not lost_breaks(scene(seed))


def test_real_lines_break(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(lost_breaks) <= 0.01
