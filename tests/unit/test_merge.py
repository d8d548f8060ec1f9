"""Merging two commits in a real repository, and line by line where git sees a conflict."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.store.merge import merge_lines
from pytest_evalloop.store.workspace import Workspace
from tests.conftest import Project, make_project

lines = st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=8)


@given(lines, st.data())
def test_what_one_side_changed_is_taken_from_it(base: list[bytes], data: st.DataObject) -> None:
    owner = [data.draw(st.sampled_from(["nobody", "ours", "theirs"])) for _ in base]
    ours = [line + b"!" if who == "ours" else line for line, who in zip(base, owner, strict=True)]
    theirs = [line + b"?" if who == "theirs" else line for line, who in zip(base, owner, strict=True)]
    expected = [
        mine if who == "ours" else other for mine, other, who in zip(ours, theirs, owner, strict=True)
    ]
    assert merge_lines(*(b"\n".join(side) for side in (base, ours, theirs))) == b"\n".join(expected)


@given(lines, lines)
def test_both_sides_alike_and_one_side_unchanged_are_no_conflict(
    base: list[bytes], other: list[bytes]
) -> None:
    old, new = b"\n".join(base), b"\n".join(other)
    if old.count(b"\n") == new.count(b"\n"):
        assert merge_lines(old, new, new) == new
        assert merge_lines(old, old, new) == new
        assert merge_lines(old, new, old) == new


def test_a_line_changed_in_two_ways_and_another_number_of_lines_have_no_answer() -> None:
    assert merge_lines(b"a\nb", b"a\nc", b"a\nd") is None
    assert merge_lines(b"a\nb", b"a\nb\nc", b"x\nb") is None


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Project, Workspace, str]:
    project = make_project(tmp_path)
    return project, Workspace.open(project.path), project.git("rev-parse", "HEAD").strip()


def change(project: Project, base: str, *edits: tuple[str, str, str]) -> str:
    project.git("checkout", "--quiet", "--detach", base)
    for name, old, new in edits:
        project.replace(name, old, new)
    project.commit()
    return project.git("rev-parse", "HEAD").strip()


CONFIG = "model/config.py"


def test_neighbouring_lines_are_merged(sides: tuple[Project, Workspace, str]) -> None:
    project, workspace, base = sides
    ours = change(project, base, (CONFIG, "3] = 0", "3] = 2"))
    theirs = change(project, base, (CONFIG, "= 64", "= 16"), ("model/prompt.md", "", "more "))
    tree = workspace.merge(ours, theirs)
    assert tree is not None
    config = project.git("show", f"{tree}:{CONFIG}")
    assert "3] = 2" in config
    assert "= 16" in config
    assert "<<<<" not in config
    assert project.git("show", f"{tree}:model/prompt.md").startswith("more ")


def test_what_both_changed_differently_is_a_conflict(sides: tuple[Project, Workspace, str]) -> None:
    project, workspace, base = sides
    ours, theirs = (change(project, base, (CONFIG, "= 64", f"= {value}")) for value in (16, 4))
    assert workspace.merge(ours, theirs) is None


def test_a_file_removed_by_one_and_changed_by_the_other_is_a_conflict(
    sides: tuple[Project, Workspace, str],
) -> None:
    project, workspace, base = sides
    ours = change(project, base, (CONFIG, "= 64", "= 16"))
    project.git("checkout", "--quiet", "--detach", base)
    (project.path / CONFIG).unlink()
    project.commit()
    assert workspace.merge(ours, project.git("rev-parse", "HEAD").strip()) is None
