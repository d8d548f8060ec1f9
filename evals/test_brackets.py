"""An aside ends where the bracket closes."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene
from pytest_evalloop import check


def unbalanced_brackets(scene: Scene) -> list[str]:
    """Return the paragraphs with more brackets of one kind than of the other."""
    pairs = ("[]", "()")
    return [
        text for text in scene.paragraphs if any(text.count(pair[0]) != text.count(pair[1]) for pair in pairs)
    ]


@check("FM-03")
def brackets_of(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return unbalanced_brackets(Scene.below_a_heading(output))


@pytest.mark.failure_mode("FM-03", "leaves a bracket open", severity="minor", tolerate=0.4)
@pytest.mark.parametrize("seed", SEEDS)
def test_brackets_close(scene: Sample, seed: int) -> None:
    r"""A direction within a speech, such as \\[Aside\\], is opened and closed."""
    assert not unbalanced_brackets(scene(seed))


def test_real_brackets_close(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(unbalanced_brackets) <= 0.01
