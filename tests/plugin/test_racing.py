"""Racing in a real loop: a training that says that it is far behind does not run to its end."""

from __future__ import annotations

import json
import re

import pytest

from pytest_evalloop.loop.racing import spared
from pytest_evalloop.suite.project import SEED
from tests.conftest import Project, make_project

MUTATOR = '''
from pytest_evalloop import Proposal

BEHIND = """
import json, os, signal
with open(os.environ["EVALLOOP_PROGRESS"], "a") as progress:
    for step in (1, 2, 3):
        progress.write(json.dumps({"step": step, "fraction": step / 5, "train_bpb": 30.0}) + chr(10))
"""


class Behind:
    def propose(self, brief):
        ends = "import time; time.sleep(2); raise SystemExit(1)" if brief.number == LET_RUN else "signal.pause()"
        path = Path(brief.worktree, "model/train.py")
        path.write_text(BEHIND + ends + chr(10))
        return Proposal("train worse")


def pytest_evalloop_mutators() -> None:
    return {"behind": lambda settings: Behind()}
'''
LET_RUN = next(number for number in range(1, 1000) if spared(SEED, number))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after a loop in which every candidate is far behind, up to the first that is spared."""
    project = make_project(tmp_path_factory.mktemp("racing"))
    conftest = (project.path / "conftest.py").read_text()
    project.write("conftest.py", f"{conftest}\nLET_RUN = {LET_RUN}\n{MUTATOR}")
    project.commit()
    status, output = project.loop("--evalloop-candidates", str(LET_RUN), "--evalloop-mutator", "behind")
    assert status == 0, output
    return project, output


def test_a_training_far_behind_is_stopped_and_says_why(finished: tuple[Project, str]) -> None:
    project, output = finished
    for row in project.results()[1:LET_RUN]:
        assert row["status"] == "discard", output
        assert row["val_bpb"] == ""
        assert row["reason"].startswith("stopped at "), output
        assert "train bpb 30.000 against the incumbent's 8.000 at the same point" in row["reason"]
    statuses = project.rows("SELECT status, detail FROM trainings WHERE number = 1")
    assert [status for status, _ in statuses] == ["killed"]
    kept = project.path / ".evalloop/candidates/main/1/progress-seed-0.jsonl"
    assert [json.loads(line)["train_bpb"] for line in kept.read_text().splitlines()] == [30.0] * 3
    project.wait_until_no_process_is_left()


def test_one_in_ten_is_let_run_on_and_counted(finished: tuple[Project, str]) -> None:
    project, output = finished
    last = project.results()[LET_RUN]
    assert last["reason"].startswith("training crashed"), output
    found = json.loads((project.path / f".evalloop/candidates/main/{LET_RUN}/race.json").read_text())
    assert found["stopped"] is False
    many = "candidate" if LET_RUN == 2 else "candidates"
    assert f"racing stopped {LET_RUN - 1} {many} that had" in output


def test_without_racing_every_training_runs_to_its_end(project: Project) -> None:
    conftest = (project.path / "conftest.py").read_text()
    project.write("conftest.py", f"{conftest}\nLET_RUN = 1\n{MUTATOR}")
    project.setting("evalloop_race", '"0"')
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "behind")
    assert status == 0, output
    assert project.results()[1]["reason"].startswith("training crashed"), output
    assert not (project.path / ".evalloop/candidates/main/1/race.json").exists()


REPEATING = """
from pytest_evalloop import Proposal

EDITS = {1: ("3] = 2", "3] = 0"), 2: ("3] = 2", "3] = 0"), 3: ("@dataclass", "@dataclass((")}


class Repeating:
    def propose(self, brief):
        path = Path(brief.worktree, "model/config.py")
        path.write_text(path.read_text().replace(*EDITS[brief.number]))
        return Proposal(f"edit {brief.number}")


def pytest_evalloop_mutators() -> None:
    return {"repeating": lambda settings: Repeating()}
"""


def test_what_was_tried_and_what_is_no_python_is_not_trained(project: Project) -> None:
    project.replace("model/config.py", "Literal[0, 1, 2, 3] = 0", "Literal[0, 1, 2, 3] = 2")
    project.write("conftest.py", (project.path / "conftest.py").read_text() + REPEATING)
    project.commit()
    status, output = project.loop("--evalloop-candidates", "3", "--evalloop-mutator", "repeating")
    assert status == 0, output
    _, again, broken = project.results()[1:]
    assert again["reason"] == "the same as candidate 1, which was rejected", output
    assert re.match(r"model/config\.py:\d+ is no Python: ", broken["reason"]), output
    assert (again["train_s"], broken["train_s"]) == ("", "")
    assert project.rows("SELECT DISTINCT number FROM trainings WHERE number > 1") == []
