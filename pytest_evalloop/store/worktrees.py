"""Checkouts of candidates: added, owned by the process that works in them, and removed whatever happened."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pytest_evalloop.store.git import Git, Repository
from pytest_evalloop.store.home import StoreError, check_run_name, disk, remove_tree, write_atomically
from pytest_evalloop.store.owner import Owner


@dataclass(frozen=True, slots=True)
class Worktrees:
    """The checkouts below one folder.

    Beside the checkout `<name>/` lies `.<name>@<owner>/` with what must not be taken from a place that a
    candidate can write: the commit, and an index by which later changes are found.
    """

    folder: Path
    repository: Repository
    theirs: Git
    plain: Git
    _adding: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextlib.contextmanager
    def open(self, name: str, commit: str) -> Iterator[Path]:
        """Give out a checkout of a commit and remove it afterwards; every file is the bytes of its blob.

        Raises StoreError if a live process has a checkout of that name, or if it cannot be written.
        """
        check_run_name(name)
        path = self.folder / name
        self._release(name)
        with disk(f"the worktree {path}"):
            # The owner is part of the name, so that no moment exists at which a worktree has none.
            self._beside(name).mkdir(parents=True)
        try:
            with disk(f"the worktree {path}"):
                self._add(path, commit)
            yield path
        finally:
            self._remove(name)

    def commit_of(self, name: str) -> str:
        """Return the commit that a checkout of this process was made from; raises StoreError if there is none."""
        try:
            return (self._beside(name) / "commit").read_text(encoding="ascii")
        except OSError as error:
            raise StoreError(f"{self.folder / name} is not a worktree of this loop.") from error

    def index_of(self, name: str) -> Path:
        """Return the index as it was when the checkout was made."""
        return self._beside(name) / "index"

    def prune(self) -> None:
        """Remove the checkouts whose processes are gone; those of others, and the user's, stay.

        Raises StoreError if something of them is left.
        """
        if not self.folder.is_dir():
            return
        for name in sorted(
            {entry.name.removeprefix(".").partition("@")[0] for entry in self.folder.iterdir()}
        ):
            if self._owner(name) is None:
                self._remove(name)

    def _add(self, path: Path, commit: str) -> None:
        beside = self._beside(path.name)
        with self._adding:  # git's choice of a name for its own notes is no place for a race
            self.theirs.run("worktree", "add", "--detach", "--no-checkout", "--quiet", str(path), commit)
        index = beside / "index"
        self.plain.adding(GIT_WORK_TREE=path, GIT_INDEX_FILE=index).run("read-tree", "--reset", "-u", commit)
        notes = self._notes(path)
        # With the times kept, git still knows which entries are too young to be trusted.
        if notes is not None:
            shutil.copy2(index, notes / "index")
        (path / self.repository.prefix).mkdir(parents=True, exist_ok=True)
        write_atomically(beside / "commit", commit.encode("ascii"), durable=False)

    def _release(self, name: str) -> None:
        """Make a name free; raises StoreError if a live process uses it."""
        owner = self._owner(name)
        if owner is not None:
            raise StoreError(
                f"The worktree {self.folder / name} is in use by process {owner.pid}. Wait for it, or end it.",
            )
        self._remove(name)

    def _remove(self, name: str) -> None:
        path = self.folder / name
        with disk(f"the folder {path} (to be removed)"):
            # By hand, since `git worktree remove` trusts files that a candidate could have changed, and
            # `git worktree prune` would also forget the user's worktrees on a disk that is not mounted now.
            notes = self._notes(path)
            remove_tree(path)
            if notes is not None:
                with self._adding:  # who adds a worktree reads the notes on all others
                    remove_tree(notes)
            # Last, so that a crash in between leaves something that still shows what is to be removed.
            for beside in self.folder.glob(f".{name}@*"):
                remove_tree(beside)

    def _notes(self, path: Path) -> Path | None:
        """Return the folder in which git keeps its notes on the worktree at `path`, None if there is none."""
        for gitdir in (self.repository.common / "worktrees").glob("*/gitdir"):
            with contextlib.suppress(OSError):
                if os.path.normpath(os.fsdecode(gitdir.read_bytes()).strip("\n")) == str(path / ".git"):
                    return gitdir.parent
        return None

    def _beside(self, name: str) -> Path:
        return self.folder / f".{name}@{Owner.current()}"

    def _owner(self, name: str) -> Owner | None:
        """Return the live process that works in a checkout, None if there is none."""
        owners = (Owner.parse(beside.name.partition("@")[2]) for beside in self.folder.glob(f".{name}@*"))
        return next((owner for owner in owners if owner is not None and owner.alive), None)
