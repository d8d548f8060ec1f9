"""Equal compute in a real loop: a candidate that does more in a step is granted fewer of them."""

from __future__ import annotations

import re

from tests.conftest import Project

STEP = """
import time


def step_work():
    end = time.process_time() + 0.12
    while time.process_time() < end:
        pass


"""
MUTATOR = """
from pytest_evalloop import Proposal


class Hidden:
    def propose(self, brief):
        path = Path(brief.worktree, "model/train.py")
        path.write_text(path.read_text().replace("        step_work()", "        step_work(); step_work()"))
        return Proposal("two updates in what it calls a step")


def pytest_evalloop_mutators() -> None:
    return {"hidden": lambda settings: Hidden()}
"""


def test_a_hidden_inner_loop_is_granted_half_the_steps(project: Project) -> None:
    train = (project.path / "model/train.py").read_text()
    place = "    for step in range(steps):\n"
    project.write("model/train.py", STEP + train.replace(place, f"{place}        step_work()\n", 1))
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATOR)
    project.setting("evalloop_budget", '"40steps"')
    project.setting("evalloop_race", '"0"')
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "hidden")
    assert status == 0, output
    told = re.search(r"a step costs (\d\.\d\d) ± \d\.\d\d times the incumbent's, so it is granted", output)
    assert told is not None, output
    assert 1.6 < float(told[1]) < 2.4
    ((budget,),) = project.rows("SELECT budget FROM candidates WHERE number = 1")
    assert isinstance(budget, str)
    assert 16 <= float(budget.removesuffix("steps")) <= 25
    kept = (project.path / ".evalloop/candidates/main/1/progress-seed-0.jsonl").read_text()
    assert kept.count("\n") == float(budget.removesuffix("steps"))
    ((before,), (after,)) = project.rows("SELECT compute_seconds FROM trainings ORDER BY number")
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after < 1.4 * before
    assert project.rows("SELECT budget FROM candidates WHERE number = 0") == [("",)]
