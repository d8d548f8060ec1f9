"""It is plain who speaks."""

from __future__ import annotations

import pytest

from evals.script import LABEL, SEEDS, FalseAlarms, Sample, Scene

SHARE = 0.25  # of the names of a sample


def broken_names(scene: Scene) -> list[str]:
    """Return the lines with asterisks that are not a name in bold, alone on its line, if they are too many."""
    lines = [line for paragraph in scene.paragraphs for line in paragraph.split("\n") if "*" in line]
    broken = [line for line in lines if not LABEL.fullmatch(line)]
    return broken if len(broken) > SHARE * len(lines) else []


@pytest.mark.failure_mode("FM-04", "breaks the line that names the speaker", severity="major", tolerate=0.5)
@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_are_named_on_a_line_of_their_own(scene: Sample, seed: int) -> None:
    """Of the lines with a name, at most a quarter is broken: "**KING himself." or "KING**"."""
    assert not broken_names(scene(seed))


def test_real_speakers_are_named(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(broken_names) <= 0.01
