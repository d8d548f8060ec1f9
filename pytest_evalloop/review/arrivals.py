"""Traces that were recorded since somebody began to read: only what was added to the files is looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_evalloop.review.journal import ReviewError
from pytest_evalloop.review.traces import Library, StoredTrace, by_time, decode, files_of, same_content


@dataclass(frozen=True, slots=True)
class _Read:
    """How far a file was read: which file it was, its bytes up to the last whole line, and how many lines."""

    inode: int
    bytes: int = 0
    lines: int = 0


class Arrivals:
    """Follows the files that `Library.load` reads from the same folders.

    Made before the library is loaded, so that nothing falls in between. A file is read from its start when it first
    changed, and from where it ended after that.
    """

    def __init__(self, traces: Path, labels: Path) -> None:
        self._traces, self._labels = traces, labels
        self._stamps = {file: _stamp(file) for file in files_of(traces, labels)}
        self._read: dict[Path, _Read] = {}

    def into(self, library: Library) -> Library:
        """Return the library with what was added, the same object if nothing was.

        What it holds stays, also if its file is gone: somebody may be reading it. Raises ReviewError if a file
        cannot be read.
        """
        new: dict[str, StoredTrace] = {}
        problems: list[str] = []
        for file in files_of(self._traces, self._labels):
            stamp = _stamp(file)
            if stamp is None or stamp == self._stamps.get(file):
                continue
            for stored in self._added(file, stamp[0], problems):
                known = library.traces.get(stored.id) or new.setdefault(stored.id, stored)
                if not same_content(known.trace, stored.trace):
                    problems.append(
                        f"{file}: trace {stored.id!r} has other content than the one that is shown, so it is left "
                        "out. Give it another id."
                    )
            self._stamps[file] = stamp
        said = dict.fromkeys([*library.problems, *problems])
        if not new and len(said) == len(library.problems):
            return library
        return Library(by_time([*library.traces.values(), *new.values()]), tuple(said))

    def _added(self, file: Path, inode: int, problems: list[str]) -> list[StoredTrace]:
        before = self._read.get(file, _Read(inode))
        try:
            with file.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if before.inode != inode or size <= before.bytes:  # another file, or written anew
                    before = _Read(inode)
                stream.seek(before.bytes)
                data = stream.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ReviewError(
                f"{file} cannot be read: {error.strerror or error}. Make it readable."
            ) from error
        whole = data[: data.rfind(b"\n") + 1]  # what is being written just now is read the next time
        found = []
        for number, line in enumerate(whole.split(b"\n"), before.lines + 1):
            try:
                found += [decode(line)] if line.strip() else []
            except ReviewError as error:
                problems.append(f"{file}, line {number}: not a trace, so it is left out ({error}).")
        self._read[file] = _Read(inode, before.bytes + len(whole), before.lines + whole.count(b"\n"))
        return found


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
