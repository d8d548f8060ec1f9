"""The words are words."""

from __future__ import annotations

import functools

import pytest

from evals.script import SEEDS, FalseAlarms, Sample, Scene, words
from model.corpus import VALIDATION, VAULT, find_plays
from pytest_evalloop import check

SHARE = 0.3  # of the words of a sample; real scenes of unseen plays have 0.04 in the mean and 0.14 at most


def made_up_words(scene: Scene, vocabulary: frozenset[str]) -> list[str]:
    """Return the words that stand in no training play, if they are too many, or if there are none at all."""
    spoken = words(scene.spoken)
    unknown = [word for word in spoken if word not in vocabulary]
    if not spoken:
        return ["there are no words"]
    return unknown if len(unknown) > SHARE * len(spoken) else []


@functools.cache
def known_words() -> frozenset[str]:
    """Return every word of the plays that the model was trained on, where no candidate's data are at hand."""
    trained = [text for play, text in find_plays().items() if play not in VALIDATION | VAULT]
    return frozenset(words(b"\n".join(trained).decode("utf-8", "replace")))


@check("FM-08")
def inventions(output: str) -> list[str]:
    """Look for it in the output of a trace."""
    return made_up_words(Scene.below_a_heading(output), known_words())


@pytest.mark.failure_mode("FM-08", "makes up most of its words", severity="major", tolerate=0.25)
@pytest.mark.parametrize("seed", SEEDS)
def test_words_exist(scene: Sample, seed: int, vocabulary: frozenset[str]) -> None:
    """At least seven words in ten stand somewhere in the plays that the model was trained on."""
    assert not made_up_words(scene(seed), vocabulary)


def test_real_words_exist(false_alarms: FalseAlarms, vocabulary: frozenset[str]) -> None:
    """The check blames at most one scene in a hundred of plays that the model was not trained on."""
    assert false_alarms(lambda real: made_up_words(real, vocabulary)) <= 0.01
