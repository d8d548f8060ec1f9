"""Notices what an attack changed or left behind outside of its own places, and sets it right again."""

from __future__ import annotations

import ctypes
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import Project

_SHARED_MEMORY_KEY = 0x7ED00000
_CACHES = ("__pycache__", ".pytest_cache")

Snapshot = dict[Path, tuple[int, bytes]]


@dataclass
class Guard:
    """Watches over a red-team project: the checkout, its settings of git, interpreter, home and suite."""

    project: Project

    def __post_init__(self) -> None:
        self._before = self._take()

    def settle(self) -> list[str]:
        """Return what was damaged or left since the last call, undo it, and begin anew."""
        found = [f"left the process {name}" for name in self._end_processes()]
        now = self._take()
        for path in sorted(self._before.keys() | now.keys()):
            old, new = self._before.get(path), now.get(path)
            if old == new or (old is None and self._grows(path)):
                continue
            if old is not None and new is None and not path.parent.is_dir():
                continue  # a checkout or a cache entry that the loop itself removed
            word = "wrote" if old is None else "removed" if new is None else "changed"
            found.append(f"{word} {path.relative_to(self.project.path.parent)}")
            _restore(path, old)
        _clean_up()
        self._before = self._take()
        return found

    def _end_processes(self) -> Iterator[str]:
        for process in self.project.processes():
            try:
                name = " ".join(process.cmdline())[:80]
                process.kill()
            except psutil.Error:
                continue
            yield name

    def _grows(self, path: Path) -> bool:
        return path.is_relative_to(self.project.path / ".evalloop")

    def _take(self) -> Snapshot:
        root = self.project.path
        inner = root / ".evalloop"
        places = [root.parent / "venv", root.parent / "home"]
        places += [root / ".git" / name for name in ("config", "HEAD", "hooks", "info")]
        places += [entry for entry in root.iterdir() if entry.name not in (".evalloop", ".git")]
        places += [*(inner / "worktrees").glob("*trusted"), *(inner / "artifacts").glob("??")]
        places += (inner / "candidates").glob("*/*/change.diff")
        return {path: content for place in places for path, content in _contents(place)}


def _contents(place: Path) -> Iterator[tuple[Path, tuple[int, bytes]]]:
    """Yield all files and links at or below a place, with their modes."""
    if place.is_symlink():
        yield place, (0, bytes(place.readlink()))
    elif place.is_dir():
        if place.name not in _CACHES:
            for inner in place.iterdir():
                yield from _contents(inner)
    elif place.is_file():
        yield place, (stat.S_IMODE(place.stat().st_mode), place.read_bytes())


def _restore(path: Path, content: tuple[int, bytes] | None) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if content is not None:
        mode, data = content
        if mode:
            path.write_bytes(data)
            path.chmod(mode)
        else:
            path.symlink_to(data.decode())


def _clean_up() -> None:
    """Remove what attacks leave in places that belong to nobody."""
    for folder in (tempfile.gettempdir(), "/dev/shm"):
        for path in Path(folder).glob("redteam-*"):
            if path.is_file():
                path.unlink(missing_ok=True)
    segments = Path("/proc/sysvipc/shm")
    if segments.exists():
        for line in segments.read_text().splitlines()[1:]:
            key, number = map(int, line.split()[:2])
            if key & ~0xFFFF == _SHARED_MEMORY_KEY:
                ctypes.CDLL(None).shmctl(number, 0, None)
