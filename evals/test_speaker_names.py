"""It is plain who speaks."""

from __future__ import annotations

import re

import pytest

from evals.script import LABEL, SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check

# Capitals, or words with a capital: "KING HENRY V", "First Servant", "Duke of York".
NAME = re.compile(r"[A-Z][A-Z'.-]*,?|[A-Z][a-z]+(?:['.-][A-Za-z]+)*[.,]?|of|and|the|to|&")


def broken_names(scene: Scene) -> list[str]:
    """Return the lines with asterisks that are not a name in bold, alone on its line."""
    return [line for line in scene.lines if "*" in line and not LABEL.fullmatch(line)]


def garbled_names(scene: Scene) -> list[str]:
    """Return the names that mix capitals and small letters, or hold words that are no name."""
    return [name for name in scene.speakers if not all(NAME.fullmatch(word) for word in name.split())]


@check("FM-04")
def lines_with_names(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return broken_names(Scene.below_a_heading(output))


@check("FM-13")
def names(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return garbled_names(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-04", "breaks the line that names the speaker", severity="major", tolerate=0.65)
@pytest.mark.parametrize("seed", SEEDS)
def test_speakers_are_named_on_a_line_of_their_own(scene: Sample, seed: int) -> None:
    """Stars are for names in bold, each alone on its line, and not "**KING himself." or "KING**"."""
    assert not broken_names(scene(seed))


@pytest.mark.failure_mode("FM-13", "garbles the name of a speaker", severity="minor", tolerate=0.8)
@pytest.mark.parametrize("seed", SEEDS)
def test_names_are_names(scene: Sample, seed: int) -> None:
    """A name stands in capitals, or is a title such as First Servant, and not "CRESSIDINight" or "D kill"."""
    assert not garbled_names(scene(seed))


def test_real_speakers_are_named(false_alarms: FalseAlarms) -> None:
    """The checks blame at most one real scene in a hundred."""
    assert false_alarms(broken_names) <= 0.01
    assert false_alarms(garbled_names) <= 0.01
