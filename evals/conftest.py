"""The samples that the failure modes are counted on, and the real scenes that every check is tried on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.script import PROMPT, SIZE, Check, FalseAlarms, Sample, Scene, words
from model.corpus import read_documents
from pytest_evalloop import Document


@pytest.fixture(scope="session")
def scene(generate: Callable[..., bytes]) -> Sample:
    """A scene from the candidate by its seed, written when it is first asked for."""

    @functools.cache
    def write(seed: int) -> Scene:
        return Scene.read(PROMPT + generate(PROMPT, max_bytes=SIZE - len(PROMPT), seed=seed))

    return write


@pytest.fixture(scope="session")
def real_scenes(val_documents: list[Document]) -> list[Scene]:
    """Scenes by Shakespeare, cut off where the samples are."""
    return [Scene.read(document.text) for document in val_documents]


@pytest.fixture
def false_alarms(real_scenes: list[Scene], record_property: Callable[[str, object], None]) -> FalseAlarms:
    """The share of real scenes that a check complains about; it is part of the test's report."""

    def share(check: Check) -> float:
        rate = sum(bool(check(real)) for real in real_scenes) / len(real_scenes)
        record_property("false_alarm_rate", round(rate, 4))
        return rate

    return share


@pytest.fixture(scope="session")
def vocabulary(evalloop_root: Path) -> frozenset[str]:
    """Every word of the training plays."""
    documents = read_documents(evalloop_root / ".evalloop/data/train")
    return frozenset(words(b"\n".join(text for _, text in documents).decode("utf-8", "replace")))
