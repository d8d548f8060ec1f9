"""The grading gets ready while the training still runs, and runs no test before its end."""

from __future__ import annotations

import time
from pathlib import Path

from tests.conftest import Project, kill, make_project

SUITE = '''

import json
import os


def _signal(name):
    if "EVALLOOP_GATE" in os.environ:
        folder = Path(json.loads(os.environ["EVALLOOP_ASSIGNMENT"])["root"], "signals")
        (folder / name).touch()


def pytest_collection_finish(session):
    """Say that a process which waits at its gate has collected."""
    _signal("collected")


def pytest_runtest_setup(item):
    """Say that a test is about to run."""
    _signal("ran")
'''
WAIT = """
    first = (os.environ["EVALLOOP_BUDGET"], os.environ["EVALLOOP_SEED"]) == ("5steps", "0")
    signals, deadline = Path(os.environ["SIGNALS"]), time.monotonic() + 60
    while first and not (signals / os.environ["AWAITED"]).exists():
        assert time.monotonic() < deadline, "nothing got ready"
        time.sleep(0.01)
    assert not first or not (signals / "ran").exists(), "a test ran before there was anything to test"
"""
ARTIFACTS = '    artifacts = Path(os.environ["EVALLOOP_ARTIFACTS"])\n'
BASELINE = ("--evalloop-target", "8")  # which it reaches itself


def make_waiting(folder: Path, after: str = "") -> Project:
    """A project whose first training does not end before there is a certain file in `signals`; then comes `after`."""
    project = make_project(folder)
    (project.path / "signals").mkdir()
    project.write("signals/.gitignore", "*\n")
    project.setting("evalloop_readable", '["signals"]')
    project.setting("evalloop_environment", '["SIGNALS", "AWAITED"]')
    project.write("conftest.py", (project.path / "conftest.py").read_text() + SUITE)
    project.replace("model/train.py", ARTIFACTS, WAIT + after + ARTIFACTS)
    project.replace("model/train.py", "import os\n", "import os\nimport time\n")
    project.commit()
    return project


def told(project: Project, awaited: str) -> dict[str, str]:
    return {"SIGNALS": str(project.path / "signals"), "AWAITED": awaited}


def test_the_suite_is_collected_while_the_training_runs_and_run_when_it_has_ended(tmp_path: Path) -> None:
    project = make_waiting(tmp_path)
    status, output = project.loop(*BASELINE, **told(project, "collected"))
    assert status == 0, output
    assert (project.path / "signals/ran").exists()
    project.wait_until_no_process_is_left()


def test_what_got_ready_for_a_training_that_crashes_is_ended_and_has_run_nothing(tmp_path: Path) -> None:
    project = make_waiting(tmp_path, '    raise RuntimeError("at the very end")\n')
    status, output = project.loop(*BASELINE, **told(project, "collected"))
    assert status != 0
    assert "RuntimeError: at the very end" in output
    assert not (project.path / "signals/ran").exists()
    project.wait_until_no_process_is_left()


def test_a_kill_while_a_grading_waits_leaves_no_process_and_the_loop_goes_on(tmp_path: Path) -> None:
    project = make_waiting(tmp_path)
    with project.start("--evalloop", *BASELINE, **told(project, "finish")) as process:
        deadline = time.monotonic() + 60
        while not (project.path / "signals/collected").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kill(process)
    project.wait_until_no_process_is_left()
    assert not (project.path / "signals/ran").exists()
    (project.path / "signals/finish").touch()
    status, output = project.loop(*BASELINE, **told(project, "finish"))
    assert status == 0, output
    assert [row["verdict"] for row in project.results()] == ["accepted"]


def test_workers_wait_as_well(tmp_path: Path) -> None:
    project = make_waiting(tmp_path)
    status, output = project.loop(*BASELINE, "-n", "2", **told(project, "collected"))
    assert status == 0, output
    project.wait_until_no_process_is_left()
