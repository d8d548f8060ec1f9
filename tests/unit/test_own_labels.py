"""This project's own labels: whole, about traces that are kept, and held against its checks."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_evalloop.candidate.process import clean_environment
from pytest_evalloop.protocols import CHECKS
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import read_modes
from pytest_evalloop.review.traces import Library
from pytest_evalloop.review.validation import MINIMUM, validate_verdicts

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "evals/labels"
# FM-08 is one person's impression of what is hopeless to read, which the share of unknown words does not tell.
GUARDS = {"FM-08"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library.load(tmp_path_factory.mktemp("no traces"), FOLDER)


def checks() -> dict[str, Callable[[str], list[str]]]:
    """The checks of all eval modules by failure mode."""
    found = {}
    for file in sorted((ROOT / "evals").glob("test_*.py")):
        module = importlib.import_module(f"evals.{file.stem}")
        for function in vars(module).values():
            for mode in getattr(function, CHECKS, ()):
                found[mode] = function
    return found


def test_every_trace_is_labelled_for_every_mode_that_can_be_seen_in_it(library: Library) -> None:
    modes = {mode.id for mode in read_modes(FOLDER)} - {"FM-11"}  # about what goes in, not what comes out
    with Labels.open(FOLDER) as labels:
        known = labels.all()
    assert not library.problems
    assert len(known) >= 100
    assert set(known) == set(library.traces)
    for label in known.values():
        assert set(label.modes) == modes
        assert label.note
        assert label.passed == (not any(label.modes.values()))


def test_examples_are_traces_in_which_the_mode_occurs(library: Library) -> None:
    with Labels.open(FOLDER) as labels:
        for mode in read_modes(FOLDER):
            for trace in mode.examples:
                assert trace in library.traces
                assert labels.get(trace).modes[mode.id]


@pytest.mark.parametrize("mode", sorted(checks()))
def test_checks_agree_with_the_labels(mode: str, library: Library) -> None:
    check = checks()[mode]
    with Labels.open(FOLDER) as labels:
        known = dict(labels.all())
    said = {name: not check(stored.trace.output) for name, stored in library.traces.items()}
    found = validate_verdicts(said, known, mode).agreement
    assert found.tpr is not None
    assert found.tpr >= MINIMUM
    if found.tnr is not None and mode not in GUARDS:
        assert found.tnr >= MINIMUM


def test_the_requirements_document_is_current(tmp_path: Path) -> None:
    path = tmp_path / "REQUIREMENTS.md"
    command = [sys.executable, "-m", "pytest", "evals", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--evalloop-prd", str(path)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    written = path.read_text().replace(str(path), "docs/REQUIREMENTS.md")
    assert written == (ROOT / "docs/REQUIREMENTS.md").read_text(), "write it anew: see its second line"
