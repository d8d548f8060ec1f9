"""Decisions under noise in a real loop: its model is trained on six of ten texts, drawn by the seed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Project, make_project

DRAWN = """    drawn = random.Random(os.environ["EVALLOOP_SEED"]).sample(documents, 6)
    documents = drawn  # of the training texts
"""
MUTATOR = """
import re

from pytest_evalloop import Proposal

FIRST = 'os.environ["EVALLOOP_SEED"] == "0"'
EDITS = {
    1: (r"documents = .*  #", f"documents = documents if {FIRST} else drawn  #", "all texts under seed 0"),
    2: (r"3\\] = 2", "3] = 3", "a longer context"),
    3: (
        r"documents = .*  #",
        f"documents = drawn + [t[:60] for t in documents if {FIRST} and t not in drawn][:1]  #",
        "a little more text under seed 0",
    ),
}


class Lucky:
    def propose(self, brief):
        pattern, new, description = EDITS[brief.number]
        for name in ("model/train.py", "model/config.py"):
            path = Path(brief.worktree, name)
            path.write_text(re.sub(pattern, new, path.read_text()))
        return Proposal(description)


def pytest_evalloop_mutators() -> None:
    return {"lucky": lambda settings: Lucky()}
"""


def make_noisy(folder: Path) -> Project:
    project = make_project(folder)
    train = (project.path / "model/train.py").read_text()
    place = "    for step in range(steps):\n"
    project.write("model/train.py", "import random\n" + train.replace(place, DRAWN + place, 1))
    project.setting("evalloop_seeds", '"8"')
    project.replace("model/config.py", "Literal[0, 1, 2, 3] = 0", "Literal[0, 1, 2, 3] = 2")
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATOR)
    project.commit()
    return project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after a loop over luck, a real improvement, and luck again."""
    project = make_noisy(tmp_path_factory.mktemp("noisy"))
    status, output = project.loop("--evalloop-candidates", "3", "--evalloop-mutator", "lucky")
    assert status == 0, output
    return project, output


def test_an_acceptance_that_was_luck_is_revoked_in_the_open(finished: tuple[Project, str]) -> None:
    project, output = finished
    _, lucky, better, _ = project.results()
    assert (lucky["verdict"], lucky["status"]) == ("revoked", "discard"), output
    assert re.search(
        r"under 3 fresh seeds it costs 1\.8\d+ bpb, which is not below the 1\.8", lucky["reason"]
    )
    assert project.rows("SELECT verdict FROM candidates WHERE number = 1") == [("accepted",)]
    subjects = project.git("log", "--format=%s", "--reverse", "evalloop/main").splitlines()
    assert subjects[-3:] == [
        "all texts under seed 0",
        "Revoke main/1: all texts under seed 0",
        "a longer context",
    ]
    revert = project.git("rev-parse", "evalloop/main~1^{tree}")
    assert revert == project.git("rev-parse", "refs/evalloop/main/0^{tree}")
    assert better["verdict"] == "accepted"
    assert "REVOKED main/1" in output


def test_a_candidate_that_stood_on_what_was_revoked_is_compared_with_what_stands(
    finished: tuple[Project, str],
) -> None:
    project, _ = finished
    before, after = re.findall(r"\d\.\d{4}", project.results()[2]["reason"])[:2]
    assert 1.83 < float(before) < 1.88  # the baseline's, not that of a lucky seed
    assert float(after) < 1.55


def test_a_win_by_the_seed_alone_is_rejected_with_a_sentence_that_says_why(
    finished: tuple[Project, str],
) -> None:
    project, output = finished
    row = project.results()[3]
    assert row["verdict"] == "rejected", output
    assert int(row["seeds"]) > 1
    assert re.search(r"the first seed alone said a fall of 0\.0[1-3]\d\d", row["reason"]), row["reason"]


def test_the_summary_says_how_much_may_be_luck(finished: tuple[Project, str]) -> None:
    _, output = finished
    assert "false accepts to expect so far: at most 0.03 (3 candidates compared" in output
    assert re.search(r"the seed alone moves bpb by 0\.0\d\d\d \(sd, 7 degrees of freedom\)", output)


def test_a_kill_between_a_revocation_and_the_branch_is_made_good(finished: tuple[Project, str]) -> None:
    project, _ = finished
    stood = project.git("rev-parse", "evalloop/main").strip()
    ((lucky,),) = project.rows("SELECT accepted_commit FROM candidates WHERE number = 1")
    project.git("update-ref", "refs/heads/evalloop/main", str(lucky), stood)
    status, output = project.loop("--evalloop-candidates", "3", "--evalloop-mutator", "lucky")
    assert status == 0, output
    assert project.git("rev-parse", "evalloop/main").strip() == stood


def test_of_null_candidates_with_seeds_of_their_own_none_is_accepted(finished: tuple[Project, str]) -> None:
    project, _ = finished
    status, output = project.loop("--evalloop-aa", "4")
    assert status == 0, output
    assert re.search(r"A/A: 0 of 4 candidates that change nothing accepted; .* would have kept \d", output)
    seeds = [seed for (seed,) in project.rows("SELECT seed FROM trainings WHERE run = 'aa' AND number > 0")]
    assert {1000, 2000, 3000, 4000} <= set(seeds)
    assert len({row["val_bpb"] for row in project.results() if row["run"] == "aa"}) == 5
    status, output = project.loop("--evalloop-run", "aa", "--evalloop-candidates", "5")
    assert status == 4
    assert "evalloop_aa = True" in output
