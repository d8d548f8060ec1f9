"""From a graded candidate to its verdict: compared, and if it would be accepted, measured once more."""

from __future__ import annotations

from dataclasses import replace

from pytest_evalloop.loop.acceptance import Measurement, confirm, decide, shares_weights, suite_problems
from pytest_evalloop.loop.calibration import Calibration
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.vault import Vault
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.audit import floor
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.records import Candidate, Decision, Grade, Training, Verdict
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.project import SEED

_CLOSER = 8  # times as many positions are audited before an acceptance counts


class Judge:
    """Decides about one graded candidate after another."""

    def __init__(
        self, settings: Settings, record: Record, workshop: Workshop, observer: Observer, vault: Vault | None
    ) -> None:
        self._settings = settings
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._vault = vault
        self._calibration = Calibration(settings.seeds, record, workshop, observer)

    def judge(self, candidate: Candidate, training: Training, grade: Grade) -> Decision:
        """Return the verdict on a candidate; raises `CannotGate` when the training noise cannot be measured."""
        decision = self._compare(training, grade)
        if decision.verdict is Verdict.REJECTED:
            return decision
        return self._confirm(candidate, training, grade, decision)

    def _compare(self, training: Training, grade: Grade) -> Decision:
        problems = suite_problems(grade, self._record.grades(self._record.baseline())[SEED])
        incumbent = self._record.measurements(self._record.incumbent())
        measured = (Measurement(training.key, training.seed, grade.scores),)
        noise = None
        if not problems and not shares_weights(incumbent, measured):
            better = bits_per_byte(grade.scores) < bits_per_byte(incumbent[0].scores)
            noise = self._calibration.noise() if better or len(incumbent) > 1 else None
            incumbent = self._record.measurements(self._record.incumbent())
        least = floor(grade.audit, sum(score.bytes for score in grade.scores)) if grade.audit else 0.0
        return decide(incumbent, measured, problems, noise, least)

    def _confirm(
        self, candidate: Candidate, training: Training, grade: Grade, decision: Decision
    ) -> Decision:
        """Score and audit the same weights once more, more closely, while the vault is read."""
        self._observer.stage(candidate.number, "auditing", candidate.description)
        positions = _CLOSER * self._settings.audit
        with Crew(1) as crew:
            again = crew.submit(
                lambda tick: self._workshop.grade(
                    candidate, training, objective_only=True, positions=positions, tick=tick
                )
            )
            contaminated = self._vault.contamination(candidate, grade) if self._vault is not None else ""
        decision = confirm(decision, grade, again.result())
        if decision.verdict is Verdict.ACCEPTED and contaminated:
            return replace(decision, verdict=Verdict.REJECTED, reason=contaminated)
        return decision
