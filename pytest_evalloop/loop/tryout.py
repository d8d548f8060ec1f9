"""A short try before the whole training: two steps, the host, and an audit on a few bytes."""

from __future__ import annotations

import threading

from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import broken_training, first_line
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate, Status
from pytest_evalloop.suite.project import SEED

_STEPS = 2.0
_BYTES = 2000  # of the shortest validation documents
_POSITIONS = 32  # audited
_ASKED = Asked(objective_only=True, positions=_POSITIONS, few=_BYTES)


class Tryout:
    """Finds out in seconds that a candidate cannot be trained, loaded, scored or audited."""

    def __init__(self, record: Record, workshop: Workshop, observer: Observer, worth: float) -> None:
        """`worth` is how many seconds a training has to take for a tryout to be worth its own."""
        self._worth = worth
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._useful: bool | None = None
        self._asking = threading.Lock()

    def begin(self) -> None:
        """Try the baseline, which is what others are told by, before there is a candidate that would wait for it."""
        self._says_something()

    def problem(self, candidate: Candidate) -> tuple[Status, str, str] | None:
        """Return status, reason and detail of what is broken, None if nothing is or if trying says nothing.

        It says nothing where the baseline, which works, does not do so with two steps.
        """
        return self._try(candidate) if self._says_something() else None

    def _says_something(self) -> bool:
        with self._asking:
            if self._useful is None:
                baseline = self._record.baseline()
                slow = any(run.wall_seconds >= self._worth for run in self._record.trainings(baseline))
                self._useful = slow and self._try(baseline) is None
                if slow and not self._useful:
                    self._observer.note(
                        "candidates are not tried out before their training: with two steps, not even the "
                        "baseline works"
                    )
            return self._useful

    def _try(self, candidate: Candidate) -> tuple[Status, str, str] | None:
        self._observer.stage(candidate.number, "trying", "two steps, and an audit on a few bytes")
        with self._workshop.place(candidate, _ASKED) as place:
            training = self._workshop.train_least(candidate, SEED, _STEPS, place)
            if training.status is not Status.COMPLETED:
                return training.status, broken_training(training), training.detail
            grade = self._workshop.grade(candidate, training, _ASKED, place)
        if candidate.number:
            self._workshop.forget(training)
        if grade.scores:
            return None  # that the threshold fails is no news after two steps
        messages = [case.message for case in grade.outcomes if case.outcome != "passed" and case.message]
        said = messages[0] if messages else grade.detail
        return Status.CRASHED, f"after two steps of training: {first_line(said)}", said
