"""The samples that the failure modes are counted on, and the real scenes that every check is tried on."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.faults import Careless
from evals.script import PROMPT, SIZE, Check, FalseAlarms, Sample, Scene, words
from model.corpus import read_documents
from pytest_evalloop import Document, Fault


def pytest_evalloop_faults() -> dict[str, Fault]:
    """Plant a careless copyist, to see that the checks of the layout can fail."""
    return {"careless": lambda materials: Careless(materials.training_text)}


@pytest.fixture(scope="session")
def human_documents(val_documents: list[Document]) -> list[Document]:
    """Scenes by Shakespeare under the heading of the samples, their own left out: what he wrote after it.

    A heading may run on over several paragraphs; it ends where a direction or a speech begins.
    """
    bodies = [
        (scene.id, re.search(rb"^[_*].*", scene.text, re.DOTALL | re.MULTILINE)) for scene in val_documents
    ]
    return [Document(identity, PROMPT + body[0]) for identity, body in bodies if body is not None]


@pytest.fixture(scope="session")
def written(generate: Callable[..., bytes]) -> Callable[[int], bytes]:
    """What the candidate writes below the heading, by its seed, when it is first asked for."""
    return functools.cache(lambda seed: generate(PROMPT, max_bytes=SIZE - len(PROMPT), seed=seed))


@pytest.fixture
def scene(written: Callable[[int], bytes], record_trace: Callable[..., str]) -> Sample:
    """A scene from the candidate by its seed; it is kept for people to read."""

    def read(seed: int) -> Scene:
        output = written(seed)
        record_trace(input=PROMPT, output=output, metadata={"seed": seed})
        return Scene.read(PROMPT + output)

    return read


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
