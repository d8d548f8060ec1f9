"""Reads the vault, once a model: against contamination, and for the honest gain when a run ends."""

from __future__ import annotations

import time

from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import suite_problems
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.gap import Comparison, Gap, compare, gap
from pytest_evalloop.records import Candidate, DocumentScore, Grade, VaultScore

Scores = tuple[DocumentScore, ...]


class Vault:
    """Scores models on documents that no candidate, no mutator and no other decision has seen."""

    def __init__(self, record: Record, workshop: Workshop, observer: Observer, seed: int) -> None:
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._seed = seed

    def contamination(self, candidate: Candidate, grade: Grade) -> str:
        """Say that a candidate which is about to be accepted knows validation text; empty if it does not.

        The vault decides about nothing else, and says no more than this.
        """
        baseline = self._record.baseline()
        before, after = self._read(baseline), self._read(candidate)
        if before is None or after is None:
            return "contamination cannot be ruled out: the vault could not be scored"
        first = self._record.grades(baseline)[self._seed]
        if compare((first.scores, before.scores), (grade.scores, after.scores)).contaminated:
            return "contamination: validation improved far more than documents that nobody has seen"
        return ""

    def close(self) -> None:
        """Put the baseline and the incumbent on record, for the summary."""
        for candidate in (self._record.baseline(), self._record.incumbent()):
            self._read(candidate)

    def _read(self, candidate: Candidate) -> VaultScore | None:
        """Return the vault's score of a candidate, measured unless it is on record; None if it cannot be."""
        for known in self._record.vault():
            if known.number == candidate.number:
                return known
        training = next(run for run in self._record.trainings(candidate) if run.seed == self._seed)
        self._observer.stage(candidate.number, "vault", "scoring documents that nobody has seen")
        grade = self._workshop.grade(candidate, training, objective_only=True, split="vault")
        if not grade.scores or grade.audit is None:
            problem = (suite_problems(grade, None) or ("nothing was measured",))[0]
            self._observer.note(f"the vault could not be read for candidate {candidate.number}: {problem}")
            return None
        score = VaultScore(candidate.number, self._seed, time.time(), grade.scores, grade.audit)
        self._record.read_vault(score)
        return score


def vault_lines(record: Record, seed: int) -> list[str]:
    """Say how validation and vault compare, a sentence a line; nothing if the vault was not read."""
    reads = {read.number: read.scores for read in record.vault()}
    baseline, incumbent = record.baseline(), record.incumbent()
    if baseline.number not in reads or incumbent.number not in reads:
        return []
    sides = {
        item.number: (_validation(record, item, seed), reads[item.number]) for item in (baseline, incumbent)
    }
    lines = [_gap_line("baseline", gap(*sides[baseline.number]))]
    if incumbent.number != baseline.number:
        lines.append(_gap_line(f"incumbent {incumbent.number}", gap(*sides[incumbent.number])))
        lines += _gain_lines(compare(sides[baseline.number], sides[incumbent.number]))
    return lines


def _validation(record: Record, candidate: Candidate, seed: int) -> Scores:
    return record.grades(candidate)[seed].scores


def _gap_line(who: str, found: Gap) -> str:
    return (
        f"vault: {who} {found.vault:.4f} bpb, on validation {found.validation:.4f}: "
        f"a gap of {found.difference:+.4f} ± {2 * found.error:.4f}"
    )


def _gain_lines(found: Comparison) -> list[str]:
    said = f"validation said {found.validation.delta:.4f} ± {2 * found.validation.standard_error:.4f}"
    honest = f"{found.vault.delta:.4f} ± {2 * found.vault.standard_error:.4f}"
    lines = [f"vault: honest gain {honest} bpb ({said})"]
    if found.contaminated:
        lines.append(
            f"CONTAMINATION: validation improved by {found.excess:.4f} bpb more than the vault, "
            f"{found.excess / found.error:.1f} standard errors. The incumbent may know validation text: read its "
            "diff before you use it."
        )
    return lines
