"""Every word belongs to somebody."""

from __future__ import annotations

import re

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check

DIRECTION = re.compile(r"_[^_]+_\s*")


def unspoken_words(scene: Scene) -> list[str]:
    """Return what stands neither in a heading, nor in a direction, nor below the name of a speaker."""
    below = [paragraph for paragraph in scene.paragraphs if not paragraph.startswith(("#", "**"))]
    left = [
        DIRECTION.sub("", paragraph, count=1) if paragraph.startswith("_") else paragraph
        for paragraph in below
    ]
    return [words for words in left if words.strip() and not words.startswith("_")]


@check("FM-12")
def words_of_nobody(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return unspoken_words(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-12", "writes words that nobody speaks", severity="major", tolerate=0.45)
@pytest.mark.parametrize("seed", SEEDS)
def test_somebody_speaks_every_word(scene: Sample, seed: int) -> None:
    """Below a heading or a direction stands a name, and the words below the name."""
    assert not unspoken_words(scene(seed))


def test_real_words_are_spoken(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in ten: headings run on, and songs begin anew without a name."""
    assert false_alarms(unspoken_words) <= 0.1
