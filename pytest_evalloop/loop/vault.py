"""Reads the vault: against contamination, and for the honest gain, under fresh seeds, when a run ends."""

from __future__ import annotations

import math
import time
from functools import partial

from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import suite_problems
from pytest_evalloop.loop.place import Place
from pytest_evalloop.loop.record import FRESH, Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.gap import Comparison, Gap, compare, gap, honest_gain
from pytest_evalloop.metric.statistics import SeedNoise
from pytest_evalloop.records import Candidate, DocumentScore, Grade, Status, Training, VaultScore

Scores = tuple[DocumentScore, ...]
_VAULT = Asked(objective_only=True, split="vault")


class Vault:
    """Scores models on documents that no candidate, no mutator and no other decision has seen.

    `seeds` is under how many fresh seeds baseline and incumbent are trained for the honest gain.
    """

    def __init__(self, record: Record, workshop: Workshop, observer: Observer, seed: int, seeds: int) -> None:
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._seed = seed
        self._seeds = seeds

    def contamination(self, candidate: Candidate, grade: Grade) -> str:
        """Say that a candidate which is about to be accepted knows validation text; empty if it does not.

        The vault decides about nothing else, and says no more than this.
        """
        baseline = self._record.baseline()
        before, after = self._first(baseline), self._first(candidate)
        if before is None or after is None:
            return "contamination cannot be ruled out: the vault could not be scored"
        first = self._record.grades(baseline)[self._seed]
        if compare((first.scores, before.scores), (grade.scores, after.scores)).contaminated:
            return "contamination: validation improved far more than documents that nobody has seen"
        return ""

    def close(self) -> None:
        """Put the baseline and the incumbent on record, the latter's gain under seeds that nobody has seen."""
        baseline, incumbent = self._record.baseline(), self._record.incumbent()
        self._first(baseline)
        if incumbent.number == 0:
            return
        self._first(incumbent)
        jobs = [(who, FRESH + index) for index in range(self._seeds) for who in (baseline, incumbent)]
        missing = [job for job in jobs if self._known(*job) is None]
        if missing:
            self._observer.note(
                f"vault: training baseline and incumbent under {self._seeds} fresh seed"
                f"{'s' if self._seeds > 1 else ''}, side by side"
            )
        # Who shares weights waits for them, so that they are not trained twice.
        shared = self._workshop.same_training(baseline, incumbent)
        parts = [baseline.number, incumbent.number] if shared else [None]
        for part in parts:
            with Crew[None](self._workshop.places) as crew:
                due = [job for job in missing if part in (None, job[0].number)]
                for job in due:
                    crew.submit(partial(self._fresh, *job))
                crew.finish()

    def _known(self, candidate: Candidate, seed: int) -> VaultScore | None:
        reads = self._record.vault()
        return next((read for read in reads if (read.number, read.seed) == (candidate.number, seed)), None)

    def _first(self, candidate: Candidate) -> VaultScore | None:
        """Return the vault's score of a candidate's first training, None if there is none."""
        seed = self._record.first_seed(candidate)
        if (known := self._known(candidate, seed)) is not None:
            return known
        training = next(run for run in self._record.trainings(candidate) if run.seed == seed)
        return self._read(candidate, training)

    def _fresh(self, candidate: Candidate, seed: int) -> None:
        with self._workshop.place(candidate, _VAULT) as place:
            training = self._workshop.train(candidate, seed, place=place)
            self._record.trained(candidate, training)
            if training.status is Status.COMPLETED:
                self._read(candidate, training, place)
        if training.status is not Status.COMPLETED:
            self._observer.note(f"vault: candidate {candidate.number} cannot be trained under seed {seed}")

    def _read(
        self, candidate: Candidate, training: Training, place: Place | None = None
    ) -> VaultScore | None:
        self._observer.stage(candidate.number, "vault", "scoring documents that nobody has seen")
        grade = self._workshop.grade(candidate, training, _VAULT, place)
        if not grade.scores or grade.audit is None:
            problem = (suite_problems(grade, None) or ("nothing was measured",))[0]
            self._observer.note(f"the vault could not be read for candidate {candidate.number}: {problem}")
            return None
        score = VaultScore(candidate.number, training.seed, time.time(), grade.scores, grade.audit)
        self._record.read_vault(score)
        return score


def vault_lines(record: Record, noise: SeedNoise | None) -> list[str]:
    """Say how validation and vault compare, the honest gain first, a sentence a line; nothing if it was not read."""
    reads = {read.number: read.scores for read in record.vault() if read.seed < FRESH}
    baseline, incumbent = record.baseline(), record.incumbent()
    if baseline.number not in reads or incumbent.number not in reads:
        return []
    sides = {item.number: (_validation(record, item), reads[item.number]) for item in (baseline, incumbent)}
    lines = [_gap_line("baseline", gap(*sides[baseline.number]))]
    if incumbent.number != baseline.number:
        found = compare(sides[baseline.number], sides[incumbent.number])
        lines.append(_gap_line(f"incumbent {incumbent.number}", gap(*sides[incumbent.number])))
        lines = _gain_lines(record, found, noise) + lines + _contamination_lines(found)
    return lines


def _validation(record: Record, candidate: Candidate) -> Scores:
    return record.grades(candidate)[record.first_seed(candidate)].scores


def _gap_line(who: str, found: Gap) -> str:
    return (
        f"vault: {who} {found.vault:.4f} bpb, on validation {found.validation:.4f}: "
        f"a gap of {found.difference:+.4f} ± {2 * found.error:.4f}"
    )


def _gain_lines(record: Record, first: Comparison, noise: SeedNoise | None) -> list[str]:
    """Say by how much the incumbent is better under fresh seeds, with an interval of 95 %."""
    fresh: dict[int, dict[int, Scores]] = {record.baseline().number: {}, record.incumbent().number: {}}
    for read in record.vault():
        if read.seed >= FRESH and read.number in fresh:
            fresh[read.number][read.seed] = read.scores
    seeds = sorted(set.intersection(*(set(found) for found in fresh.values())))
    if not seeds:
        return []
    old, new = ([found[seed] for seed in seeds] for found in fresh.values())
    keys = {run.key for run in record.trainings(record.baseline())}
    shared = all(run.key in keys for run in record.trainings(record.incumbent()))
    unknown = SeedNoise(math.inf, 1)
    gained = honest_gain(old, new, None if shared else noise or unknown)
    said = f"validation said {first.validation.delta:.4f} under the seed that it was accepted by"
    under = f"{len(seeds)} fresh seed{'s' if len(seeds) > 1 else ''}"
    return [f"vault: honest gain {gained.delta:.4f} ± {gained.reach:.4f} bpb under {under} ({said})"]


def _contamination_lines(found: Comparison) -> list[str]:
    if not found.contaminated:
        return []
    sentence = (
        f"CONTAMINATION: validation improved by {found.excess:.4f} bpb more than the vault, "
        f"{found.excess / found.error:.1f} standard errors. The incumbent may know validation text: read its "
        "diff before you use it."
    )
    return [sentence]
