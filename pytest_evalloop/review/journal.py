"""Append-only files of JSON lines: durable, locked while they are written, and whole after any crash."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pytest_evalloop.store.home import StoreError, disk, sync_directory

_CHUNK: Final = 65_536
_LOCK: Final = re.compile(r"\d+: FLOCK\s+\S+\s+WRITE\s+(\d+)\s+[0-9a-f]+:[0-9a-f]+:(\d+) ")


class ReviewError(StoreError):
    """Something the review could not do, in sentences: what happened, where, and what to do next."""


def torn(tail: bytes) -> bool:
    """Tell whether a line without its end is what a killed writer, or a crash of the machine, left behind.

    A whole object is kept though its line has no end, since editors leave that out. What does not begin like
    an object was not ours, so somebody has to look at it.
    """
    import msgspec

    if not tail.strip(b"\0 \t\r"):
        return True
    if not tail.startswith(b"{"):
        return False
    try:
        msgspec.json.decode(tail)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def read_lines(path: Path) -> list[bytes]:
    """Return the lines of a file without their ends, none if there is no file; a torn last one is left out.

    Raises ReviewError if the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror or error}. Make it readable.") from error
    *lines, tail = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if tail and not torn(tail):
        lines.append(tail)
    return lines


class Journal:
    """One file open for appending, locked against every other writer until it is closed.

    Methods raise StoreError when the disk is full or the file cannot be written; what was not acknowledged
    is then taken out of the file again.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._torn, self._glue = self._look_at_the_end()
        self._stamp = _stamp(os.fstat(descriptor))

    @classmethod
    def open(cls, path: Path, *, wait: bool = False) -> Self:
        """Open a file for appending, creating it if need be.

        Somebody else who writes to it is waited for with `wait`; without, ReviewError names them.
        """
        with disk(f"the file {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
                try:
                    _lock(descriptor, path, wait=wait)
                    if _same(path, descriptor):  # it may have been replaced while we waited
                        return cls(path, descriptor)
                except BaseException:
                    os.close(descriptor)
                    raise
                os.close(descriptor)

    @property
    def changed(self) -> bool:
        """Whether somebody replaced or edited the file since it was opened or last appended to.

        Version control and editors do so under the feet of whoever holds the lock.
        """
        try:
            return _stamp(self.path.stat()) != self._stamp
        except OSError:
            return True

    def append(self, line: bytes, *, durable: bool = True) -> None:
        """Add one line, with its end, in one write; on disk when this returns unless `durable` is false."""
        with disk(f"the file {self.path}"):
            if self._torn is not None:
                os.ftruncate(self._descriptor, self._torn)
                self._torn = None
            before = os.fstat(self._descriptor).st_size
            try:
                data = memoryview(self._glue + line)
                while data:
                    data = data[os.write(self._descriptor, data) :]
                if durable:
                    self._sync(new=not before)
            except BaseException:
                os.ftruncate(self._descriptor, before)
                raise
        self._glue = b""
        self._stamp = _stamp(os.fstat(self._descriptor))

    def sync(self) -> None:
        """Put everything that was appended on disk."""
        with disk(f"the file {self.path}"):
            self._sync(new=True)

    def _sync(self, *, new: bool) -> None:
        os.fsync(self._descriptor)
        if new:  # then the names have to last as well, that of the folder included
            sync_directory(self.path.parent)
            sync_directory(self.path.parent.parent)

    def _look_at_the_end(self) -> tuple[int | None, bytes]:
        """Return where a torn line begins, if there is one, and what has to be written before the next line."""
        size = os.fstat(self._descriptor).st_size
        tail = b""
        while len(tail) < size and b"\n" not in tail:
            start = max(0, size - len(tail) - _CHUNK)
            tail = os.pread(self._descriptor, size - len(tail) - start, start) + tail
        tail = tail[tail.rfind(b"\n") + 1 :]
        if tail and torn(tail):
            return size - len(tail), b""
        return None, b"\n" if tail else b""

    def close(self) -> None:
        """Let go of the file and of its lock; harmless when it was closed before."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _same(path: Path, descriptor: int) -> bool:
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _lock(descriptor: int, path: Path, *, wait: bool) -> None:
    import fcntl  # POSIX only; reading labels elsewhere stays possible

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        holder = _holder(os.fstat(descriptor).st_ino)
        who = f"process {holder}" if holder else "another process"
        raise ReviewError(
            f"{path} is being written by {who}: one at a time. "
            "Close the review page that is open there, and run the same command again."
        ) from None


def _holder(inode: int) -> int | None:
    """Return the process that holds a lock, as far as the system tells."""
    try:
        text = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next((int(found[1]) for found in _LOCK.finditer(text) if int(found[2]) == inode), None)
