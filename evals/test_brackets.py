"""An aside ends where the bracket closes."""

from __future__ import annotations

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene


def unbalanced_brackets(scene: Scene) -> list[str]:
    """Return the paragraphs with more brackets of one kind than of the other."""
    pairs = ("[]", "()")
    return [
        text for text in scene.paragraphs if any(text.count(pair[0]) != text.count(pair[1]) for pair in pairs)
    ]


@pytest.mark.failure_mode("FM-03", "leaves a bracket open", severity="minor", tolerate=0.4)
@pytest.mark.parametrize("seed", SEEDS)
def test_brackets_close(scene: Sample, seed: int) -> None:
    r"""A direction within a speech, such as \\[Aside\\], is opened and closed."""
    assert not unbalanced_brackets(scene(seed))


def test_real_brackets_close(false_alarms: FalseAlarms) -> None:
    """The check blames at most one real scene in a hundred."""
    assert false_alarms(unbalanced_brackets) <= 0.01
