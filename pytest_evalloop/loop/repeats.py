"""Trains and scores candidates under further seeds, side by side, and knows how much the seed alone moves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import headline
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.statistics import SeedNoise, seed_noise
from pytest_evalloop.records import Candidate, Status

Wanted = tuple[
    Candidate, int
]  # a candidate and the number of seeds that it is to be measured under in addition


class Repeats:
    """Measures again what was measured under one seed; only the tests that use the objective run."""

    def __init__(self, record: Record, workshop: Workshop, observer: Observer) -> None:
        self._record = record
        self._workshop = workshop
        self._observer = observer

    def noise(self) -> SeedNoise | None:
        """Return the training noise, pooled over all that is known; None before two seeds were measured."""
        return seed_noise(self._record.repeated())

    def measure(self, wanted: Sequence[Wanted]) -> dict[int, str]:
        """Train and score candidates under fresh seeds; returns by number why one could not be."""
        jobs = [
            (candidate, seed)
            for candidate, count in wanted
            for seed in self._record.next_seeds(candidate, count)
        ]
        failures: dict[int, str] = {}
        with Crew[str](max(1, min(len(jobs), self._workshop.places))) as crew:
            futures = [(job, crew.submit(partial(self._one, *job))) for job in jobs]
            crew.finish()
            for (candidate, _), future in futures:
                if failure := future.result():
                    failures.setdefault(candidate.number, failure)
        return failures

    def _one(self, candidate: Candidate, seed: int) -> str:
        asked = Asked(objective_only=True)
        with self._workshop.place(candidate, asked) as place:
            training = self._workshop.train(candidate, seed, place=place)
            self._record.trained(candidate, training)
            if training.status is not Status.COMPLETED:
                ended = training.status.replace("_", " ")
                return f"training {ended} under seed {seed}: {headline(training.detail)}"
            self._observer.stage(candidate.number, "scoring", f"seed {seed}")
            grade = self._workshop.grade(candidate, training, asked, place)
        self._record.graded(candidate, seed, grade)
        return "" if grade.scores else f"val_bpb was not measured under seed {seed}: {headline(grade.detail)}"
