"""What the graders of this project measure on: scenes of plays that no training run has seen."""

from pathlib import Path

import pytest

from model.corpus import read_documents
from pytest_evalloop import Document


@pytest.fixture(scope="session")
def val_documents(evalloop_root: Path) -> list[Document]:
    """91 scenes of four plays, 491 kB."""
    return _split(evalloop_root, "val")


@pytest.fixture(scope="session")
def vault_documents(evalloop_root: Path) -> list[Document]:
    """36 scenes of two more plays, which are read once, at the end of a loop."""
    return _split(evalloop_root, "vault")


def _split(root: Path, name: str) -> list[Document]:
    folder = root / ".evalloop/data" / name
    documents = [Document(scene, text) for scene, text in read_documents(folder)]
    if not documents:
        pytest.fail(f"No documents in {folder}. Prepare them with: python -m model.corpus", pytrace=False)
    return documents
