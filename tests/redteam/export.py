"""Writes each attack as the files that it changes, for trying them on another loop."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from tests.redteam.catalogue import THEMES
from tests.redteam.project import make_fortress


def export(folder: Path) -> int:
    """Write a folder for each attack and control below `folder`, and the project that they change; count them."""
    count = 0
    with tempfile.TemporaryDirectory(prefix="redteam-run-") as temporary:
        project = make_fortress(Path(temporary), {}).path
        shutil.copytree(project, folder / "project", ignore=shutil.ignore_patterns(".git"))
        tree = project / ".evalloop/worktrees/edit"
        for theme in THEMES.values():
            for attack in theme.attacks:
                shutil.rmtree(tree, ignore_errors=True)
                shutil.copytree(project, tree, ignore=shutil.ignore_patterns(".git", ".evalloop"))
                attack.edit(tree)
                place = folder / theme.name / attack.name
                _copy_changes(project, tree, place)
                kind = "an honest candidate" if theme.fair else f"is to be rejected with: {attack.reason}"
                (place / "description.txt").write_text(f"{theme.about}\n{attack.trick}\n{kind}\n")
                count += 1
    return count


def _copy_changes(before: Path, tree: Path, place: Path) -> None:
    place.mkdir(parents=True)
    removed = [
        path.relative_to(before).as_posix()
        for path in before.rglob("*")
        if not {".git", ".evalloop"} & set(path.relative_to(before).parts)
        and path.is_file()
        and not (tree / path.relative_to(before)).exists()
    ]
    if removed:
        (place / "removed.txt").write_text("\n".join(sorted(removed)) + "\n")
    for path in tree.rglob("*"):
        name = path.relative_to(tree)
        target = place / "files" / name
        if path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.readlink())
        elif path.is_file() and not _same(path, before / name):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        elif path.is_fifo():
            (place / "pipe.txt").write_text(f"{name} is a pipe\n")


def _same(path: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.read_bytes() == other.read_bytes() and path.stat().st_mode == other.stat().st_mode
    return False
