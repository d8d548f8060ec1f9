"""How the canary is run: what is graded, kept, told and refused, with a workshop that grades nothing for real."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_evalloop.loop import canary
from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.crew import go_on
from pytest_evalloop.loop.findings import Canary
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate, Grade, Status, Training
from tests.unit.test_canary import BASELINE, graded

TRAINED = Training("key", 0, Status.COMPLETED, "artifacts", 1.0, 1.0, 1)
FIRST = Candidate("main", 0, "c0", "c0", "baseline", "the tree")


class Notes:
    """Keeps what an observer is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Grader:
    """Answers with the grades that a test wants; a fault without one passes every test."""

    def __init__(self, folder: Path, least: Training = TRAINED, **grades: Grade | Exception) -> None:
        self.path = folder / "canary" / "key.json"
        self.least = least
        self.grades = grades
        self.asked: list[tuple[str, str, int]] = []

    places = 2

    def canary(self, *_: object) -> Path:
        return self.path

    def faults(self) -> tuple[str, ...]:
        return ("untrained", "uniform")

    def train_least(self, *_: object) -> Training:
        return self.least

    def grade(self, _: Any, training: Any, asked: Asked) -> Grade:
        self.asked.append((asked.stand_in, training.key, len(asked.scores)))
        wanted = self.grades.get(asked.stand_in, BASELINE)
        if isinstance(wanted, Exception):
            raise wanted
        if wanted.exit_status is None:  # goes on until it is told to stop
            while True:
                go_on()
                time.sleep(0.01)
        return wanted


def check(grader: Grader) -> tuple[Canary, list[str]]:
    notes = Notes()
    return canary.check(cast("Workshop", grader), FIRST, TRAINED, BASELINE, cast("Any", notes)), notes.notes


def test_faults_and_control_are_graded_once_and_what_they_say_is_kept(tmp_path: Path) -> None:
    least = Training("least", 0, Status.COMPLETED, "artifacts", 1.0, 1.0, 1)
    grader = Grader(tmp_path, least, uniform=graded(n5="failed"))
    found, notes = check(grader)
    assert sorted(grader.asked) == [("human", "key", 0), ("uniform", "key", 0), ("untrained", "least", 0)]
    assert [(fault.name, fault.caught) for fault in found.faults] == [("untrained", False), ("uniform", True)]
    assert any("The suite does not notice the fault untrained" in note for note in notes)
    again, _ = check(grader)
    assert again == found
    assert len(grader.asked) == 3


def test_a_suite_that_cannot_fail_is_refused_again_and_again(tmp_path: Path) -> None:
    grader = Grader(tmp_path)
    for _ in range(2):
        with pytest.raises(CannotGate, match="yet it cannot gate:\n  No planted fault makes the suite fail"):
            check(grader)
    assert len(grader.asked) == 3


def test_a_training_that_fails_leaves_its_fault_unplanted_and_is_tried_again(tmp_path: Path) -> None:
    least = Training("least", 0, Status.TIMED_OUT, "", 1.0, 1.0, 1, "after 9 s")
    grader = Grader(tmp_path, least, uniform=graded(n5="failed"))
    found, notes = check(grader)
    assert not grader.path.exists()
    assert found.faults[0].trouble == "its training timed out: after 9 s"
    assert any("could not be planted: its training timed out: after 9 s" in note for note in notes)


def test_an_error_ends_the_other_gradings_and_keeps_nothing(tmp_path: Path) -> None:
    endless = Grade(Status.COMPLETED, None, (), (), (), 0.0, 0.0)
    grader = Grader(tmp_path, human=endless, untrained=OSError("disk"), uniform=endless)
    with pytest.raises(OSError, match="disk"):
        check(grader)
    assert not grader.path.exists()


def test_what_cannot_be_read_is_run_again(tmp_path: Path) -> None:
    grader = Grader(tmp_path, uniform=graded(n5="failed"))
    grader.path.parent.mkdir()
    grader.path.write_text('{"faults": 3}')
    check(grader)
    assert len(grader.asked) == 3
