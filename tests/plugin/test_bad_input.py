"""Bad input ends with a clear sentence, exit status 4 or 1, and an untouched checkout."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project


def refused(project: Project, *arguments: str, status: int = 4) -> str:
    """Run a loop that has to be refused and return its output on one line."""
    before = {path: path.read_bytes() for path in project.path.glob("[!.]*/**/*") if path.is_file()}
    found, output = project.loop("--evalloop-candidates", "1", *arguments)
    assert found == status, output
    assert "Traceback (most recent call last)" not in output
    assert "INTERNALERROR" not in output
    assert before == {path: path.read_bytes() for path in project.path.glob("[!.]*/**/*") if path.is_file()}
    project.wait_until_no_process_is_left()
    return " ".join(output.split())


def test_not_a_git_repository(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    output = refused(project)
    assert "git" in output
    assert "git init" in output


def test_no_commit_yet(project: Project) -> None:
    shutil.rmtree(project.path / ".git")
    project.git("init", "--quiet")
    assert "commit" in refused(project)


def test_a_mutable_glob_that_matches_nothing(project: Project) -> None:
    project.setting("evalloop_mutable", '["model/*.py", "models/prompt.md"]')
    assert "evalloop_mutable names 'models/prompt.md', which matches no file" in refused(project)


def test_a_mutable_path_under_evals(project: Project) -> None:
    project.setting("evalloop_mutable", '["**/*.py"]')
    output = refused(project)
    assert "evals/test_letters.py matches '**/*.py' of evalloop_mutable" in output
    assert "conftest.py" in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--evalloop-mutator", "magic"], "--evalloop-mutator is 'magic', which nobody provides"),
        (["--evalloop-mutator", "agent"], "evalloop_agent is not set"),
        (["--evalloop-budget", "many"], "evalloop_budget is 'many', which is no budget"),
        (["--evalloop-budget=-3steps"], "evalloop_budget is '-3steps'"),
        (["--evalloop-time", "soon"], "evalloop_time is 'soon', which is no length of time"),
        (["--evalloop-target", "nan"], "--evalloop-target is 'nan'"),
        (["--evalloop-patience", "0"], "--evalloop-patience is '0'"),
        (["--evalloop-run", "../x"], "'../x' cannot name a run"),
        (["--pdb"], "--pdb cannot debug a loop"),
    ],
)
def test_flags_that_cannot_be_used(project: Project, arguments: list[str], said: str) -> None:
    assert said in refused(project, *arguments)


def test_a_train_command_that_does_not_exist(project: Project) -> None:
    project.setting("evalloop_train", '"trainify --fast"')
    assert "there is no command 'trainify'" in refused(project)


def test_no_train_command_and_no_load(project: Project) -> None:
    project.setting("evalloop_train", '""')
    assert "evalloop_train is not set" in refused(project)
    project.setting("evalloop_load", '""')
    assert "evalloop_load is not set" in refused(project)
    project.setting("evalloop_load", '"model.adapter.load"')
    assert "evalloop_load is 'model.adapter.load', which names no function" in refused(project)


def test_a_train_command_that_fails(project: Project) -> None:
    project.write("model/train.py", "raise SystemExit('out of coffee')")
    output = refused(project, status=1)
    assert "The baseline cannot be trained: crashed, exited with status 1" in output
    assert "out of coffee" in output


def test_a_train_command_that_writes_nothing(project: Project) -> None:
    project.write("model/train.py", "")
    assert "it ended well but wrote nothing to EVALLOOP_ARTIFACTS" in refused(project, status=1)


def test_a_load_function_that_is_missing_and_one_that_raises(project: Project) -> None:
    project.setting("evalloop_load", '"model.adapter:start"')
    assert "load model.adapter:start raised AttributeError" in refused(project, status=1)
    project.setting("evalloop_load", '"model.adaptor:load"')
    assert "No module named 'model.adaptor'" in refused(project, status=1)


def test_a_prepare_command_that_fails(project: Project) -> None:
    project.setting("evalloop_prepare", '"python -c \'raise SystemExit(\\"no corpus: run make setup\\")\'"')
    output = refused(project)
    assert "evalloop_prepare" in output
    assert "no corpus: run make setup" in output


def test_an_eval_that_imports_from_a_mutable_path(project: Project) -> None:
    project.write("evals/helper.py", "import model.adapter\n")
    project.replace("evals/test_letters.py", "import pytest", "import helper\nimport pytest")
    output = refused(project)
    assert "evals/helper.py:1 imports model/adapter.py, which candidates may change" in output


def test_an_eval_that_cannot_be_collected(project: Project) -> None:
    project.write("evals/test_broken.py", "import nowhere\n")
    output = refused(project)
    assert "the evals in evals cannot be collected" in output
    assert "No module named 'nowhere'" in output


def test_a_folder_of_a_newer_version(project: Project) -> None:
    project.write(".evalloop/version", "99\n")
    output = refused(project)
    assert "layout 99" in output
    assert "Upgrade pytest-evalloop" in output
    assert (project.path / ".evalloop/version").read_text() == "99\n"


def test_a_run_that_began_under_another_budget(project: Project) -> None:
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 0, output
    refusal = refused(project, "--evalloop-budget", "7steps")
    assert "run 'main' began with evalloop_budget = '5steps', now it is '7steps'" in refusal


def test_a_branch_that_somebody_moved(project: Project) -> None:
    assert project.loop("--evalloop-candidates", "1")[0] == 0
    project.commit()
    project.git("branch", "--force", "evalloop/main", "HEAD")
    output = refused(project, "--evalloop-candidates", "2")
    assert "where this loop never put it" in output


def test_a_branch_that_is_checked_out(project: Project) -> None:
    assert project.loop("--evalloop-candidates", "1")[0] == 0
    project.git("switch", "--quiet", "evalloop/main")
    output = refused(project, "--evalloop-candidates", "2")
    assert "The branch evalloop/main is checked out in" in output


def test_a_branch_in_the_way(project: Project) -> None:
    project.git("branch", "evalloop/main")
    assert "The branch evalloop/main exists" in refused(project)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while ballast.write(bytes(4096)):
            pass


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="a small disk needs a mount")
def test_a_full_disk_loses_nothing(project: Project) -> None:
    home = project.path / ".evalloop"
    assert project.loop("--evalloop-candidates", "1")[0] == 0
    saved = project.path.parent / "saved"
    shutil.copytree(home, saved, symlinks=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(home)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        shutil.copytree(saved, home, symlinks=True, dirs_exist_ok=True)
        fill(home / "ballast")
        status, output = project.loop("--evalloop-candidates", "3")
        assert status == 4, output
        assert "The disk is full" in output
        assert "run the same command again" in " ".join(output.split())
        (home / "ballast").unlink()
        status, output = project.loop("--evalloop-candidates", "3")
        assert status == 0, output
        assert [row["number"] for row in project.results()] == ["0", "1", "2", "3"]
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)
