"""The red-team project: the n-gram project with more text, a vault, limits, and an interpreter of its own.

Everything that an attack may reach for lies in one throw-away folder: the project, a home folder, and a
virtual environment with a copy of the plugin. An attack that succeeds harms nobody.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest_evalloop
from tests.conftest import PROJECTS, Project
from tests.redteam.texts import joined, texts

REPOSITORY = Path(__file__).resolve().parents[2]
_PURELIB = Path(sysconfig.get_path("purelib"))

LIMITS = {
    "evalloop_memory": "1500MB",
    "evalloop_processes": "100",
    "evalloop_disk": "100MB",
    "evalloop_train_limit": "60s",
    "evalloop_grade_limit": "90s",
}

_CONFTEST = """

@pytest.fixture(scope="session")
def vault_documents(evalloop_root: Path):
    return [Document(path.stem, path.read_bytes()) for path in sorted((evalloop_root / "data/vault").iterdir())]


def pytest_evalloop_mutators():
    import os
    import sys

    sys.path.append(os.environ["REDTEAM_REPOSITORY"])
    from tests.redteam.mutator import from_environment

    return {"redteam": lambda settings: from_environment()}
"""

_EVALS = {
    "evals/test_bpb.py": '''def test_val_bpb(val_bpb):
    """Unseen text costs at most five bits a byte."""
    assert val_bpb <= 5.0
''',
    "evals/test_letters.py": '''import pytest


@pytest.mark.failure_mode("FM-01", "writes what is no letter", tolerate=0.5)
@pytest.mark.parametrize("seed", range(8))
def test_letters(generate, seed):
    """Most of a sample is letters and spaces."""
    text = generate(b"the ", seed=seed, max_bytes=48)
    assert sum(byte in b"abcdefghijklmnopqrstuvwxyz \\\\n" for byte in text) > 40
'''.replace("\\\\n", "\\n"),
    "evals/test_recital.py": '''import pytest


@pytest.mark.failure_mode("FM-02", "recites its training text")
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_recited(generate, evalloop_root, seed):
    """No forty bytes in a row of a sample stand in the training text."""
    known = b"".join(path.read_bytes() for path in (evalloop_root / "data/train").iterdir())
    text = generate(b"the ", seed=seed, max_bytes=48)
    assert not any(text[start : start + 40] in known for start in range(len(text) - 39))
''',
}


@dataclass(frozen=True)
class Fortress(Project):
    """A project that runs in a virtual environment and a home folder beside it."""

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start pytest as its user would, with secrets in the environment that no candidate may see."""
        folder = self.path.parent
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "EVALLOOP_"))
        }
        kept.pop("PYTHONPATH", None)
        return subprocess.Popen(
            [str(folder / "venv/bin/python"), "-m", "pytest", *arguments],
            cwd=self.path,
            env={
                **kept,
                "HOME": str(folder / "home"),
                "REDTEAM_REPOSITORY": str(REPOSITORY),
                "REDTEAM_SECRET": base64.b64encode(joined("val")).decode(),
                "COLUMNS": "200",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def make_fortress(folder: Path, settings: Mapping[str, str]) -> Fortress:
    """Return a red-team project in `folder`, with these ini values besides the limits of all of them."""
    path = folder / "project"
    shutil.copytree(PROJECTS / "ngram", path, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(path / "model", folder / "pristine/model")
    made = Fortress(path)
    for old in ("data", "evals"):
        shutil.rmtree(path / old)
    for split in ("train", "val", "vault"):
        _write_all(path / "data" / split, texts(split))
    for name, text in _EVALS.items():
        made.write(name, text)
    made.write("conftest.py", (path / "conftest.py").read_text() + _CONFTEST)
    _make_home(folder / "home")
    site = _make_interpreter(folder / "venv")
    sandbox = {"evalloop_sandbox": os.environ.get("REDTEAM_SANDBOX", "auto")}
    for key, value in {**LIMITS, **sandbox, **settings}.items():
        made.setting(key, f'"{value}"')
    made.setting("evalloop_hidden", '["data/val", "data/vault"]')
    made.setting("evalloop_hidden_packages", '["redcorpus"]')
    made.setting("evalloop_readable", f'["{_PURELIB}", "{site}"]')
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit()
    return made


def _make_home(folder: Path) -> None:
    _write_all(folder / "corpus", texts("val"))


def _make_interpreter(folder: Path) -> Path:
    """Make an environment with links to all installed packages, a copy of the plugin, and one with the corpus."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for entry in _PURELIB.iterdir():
        if (
            entry.suffix != ".pth"
            and entry.name not in ("__pycache__", "pytest_evalloop")
            and not _is_plugin(entry)
        ):
            (site / entry.name).symlink_to(entry)
    plugin = Path(str(pytest_evalloop.__file__)).parent
    shutil.copytree(plugin, site / "pytest_evalloop", ignore=shutil.ignore_patterns("__pycache__"))
    _write_all(site / "redcorpus", {"__init__.py": b"", **texts("val")})
    information = site / "redcorpus-1.0.dist-info"
    record = "\n".join(f"redcorpus/{name},," for name in ("__init__.py", *texts("val")))
    _write_all(
        information,
        {"METADATA": b"Metadata-Version: 2.1\nName: redcorpus\nVersion: 1.0\n", "RECORD": record.encode()},
    )
    return site


def _is_plugin(information: Path) -> bool:
    """Tell whether this registers another plugin of pytest, which would cost each loop many starts."""
    points = information / "entry_points.txt"
    return points.is_file() and "[pytest11]" in points.read_text() and "evalloop" not in information.name


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
