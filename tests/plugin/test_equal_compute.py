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


SLOW = """
from pytest_evalloop import Proposal

BURN = '''
import time

from model.adapter import NGram


def burn(self, text, encode=NGram.encode):
    while time.process_time() < 300:
        pass
    return encode(self, text)


NGram.encode = burn
'''


class Slow:
    def propose(self, brief):
        path = Path(brief.worktree, "model/adapter.py")
        code = path.read_text()
        path.write_text(code + BURN.replace("from model.adapter import NGram\\n", ""))
        return Proposal("takes its time to score")


def pytest_evalloop_mutators() -> None:
    return {"slow": lambda settings: Slow()}
"""


def test_scoring_has_a_cap_of_what_the_baseline_took(project: Project) -> None:
    project.write("conftest.py", (project.path / "conftest.py").read_text() + SLOW)
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "slow")
    assert status == 0, output
    (row,) = [row for row in project.results() if row["verdict"] == "rejected"]
    used = re.search(r"timed out: used (\d+\.\d) CPU seconds, allowed (\d+\.\d)", row["reason"])
    assert used is not None, row["reason"]
    ((baseline,),) = project.rows("SELECT compute_seconds FROM grades WHERE number = 0 AND seed = 0")
    assert isinstance(baseline, float)
    assert float(used[2]) == round(2 * baseline + 15, 1)
    project.wait_until_no_process_is_left()
