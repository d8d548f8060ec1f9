"""Whatever is done to a file that judges, it is noticed; what is not done is not told."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalloop.loop import evidence
from pytest_evalloop.loop.evidence import Evidence, changes


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "suite"
    for name, text in {
        "evals/test_a.py": "assert True\n",
        "evals/deep/er/test_b.py": "assert 1\n",
        "pyproject.toml": "[tool]\n",
        ".git": "gitdir: elsewhere\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/data.txt").write_text("outside\n")
    (root / "evals/link").symlink_to("../../outside")
    return root


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust times at once: the tests wait for the file system's clock to tick instead."""
    monkeypatch.setattr(evidence, "_TICK_NS", -(10**18))


def tick() -> None:
    time.sleep(0.02)


def rewrite(path: Path) -> None:
    path.write_text("assert False\n")


def same_size_and_mtime(path: Path) -> None:
    before = path.stat()
    path.write_text("assert 3>42\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ino,
    )


def hard_link(path: Path) -> None:
    path.unlink()
    path.hardlink_to(path.parents[2] / "outside/data.txt")


def symbolic_link(path: Path) -> None:
    path.rename(path.parents[2] / "outside/moved.py")
    path.symlink_to("../../outside/moved.py")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rewrite, "evals/test_a.py was changed"),
        (same_size_and_mtime, "evals/test_a.py was changed"),
        (hard_link, "evals/test_a.py was changed"),
        (symbolic_link, "evals/test_a.py was replaced by a symbolic link"),
        (folder, "evals/test_a.py was replaced by a folder"),
        (pipe, "evals/test_a.py was replaced by a special file"),
        (Path.unlink, "evals/test_a.py was removed"),
        (lambda path: path.chmod(0o755), "evals/test_a.py had its mode changed from 644 to 755"),
        (lambda path: (path.parent / "deep/er/conftest.py").touch(), "evals/deep/er/conftest.py was added"),
        (lambda path: (path.parent / "empty").mkdir(), "evals/empty was added"),
        (lambda path: (path.parent / "deep").chmod(0o777), "evals/deep had its mode changed from 755 to 777"),
    ],
)
def test_a_change_is_told(tree: Path, change: Callable[[Path], None], told: str) -> None:
    path = tree / "evals/test_a.py"
    path.chmod(0o644)
    (path.parent / "deep").chmod(0o755)
    tick()
    before = Evidence.take({"": tree})
    tick()
    change(path)
    assert changes(before, before.again(), 3) == (f"{told} while candidate 3 was tried",)
    assert changes(before, Evidence.take({"": tree}), 3) == changes(before, before.again(), 3)


def test_nothing_done_is_nothing_told(tree: Path) -> None:
    before = Evidence.take({"": tree, "data/val": tree / "nowhere"})
    assert changes(before, before.again(), 1) == ()
    (tree / "evals/test_a.py").touch()
    (tree / ".git").write_text("gitdir: here\n")
    copy = tree / "copy.py"
    copy.write_text((tree / "evals/test_a.py").read_text())
    copy.chmod((tree / "evals/test_a.py").stat().st_mode)
    copy.replace(tree / "evals/test_a.py")
    assert changes(before, before.again(), 1) == ()


def test_a_change_that_is_undone_was_still_there_in_between(tree: Path) -> None:
    path = tree / "evals/test_a.py"
    before = Evidence.take({"": tree})
    text = path.read_text()
    rewrite(path)
    during = before.again()
    path.write_text(text)
    after = during.again()
    assert changes(before, during, 1)
    assert changes(during, after, 2) == ("evals/test_a.py was changed while candidate 2 was tried",)
    assert changes(before, after, 2) == ()


def test_a_file_changed_just_now_is_read_again_even_if_its_times_are_the_same(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As within one tick of the file system's clock: every time stays as it is.
    now, plain = time.time_ns(), evidence._described
    monkeypatch.setattr(
        evidence, "_described", lambda *given: replace(plain(*given), mtime_ns=now, ctime_ns=now)
    )
    before = Evidence.take({"": tree})
    same_size_and_mtime(tree / "evals/test_a.py")
    assert changes(before, before.again(), 1) == ("evals/test_a.py was changed while candidate 1 was tried",)


@pytest.mark.usefixtures("settled")
def test_only_what_was_touched_is_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counting(file: object, digest: str) -> hashlib._Hash:
        read.append(file)
        return plain(file, digest)  # type: ignore[arg-type]

    plain = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", counting)
    before = Evidence.take({"": tree})
    assert len(read) == 3
    after = before.again().again()
    assert len(read) == 3
    assert {path: entry.content for path, entry in after.entries.items()} == {
        path: entry.content for path, entry in before.entries.items()
    }
    tick()
    (tree / "evals/test_a.py").touch()
    after.again()
    assert len(read) == 4


@pytest.mark.usefixtures("settled")
def test_links_are_recorded_and_not_followed_but_a_place_may_be_one(tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.symlink_to("outside")
    before = Evidence.take({"": tree, "data/val": place, "pyproject.toml": tree / "pyproject.toml"})
    assert before.entries[str(tree / "evals/link")].content == "../../outside"
    assert str(tree / "evals/link/data.txt") not in before.entries
    tick()
    (tmp_path / "outside/data.txt").write_text("other\n")
    (tree / "evals/link").unlink()
    (tree / "evals/link").symlink_to("/")
    place.unlink()
    place.symlink_to(tree / "evals/deep")
    assert changes(before, before.again(), 7) == (
        "data/val was pointed elsewhere while candidate 7 was tried",
        "data/val was removed while candidate 7 was tried",
        "data/val/data.txt was removed while candidate 7 was tried",
        "evals/link was pointed elsewhere while candidate 7 was tried",
    )


def test_what_cannot_be_read_is_told_and_does_not_raise(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Evidence.take({"": tree})
    plain, listed = os.open, os.listdir

    def refuse(path: str, flags: int) -> int:
        if path.endswith("test_a.py"):
            raise PermissionError(13, "Permission denied", path)
        return plain(path, flags)

    def hide(path: str) -> list[str]:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "listdir", hide)
    after = Evidence.take({"": tree})
    assert after.entries[str(tree / "evals/test_a.py")].unreadable == "Permission denied"
    assert changes(before, after, 2) == (
        "evals/deep became unreadable while candidate 2 was tried",
        "evals/deep/er was removed while candidate 2 was tried",
        "evals/deep/er/test_b.py was removed while candidate 2 was tried",
        "evals/test_a.py became unreadable while candidate 2 was tried",
    )
    assert changes(after, after.again(), 2) == ()
    monkeypatch.undo()
    assert "evals/test_a.py became readable while candidate 3 was tried" in changes(after, after.again(), 3)


def test_places_are_folders_and_files_by_their_names(tree: Path) -> None:
    before = Evidence.take({"": tree, "pyproject.toml": tree / "pyproject.toml", "data": tree / "evals/deep"})
    (tree / "pyproject.toml").write_text("")
    (tree / "evals/deep/er/test_b.py").unlink()
    told = changes(before, before.again(), 3)
    assert len(told) == 2
    assert "pyproject.toml was changed while candidate 3 was tried" in told
    later = Evidence.take({"hidden": tree / "later"})
    (tree / "later").write_text("x")
    assert changes(later, later.again(), 1) == ("hidden was added while candidate 1 was tried",)
