"""The command line of bubblewrap: namespaces of one's own, and a file system put together from pieces."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPORARY = Path("/tmp")  # noqa: S108 - inside, where it is private
"""Where a command's private folder for temporary files lies inside."""


def commands() -> list[tuple[str, ...]]:
    """Return the ways to start bubblewrap, the strictest first; none where it is not installed.

    Networks are new as well, so a command reaches itself by the loopback device and nobody else.
    """
    program = shutil.which("bwrap")
    if program is None:
        return []
    base = (program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    return [(*base, "--unshare-user", "--disable-userns"), base]


def mounts(
    readable: Mapping[Path, Path],
    writable: Mapping[Path, Path],
    masks: Sequence[Path],
    devices: Sequence[Path],
    scratch: Path,
) -> list[str]:
    """Return the options that build the file system, from the root towards the leaves: the deepest decides.

    `readable` and `writable` map names of paths to where they really lie; `masks` are hidden below them, and
    `scratch` is what both folders for temporary files are.
    """
    # Memory that no process has mapped is nobody's, so its sum needs a bound of its own.
    shared = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    table = {path: ["--ro-bind", str(path)] for path in readable.values()}
    table[Path("/proc")] = ["--proc"]
    table[Path("/dev")] = ["--dev"]
    table[Path("/dev/shm")] = ["--size", str(shared), "--tmpfs"]  # noqa: S108 - private to the sandbox
    table |= {path: ["--dev-bind", str(path)] for path in devices}
    # On disk, where what is written can be measured from outside.
    table |= {path: ["--bind", str(scratch)] for path in (TEMPORARY, Path("/var/tmp"))}  # noqa: S108
    table |= {path: ["--bind", str(path)] for path in writable.values()}
    table |= {path: ["--tmpfs"] if path.is_dir() else ["--ro-bind", "/dev/null"] for path in masks}
    folders = [path for path in masks if path.is_dir()]
    options: list[str] = []
    for path in sorted(table, key=lambda path: len(path.parts)):
        options += [*table[path], str(path)]
    for alias, target in _aliases({**readable, **writable}):
        options += ["--symlink", str(target), str(alias)]
    for path in (*folders, Path("/dev"), Path("/")):  # they lie in memory, which is not for writing
        options += ["--remount-ro", str(path)]
    return options


def _aliases(names: Mapping[Path, Path]) -> list[tuple[Path, Path]]:
    """Return the other names of what is shown that would not exist inside, as links to where it lies."""
    shown = set(names.values())
    made: dict[Path, Path] = {}
    for alias in sorted(names, key=lambda path: len(path.parts)):
        if alias == names[alias] or not made.keys().isdisjoint(alias.parents):
            continue
        if shown.isdisjoint((alias.parent.resolve(), *alias.parent.resolve().parents)):
            made[alias] = names[alias]
    return list(made.items())
