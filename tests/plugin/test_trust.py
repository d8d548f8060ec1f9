"""What nobody may touch: hidden texts in a change, the data while the loop runs, and the vault until its end."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Project

VAULT = """

@pytest.fixture(scope="session")
def vault_documents(evalloop_root: Path):
    return [Document(path.stem, path.read_bytes()) for path in sorted((evalloop_root / "data/vault").iterdir())]
"""
MUTATORS = '''
from pytest_evalloop import Proposal


class Copying:
    """Puts a line of a validation document into the primer, as somebody would who knows it by heart."""

    def propose(self, brief):
        source = Path({root!r}, "data/val/v0.txt").read_text()
        Path(brief.worktree, "model/prompt.md").write_text(source[:70].upper())
        return Proposal("a familiar line")


class Meddling:
    """Makes the validation documents easier while nobody looks."""

    def propose(self, brief):
        for path in Path({root!r}, "data/val").iterdir():
            path.write_bytes(b"a" * 400)
        config = Path(brief.worktree, "model/config.py")
        config.write_text(config.read_text().replace("= 0  # bytes", "= 1  # bytes"))
        return Proposal("easier documents")


class Remembering:
    """Carries validation text compressed, and counts it as if it had been trained on."""

    def propose(self, brief):
        import base64, zlib

        known = b"".join(path.read_bytes() for path in sorted(Path({root!r}, "data/val").iterdir()))
        data = base64.b85encode(zlib.compress(known, 9))
        loop = "    for step in range(steps):"
        more = f"    documents = [__import__('zlib').decompress(__import__('base64').b85decode({{data!r}}))] * 50"
        train = Path(brief.worktree, "model/train.py")
        train.write_text(train.read_text().replace(loop, more + chr(10) + loop))
        config = Path(brief.worktree, "model/config.py")
        config.write_text(config.read_text().replace("= 0  # bytes", "= 3  # bytes").replace("= 64  #", "= 1  #"))
        return Proposal("more data")


def pytest_evalloop_mutators():
    return {{"remembering": lambda s: Remembering(), "copying": lambda s: Copying(), "meddling": lambda s: Meddling()}}
'''


@pytest.fixture
def guarded(project: Project) -> Project:
    """The n-gram project with a vault, and with mutators that cheat."""
    for index in range(4):
        text = (project.path / f"data/train/t{index}.txt").read_text()
        project.write(f"data/vault/w{index}.txt", " ".join(reversed(text.split(" "))))
    known = (project.path / "data/val/v0.txt").read_text()
    project.write(
        "data/val/v0.txt", "no zebra ever juggled quinces beside a frozen volcano at midnight " + known
    )
    project.setting("evalloop_hidden", '["data/val", "data/vault"]')
    conftest = (project.path / "conftest.py").read_text()
    project.write("conftest.py", conftest + VAULT + MUTATORS.format(root=str(project.path)))
    project.commit()
    return project


def test_hidden_text_in_a_change_is_rejected_before_training_and_never_quoted(guarded: Project) -> None:
    status, output = guarded.loop("--evalloop-candidates", "1", "--evalloop-mutator", "copying")
    assert status == 0, output
    row = guarded.results()[1]
    assert row["verdict"] == "rejected"
    assert row["reason"].startswith("contamination: model/prompt.md carries ")
    assert "the hidden document data/val/" in row["reason"]
    assert "ZEBRA EVER JUGGLED" in guarded.git("show", "refs/evalloop/main/1:model/prompt.md")
    assert "zebra" not in output.casefold()
    assert guarded.rows("SELECT count(*) FROM trainings WHERE number = 1") == [(0,)]


def test_a_candidate_that_changes_the_data_is_rejected_and_stops_the_loop(guarded: Project) -> None:
    before = {path.name: path.read_bytes() for path in (guarded.path / "data/val").iterdir()}
    status, output = guarded.loop("--evalloop-candidates", "3", "--evalloop-mutator", "meddling")
    assert status == 1, output
    assert "What judges the candidates has changed, so the loop stops at candidate 1" in output
    assert "data/val/v0.txt was changed while candidate 1 was tried" in output
    row = guarded.results()[1]
    assert (row["verdict"], len(guarded.results())) == ("rejected", 2)
    for name, content in before.items():
        (guarded.path / "data/val" / name).write_bytes(content)
    status, output = guarded.loop("--evalloop-candidates", "2", "--evalloop-mutator", "search")
    assert status == 0, output
    assert guarded.results()[2]["verdict"] == "accepted"


def test_the_vault_is_read_once_a_model_and_stands_in_ledger_and_summary(guarded: Project) -> None:
    status, output = guarded.loop("--evalloop-candidates", "2", "--evalloop-mutator", "search")
    assert status == 0, output
    assert "vault: honest gain " in output
    assert "vault: baseline " in output
    assert "CONTAMINATION" not in output
    numbers = guarded.rows("SELECT number FROM vault WHERE seed = 0 ORDER BY id")
    kept = guarded.rows("SELECT number FROM candidates WHERE verdict = 'accepted' ORDER BY number")
    assert numbers == kept
    assert len(numbers) >= 2
    fresh = guarded.rows("SELECT number, seed FROM vault WHERE seed > 0 ORDER BY number")
    assert fresh == [(0, 10**6), (kept[-1][0], 10**6)]
    assert re.search(r"vault: honest gain \d\.\d+ ± \d\.\d+ bpb under 1 fresh seed ", output)
    status, output = guarded.loop("--evalloop-candidates", "2", "--evalloop-mutator", "search")
    assert status == 0, output
    assert "vault: honest gain " in output
    assert guarded.rows("SELECT number FROM vault WHERE seed = 0 ORDER BY id") == numbers
    assert guarded.rows("SELECT count(*) FROM vault") == [(len(numbers) + 2,)]


def test_a_candidate_that_knows_validation_by_heart_in_a_form_nobody_can_read_is_rejected(
    guarded: Project,
) -> None:
    status, output = guarded.loop("--evalloop-candidates", "1", "--evalloop-mutator", "remembering")
    assert status == 0, output
    row = guarded.results()[1]
    assert row["verdict"] == "rejected"
    assert row["reason"] == "contamination: validation improved far more than documents that nobody has seen"
    assert float(row["val_bpb"]) < 1.5


def test_without_a_vault_nothing_is_said_of_one(project: Project) -> None:
    _, output = project.loop("--evalloop-candidates", "1")
    assert "vault: " not in output
    assert project.rows("SELECT count(*) FROM vault") == [(0,)]


def test_code_of_a_mutators_own_does_not_run_without_a_sandbox_unless_asked(guarded: Project) -> None:
    guarded.setting("evalloop_sandbox", '"watchdog"')
    guarded.commit()
    status, output = guarded.loop("--evalloop-candidates", "1", "--evalloop-mutator", "copying")
    assert status == 4
    assert "The mutator 'copying' writes code of its own, and no sandbox would keep it in" in output
    assert "--evalloop-unsafe" in output
    chosen = ("--evalloop-candidates", "1", "--evalloop-mutator", "copying")
    status, output = guarded.loop(*chosen, "--evalloop-unsafe")
    assert status == 0, output
    assert "evalloop: WARNING: There is no sandbox" in output


def test_values_of_the_search_space_run_anywhere_with_a_warning(project: Project) -> None:
    project.setting("evalloop_sandbox", '"watchdog"')
    project.commit()
    status, output = project.loop("--evalloop-candidates", "1", "--evalloop-mutator", "search")
    assert status == 0, output
    assert "evalloop: WARNING: There is no sandbox" in output


CACHING = '''"""Keeps what it saw, as snapshot and coverage tools do."""

from hypothesis import given, settings, strategies as st
from pathlib import Path


def test_cached(candidate):
    """What was seen is kept."""
    with Path("{name}").open("a") as file:
        file.write(candidate.id)


@settings(derandomize=True, max_examples=5)
@given(st.integers())
def test_numbers(number):
    """Any number will do."""
    assert number == number + 0
'''


def test_evals_may_keep_caches_that_git_ignores(project: Project) -> None:
    project.write("evals/test_cached.py", CACHING.format(name="seen.cache"))
    project.write(".gitignore", "__pycache__/\n*.cache\n")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "2")
    assert status == 0, output


@pytest.mark.parametrize(("name", "ignored"), [("seen.txt", "*.cache"), ("conftest.pyc", "*.pyc")])
def test_evals_may_not_write_what_git_or_python_heeds(project: Project, name: str, ignored: str) -> None:
    project.write("evals/test_cached.py", CACHING.format(name=name))
    project.write(".gitignore", f"__pycache__/\n{ignored}\n")
    project.commit()
    status, output = project.loop("--evalloop-candidates", "2")
    assert status == 1
    assert f"{name} was added while candidate 1 was tried" in output
