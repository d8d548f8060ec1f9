"""A loop that is killed with `kill -9` goes on after the same command, as if nothing had happened."""

from __future__ import annotations

import contextlib
import subprocess

import pytest

from tests.conftest import Project, kill, make_project

COMMAND = ("--evalloop", "--evalloop-candidates", "3")
LINES = (
    "session starts",
    "baseline: training",
    "baseline: grading",
    "main/0 baseline accepted",
    "candidate 1: grading",
    "candidate 2: training",
    "measuring the baseline under",
    "baseline: scoring",
    "main/2 ",
    "candidate 3: grading",
    "main/3 ",
)
FACTS = "SELECT number, mutator, description, verdict, bpb, delta FROM candidates ORDER BY number"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """The facts of a loop that nobody killed: mutators and trainings repeat, so every other loop must agree."""
    project = make_project(tmp_path_factory.mktemp("undisturbed"))
    status, output = project.run(*COMMAND)
    assert status == 0, output
    for line in LINES:
        assert line in output, (line, output)
    return project.rows(FACTS)


def killed_at(project: Project, words: str, after: int = 0) -> None:
    """Run the loop and kill it as soon as its output says `words`, or `after` more lines."""
    process = project.start(*COMMAND)
    assert process.stdout is not None
    left = None
    for line in process.stdout:
        if left is None and words in line:
            left = after
        if left is not None:
            if left == 0:
                break
            left -= 1
    kill(process)
    process.stdout.close()
    project.wait_until_no_process_is_left()


def check(project: Project, undisturbed: list[tuple[object, ...]]) -> None:
    """The loop goes on to the same end; nothing is lost, counted twice, or left behind."""
    status, output = project.run(*COMMAND)
    assert status == 0, output
    assert project.rows(FACTS) == undisturbed
    assert project.rows("PRAGMA integrity_check") == [("ok",)]
    assert len(project.results()) == len(undisturbed)
    kept = [row["commit"] for row in project.results() if row["status"] == "keep"]
    assert project.git("rev-parse", "--short=12", "evalloop/main").strip() == kept[-1]
    log = project.git(
        "log", "--format=%(trailers:key=Candidate,valueonly,separator=)", "evalloop/main"
    ).split()
    assert len(log) == len(set(log)) == len(kept) - 1
    project.git("fsck", "--strict")
    assert project.git("status", "--porcelain") == ""
    assert project.git("worktree", "list").count("\n") == 1
    assert not list((project.path / ".evalloop/worktrees").glob("*"))
    project.wait_until_no_process_is_left()


@pytest.mark.parametrize("words", LINES)
def test_killed_once(project: Project, undisturbed: list[tuple[object, ...]], words: str) -> None:
    killed_at(project, words)
    check(project, undisturbed)


@pytest.mark.parametrize("seconds", [0.4, 1.1, 2.2, 3.7])
def test_killed_at_any_moment(
    project: Project, undisturbed: list[tuple[object, ...]], seconds: float
) -> None:
    process = project.start(*COMMAND)
    assert process.stdout is not None
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    kill(process)
    process.stdout.close()
    project.wait_until_no_process_is_left()
    check(project, undisturbed)


def test_killed_again_and_again(project: Project, undisturbed: list[tuple[object, ...]]) -> None:
    for words in LINES[1::3]:
        killed_at(project, words)
    check(project, undisturbed)
