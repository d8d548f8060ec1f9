"""The `.evalloop/` directory of a project, and the careful ways in which the store writes to disk."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.store.owner import Owner

LAYOUT: Final = 1
"""The version of what lies in `.evalloop/`; raised when an older release could not work with it."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TEMPORARY = ".tmp-"


class StoreError(Exception):
    """Something the store could not do, in sentences: what happened, where, and what to do next."""


def disk_full(what: str) -> StoreError:
    """Return the error for a full disk; `what` is the thing that could not be written."""
    return StoreError(
        f"The disk is full: {what} could not be written. The ledger is intact. "
        "Free some space and run the same command again.",
    )


def free_bytes(folder: Path) -> int:
    """Return the space that is left for an ordinary user where `folder` lies."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def disk(what: str) -> Iterator[None]:
    """Turn every OSError inside into a StoreError that says that `what` could not be written."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full(what) from error
        place = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"{what[:1].upper()}{what[1:]} could not be written: {error.strerror or error}{place}. "
            "Make the place writable and run the same command again.",
        ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace a file so that a reader, and a crash at any moment, sees the old or the new content whole.

    What need not outlive its process is written without waiting for the disk, with `durable` false.
    """
    temporary = path.parent / f"{_TEMPORARY}{Owner.current()}-{secrets.token_hex(4)}"
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, also where its permissions were taken away; absent is fine.

    Raises OSError when something is left.
    """
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(path)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    # A program can nest folders deeper than Python follows, and take their permissions away.
    for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
        subprocess.run([*command, "--", str(path)], check=False, stderr=subprocess.DEVNULL)
    if os.path.lexists(path):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))


def check_run_name(run: str) -> None:
    """Raise StoreError unless `run` can name a run, a branch and a folder."""
    if _RUN.fullmatch(run) and ".." not in run and not run.endswith((".", ".lock")):
        return
    raise StoreError(
        f"{run!r} cannot name a run: a name has 1 to 64 letters, digits, dots, underscores or hyphens, "
        "starts with a letter or digit, holds no '..' and ends neither in '.' nor in '.lock'. "
        "Choose another --evalloop-run.",
    )


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one project root lies; the paths are not created until they are needed."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> Home:
        """Return the home of a project root, creating `.evalloop/` if need be.

        Raises StoreError, with nothing changed, if a newer release wrote it.
        """
        home = cls(root.resolve())
        home._check_version()
        with disk(f"the folder {home.path}"):
            home.path.mkdir(parents=True, exist_ok=True)
            for leftover in home.path.glob(f"{_TEMPORARY}*"):
                owner = Owner.parse(leftover.name.removeprefix(_TEMPORARY))
                if owner is not None and not owner.alive:
                    leftover.unlink(missing_ok=True)
            if not (home.path / ".gitignore").exists():
                write_atomically(home.path / ".gitignore", b"*\n")
            if not home._version.exists():
                write_atomically(home._version, f"{LAYOUT}\n".encode())
        return home

    def _check_version(self) -> None:
        try:
            text = self._version.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"{self._version} cannot be read: {error.strerror}. Make it readable."
            ) from error
        if not re.fullmatch(r"[1-9]\d{0,8}", text):
            raise StoreError(
                f"{self._version} says {text[:40]!r} where a layout version belongs, so {self.path} is damaged "
                "or not ours. Move the folder away and run the same command again.",
            )
        if int(text) > LAYOUT:
            raise StoreError(
                f"{self.path} has layout {text}, written by a newer pytest-evalloop; this one knows "
                f"layout {LAYOUT}. Nothing was changed. Upgrade pytest-evalloop, or move the folder away.",
            )

    @property
    def path(self) -> Path:
        """The `.evalloop/` directory itself."""
        return self.root / ".evalloop"

    @property
    def _version(self) -> Path:
        return self.path / "version"

    @property
    def ledger(self) -> Path:
        """The SQLite file of all runs."""
        return self.path / "ledger.db"

    @property
    def results(self) -> Path:
        """The table that people watch."""
        return self.path / "results.tsv"

    @property
    def worktrees(self) -> Path:
        """Checkouts of candidates in flight."""
        return self.path / "worktrees"

    @property
    def artifacts(self) -> Path:
        """Finished trainings, keyed by content."""
        return self.path / "artifacts"

    @property
    def traces(self) -> Path:
        """What was seen while grading, for review."""
        return self.path / "traces"

    @property
    def data(self) -> Path:
        """Splits that the trusted side prepared."""
        return self.path / "data"

    def candidate(self, run: str, number: int) -> Path:
        """Return the folder of one candidate's log, diff and kept files; raises StoreError for a bad name."""
        check_run_name(run)
        return self.path / "candidates" / run / str(number)

    @contextlib.contextmanager
    def lock(self, run: str) -> Iterator[None]:
        """Hold a run for this process alone; the lock ends with the process, however it ends.

        Raises StoreError, naming the holder, if another loop works on the run.
        """
        import fcntl  # POSIX only, like the loop; reading a ledger elsewhere stays possible

        check_run_name(run)
        path = self.path / "locks" / f"{run}.lock"
        with disk(f"the lock {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
                who = f"process {holder}" if holder else "another process"
                raise StoreError(
                    f"Run {run!r} is being worked on by {who} ({path}). "
                    "Wait for it, or choose another --evalloop-run.",
                ) from None
            with disk(f"the lock {path}"):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)
