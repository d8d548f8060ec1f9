"""What the review page may ask for and change, apart from HTTP: traces, labels, modes, and what they say."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pytest_evalloop.review import present
from pytest_evalloop.review.arrivals import Arrivals
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.labels import Conflict, Label, Labels
from pytest_evalloop.review.modes import Mode, read_modes, write_modes
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace

Json = dict[str, Any]
AT_ONCE = 1_000_000
"""Characters, about, after which no further trace is put into an answer."""
STALE_DAYS = 28
"""A failure mode that was not read again for "a few weeks" is called stale."""


class NotFoundError(ReviewError):
    """There is no such trace, section or failure mode."""


class ModeConflictError(ReviewError):
    """Somebody else changed the failure mode since it was read; `current` is None when it is gone."""

    def __init__(self, message: str, current: Mode | None) -> None:
        super().__init__(message)
        self.current = current


@dataclass(frozen=True, slots=True)
class Since:
    """A place in the history of one server: a client says what it has seen, and is told what came after."""

    boot: str
    count: int

    @classmethod
    def parse(cls, text: str) -> Since:
        """Read `boot:count`; what cannot be read has seen nothing."""
        boot, _, count = text.partition(":")
        return cls(boot, int(count)) if count.isdecimal() and len(count) < 16 else cls("", 0)

    def __str__(self) -> str:
        return f"{self.boot}:{self.count}"


class Desk:
    """One labeller's desk: the traces to read and the labels given so far; safe under several threads."""

    def __init__(
        self,
        library: Library,
        labels: Labels,
        modes_folder: Path,
        by: str,
        why: Mapping[str, str],
        arrivals: Arrivals | None = None,
    ) -> None:
        """`why` says of traces by id why they are shown; `arrivals` brings those that are recorded meanwhile."""
        self._library, self._labels, self._folder, self._by = library, labels, modes_folder, by
        self._why, self._arrivals = why, arrivals
        self._lock = threading.RLock()
        self._boot = secrets.token_hex(4)
        self._seen, self._changed = dict[str, Label](), list[str]()

    def index(self) -> Json:
        """Return what is known of all traces without their contents, all labels and all modes."""
        news = self.news(Since("", 0))  # first, since it may bring traces
        library = self._library
        return {
            "project": str(self._folder.resolve()),
            "by": self._by,
            "problems": library.problems,
            **news,
            "traces": [outline(stored, self._why) for stored in library.traces.values()],
        }

    def news(self, since: Since) -> Json:
        """Return the labels that changed since then (all, if this server was not running then), and the modes.

        And how many traces there are now: a page that knows fewer asks for the index when its reader wants them.
        """
        with self._lock:
            if self._arrivals is not None:
                self._library = self._arrivals.into(self._library)
            self._labels.refresh()
            self._notice()
            known = since.boot == self._boot and since.count <= len(self._changed)
            changed = dict.fromkeys(self._changed[since.count if known else 0 :])
            return {
                "at": str(Since(self._boot, len(self._changed))),
                "labels": [label_json(self._labels.get(trace)) for trace in changed],
                "modes": self.modes(),
                "known": len(self._library.traces),
            }

    def _notice(self) -> None:
        """Find out which labels are not as they were: version control may have replaced them, too."""
        for trace in self._library.traces:
            label = self._labels.get(trace)
            if label.revision and label != self._seen.get(trace):
                self._seen[trace] = label
                self._changed.append(trace)

    def contents(self, ids: Sequence[str]) -> list[Json]:
        """Return traces for reading, each long text shortened: as many as make one answer of a bearable size.

        Ids that are not there are left out.
        """
        found, size = list[Json](), 0
        for stored in filter(None, map(self._library.traces.get, ids)):
            found.append(content(stored))
            size += len(stored.trace.input) + len(stored.trace.output) + 200 * len(stored.trace.steps)
            if size > AT_ONCE:
                break
        return found

    def whole(self, identity: str, section: int, field: int) -> str:
        """Return all of one text of a trace; raises NotFoundError if there is none."""
        found = present.sections(self._trace(identity).trace)
        if not (0 <= section < len(found) and 0 <= field < len(found[section].fields)):
            raise NotFoundError(f"Trace {identity!r} has no text {section}.{field}. Reload the page.")
        return found[section].fields[field].text

    def search(self, words: str) -> list[str]:
        """Return the ids of traces whose texts or notes hold the words, in any case."""
        wanted = words.casefold()
        with self._lock:
            noted = {trace for trace, label in self._labels.all().items() if wanted in label.note.casefold()}
        found = self._library.traces.items()
        return [
            identity
            for identity, stored in found
            if identity in noted or wanted in identity.casefold() or present.mentions(stored.trace, words)
        ]

    def change(self, identity: str, expected: int, said: Mapping[str, object]) -> Label:
        """Change a label; it is on disk when this returns. Raises Conflict when it changed since it was read."""
        stored = self._trace(identity)
        with self._lock:
            unknown = mode_ids(said) - {mode.id for mode in read_modes(self._folder)}
            if unknown:
                raise ReviewError(f"There is no failure mode {', '.join(sorted(unknown))}. Reload the page.")
            try:
                return self._labels.change(stored, self._by, now(), expected=expected, **said)  # type: ignore[arg-type]
            except Conflict as conflict:
                # An answer that was lost is sent again: what is there already is no conflict.
                if agrees(conflict.label, said):
                    return conflict.label
                raise

    def undo(self) -> Label | None:
        """Take back the labeller's last change; None if there is none."""
        with self._lock:
            return self._labels.undo(self._by, now())

    def modes(self) -> list[Json]:
        """Return the failure modes."""
        return [mode_json(mode) for mode in read_modes(self._folder)]

    def keep_mode(self, mode: Mode, expected: Mode | None) -> None:
        """Add a mode (nothing expected) or replace it; raises ModeConflictError when it is not as expected."""
        with self._lock:
            modes = read_modes(self._folder)
            current = next((each for each in modes if each.id == mode.id), None)
            if current == mode:
                return
            if current != expected:
                what = "was changed" if current else "was removed"
                what = what if expected else "exists already"
                raise ModeConflictError(f"The failure mode {mode.id} {what} meanwhile.", current)
            kept = [mode if each.id == mode.id else each for each in modes]
            write_modes(self._folder, kept if current else [*modes, mode])

    def remove_mode(self, identity: str) -> None:
        """Remove a mode that no label speaks of; raises ReviewError otherwise."""
        with self._lock:
            speaking = [trace for trace, label in self._labels.all().items() if identity in label.modes]
            if speaking:
                others = ", …" if speaking[1:] else ""
                raise ReviewError(
                    f"{identity} stands in {count(len(speaking), 'label')} ({speaking[0]}{others}), so it was not "
                    "removed. Take it off there first, or give it another title."
                )
            write_modes(self._folder, [mode for mode in read_modes(self._folder) if mode.id != identity])

    def overview(self) -> Json:
        """Return progress, failure rates with their intervals, and the saturation curve."""
        from pytest_evalloop.review import rates

        with self._lock:
            labels = list(self._labels.all().values())
        modes = read_modes(self._folder)
        failed = sum(label.passed is False for label in labels)
        judged = failed + sum(label.passed is True for label in labels)
        return {
            "traces": len(self._library.traces),
            "judged": judged,
            "failed": failed,
            "deferred": sum(label.deferred for label in labels),
            "interval": asdict(rates.wilson(failed, judged)) if judged else None,
            "modes": [asdict(rate) for rate in rates.mode_rates(labels, modes)],
            "saturation": asdict(rates.saturation(labels)),
            "stale": [mode.id for mode in modes if stale(mode, today())],
        }

    def _trace(self, identity: str) -> StoredTrace:
        stored = self._library.traces.get(identity)
        if stored is None:
            raise NotFoundError(f"There is no trace {identity!r} among those that are reviewed here.")
        return stored


