"""Changed code is tried out for two steps, the host and a few bytes, before a long training is spent on it."""

from __future__ import annotations

from tests.conftest import Project

MUTATOR = """
from pytest_evalloop import Proposal

EDITS = {
    1: ("model/train.py", "config = Config()", "config = Config(depth=3)"),
    2: ("model/adapter.py", "def nll(", "def nil("),
    3: ("model/config.py", "] = 0", "] = 1"),
    4: ("model/adapter.py", "counts.json", "weights.json"),
}


class Careless:
    def propose(self, brief):
        name, old, new = EDITS[brief.number]
        path = Path(brief.worktree, name)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return Proposal(f"edit {name}")


def pytest_evalloop_mutators() -> None:
    return {"careless": lambda settings: Careless()}
"""


def test_broken_code_is_found_out_after_two_steps(project: Project) -> None:
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATOR)
    project.setting("evalloop_tryout", '"0.01s"')
    project.commit()
    status, output = project.loop("--evalloop-candidates", "4", "--evalloop-mutator", "careless")
    assert status == 0, output
    untrainable, unloadable, constant, misnamed = project.results()[1:]
    assert untrainable["status"] == unloadable["status"] == "crash"
    assert untrainable["reason"].startswith("training crashed: "), output
    assert untrainable["reason"].endswith(" got an unexpected keyword argument 'depth'")
    assert "depth" in project.rows("SELECT detail FROM candidates WHERE number = 1")[0][0]  # type: ignore[operator]
    assert unloadable["reason"].startswith("after two steps of training: "), output
    assert "nll" in unloadable["reason"]
    assert project.rows("SELECT DISTINCT number FROM trainings WHERE number > 0") == [(3,)]
    assert constant["verdict"] == "accepted", output
    assert "candidate 3: trying" not in output
    assert misnamed["reason"].startswith("after two steps of training: "), output
    assert "weights.json" in misnamed["reason"]
    assert output.index("baseline: trying") < output.index("candidate 1: trying")


def test_where_two_steps_say_nothing_nothing_is_tried_out(project: Project) -> None:
    project.write("conftest.py", (project.path / "conftest.py").read_text() + MUTATOR)
    project.replace(
        "model/train.py", "    for step in range(steps)", "    assert steps > 2\n    for step in range(steps)"
    )
    project.setting("evalloop_tryout", '"0.01s"')
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "careless")
    assert status == 0, output
    assert "with two steps, not even the baseline works" in output
    assert project.rows("SELECT DISTINCT number FROM trainings WHERE number > 0") == [(1,)]
