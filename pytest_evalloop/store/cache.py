"""Finished trainings kept by the content of what they were made from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from pytest_evalloop.records import Status, Training
from pytest_evalloop.store.home import StoreError, disk, remove_tree, sync_directory, write_atomically
from pytest_evalloop.store.owner import Owner
from pytest_evalloop.store.scope import matches

_RECORD = "training.json"
_DEEPEST = 64
_LONGEST = 3000  # bytes of a path; with a file's name below it, what the system takes at most


class ArtifactsError(StoreError):
    """What a train command left cannot be kept; the message names it and says what to do."""


def training_key(
    files: Mapping[str, tuple[str, str]],
    *,
    exclude: Sequence[str],
    budget: str,
    seed: int,
    command: str,
    environment: Mapping[str, str],
) -> str:
    """Return a name (SHA-256 in hex) for the training of a tree, the same for equal content in any order.

    `files` maps paths to mode and blob; those that match a glob of `exclude` (evals, docs, a prompt that
    training does not read) do not count.
    """
    counted = {
        path: entry for path, entry in files.items() if not any(matches(glob, path) for glob in exclude)
    }
    parts = ["training 2", budget, str(seed), command, str(len(environment))]
    for name in sorted(environment):
        parts += [name, environment[name]]
    for path in sorted(counted):
        parts += [path, *counted[path]]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        # With its length before it, no part can run into the next.
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


class _Entry(msgspec.Struct, frozen=True):
    training: Training
    size: int
    attempt: str


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The cache in one folder: attempts, a folder a key, of which a record beside them names the finished one.

    An attempt never moves, so that what shall read its artifacts can be shown them while they are made.
    """

    path: Path

    def get(self, key: str) -> Training | None:
        """Return a finished training, marked as reused, None if there is none under that key.

        Raises StoreError if its record cannot be read.
        """
        entry = self._entry(key)
        if entry is None:
            return None
        place = self._place(key) / entry.attempt / "artifacts"
        return replace(entry.training, artifacts=str(place), reused=True)

    def size(self, key: str) -> int | None:
        """Return the bytes that the artifacts of a finished training take, None if there is none."""
        entry = self._entry(key)
        return None if entry is None else entry.size

    def claim(self, key: str) -> Path:
        """Return a new empty folder for one attempt to fill; it stays there if it is committed.

        Raises StoreError if it cannot be made.
        """
        # The owner is part of the name, so that no moment exists at which an attempt has none.
        attempt = self._place(key) / f"{Owner.current()}-{secrets.token_hex(4)}"
        with disk(f"the folder {attempt}"):
            (attempt / "artifacts").mkdir(parents=True)
        return attempt / "artifacts"

    def discard(self, artifacts: Path) -> None:
        """Remove an attempt that `claim` gave out; raises StoreError if something of it is left."""
        with disk(f"the folder {artifacts.parent}"):
            remove_tree(artifacts.parent)

    def commit(self, key: str, artifacts: Path, training: Training) -> Training:
        """Keep an attempt that `claim` gave out as the finished training under a key.

        When another process finished the key first, its training is kept and returned, marked as reused, and
        this attempt is dropped. Raises ArtifactsError if the attempt holds anything but plain files and folders
        that can be read, StoreError if it cannot be written, ValueError if the training did not complete.
        """
        if training.status is not Status.COMPLETED:
            raise ValueError(f"a training that was {training.status.value} is not kept")
        attempt = artifacts.parent
        with disk(f"the artifacts in {artifacts}"):
            try:
                size = _settle(artifacts)
            except PermissionError as error:
                raise ArtifactsError(
                    f"The train command left {error.filename}, which cannot be read. Leave files readable."
                ) from error
            training = replace(training, key=key, artifacts=str(artifacts))
            entry = _Entry(replace(training, artifacts=""), size, attempt.name)
            written = attempt / _RECORD
            write_atomically(written, msgspec.json.encode(entry))
            sync_directory(attempt)
            try:
                self._record(key).hardlink_to(written)  # of several processes one is the first
            except FileExistsError:
                first = self.get(key)
                if first is None:
                    raise
                remove_tree(attempt)
                return first
            for folder in (attempt.parent, attempt.parent.parent, self.path):
                sync_directory(folder)
        return training

    def drop(self, key: str) -> None:
        """Forget a finished training; absent is fine. Raises StoreError if something of it is left."""
        with disk(f"the folder {self._place(key)}"):
            entry = self._entry(key)
            if entry is None:
                return
            # The record goes first: without its files it would pass for a finished training.
            self._record(key).unlink(missing_ok=True)
            remove_tree(self._place(key) / entry.attempt)

    def sweep(self) -> None:
        """Remove the attempts of processes that are gone; raises StoreError if something of them is left."""
        with disk(f"the folder {self.path}"):
            for place in [path for path in self.path.glob("*/*") if path.name.isalnum()]:
                kept = self._kept(place.name)
                for attempt in [path for path in place.iterdir() if path.is_dir()]:
                    owner = Owner.parse(attempt.name)
                    if (owner is None or not owner.alive) and attempt.name not in kept:
                        remove_tree(attempt)
                with contextlib.suppress(OSError):  # something is in it
                    place.rmdir()

    def _kept(self, key: str) -> set[str]:
        """Return the names below a key's folder that are not to be removed."""
        try:
            entry = self._entry(key)
        except StoreError:  # somebody may want to look at what lies beside a record that cannot be read
            return {path.name for path in self._place(key).iterdir()}
        return set() if entry is None else {entry.attempt}

    def _place(self, key: str) -> Path:
        if not key.isalnum():
            raise ValueError(f"{key!r} is no key of a training")
        return self.path / key[:2] / key

    def _record(self, key: str) -> Path:
        return self._place(key) / _RECORD

    def _entry(self, key: str) -> _Entry | None:
        record = self._record(key)
        try:
            return msgspec.json.decode(record.read_bytes(), type=_Entry)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(
                f"{record} cannot be read: {error}. Remove the folder {record.parent} and run the same command "
                "again, which trains anew.",
            ) from error


