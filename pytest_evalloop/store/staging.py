"""From the files of a worktree to a tree of git, without running or believing anything that lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytest_evalloop.store.git import Git, GitError
from pytest_evalloop.store.home import StoreError, disk

LARGEST: Final = 64 * 2**20
"""Bytes that all new and changed files of a candidate may have together: they stay in the user's repository."""

_LINK, _MODULE = "120000", "160000"


class UnfitTree(StoreError):  # noqa: N818 - reads as what it reports
    """A worktree whose content cannot become a commit; it is the candidate's fault, not the loop's."""


def stage(git: Git, worktree: Path, folder: Path, excludes: Sequence[Path], null: str) -> str:
    """Return the tree of a worktree's content.

    `git` is the plain repository; `folder` is private, holds the `index` of when the checkout was made, and is
    used for copies. `excludes` are files of ignore patterns besides the tree's own, `null` is git's name for no
    object. Raises UnfitTree if a changed path cannot be kept by git or is neither file nor link, or if all
    changes exceed `LARGEST`.
    """
    git = git.adding(GIT_WORK_TREE=worktree, GIT_INDEX_FILE=folder / "index")
    # A tracked submodule stays what it was: git would look into it, and believe what it finds there.
    tracked = git.run("diff-files", "--name-only", "-z", "--ignore-submodules=all")
    options = ["--exclude-per-directory=.gitignore", "--exclude=__pycache__/"]
    options += [f"--exclude-from={path}" for path in excludes]
    others = git.run("ls-files", "--others", "-z", *options)
    paths = [path for path in (tracked + others).split(b"\0") if path]
    if paths:
        entries = _entries(git, os.fsencode(worktree), paths, folder, null)
        try:
            git.run("update-index", "--replace", "-z", "--index-info", stdin=entries)
        except GitError as error:
            raise UnfitTree(f"The candidate has a path that git does not keep: {error}") from error
    return git.line("write-tree")


def _entries(git: Git, worktree: bytes, paths: Sequence[bytes], folder: Path, null: str) -> bytes:
    """Store the changed files and return the lines for `git update-index --index-info`, deletions first."""
    gone: list[bytes] = []
    kept: list[tuple[str, bytes]] = []
    total = 0
    for path in paths:
        mode, content = _take(worktree, path)
        if content is None:
            gone.append(f"0 {null}\t".encode() + path + b"\0")
            continue
        total += len(content)
        if total > LARGEST:
            raise UnfitTree(
                f"The candidate's new and changed files have more than {LARGEST // 2**20} MiB together, "
                f"{os.fsdecode(path)} among them. Large files belong into EVALLOOP_ARTIFACTS or .gitignore.",
            )
        # Copies under names of our own: nobody swaps them, and no strange name has to be quoted.
        with disk(f"a copy of {os.fsdecode(path)}"):
            (folder / str(len(kept))).write_bytes(content)
        kept.append((mode, path.rstrip(b"/")))
    names = "".join(f"{folder / str(index)}\n" for index in range(len(kept)))
    blobs = git.line("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=os.fsencode(names)).split(
        "\n"
    )
    lines = [
        f"{mode} {blob}\t".encode() + path + b"\0" for (mode, path), blob in zip(kept, blobs, strict=False)
    ]
    return b"".join(gone + lines)


def _take(worktree: bytes, path: bytes) -> tuple[str, bytes | None]:
    """Return mode and content of a path, None as content if it is gone; raises UnfitTree for odd things."""
    shown = ascii(os.fsdecode(path))
    if any(part.lower() == b".git" for part in path.split(b"/")):
        raise UnfitTree(
            f"The candidate has the path {shown}, which git does not keep. Have it use another name."
        )
    place = os.path.join(worktree, path.rstrip(b"/"))  # noqa: PTH118 - names are bytes
    try:
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode):
            return _LINK, os.readlink(place)  # noqa: PTH115 - names are bytes
        if stat.S_ISDIR(status.st_mode):
            # Listed by its own name, a folder is another repository. Which commit it is at would have to be
            # read from it, and no candidate may have one, so the entry only says that it is there.
            return (_MODULE, path) if path.endswith(b"/") else ("0", None)
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:  # noqa: PTH123 - opened without following links
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnfitTree(f"The candidate left {shown}, which is neither a file nor a link.")
            # One byte more than allowed is enough to know that it is too much.
            content = stream.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return "0", None
    except OSError as error:
        raise UnfitTree(f"The candidate left {shown}, which cannot be read: {error.strerror}.") from error
    return "100755" if status.st_mode & 0o100 else "100644", content
