"""Looks at what a candidate changed before it may run, and after it ran at what judges it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_evalloop.candidate.process import clean_environment
from pytest_evalloop.loop.contamination import Guard
from pytest_evalloop.loop.evidence import Evidence, changes
from pytest_evalloop.loop.screening import broken, constants_only
from pytest_evalloop.records import Candidate
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.scope import Change, problems
from pytest_evalloop.store.workspace import Workspace

_MOST = 4 * 10**6  # bytes; a larger change takes seconds to look through


class Inspector:
    """Knows the trusted suite, the data and the hidden texts as they were when the run began."""

    def __init__(self, settings: Settings, workspace: Workspace, suite: Path) -> None:
        """Read hidden documents and hash what judges; raises `SettingsError` for a file that cannot be read."""
        self._settings = settings
        self._workspace = workspace
        self._guard = Guard(settings)
        places = {path: settings.root / path for path in (*settings.hidden, settings.data)}
        self._suite = suite
        command = shutil.which(settings.train[0], path=clean_environment()["PATH"])
        self._same_python = command is not None and Path(command).resolve() == Path(sys.executable).resolve()
        self._begun = self._latest = Evidence.take({"": suite, **places})

    def objections(self, candidate: Candidate) -> tuple[str, ...]:
        """Return why a candidate may not even be trained: its scope, hidden text, files that are no Python."""
        parent, commit = candidate.parent, candidate.commit
        changed = self._workspace.changed(parent, commit)
        outside = problems(changed, self._settings.mutable, tuple(self._workspace.files(parent)))
        if outside:
            return tuple(f"out of scope: {sentence}" for sentence in outside)
        texts = {
            path: (old or b"", new or b"") for path, (old, new) in self._texts(candidate, changed).items()
        }
        size = sum(len(new) for _, new in texts.values())
        if size > _MOST:
            held, most = f"{size / 1e6:.0f} MB", f"{_MOST / 1e6:.0f} MB"
            return (f"too large: the changed files hold {held}, and hidden text is sought in at most {most}",)
        carried = self._guard.problems(texts, self._files(parent))
        if carried or not self._same_python:
            return tuple(f"contamination: {sentence}" for sentence in carried)
        return broken({path: new for path, (_, new) in texts.items()})

    def structural(self, candidate: Candidate) -> bool:
        """Tell whether a change is more than other constants and another primer, so that it is worth a tryout.

        Outside of the search space a string is no mere constant.
        """
        changed = self._workspace.changed(candidate.parent, candidate.commit)
        texts = self._texts(candidate, [change for change in changed if change.path != self._settings.prompt])
        return not all(
            constants_only({path: old}, {path: new}, strings=path == self._settings.space)
            for path, (old, new) in texts.items()
        )

    def _texts(
        self, candidate: Candidate, changed: Sequence[Change]
    ) -> dict[str, tuple[bytes | None, bytes | None]]:
        """Return the contents of changed files before and after, None where there is no such file."""
        return {
            change.path: (
                None if change.status == "A" else self._workspace.read(candidate.parent, change.path),
                None if change.status == "D" else self._workspace.read(candidate.commit, change.path),
            )
            for change in changed
        }

    def twin(self, candidate: Candidate, earlier: Sequence[Candidate]) -> Candidate | None:
        """Return the first of earlier candidates that has the very same files."""
        own, *trees = self._workspace.trees([candidate.commit, *(other.commit for other in earlier)])
        return next((other for other, tree in zip(earlier, trees, strict=True) if tree == own), None)

    def tampering(self, number: int) -> tuple[str, ...]:
        """Return what is no longer as it was when the run was opened, in sentences that blame `number`.

        Evals may keep caches in their tree: files that git ignores may be new, unless Python imports them.
        """
        self._latest = self._latest.again()
        added = {
            Path(path).relative_to(self._suite).as_posix(): path
            for path in self._begun.added(self._latest, self._suite)
        }
        caches = [added[name] for name in self._workspace.ignored(tuple(added))]
        return changes(self._begun, self._latest, number, caches)

    def _files(self, commit: str) -> Iterator[bytes]:
        """Yield the files of a commit that are not hidden: a repository may hold its own validation data."""
        hidden = tuple(f"{path}/" for path in self._settings.hidden)
        for path in self._workspace.files(commit):
            if not f"{path}/".startswith(hidden):
                yield self._workspace.read(commit, path)
