"""`pytest evals` without the loop: the working tree is trained once and graded behind the wall."""

from __future__ import annotations

import re
import shutil

import pytest

from pytest_evalloop.candidate.places import PACKAGE
from tests.conftest import Project


def bpb(output: str) -> str:
    found = re.search(r"val_bpb (\S+) over 6 documents", output)
    assert found is not None, output
    return found[1]


def test_it_trains_once_and_grades_the_same_again(project: Project) -> None:
    status, output = project.run("evals")
    assert status == 0, output
    assert "training the working tree for 5steps" in output
    assert "PASS FM-01 (writes what is no letter): 0 of 12 cases failed" in output
    again, second = project.run("evals")
    assert again == 0
    assert "training the working tree" not in second
    assert bpb(second) == bpb(output)


def test_a_changed_model_is_trained_anew_and_changed_evals_or_primer_are_not(project: Project) -> None:
    _, first = project.run("evals")
    project.replace("evals/test_val_bpb.py", "5.0", "5.1")
    project.write("model/prompt.md", "the dog ran\n")
    assert "training the working tree" not in project.run("evals")[1]
    project.replace("model/config.py", "order: Literal[0, 1, 2, 3] = 0", "order: Literal[0, 1, 2, 3] = 1")
    status, output = project.run("evals")
    assert status == 0
    assert "training the working tree" in output
    assert float(bpb(output)) < float(bpb(first))


def test_two_workers_give_the_same_verdicts_and_train_once(project: Project) -> None:
    project.replace("evals/test_letters.py", "tolerate=0.5", "tolerate=0.1")
    alone, output = project.run("evals", "-rA")
    together, parallel = project.run("evals", "-rA", "-n", "2")
    assert alone == together == 1
    assert bpb(output) == bpb(parallel)
    verdicts = re.compile(r"^(PASSED|FAILED) (evals/\S+)", re.MULTILINE)
    assert sorted(verdicts.findall(output)) == sorted(verdicts.findall(parallel))
    assert "FAILED evals/test_letters.py::FM-01" in parallel


def test_a_rate_over_its_bound_fails_the_session_with_examples(project: Project) -> None:
    project.replace("evals/test_letters.py", "> 20", "> 24 - seed % 3")
    status, output = project.run("evals")
    assert status == 1
    assert re.search(
        r"FM-01 \(writes what is no letter\): \d+ of 12 cases failed, so up to [\d.]+% fail", output
    )
    assert re.search(r"for example\n\s+evals/test_letters.py::test_letters\[\d+\]: AssertionError", output)


def test_an_error_in_a_case_is_never_tolerated(project: Project) -> None:
    project.replace("evals/test_letters.py", "    text = ", "    1 / (seed - 3)\n    text = ")
    status, output = project.run("evals")
    assert status == 1
    assert "ZeroDivisionError" in output


def test_git_status_is_untouched(project: Project) -> None:
    before = project.git("status", "--porcelain")
    project.run("evals")
    assert project.git("status", "--porcelain") == before == ""


def test_a_candidate_that_cannot_be_loaded_stops_the_session_with_one_clear_message(project: Project) -> None:
    project.replace(
        "model/adapter.py",
        "def load(artifacts: Path):",
        "def load(artifacts: Path):\n    raise OSError('no')",
    )
    status, output = project.run("evals")
    assert status == 1
    assert "load model.adapter:load raised OSError: no" in output
    assert output.count("Traceback (most recent call last)") == 1


def test_a_missing_val_documents_fixture_says_what_to_define(project: Project) -> None:
    project.write("conftest.py", "")
    status, output = project.run("evals/test_val_bpb.py")
    assert status == 1
    assert "val_documents is not defined. Define it in conftest.py" in output


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ('"FM-01"', "failure_mode needs an id and a title"),
        ('"FM-01", "x", tolerate=1.5', "tolerate is 1.5"),
        ('"FM-01", "x", tolerated=0.5', "it does not know tolerated"),
    ],
)
def test_a_marker_that_makes_no_sense_is_a_usage_error(project: Project, marker: str, complaint: str) -> None:
    project.replace("evals/test_letters.py", '"FM-01", "writes what is no letter", tolerate=0.5', marker)
    status, output = project.run("evals")
    assert status == 4
    assert complaint in output


def test_an_eval_that_imports_what_candidates_change_is_refused_with_its_line(project: Project) -> None:
    project.replace("evals/test_val_bpb.py", "def test", "from model.adapter import load\n\n\ndef test")
    status, output = project.run("evals")
    assert status == 4
    assert "evals/test_val_bpb.py:1 imports model/adapter.py, which candidates may change" in output


def test_data_is_prepared_before_any_fixture_reads_it(project: Project) -> None:
    project.setting("evalloop_prepare", '"python prepare.py"')
    project.write(
        "prepare.py",
        "import os, pathlib, shutil\n"
        "root = pathlib.Path(os.environ['EVALLOOP_ROOT'])\n"
        "shutil.copytree(root / 'data/val', root / '.evalloop/data/val', dirs_exist_ok=True)\n",
    )
    project.replace("conftest.py", '"data/val"', '".evalloop/data/val"')
    project.write("evals/test_a.py", "def test_a(val_documents):\n    assert len(val_documents) == 6\n")
    status, output = project.run("evals", "-n", "2")
    assert status == 0, output


def test_data_that_cannot_be_prepared_stops_the_session(project: Project) -> None:
    project.setting("evalloop_prepare", '"python prepare.py"')
    project.write("prepare.py", "raise SystemExit('no corpus: run make setup')\n")
    status, output = project.run("evals")
    assert status == 1
    assert "evalloop_prepare (python prepare.py) failed: exited with status 1" in output
    assert "no corpus: run make setup" in output


@pytest.mark.parametrize("mode", ["bubblewrap", "landlock", "watchdog"])
def test_a_checkout_of_the_plugin_grades_with_its_own_copy(project: Project, mode: str) -> None:
    if mode == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed here")
    shutil.copytree(PACKAGE, project.path / PACKAGE.name)
    status, output = project.run("evals", "-o", f"evalloop_sandbox={mode}")
    assert status == 0, output


def test_a_loop_may_stand_in_a_checkout_of_the_plugin(project: Project) -> None:
    shutil.copytree(PACKAGE, project.path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 0, output
