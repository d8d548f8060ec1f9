"""Which project a command is about: its root, found as pytest finds it, and what its configuration says."""

from __future__ import annotations

import configparser
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.review.traces import ReviewError
from pytest_evalloop.settings import Settings, read
from pytest_evalloop.store.home import Home

# Where pytest looks for its configuration, in its order.
CONFIGURATIONS: Final = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a project's traces and labels lie; `home` is not created before something is written there."""

    root: Path
    labels: Path

    @property
    def home(self) -> Home:
        """The folder `.evalloop/`."""
        return Home(self.root)

    @property
    def judgements(self) -> Path:
        """Where verdicts of judges are kept."""
        return self.home.path / "judgements"


def place(root: Path | None, labels: Path | None, here: Path) -> Place:
    """Return the project that is meant: that of a root that was given, else the one in which `here` lies.

    Raises ReviewError if there is none, or its configuration cannot be read, and SettingsError for values that
    cannot be used. Nothing is created.
    """
    found = found_root(here.resolve()) if root is None else root.resolve()
    if not found.is_dir():
        raise ReviewError(f"{found} is no folder. Give the project's root: --root ../shop.")
    return Place(found, labels.resolve() if labels is not None else found / settings(found).labels)


def found_root(here: Path) -> Path:
    """Return the root that pytest would find from a folder; raises ReviewError, naming it, if it lies in no project.

    The nearest folder with pytest's configuration counts, then one with any pyproject.toml, then one with a
    setup.py. Pytest would take the folder itself after that. Here it counts only if it, or a folder above, was
    used before, since a mistyped `cd` would otherwise leave traces and labels anywhere.
    """
    folders = (here, *here.parents)
    for folder in folders:
        if _configuration(folder) is not None:
            return folder
    for name in ("pyproject.toml", "setup.py", ".evalloop/version", "evals/labels/labels.jsonl"):
        for folder in folders:
            if (folder / name).is_file():
                return folder
    raise ReviewError(
        f"{here} lies in no project: neither there nor in a folder above is there a pytest.ini, a pyproject.toml or "
        "any other file by which pytest knows a project. Nothing was created. Change to the project's folder, or "
        f"make this one a project with an empty pytest.ini, or name it: --root {here}."
    )


def settings(root: Path) -> Settings:
    """Return what the project says of evals and labels; raises SettingsError or ReviewError if it is of no use."""
    found = _configuration(root) or {}
    ini = {name: found.get(f"evalloop_{name}") for name in ("labels", "load", "evals")}
    evals = ini["evals"]
    return read({}, {**ini, "evals": shlex.split(evals) if isinstance(evals, str) else evals}, root)


def _configuration(root: Path) -> Mapping[str, object] | None:
    """Return what pytest takes as its configuration in a folder, None if there is none."""
    for name in CONFIGURATIONS:
        try:
            text = (root / name).read_text(encoding="utf-8")
            found = _toml(text) if name.endswith(".toml") else _ini(text)
        except (FileNotFoundError, IsADirectoryError):
            continue
        except (OSError, ValueError, configparser.Error) as error:
            raise ReviewError(f"{root / name} cannot be read: {error}. Mend it.") from error
        if found is not None:
            return found
        if "pytest." in name:  # pytest's own files count also when they say nothing
            return {}
    return None


def _toml(text: str) -> Mapping[str, object] | None:
    table = tomllib.loads(text)
    found: Mapping[str, object] = table.get("tool", table).get("pytest", {})
    inner = found.get("ini_options")
    return inner if isinstance(inner, dict) else found or None


def _ini(text: str) -> Mapping[str, object] | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(text)
    return next((dict(parser[name]) for name in ("tool:pytest", "pytest") if name in parser), None)
