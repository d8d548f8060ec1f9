"""Reads the vault, once a model, when a run ends: no candidate is ever chosen by it."""

from __future__ import annotations

import time

from pytest_evalloop.loop.acceptance import suite_problems
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.gap import Comparison, Gap, compare, gap
from pytest_evalloop.records import Candidate, DocumentScore, VaultScore

Scores = tuple[DocumentScore, ...]


def read_vault(record: Record, workshop: Workshop, observer: Observer, seed: int) -> None:
    """Score the baseline and the incumbent on the vault unless that was done before, and put it on record."""
    known = {read.number for read in record.vault()}
    for candidate in {item.number: item for item in (record.baseline(), record.incumbent())}.values():
        training = next((run for run in record.trainings(candidate) if run.seed == seed), None)
        if candidate.number in known or training is None:
            continue
        observer.stage(candidate.number, "vault", "scoring documents that nobody has seen")
        grade = workshop.grade(candidate, training, objective_only=True, split="vault")
        if not grade.scores or grade.audit is None:
            problem = (suite_problems(grade, None) or ("nothing was measured",))[0]
            observer.note(f"the vault could not be read for candidate {candidate.number}: {problem}")
            return
        record.read_vault(VaultScore(candidate.number, seed, time.time(), grade.scores, grade.audit))


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
    if len(reads) > 2:
        lines.append(f"vault: it has been read for {len(reads)} models of this run, so it is no longer fresh")
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