def now() -> float:
    """Return the time of an action, in seconds since the epoch."""
    return dt.datetime.now(tz=dt.UTC).timestamp()


def today() -> dt.date:
    """Return the labeller's date."""
    return dt.datetime.now(tz=dt.UTC).astimezone().date()


def stale(mode: Mode, day: dt.date) -> bool:
    """Whether a mode was last reviewed too long before that day, or at no time that can be read."""
    try:
        return (day - dt.date.fromisoformat(mode.reviewed)).days > STALE_DAYS
    except ValueError:
        return bool(mode.reviewed)


def outline(stored: StoredTrace, why: Mapping[str, str]) -> Json:
    """Return what the index says of a trace."""
    drawn = {"why": why[stored.id]} if stored.id in why else {}
    return {
        "id": stored.id,
        "title": present.title(stored.trace),
        "source": stored.source,
        "recorded": stored.recorded,
        "facts": drawn | present.facts(stored.trace.metadata),
    }


def content(stored: StoredTrace) -> Json:
    """Return what is read of a trace."""
    return {"id": stored.id, "sections": present.shown(stored.trace)}


def label_json(label: Label) -> Json:
    """Return a label as the page knows it."""
    names = ("trace", "passed", "deferred", "note", "by", "at", "revision")
    return {name: getattr(label, name) for name in names} | {"modes": dict(label.modes)}


def mode_json(mode: Mode) -> Json:
    """Return a failure mode as the page knows it."""
    return {field.name: getattr(mode, field.name) for field in fields(Mode)}


def mode_ids(said: Mapping[str, object]) -> set[str]:
    """Return the modes that a change speaks of."""
    modes = said.get("modes", {})
    return set(modes) if isinstance(modes, Mapping) else set()


def agrees(label: Label, said: Mapping[str, object]) -> bool:
    """Whether a label says already all that a change would make it say."""
    wanted = dict(said)
    modes = wanted.pop("modes", {})
    same = all(getattr(label, name, None) == value for name, value in wanted.items())
    return same and isinstance(modes, Mapping) and all(label.modes.get(key) is modes[key] for key in modes)
