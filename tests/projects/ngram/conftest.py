from pathlib import Path

import pytest

from pytest_evalloop import Document


@pytest.fixture(scope="session")
def val_documents(evalloop_root: Path):
    return [Document(path.stem, path.read_bytes()) for path in sorted((evalloop_root / "data/val").iterdir())]
