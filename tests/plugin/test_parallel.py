"""Candidates tried side by side: stale parents, merges, and a kill while two are in flight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Project, kill, make_project

MUTATORS = """
import re

from pytest_evalloop import Proposal


EDITS = {1: (r"3\\] = 1", "3] = 2"), 2: ("= 64", "= 16")}


class Edit:
    def propose(self, brief):
        path = Path(brief.worktree, "model/config.py")
        pattern, new = EDITS.get(brief.number, (r"\\Z", f"# {brief.number}"))
        path.write_text(re.sub(pattern, new, path.read_text()))
        return Proposal(f"{pattern} -> {new}")


def pytest_evalloop_mutators() -> None:
    return {"edit": lambda settings: Edit()}
"""
BOTH = ("--evalloop-candidates", "4", "--evalloop-mutator", "edit", "--evalloop-parallel", "2")


def make_parallel(folder: Path) -> Project:
    """A project in which two changes of different lines are each good, and better together."""
    project = make_project(folder)
    project.replace("model/config.py", "Literal[0, 1, 2, 3] = 0", "Literal[0, 1, 2, 3] = 1")
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATORS)
    project.commit()
    return project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after a loop in which two good candidates were in flight at once."""
    project = make_parallel(tmp_path_factory.mktemp("parallel"))
    status, output = project.loop(*BOTH)
    assert status == 0, output
    return project, output


def test_two_candidates_are_tried_at_once(finished: tuple[Project, str]) -> None:
    _, output = finished
    first_verdict = re.search(r"main/[12] (accepted|rejected)", output)
    assert first_verdict is not None
    for number in (1, 2):
        assert 0 < output.find(f"candidate {number}: training") < first_verdict.start(), output


def test_a_stale_parent_is_compared_with_the_new_incumbent_and_says_so(finished: tuple[Project, str]) -> None:
    project, output = finished
    first, second = project.rows(
        "SELECT number, parent, against FROM candidates WHERE number IN (1, 2) ORDER BY decided"
    )
    assert first[1] == second[1]
    assert (first[2], second[2]) == (0, first[0]), output
    reason = project.results()[int(str(second[0]))]["reason"]
    assert f"(candidate {first[0]} was accepted while it was tried)" in reason


def test_two_that_were_good_on_their_own_are_merged(finished: tuple[Project, str]) -> None:
    project, output = finished
    merged = next(row for row in project.results() if row["mutator"] == "merge")
    assert merged["verdict"] == "accepted", output
    assert merged["description"].startswith("candidates 1 and 2: ")
    config = project.git("show", "evalloop/main:model/config.py")
    assert "3] = 2" in config
    assert "= 16" in config


def test_killed_with_two_in_flight_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    project = make_parallel(tmp_path)
    command = ("--evalloop", *BOTH)
    process = project.start(*command)
    assert process.stdout is not None
    for line in process.stdout:
        if "candidate 2: grading" in line:
            break
    kill(process)
    process.stdout.close()
    project.wait_until_no_process_is_left()
    assert project.rows("SELECT count(*) FROM candidates WHERE number > 0 AND verdict IS NULL") != [(0,)]
    status, output = project.run(*command)
    assert status == 0, output
    assert (
        project.rows("SELECT number, count(*) FROM candidates GROUP BY number HAVING verdict IS NULL") == []
    )
    assert [row["number"] for row in project.results()] == ["0", "1", "2", "3", "4"]
    assert project.git("status", "--porcelain") == ""
    assert not list((project.path / ".evalloop/worktrees").glob("*"))
    project.git("fsck", "--strict")
    project.wait_until_no_process_is_left()


def test_control_c_ends_all_that_is_in_flight(tmp_path: Path) -> None:
    project = make_parallel(tmp_path)
    command = ("--evalloop", *BOTH)
    process = project.start(*command)
    assert process.stdout is not None
    for line in process.stdout:
        if "candidate 2: grading" in line:
            process.send_signal(2)
            break
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "everything is on record, and the same command goes on" in output
    project.wait_until_no_process_is_left()
    status, output = project.run(*command)
    assert status == 0, output
    assert len(project.results()) == 5
