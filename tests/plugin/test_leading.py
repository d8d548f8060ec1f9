"""Candidates that look better wait for the seeds that would show it, while others are tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Project, kill, make_project

MUTATOR = """
import re

from pytest_evalloop import Proposal

ORDER = r"(Literal\\[0, 1, 2, 3\\] = )\\d"
EDITS = {1: (ORDER, r"\\g<1>2"), 2: (ORDER, r"\\g<1>3")}


class Edit:
    def propose(self, brief):
        path = Path(brief.worktree, "model/config.py")
        pattern, new = EDITS.get(brief.number, (r"\\Z", f"# {brief.number}"))
        path.write_text(re.sub(pattern, new, path.read_text(), count=1))
        return Proposal(f"edit {brief.number}")


def pytest_evalloop_mutators() -> None:
    return {"edit": lambda settings: Edit()}
"""
COMMAND = ("--evalloop", "--evalloop-candidates", "3", "--evalloop-mutator", "edit")
FACTS = "SELECT number, parent, verdict, reason, bpb, delta, against FROM candidates ORDER BY number"


def make_waiting(folder: Path, patience: int) -> Project:
    """A project in which the first candidate is better, the second better still, and the third changes nothing."""
    project = make_project(folder)
    project.replace("model/config.py", "Literal[0, 1, 2, 3] = 0", "Literal[0, 1, 2, 3] = 1")
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATOR)
    project.setting("evalloop_defer", f'"{patience}"')
    project.commit()
    return project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after a loop that nobody killed, in which verdicts wait for longer than it lasts."""
    project = make_waiting(tmp_path_factory.mktemp("waiting"), 3)
    status, output = project.run(*COMMAND)
    assert status == 0, output
    return project, output


def test_who_is_overtaken_while_it_waits_is_rejected_and_says_by_whom(finished: tuple[Project, str]) -> None:
    project, output = finished
    first, second = project.results()[1:3]
    assert first["verdict"] == "rejected", output
    assert first["reason"] == (
        f"candidate 2 came to {float(second['val_bpb']):.4f} bpb under one seed, and this one to "
        f"{float(first['val_bpb']):.4f}, before it was measured under further seeds"
    )
    assert project.rows("SELECT count(*) FROM trainings WHERE number = 1") == [(1,)]


def test_who_leads_is_measured_again_before_the_run_ends(finished: tuple[Project, str]) -> None:
    project, output = finished
    assert [row["verdict"] for row in project.results()[1:]] == ["rejected", "accepted", "rejected"], output
    order = [output.index(line) for line in ("candidate 2: waiting", "main/3 rejected", "main/2 accepted")]
    assert order == sorted(order), output
    assert output.index("main/3 rejected") < output.index("measuring the baseline under")
    assert "3] = 3" in project.git("show", "evalloop/main:model/config.py")
    assert project.rows(
        "SELECT DISTINCT parent = (SELECT parent FROM candidates WHERE number = 1) "
        "FROM candidates WHERE number > 0"
    ) == [(1,)]
    assert "incumbent: main/2" in output


@pytest.mark.parametrize("words", ["candidate 2: training", "main/3 rejected", "baseline: scoring"])
def test_killed_while_one_waits_the_loop_comes_to_the_same_verdicts(
    finished: tuple[Project, str], tmp_path: Path, words: str
) -> None:
    project = make_waiting(tmp_path, 3)
    process = project.start(*COMMAND)
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            break
    kill(process)
    process.stdout.close()
    project.wait_until_no_process_is_left()
    assert project.rows("SELECT count(*) FROM candidates WHERE verdict IS NULL AND bpb IS NOT NULL") == [(1,)]
    status, output = project.run(*COMMAND)
    assert status == 0, output
    # Commits of the two projects differ by their times.
    facts = [tuple(value for index, value in enumerate(row) if index != 1) for row in project.rows(FACTS)]
    assert facts == [
        tuple(value for index, value in enumerate(row) if index != 1) for row in finished[0].rows(FACTS)
    ]
    assert [row["number"] for row in project.results()] == ["0", "1", "2", "3"]


def test_who_has_led_for_long_enough_is_decided_about_before_the_next_is_proposed(tmp_path: Path) -> None:
    project = make_waiting(tmp_path, 1)
    project.replace("conftest.py", "2: (ORDER", "3: (ORDER")
    project.commit()
    status, output = project.run(*COMMAND)
    assert status == 0, output
    assert [row["verdict"] for row in project.results()[1:]] == ["accepted", "rejected", "accepted"], output
    assert output.index("main/1 accepted") < output.index("candidate 3: mutating")
    assert project.rows(
        "SELECT later.parent = first.accepted_commit FROM candidates first, candidates later "
        "WHERE first.number = 1 AND later.number = 3"
    ) == [(1,)]


def test_who_was_overtaken_side_by_side_is_merged_with_who_was_accepted(tmp_path: Path) -> None:
    project = make_waiting(tmp_path, 2)
    project.replace("conftest.py", 'r"\\g<1>3")}', '"= 16")}')
    project.replace("conftest.py", "2: (ORDER", '2: ("= 64"')
    project.commit()
    status, output = project.loop(
        "--evalloop-candidates", "6", "--evalloop-mutator", "edit", "--evalloop-parallel", "2"
    )
    assert status == 0, output
    rows = project.results()
    assert sorted(row["verdict"] for row in rows[1:3]) == ["accepted", "rejected"], output
    merged = next(row for row in rows if row["mutator"] == "merge")
    assert merged["description"].startswith("candidates 1 and 2: ")
    assert merged["verdict"] == "accepted", output
    assert project.rows("SELECT number FROM candidates WHERE verdict IS NULL") == []


BEHIND = """
import json, os, signal
with open(os.environ["EVALLOOP_PROGRESS"], "a") as progress:
    for step in (1, 2, 3):
        progress.write(json.dumps({"step": step, "fraction": step / 5, "train_bpb": 30.0}) + chr(10))
signal.pause()
"""


def test_trainings_race_against_who_leads(tmp_path: Path) -> None:
    project = make_waiting(tmp_path, 3)
    project.replace("conftest.py", 'EDITS = {1: (ORDER, r"\\g<1>2"), ', "EDITS = {")
    place = '        path = Path(brief.worktree, "model/config.py")\n'
    behind = f"""        if brief.number == 3:
            Path(brief.worktree, "model/train.py").write_text({BEHIND!r})
            return Proposal("train worse")
"""
    project.replace("conftest.py", place, behind + place)
    project.commit()
    status, output = project.run(*COMMAND)
    assert status == 0, output
    _, second, third = project.results()[1:]
    assert second["verdict"] == "accepted", output
    assert "train bpb 30.000 against candidate 2's 8.000 at the same point" in third["reason"], output