def _settle(artifacts: Path) -> int:
    """Check what a train command left, make it durable and return its size in bytes."""
    if not stat.S_ISDIR(artifacts.lstat().st_mode):
        raise ArtifactsError(
            f"The train command replaced its folder {artifacts}. It may only write files inside."
        )
    size = 0
    for path, status in _walk(artifacts):
        kind = status.st_mode
        if stat.S_ISLNK(kind):
            _check_link(artifacts, path)
        elif stat.S_ISREG(kind):
            size += status.st_size
            # No link is followed, should a process of the train command still be alive and swap the file.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif stat.S_ISDIR(kind):
            sync_directory(path)
        else:
            raise ArtifactsError(
                f"The train command left {path.relative_to(artifacts)}, which is neither a plain file nor a folder. "
                "Remove it at the end of training.",
            )
    return size


def _check_link(artifacts: Path, path: Path) -> None:
    target = path.readlink()
    try:
        inside = path.resolve(strict=True).is_relative_to(artifacts.resolve())
    except (OSError, RuntimeError):
        inside = False
    # An absolute link would point nowhere once the artifacts have moved to their place.
    if not inside or target.is_absolute():
        raise ArtifactsError(
            f"The train command left a symbolic link, {path.relative_to(artifacts)}, to {target}, but artifacts hold "
            "their files themselves. Copy the file instead, or link to a file inside by a relative path.",
        )


def _walk(folder: Path, depth: int = 0) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield all below a folder and then itself, following no link; raises ArtifactsError if it is too deep."""
    if depth > _DEEPEST or len(os.fsencode(folder)) > _LONGEST:
        raise ArtifactsError(
            f"The train command nested folders more than {_DEEPEST} deep, or under too long a name. Keep them flat."
        )
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _walk(Path(entry.path), depth + 1)
            else:
                yield Path(entry.path), status
    yield folder, folder.lstat()
