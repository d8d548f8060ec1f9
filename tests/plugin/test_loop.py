"""`pytest --evalloop` in a real repository with real processes."""

from __future__ import annotations

import itertools
import os
import pty
import re
import signal
from pathlib import Path

import pytest

from pytest_evalloop.candidate import process
from tests.conftest import Project, make_project


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """A project after a loop of four candidates, with the loop's output; tests go on with it in their order."""
    project = make_project(tmp_path_factory.mktemp("finished"))
    status, output = project.loop("--evalloop-candidates", "4", "-v", "--junitxml", "../junit.xml")
    assert status == 0, output
    return project, output


def test_model_and_prompt_changes_are_accepted_and_become_commits(project: Project) -> None:
    project.write("model/prompt.md", "zq zq zq zq\n")
    project.replace("model/config.py", "order: Literal[0, 1, 2, 3] = 0", "order: Literal[0, 1, 2, 3] = 2")
    project.setting("evalloop_level", '"0.05"')  # six documents are few to show what a primer is worth
    project.commit()
    status, output = project.loop("--evalloop-candidates", "4")
    assert status == 0, output
    mutators = {row["mutator"] for row in project.results() if row["status"] == "keep"}
    assert mutators == {"baseline", "prompt", "search"}, output
    log = project.git("log", "--format=%(trailers:key=Mutator,valueonly,separator=)", "evalloop/main")
    assert {"prompt", "search"} <= set(log.split())


def test_the_users_checkout_is_untouched(finished: tuple[Project, str]) -> None:
    project, _ = finished
    assert project.git("status", "--porcelain") == ""
    assert project.git("branch", "--show-current").strip() == "main"
    assert project.git("worktree", "list").count("\n") == 1


def test_results_ledger_branch_and_output_agree(finished: tuple[Project, str]) -> None:
    project, output = finished
    rows = project.results()
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[0])[:5] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    kept = [row for row in rows if row["status"] == "keep"]
    tip = project.git("rev-parse", "evalloop/main").strip()
    assert tip.startswith(kept[-1]["commit"])
    bits = [float(row["val_bpb"]) for row in kept]
    assert all(later < earlier for earlier, later in itertools.pairwise(bits))
    trailer = project.git("log", "-1", "--format=%(trailers:key=Val-BPB,valueonly)", tip).strip()
    assert trailer == kept[-1]["val_bpb"]
    accepted = len(kept) - 1
    assert re.search(rf"{accepted} accepted", output)
    assert re.search(r"overhead of the loop itself \d+\.\d s per candidate", output)
    assert project.rows("SELECT count(*) FROM candidates WHERE verdict IS NULL") == [(0,)]


def test_every_candidate_stays_reachable_with_its_diff_and_logs(finished: tuple[Project, str]) -> None:
    project, _ = finished
    for row in project.results()[1:]:
        commit = project.git("rev-parse", f"refs/evalloop/main/{row['number']}").strip()
        diff = (project.path / f".evalloop/candidates/main/{row['number']}/change.diff").read_text()
        assert project.git("diff", f"{commit}~", commit) == diff


def test_junit_holds_one_case_a_candidate(finished: tuple[Project, str]) -> None:
    project, _ = finished
    text = (project.path.parent / "junit.xml").read_text()
    assert text.count("<testcase") == 5
    assert 'failures="0"' in text


def test_grading_the_incumbents_tree_gives_the_bpb_of_the_ledger(finished: tuple[Project, str]) -> None:
    project, _ = finished
    kept = [row for row in project.results() if row["status"] == "keep"]
    project.git("checkout", "--quiet", "--detach", "evalloop/main")
    status, output = project.run("evals")
    assert status == 0
    assert f"val_bpb {float(kept[-1]['val_bpb']):.4f}" in output
    assert "training the working tree" not in output


def test_the_same_command_is_done_and_more_candidates_go_on_from_the_snapshot(
    finished: tuple[Project, str],
) -> None:
    project, _ = finished
    status, output = project.loop("--evalloop-candidates", "4")
    assert status == 0
    assert "4 candidates were tried" in output
    project.replace(
        "model/config.py", "strength: Literal[1, 4, 16, 64] = 64", "strength: Literal[1, 4, 16, 64] = 1"
    )
    status, output = project.loop("--evalloop-candidates", "5")
    assert status == 0
    assert "going on with run main: 4 candidates are decided" in output
    assert "the working tree has changed since run main began" in output
    assert len(project.results()) == 6


def test_uncommitted_and_untracked_files_are_part_of_the_baseline(project: Project) -> None:
    project.replace("model/config.py", "order: Literal[0, 1, 2, 3] = 0", "order: Literal[0, 1, 2, 3] = 2")
    project.write(
        "evals/test_more.py", "def test_more(candidate):\n    assert candidate.id.startswith('main/')\n"
    )
    before = project.git("status", "--porcelain")
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 0, output
    assert project.git("status", "--porcelain") == before
    assert "Literal[0, 1, 2, 3] = 2" in project.git("show", "refs/evalloop/main/0:model/config.py")
    assert (
        project.git("rev-parse", "refs/evalloop/main/0~").strip() == project.git("rev-parse", "HEAD").strip()
    )


