"""`pytest --evalloop-canary`: faults planted in a real project, and human text as the control."""

from __future__ import annotations

import re
import signal
import time

import pytest

from pytest_evalloop.suite.faults import BUILTIN
from tests.conftest import Project, make_project

BLAMING = '''

@pytest.mark.failure_mode("FM-02", "writes of animals", tolerate=0.6)
@pytest.mark.parametrize("seed", range(12))
def test_no_animals(generate, seed):
    """A check that blames people: the documents are full of words."""
    text = generate(b"the ", seed=seed, max_bytes=60)
    assert not any(word in text for word in (b"sat", b"cat", b"dog", b"red", b"old", b"ran", b"barn"))
'''
OWN = """


class Mute:
    def __init__(self, model):
        self.token_bytes, self.encode = model.token_bytes, model.encode
        self.nll, self.logits = model.nll, model.logits

    def generate(self, prompt, *, max_bytes, seed, temperature):
        return b""


def pytest_evalloop_faults():
    return {"mute": lambda materials: Mute(materials.baseline()), "broken": lambda materials: 1 / 0}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, int, str]:
    """The project as it is, after a canary."""
    project = make_project(tmp_path_factory.mktemp("canary"))
    return project, *project.run("--evalloop-canary", "-v", "--junitxml", "../junit.xml")


def flat(output: str) -> str:
    return " ".join(output.split())


def section(output: str) -> list[str]:
    """Return the lines of the canary's own section, which is the matrix and the findings."""
    _, *lines = output.partition("= evalloop: canary =")[2].splitlines()
    return lines[: next(index for index, line in enumerate(lines) if line.startswith("====="))]


def row(output: str, begins: str) -> list[str]:
    """Return the marks and the rest of a line of the matrix."""
    line = next(line for line in output.splitlines() if line.startswith(begins))
    return line[len(begins) :].split()


def test_every_fault_turns_the_suite_red_or_is_named(finished: tuple[Project, int, str]) -> None:
    _, status, output = finished
    assert status == 1
    caught = set(re.findall(r"evalloop/canary/(\S+) PASSED", output)) - {"human"}
    missed = set(re.findall(r"evalloop/canary/(\S+) FAILED", output))
    assert caught == {"truncated", "uniform"}
    assert missed == BUILTIN.keys() - caught
    assert all(f"FAIL The suite does not notice the fault {name} (" in output for name in missed)
    assert "2 of 7 faults caught" in output
    assert "5 failed, 3 passed" in output


def test_the_matrix_shows_who_catches_what_and_false_alarms(finished: tuple[Project, int, str]) -> None:
    _, _, output = finished
    mode = row(output, "FM-01 writes what is no letter")
    assert " ".join(mode) == ". . x . . . x 0 of 12 (0 %)"
    assert row(output, "evals/test_letters.py::test_encode") == ["."] * 7
    assert row(output, "evals/test_val_bpb.py::test_val_bpb") == [*["."] * 6, "x"]
    assert max(map(len, section(output))) <= 100


def test_stand_ins_are_cases_of_the_junit_report(finished: tuple[Project, int, str]) -> None:
    project, *_ = finished
    text = (project.path.parent / "junit.xml").read_text()
    assert text.count("<testcase") == 8
    assert 'failures="5"' in text


def test_nothing_is_audited_no_run_begins_and_the_checkout_is_untouched(
    finished: tuple[Project, int, str],
) -> None:
    project, *_ = finished
    assert project.git("status", "--porcelain") == ""
    assert project.git("for-each-ref", "refs/evalloop", "refs/heads/evalloop") == ""
    assert not (project.path / ".evalloop/ledger.db").exists()
    logs = project.path / ".evalloop/candidates/canary/0"
    assert not list(logs.glob("canary-*/blind*"))
    started = {log.parent.name for log in logs.glob("canary-*/host*")}
    assert started == {"canary-untrained", "canary-truncated", "canary-empty-prompt", "canary-human"}


def test_a_second_run_starts_nothing_and_says_the_same(finished: tuple[Project, int, str]) -> None:
    project, status, output = finished
    again, second = project.run("--evalloop-canary", "-v")
    assert again == status
    assert "nothing has changed since it was last run" in second
    assert "is graded" not in second
    assert "grading" not in second
    assert section(second) == section(output)


def test_a_suite_that_cannot_fail_is_refused_by_name(project: Project) -> None:
    project.write("evals/test_val_bpb.py", "def test_val_bpb(val_bpb):\n    assert val_bpb <= 100\n")
    project.write("evals/test_letters.py", "def test_true():\n    assert True\n")
    status, output = project.run("--evalloop-canary")
    assert status == 1
    assert (
        f"No planted fault makes the suite fail: every test passes on each of {', '.join(BUILTIN)}."
        in flat(output)
    )


def test_own_faults_are_planted_and_a_check_that_blames_people_cannot_gate(project: Project) -> None:
    project.write("evals/test_letters.py", (project.path / "evals/test_letters.py").read_text() + BLAMING)
    project.write("evals/conftest.py", OWN.lstrip())
    status, output = project.run("--evalloop-canary", "-v", "-n", "2")
    assert status == 1
    assert "evalloop/canary/mute PASSED" in output
    assert "evalloop/canary/broken FAILED" in output
    text = flat(output)
    assert "The fault broken could not be planted: 'broken' cannot be planted: ZeroDivisionError" in text
    found = re.search(
        r"FAIL FM-02 \(writes of animals\) raises false alarms: its check fails on (\d+) of 12", text
    )
    assert found is not None, output
    assert int(found[1]) > 6
    assert "5 % are allowed. Repair the check, or raise false_alarms in its marker" in text
    assert row(output, "FM-01 writes what is no letter")[-1] == "%)"


@pytest.mark.parametrize("name", ["uniform", "human", "no good"])
def test_a_fault_whose_name_is_taken_or_unfit_is_a_usage_error(project: Project, name: str) -> None:
    project.write(
        "conftest.py",
        (project.path / "conftest.py").read_text()
        + f"\n\ndef pytest_evalloop_faults():\n    return {{{name!r}: lambda materials: None}}\n",
    )
    status, output = project.run("--evalloop-canary")
    assert status == 4, output
    assert repr(name) in output
    assert "pytest_evalloop_faults" in output
    assert "INTERNALERROR" not in output


def test_a_failing_baseline_is_reported_and_nothing_is_planted(project: Project) -> None:
    project.replace("evals/test_val_bpb.py", "5.0", "0.5")
    status, output = project.run("--evalloop-canary", "--evalloop")
    assert status == 1
    assert "The baseline does not pass its own evals" in output
    assert "planting" not in output


def test_control_c_leaves_no_process_and_keeps_nothing_half_done(project: Project) -> None:
    process = project.start("--evalloop-canary")
    assert process.stdout is not None
    for line in process.stdout:
        if "planting" in line:
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode == 2
    project.wait_until_no_process_is_left()
    assert not list(project.path.glob(".evalloop/canary/*.json"))
    assert project.git("worktree", "list").count("\n") == 1
