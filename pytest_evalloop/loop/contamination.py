"""Whether a candidate's change carries hidden text: the files around the pure search for overlaps."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from pytest_evalloop.metric.overlap import Match, among, build, matches, sightings, stride
from pytest_evalloop.records import Document
from pytest_evalloop.settings import Settings, SettingsError

_CHUNK = 2**22
_SEAM = 2**12  # bytes that two chunks share, so that no shingle of ordinary text falls between them


class Guard:
    """Knows the hidden documents by their shingles alone, and names those that a change carries."""

    def __init__(self, settings: Settings) -> None:
        """Read every file at or below `settings.hidden`; what is not there holds nothing.

        Raises `SettingsError` for a file that is there and cannot be read.
        """
        root = settings.root
        try:
            hidden = {file.resolve(): file for path in settings.hidden for file in _files(root / path)}
            texts = (
                Document(file.relative_to(root).as_posix(), file.read_bytes()) for file in hidden.values()
            )
            self._index = build(texts, stride(sum(file.stat().st_size for file in hidden)))
            # A training folder around the hidden files must not excuse them.
            self._training = [file for file in _files(root / settings.data) if file.resolve() not in hidden]
        except OSError as error:
            raise SettingsError(
                f"{error.filename} cannot be read ({error.strerror}), so nothing can tell whether a candidate "
                "carries hidden text. Make it readable, or take it out of evalloop_hidden or evalloop_data."
            ) from error

    @property
    def guarantee(self) -> int:
        """The letters and digits from which on a run of a hidden document is always found."""
        return self._index.guarantee

    def problems(
        self, changes: Mapping[str, tuple[bytes, bytes]], parent: Iterable[bytes] = ()
    ) -> tuple[str, ...]:
        """Return a sentence for every path and hidden document whose text came in with a change.

        `changes` holds each path's bytes before and after, empty where it does not exist. What also stands in
        the training data, in `parent` (files of the tree that was changed; read only if there is a suspicion)
        or anywhere in the old bytes is excused. No sentence quotes a hidden text, and none names the vault's.
        """
        seen = {
            path: (
                # The new file whole shows a text that earlier changes had begun.
                *sightings(self._index, new, disguises=False),
                *sightings(self._index, added(old, new)),
            )
            for path, (old, new) in changes.items()
            if old != new
        }
        suspects = [sighting for sighted in seen.values() for sighting in sighted]
        excuses = chain((old for old, _ in changes.values()), parent, self._trained())
        innocent = among(suspects, excuses)
        return tuple(
            dict.fromkeys(
                f"{path} carries {match.characters} characters of {_called(match)}"
                for path, sighted in seen.items()
                for match in matches(self._index, sighted, innocent)
            )
        )

    def _trained(self) -> Iterator[bytes]:
        for path in self._training:
            try:
                with path.open("rb") as file:
                    tail = b""
                    while chunk := file.read(_CHUNK):
                        yield tail + chunk
                        tail = chunk[-_SEAM:]
            except OSError:
                continue  # what cannot be read excuses nothing


def added(old: bytes, new: bytes) -> bytes:
    """Return the lines of `new`, in order, that are not in `old` or not as often."""
    left = Counter(old.splitlines())
    lines = []
    for line in new.splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        if left[text] > 0:
            left[text] -= 1
        else:
            lines.append(line)
    return b"".join(lines)


def _called(match: Match) -> str:
    """Return how a document may be called where mutators read it: of the vault not even names are told."""
    return (
        "a hidden document"
        if "vault" in match.document.casefold()
        else f"the hidden document {match.document}"
    )


def _files(path: Path) -> Iterator[Path]:
    """Yield the files at or below a path, sorted; links to files are followed, links to folders are not."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path, onerror=_unlistable):
        folders.sort()
        yield from (file for name in sorted(names) if (file := Path(folder, name)).is_file())


def _unlistable(error: OSError) -> None:
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
