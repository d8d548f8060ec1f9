"""How much the training seed alone moves bits per byte: the baseline under more seeds."""

from __future__ import annotations

from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.metric.statistics import SeedNoise, seed_noise
from pytest_evalloop.records import Candidate, Status


class Calibration:
    """Measures training noise for one run."""

    def __init__(self, seeds: int, record: Record, workshop: Workshop, observer: Observer) -> None:
        self._seeds = seeds
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._noise: SeedNoise | None = None

    def noise(self) -> SeedNoise:
        """Return how far the seed alone moves the baseline; measured once a run, when first asked for.

        Raises `CannotGate` when the baseline cannot be trained or scored under another seed.
        """
        if self._noise is None:
            baseline = self._record.baseline()
            seeds = range(self._seeds)
            measured = {run.seed for run in self._record.measurements(baseline)}
            missing = [seed for seed in seeds if seed not in measured]
            if missing:
                self._observer.note(
                    f"measuring training noise: the baseline under {len(missing)} more seeds, side by side"
                )
                self._measure(baseline, missing)
            runs = self._record.measurements(baseline)
            self._noise = seed_noise([bits_per_byte(run.scores) for run in runs])
            self._observer.note(
                f"training noise: the seed alone moves bpb by {self._noise.sd:.4f} (sd over {len(runs)} seeds)"
            )
        return self._noise

    def _measure(self, candidate: Candidate, seeds: list[int]) -> None:
        """Train and score `candidate` under more seeds; only the tests that use the objective run."""
        trainings = self._workshop.train_all(
            candidate, seeds, lambda progress: self._observer.progress(candidate.number, progress)
        )
        for training in trainings:
            self._record.trained(candidate, training)
            if training.status is not Status.COMPLETED:
                raise CannotGate(
                    f"The baseline cannot be trained under seed {training.seed}, so its noise is unknown: "
                    f"{training.status}, {training.detail}"
                )
            self._observer.stage(candidate.number, "scoring", f"seed {training.seed}")
            grade = self._workshop.grade(candidate, training, objective_only=True)
            if not grade.scores:
                raise CannotGate(f"The baseline cannot be scored under seed {training.seed}: {grade.detail}")
            self._record.graded(candidate, training.seed, grade)