def test_a_failing_baseline_is_reported_first_and_nothing_is_tried(project: Project) -> None:
    project.replace("evals/test_val_bpb.py", "5.0", "0.5")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "2")
    assert status == 1
    assert "The baseline does not pass its own evals" in output
    assert "evals/test_val_bpb.py::test_val_bpb failed: " in output
    project.replace("evals/test_val_bpb.py", "0.5", "5.0")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 0, output


def test_a_suite_without_tests_cannot_gate(project: Project) -> None:
    project.write("evals/test_val_bpb.py", "")
    project.write("evals/test_letters.py", "")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 1
    assert "there are no tests in evals, so nothing can gate" in output


def test_a_suite_without_the_objective_cannot_gate(project: Project) -> None:
    project.write("evals/test_val_bpb.py", "")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 1
    assert "no test in evals uses the fixture val_bpb" in output


def test_workers_are_forwarded_to_the_eval_processes(project: Project) -> None:
    status, output = project.loop("--evalloop-candidates", "1", "-n", "2")
    assert status == 0, output
    log = next(project.path.glob(".evalloop/candidates/main/1/grade-seed-0/evals.log")).read_text()
    assert "2 workers" in log


def test_a_project_brings_its_own_mutator_and_out_of_scope_changes_are_rejected(project: Project) -> None:
    project.write(
        "conftest.py",
        (project.path / "conftest.py").read_text()
        + """
from pytest_evalloop import Proposal


class Careless:
    def propose(self, brief):
        Path(brief.worktree, "evals/test_val_bpb.py").write_text("def test_val_bpb(val_bpb): pass")
        return Proposal("make the suite easier")


class Broken:
    def propose(self, brief):
        raise RuntimeError("a bug of its own")


class Crashing:
    def propose(self, brief):
        Path(brief.worktree, "model/train.py").write_text("raise SystemExit('no such luck')")
        return Proposal("train no more")


def pytest_evalloop_mutators() -> None:
    return {"careless": lambda s: Careless(), "broken": lambda s: Broken(), "crashing": lambda s: Crashing()}
""",
    )
    project.commit()
    mutators = [word for name in ("careless", "broken", "crashing") for word in ("--evalloop-mutator", name)]
    status, output = project.loop("--evalloop-candidates", "3", *mutators)
    assert status == 0, output
    _, careless, broken, crashing = project.results()
    assert careless["status"] == "discard"
    assert careless["reason"].startswith("out of scope: evals/test_val_bpb.py")
    assert broken["status"] == crashing["status"] == "crash"
    assert "RuntimeError: a bug of its own" in broken["reason"]
    assert crashing["reason"].startswith("training crashed")
    assert project.git("rev-parse", "evalloop/main") == project.git("rev-parse", "refs/evalloop/main/0")


def test_an_agent_is_a_real_process_with_a_brief_on_its_standard_input(
    project: Project, tmp_path: Path
) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import pathlib, re, sys\n"
        "brief = sys.stdin.read()\n"
        f"pathlib.Path({str(tmp_path / 'brief.md')!r}).write_text(brief)\n"
        "path = pathlib.Path('model/config.py')\n"
        "path.write_text(path.read_text().replace('= 0  #', '= 1  #'))\n"
        "print('DESCRIPTION: look at one byte of context')\n"
    )
    project.write("program.md", "Prefer small ideas.\n")
    project.setting("evalloop_agent", f"\"python '{agent}'\"")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "agent")
    assert status == 0, output
    row = project.results()[1]
    assert (row["status"], row["mutator"]) == ("keep", "agent")
    assert row["description"] == "look at one byte of context"
    brief = (tmp_path / "brief.md").read_text()
    assert "Prefer small ideas." in brief
    assert "model/*.py" in brief


def test_control_c_stops_cleanly_and_the_same_command_goes_on(project: Project) -> None:
    process = project.start("--evalloop", "--evalloop-candidates", "3")
    assert process.stdout is not None
    for line in process.stdout:
        if "candidate 2: grading" in line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the same command goes on" in rest
    project.wait_until_no_process_is_left()
    status, output = project.loop("--evalloop-candidates", "3")
    assert status == 0, output
    assert [row["number"] for row in project.results()] == ["0", "1", "2", "3"]


def test_two_loops_on_one_run_name_are_refused_and_two_names_are_not(project: Project) -> None:
    process = project.start("--evalloop", "--evalloop-candidates", "3")
    assert process.stdout is not None
    for line in process.stdout:
        if "baseline: training" in line:
            break
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 4
    assert f"process {process.pid}" in output
    assert "choose another --evalloop-run" in output
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-run", "other")
    assert status == 0, output
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_a_terminal_gets_a_live_line_and_the_verdicts_above_it(project: Project) -> None:
    leader, follower = pty.openpty()
    environment = process.clean_environment(TERM="xterm-256color", COLUMNS="160", LINES="40")
    pid = os.fork()
    if pid == 0:  # the child becomes pytest on the terminal
        os.close(leader)
        os.chdir(project.path)
        os.setsid()
        for descriptor in range(3):
            os.dup2(follower, descriptor)
        os.execvpe(
            "python", ["python", "-m", "pytest", "--evalloop", "--evalloop-candidates", "2"], environment
        )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:
        pass  # the terminal closes when its last process ends
    _, status = os.waitpid(pid, 0)
    os.close(leader)
    assert os.waitstatus_to_exitcode(status) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "incumbent 3.8513" in text
    assert re.search(r"main/2 (accepted|rejected): search", text)
