"""Whether what judges the candidates is still as it was: hashes of files, looked at again and again."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import all_suffixes
from pathlib import Path

# File systems date a change by a clock that ticks only so often; whatever was changed as recently as that may
# be changed once more under the same time. Two seconds are the coarsest tick in use (FAT).
_TICK_NS = 2 * 10**9
_IMPORTED = (*all_suffixes(), ".pth", ".zip", ".egg")


@dataclass(frozen=True, slots=True)
class Entry:
    """One path as it was found, by the name that sentences use.

    `kind` is file, folder, link or special; `content` is the SHA-256 of a file, the target of a link, else "".
    `unreadable` says why there is no content. Size is bytes, times are nanoseconds, `inode` comes with its
    device; `settled` tells that the last change was long enough ago for a further one to bear another time.
    """

    name: str
    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: tuple[int, int]
    mode: int
    content: str = ""
    unreadable: str = ""
    settled: bool = False

    def unmoved(self, other: Entry) -> bool:
        """Tell whether nothing can have been written since `other`: no program can set a file's ctime."""
        mine = (self.kind, self.size, self.mtime_ns, self.ctime_ns, self.inode, self.mode)
        theirs = (other.kind, other.size, other.mtime_ns, other.ctime_ns, other.inode, other.mode)
        return mine == theirs and other.settled and not other.unreadable


@dataclass(frozen=True, slots=True)
class Evidence:
    """What some places held at one time: an entry for every path in and below them, by absolute path."""

    places: Mapping[str, Path]
    entries: Mapping[str, Entry]

    @classmethod
    def take(cls, places: Mapping[str, Path]) -> Evidence:
        """Look at files and folders, given under the names that sentences put before their paths.

        The name "" leaves the paths of a folder as they are. Anything called `.git` is left out. A place may be
        a link, which is recorded and followed; links below it are recorded and not followed. What does not
        exist has no entry, what cannot be read has one that says so; nothing raises.
        """
        return cls(dict(places), _look(places, {}))

    def added(self, after: Evidence, folder: Path) -> tuple[str, ...]:
        """Return the plain files and folders below `folder` that are new and that Python does not import."""
        top = f"{os.path.abspath(folder)}/"  # noqa: PTH100 - as `take` spells it
        return tuple(
            path
            for path, entry in after.entries.items()
            if path not in self.entries
            and path.startswith(top)
            and (entry.kind == "folder" or (entry.kind == "file" and not path.endswith(_IMPORTED)))
        )

    def again(self) -> Evidence:
        """Look at the same places again, reading only the files whose stat has changed."""
        return Evidence(self.places, _look(self.places, self.entries))


def changes(before: Evidence, after: Evidence, number: int, allowed: Collection[str] = ()) -> tuple[str, ...]:
    """Return a sentence for everything that became different while candidate `number` was tried, sorted by path.

    Times, and another inode with the same content and mode, are no difference, nor are the `allowed` paths.
    """
    told = []
    for path in sorted((before.entries.keys() | after.entries.keys()) - set(allowed)):
        old, new = before.entries.get(path), after.entries.get(path)
        told += [f"{what} while candidate {number} was tried" for what in _differences(old, new)]
    return tuple(dict.fromkeys(told))


def _differences(old: Entry | None, new: Entry | None) -> Iterator[str]:
    if old is None or new is None:
        if new is not None:
            yield f"{new.name} was added"
        elif old is not None:
            yield f"{old.name} was removed"
    elif bool(old.unreadable) != bool(new.unreadable):
        yield f"{new.name} became {'unreadable' if new.unreadable else 'readable'}"
    elif old.kind != new.kind:
        kind = {"link": "symbolic link", "special": "special file"}.get(new.kind, new.kind)
        yield f"{new.name} was replaced by a {kind}"
    elif old.content != new.content:
        yield f"{new.name} was {'pointed elsewhere' if new.kind == 'link' else 'changed'}"
    elif stat.S_IMODE(old.mode) != stat.S_IMODE(new.mode):
        yield f"{new.name} had its mode changed from {stat.S_IMODE(old.mode):o} to {stat.S_IMODE(new.mode):o}"


def _look(places: Mapping[str, Path], known: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return an entry for every path, with the content of `known` wherever that must still be right."""
    found: dict[str, Entry] = {}
    waiting = [(name, os.path.abspath(path)) for name, path in places.items()]  # noqa: PTH100 - keeps links
    tops = {path for _, path in waiting}
    while waiting:
        name, path = waiting.pop()
        entry = None if path in found else _entry(name, path, known.get(path))
        if entry is None:
            continue
        found[path] = entry
        if entry.kind == "link" and path in tops:
            waiting.append((name, os.path.realpath(path)))
        elif entry.kind == "folder":
            try:
                below = os.listdir(path)  # noqa: PTH208 - names alone, many of them
            except OSError as error:
                found[path] = replace(entry, unreadable=str(error.strerror))
                continue
            stem = f"{name}/" if name else ""
            waiting += [(stem + item, f"{path}/{item}") for item in below if item != ".git"]
    return found


def _entry(name: str, path: str, known: Entry | None) -> Entry | None:
    """Return what lies at a path, None for nothing."""
    try:
        entry = _described(name, os.lstat(path))
        if entry.kind == "link":
            # A Path would tidy the target up.
            entry = replace(entry, content=os.readlink(path))  # noqa: PTH115
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Entry(name, "special", 0, 0, 0, (0, 0), 0, unreadable=str(error.strerror))
    if entry.kind != "file":
        return entry
    if known is not None and entry.unmoved(known):
        return replace(entry, content=known.content, settled=True)
    return _hashed(entry, path)


def _hashed(entry: Entry, path: str) -> Entry:
    """Return the entry of a file with its content, described anew by what was really opened."""
    try:
        # Should the file have become a link or a pipe just now, this neither follows nor waits.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            now = time.time_ns()
            entry = _described(entry.name, os.fstat(descriptor))
            content = hashlib.file_digest(file, "sha256").hexdigest() if entry.kind == "file" else ""
    except OSError as error:
        return replace(entry, unreadable=str(error.strerror))
    return replace(entry, content=content, settled=now - entry.ctime_ns > _TICK_NS)


def _described(name: str, status: os.stat_result) -> Entry:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return Entry(
        name=name,
        kind=kinds.get(stat.S_IFMT(status.st_mode), "special"),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=(status.st_dev, status.st_ino),
        mode=status.st_mode,
    )
