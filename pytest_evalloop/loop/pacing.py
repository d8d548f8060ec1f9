"""Equal compute: a candidate whose steps cost more than the incumbent's gets fewer of them, and the reverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_evalloop.candidate.pace import COUNTED, Sample, granted, ratio
from pytest_evalloop.candidate.progress import samples as known_samples
from pytest_evalloop.candidate.training import RunningTraining
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.place import Place
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate, Status, Training
from pytest_evalloop.settings import parse_budget
from pytest_evalloop.suite.project import SEED

APART = 0.1
"""By how much the pace of a training may differ from the incumbent's before both are measured side by side.

The compute of a step differs by 5 to 7 % between trainings of one tree that run one after the other.
"""
_EARLY = 0.15  # share of the budget after which the pace of a training is looked at, once
_EARLY_SECONDS = 5.0  # of compute for steps, after which it is looked at as well: in a long training sooner
_FEWEST = 8  # samples
_LATE = 0.5  # share of the budget after which fewer will do, from one that says less than the incumbent did
_TRYOUT_SECONDS = 20.0  # of compute at most, start-up included, that the incumbent's side takes


class Watch:
    """Looks at the pace of one training, once, and tells whether it is another than the incumbent's."""

    def __init__(self, incumbent: Sequence[Sample]) -> None:
        self._incumbent = incumbent
        self._looked = False
        self.deviates = False

    @property
    def pending(self) -> bool:
        """Whether the pace is still to be looked at; until then nobody knows how many steps the candidate gets.

        A training that says how far it is as seldom as the incumbent's did is never looked at.
        """
        return not self._looked and len(self._incumbent) >= _FEWEST

    def __call__(self, running: RunningTraining) -> str:
        """Return a sentence that stops the training, empty if it may go on."""
        samples = running.samples
        if self._looked or not samples:
            return ""
        used = samples[-1].compute_seconds - samples[0].compute_seconds
        early = samples[-1].done >= _EARLY or used >= _EARLY_SECONDS
        told = early and len(samples) >= _FEWEST
        if not told and not (self.pending and samples[-1].done >= _LATE):
            return ""
        self._looked = True
        # The same part of both trainings: a first step is not like those that follow.
        beside = [sample for sample in self._incumbent if sample.done <= samples[-1].done]
        found = ratio(samples, beside)
        if found is None or abs(found.value - 1) <= APART:
            return ""
        self.deviates = True
        return f"its steps cost {found.value:.2f} times what the incumbent's did, so its budget is measured"


class Pacer:
    """Grants budgets that buy the compute of the incumbent's."""

    def __init__(self, record: Record, workshop: Workshop, observer: Observer, unit: str) -> None:
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._counted = unit in COUNTED

    def watch(self, candidate: Candidate) -> Watch:
        """Return what looks at a candidate's first training."""
        known = self._first(self._record.incumbent()) if self._counted and candidate.number else None
        return Watch(() if known is None else known_samples(known))

    def grant(self, candidate: Candidate, place: Place) -> Candidate:
        """Measure a candidate beside the incumbent, in its place; returns it with its budget, which is on record then.

        One that fails meanwhile keeps its budget: its training will say why.
        """
        incumbent = self._record.incumbent()
        known = self._first(incumbent)
        assert known is not None
        self._observer.stage(candidate.number, "measuring", "what its steps cost, beside the incumbent")
        found = self._workshop.pace(candidate, incumbent, known, _TRYOUT_SECONDS, place)
        if found.ratio is None:
            return candidate
        whole = str(self._record.run.settings["budget"])
        budget = parse_budget(candidate.budget or whole)
        # Both sides of the ratio are measured beside this incumbent, which may not be the candidate's parent.
        due = granted(parse_budget(incumbent.budget or whole), found.ratio)
        so = (
            f"so it is granted {due.amount:.12g} {due.unit} instead of {budget.amount:.12g}"
            if due != budget
            else f"and its budget stays {budget}"
        )
        self._observer.note(
            f"candidate {candidate.number}: a step costs {found.ratio.value:.2f} ± {found.ratio.error:.2f} times "
            f"the incumbent's, {so}"
        )
        candidate = replace(candidate, budget=str(due))
        self._record.granted(candidate)
        return candidate

    def _first(self, incumbent: Candidate) -> Training | None:
        """Return an incumbent's first training."""
        trainings = self._record.trainings(incumbent)
        return next(
            (run for run in trainings if run.seed == SEED and run.status is Status.COMPLETED),
            None,
        )
