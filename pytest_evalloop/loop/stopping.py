"""Watches trainings as they go: one that can hardly win any more is stopped, and what that costs is kept track of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from pytest_evalloop.candidate.training import RunningTraining
from pytest_evalloop.loop.leading import rival
from pytest_evalloop.loop.racing import (
    LOOKS,
    Curve,
    Decided,
    Race,
    first_hopeless,
    lost,
    progress_curve,
    reason,
    spared,
)
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.statistics import SeedNoise
from pytest_evalloop.records import Candidate
from pytest_evalloop.store.home import disk, write_atomically
from pytest_evalloop.suite.project import SEED

_UNKNOWN_NOISE = 0.01  # bits per byte, before the noise was measured


@dataclass(frozen=True, slots=True)
class Found:
    """Where a training was found hopeless, what it would have come to, and whether it was stopped.

    `expected` is by how many bits per byte it would have ended above the incumbent, by the prediction.
    """

    fraction: float
    chance: float
    expected: float
    stopped: bool


class Stopper:
    """Races candidates against who leads at their time, or the incumbent."""

    def __init__(self, record: Record, workshop: Workshop, bound: float) -> None:
        self._record = record
        self._workshop = workshop
        self._bound = bound
        self._races: dict[int, Race | None] = {}

    def watch(self, candidate: Candidate, noise: SeedNoise | None) -> Callable[[RunningTraining], str]:
        """Return what tells why a candidate's training is to be stopped, if it is.

        A random few are let run on, so that the share of would-be winners that are lost can be estimated.
        """
        if not self._bound or candidate.number == 0 or self._record.run.settings.get("aa"):
            return lambda _: ""
        incumbent = self._record.incumbent()
        other = rival(candidate, self._record.candidates(), incumbent)
        ahead = (incumbent.bpb or 0.0) - (other.bpb or 0.0)
        theirs = self._curve(other)
        past = [race for each in self._record.candidates()[1:] if (race := self._race(each)) is not None]
        sd = noise.sd if noise is not None else _UNKNOWN_NOISE
        let = spared(SEED, candidate.number)
        place = self._workshop.folder(candidate.number) / "race.json"
        seen = 0.0
        over = False

        def hopeless(running: RunningTraining) -> str:
            nonlocal seen, over
            reached = running.samples[-1].done if running.samples else 0.0
            if over or not any(seen < look <= reached for look in LOOKS):
                return ""
            curve = progress_curve(running.said())
            found = first_hopeless(curve, theirs, past, sd, after=seen, bound=self._bound)
            seen = curve.fraction
            if found is None:
                return ""
            over = True
            known, outlook = found
            told = Found(known.fraction, outlook.chance, outlook.expected - ahead, not let)
            with disk(f"the record {place}"):
                write_atomically(place, msgspec.json.encode(told))
            who = "the incumbent" if other is incumbent else f"candidate {other.number}"
            return "" if let else reason(known, outlook, self._bound, who)

        return hopeless

    def found(self, candidate: Candidate) -> Found | None:
        """Return where a candidate was found hopeless, None if it never was."""
        try:
            content = (self._workshop.folder(candidate.number) / "race.json").read_bytes()
            return msgspec.json.decode(content, type=Found)
        except (OSError, msgspec.DecodeError):
            return None

    def lines(self) -> list[str]:
        """Say what racing saved, and what it may have lost."""
        decided, saved, whole = [], 0.0, 0
        for candidate in self._record.candidates()[1:]:
            found = self.found(candidate)
            trained = candidate.train_seconds > 0
            if trained and (candidate.bpb is not None or (found is not None and found.stopped)):
                whole += 1
                saved += 1 - found.fraction if found is not None and found.stopped else 0.0
                won = None if found is not None and found.stopped else candidate.stands
                decided.append(Decided(found.chance if found is not None else None, won))
        if not any(each.chance is not None for each in decided):
            return []
        return [f"racing saved {100 * saved / whole:.0f} % of first trainings; {lost(decided)}"]

    def _race(self, candidate: Candidate) -> Race | None:
        """Return the race that a finished candidate ran, None for one that was stopped, failed or not trained."""
        if candidate.number not in self._races:
            if candidate.decision is None:
                return None
            self._races[candidate.number] = self._replayed(candidate)
        return self._races[candidate.number]

    def _replayed(self, candidate: Candidate) -> Race | None:
        before = self._record.at(candidate.parent)
        if before is None or before.bpb is None or candidate.bpb is None or not candidate.train_seconds:
            return None
        return Race(self._curve(candidate), self._curve(before), candidate.bpb - before.bpb)

    def _curve(self, candidate: Candidate) -> Curve:
        for training in self._record.trainings(candidate):
            if training.seed == SEED:
                return progress_curve(self._workshop.said(candidate, training))
        return Curve()
