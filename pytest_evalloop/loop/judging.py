"""From a graded candidate to its verdict: compared seed after seed, and measured once more before it counts."""

from __future__ import annotations

from dataclasses import replace

from pytest_evalloop.loop.acceptance import (
    Measurement,
    Rule,
    fallen_back,
    judge,
    promising,
    shares_weights,
)
from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import confirm, suite_problems
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.references import enough, least, next_look
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.repeats import Repeats
from pytest_evalloop.loop.vault import Vault
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.audit import floor
from pytest_evalloop.records import Candidate, Decision, Grade, Training, Verdict
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.project import SEED

_CLOSER = 8  # times as many positions are audited before an acceptance counts


class Judge:
    """Decides about one graded candidate after another."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        workshop: Workshop,
        observer: Observer,
        repeats: Repeats,
        vault: Vault | None,
        rule: Rule,
    ) -> None:
        self._settings = settings
        self._rule = rule
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._vault = vault
        self._repeats = repeats

    def judge(
        self, candidate: Candidate, training: Training, grade: Grade, *, wait: bool = False
    ) -> Decision | None:
        """Return the verdict on a candidate, with `wait` None for one that was trained and may be better.

        Also for one that is clearly better: each incumbent costs fresh seeds of its own, and a lower one may come.
        Raises `CannotGate` when the baseline cannot be measured again.
        """
        decision = self._compare(candidate, grade, wait=wait)
        if decision is None or decision.verdict is Verdict.REJECTED:
            return decision
        known = self._record.measurements(self._record.incumbent())
        if wait and not shares_weights(known, self._record.measurements(candidate)):
            return None
        return self._confirm(candidate, training, grade, decision)

    def _compare(self, candidate: Candidate, grade: Grade, *, wait: bool) -> Decision | None:
        problems = suite_problems(grade, self._record.grades(self._record.baseline())[SEED])
        smallest = floor(grade.audit, sum(score.bytes for score in grade.scores)) if grade.audit else 0.0
        while True:
            incumbent, measured = self._record.incumbent(), self._record.measurements(candidate)
            known, missing = self._record.measurements(incumbent), 0
            if not problems and not shares_weights(known, measured):
                known = self._record.reference(incumbent)
                missing = self._missing(incumbent, known, measured)
            decision = judge(known, measured, problems, self._repeats.noise(), self._rule, smallest)
            clear = decision is not None and decision.verdict is Verdict.ACCEPTED
            if missing and not (clear and len(known) >= self._least(incumbent)):
                if wait and known:
                    return None
                self._refer(incumbent, missing)
                continue  # the incumbent may be another one now
            if decision is not None:
                order = [other.number for other in self._record.decided_candidates()]
                return _against(decision, incumbent, self._record.at(candidate.parent), order)
            if wait:
                return None
            wanted = [(candidate, 1)] + ([(incumbent, 1)] if len(known) <= len(measured) else [])
            both = " of both" if len(wanted) > 1 else ""
            (seed,) = self._record.next_seeds(candidate, 1)
            self._observer.stage(candidate.number, "repeating", f"seed {seed}{both}")
            failures = self._repeats.measure(wanted)
            if candidate.number in failures:
                return Decision(Verdict.REJECTED, f"it does not repeat: {failures[candidate.number]}")
            if incumbent.number in failures:
                self._take_back(incumbent, f"it does not repeat: {failures[incumbent.number]}")

    def _missing(
        self, incumbent: Candidate, known: tuple[Measurement, ...], measured: tuple[Measurement, ...]
    ) -> int:
        """Return how many fresh seeds the incumbent lacks for the next look at a candidate.

        One before anything is compared with it, and more for a promising candidate: of an accepted incumbent enough
        to tell whether its acceptance was luck, of each as many as the verdict asks for.
        """
        noise = self._repeats.noise()
        if not known:
            return 1  # also for who is far behind: nobody may come near an absurdly lucky number
        if not promising(known, measured, noise):
            return 0
        wanted = enough(noise, self._settings.seeds)
        missing = next_look(len(known), wanted, baseline=incumbent.number == 0) - len(known)
        if noise is not None:
            return max(0, missing)
        # One more tells it where the first weights, which were chosen, do not; or that seeds change nothing.
        return min(max(1, missing), self._workshop.places)

    def _least(self, incumbent: Candidate) -> int:
        """Return under how many fresh seeds an incumbent stands before somebody can take its place."""
        wanted = enough(self._repeats.noise(), self._settings.seeds)
        return least(wanted, baseline=incumbent.number == 0)

    def _refer(self, incumbent: Candidate, missing: int) -> None:
        """Measure the incumbent under fresh seeds, and revoke its acceptance if it does not hold up."""
        who = "the baseline" if incumbent.number == 0 else f"the incumbent {incumbent.number}"
        self._observer.note(f"measuring {who} under {missing} fresh seed{'s' if missing > 1 else ''}")
        failures = self._repeats.measure([(incumbent, missing)])
        if incumbent.number in failures:
            self._take_back(incumbent, f"it does not repeat: {failures[incumbent.number]}")
            return
        noise = self._repeats.noise()
        if noise is not None:
            self._observer.note(
                f"training noise: the seed alone moves bpb by {noise.sd:.4f} "
                f"(sd, {noise.freedom} degrees of freedom)"
            )
        if incumbent.number and len(self._record.reference(incumbent)) >= self._least(incumbent):
            before = self._record.measurements(self._predecessor(incumbent))
            if reason := fallen_back(before, self._record.reference(incumbent)):
                self._take_back(incumbent, reason)

    def _predecessor(self, incumbent: Candidate) -> Candidate:
        standing = self._record.accepted()
        return standing[[candidate.number for candidate in standing].index(incumbent.number) - 1]

    def _take_back(self, incumbent: Candidate, reason: str) -> None:
        """Revoke an acceptance in the open; raises `CannotGate` for the baseline, which nothing stands behind."""
        if incumbent.number == 0:
            raise CannotGate(f"The baseline cannot be measured again, so its noise is unknown: {reason}")
        commit = self._workshop.unseal(incumbent, self._predecessor(incumbent), reason, self._record.tip())
        self._record.revoked(incumbent, reason, commit)
        self._observer.note(f"REVOKED {incumbent.run}/{incumbent.number}: {reason}")

    def _confirm(
        self, candidate: Candidate, training: Training, grade: Grade, decision: Decision
    ) -> Decision:
        """Score and audit the same weights once more, more closely, while the vault is read."""
        self._observer.stage(candidate.number, "auditing", candidate.description)
        positions = _CLOSER * self._settings.audit
        with Crew[Grade](1) as crew:
            again = crew.submit(
                lambda: self._workshop.grade(
                    candidate, training, Asked(objective_only=True, positions=positions)
                )
            )
            contaminated = self._vault.contamination(candidate, grade) if self._vault is not None else ""
        decision = confirm(decision, grade, again.result())
        if decision.verdict is Verdict.ACCEPTED and contaminated:
            return replace(decision, verdict=Verdict.REJECTED, reason=contaminated)
        return decision


def _against(
    decision: Decision, incumbent: Candidate, parent: Candidate | None, order: list[int]
) -> Decision:
    """Put into a decision whom it was made against, in words where that is not the candidate's own parent."""
    told = ""
    if parent is not None and parent.number != incumbent.number:
        again = order.index(incumbent.number) < order.index(parent.number)
        who = f"candidate {incumbent.number}" if incumbent.number else "the baseline"
        told = f" ({who} {'stands again since' if again else 'was accepted while'} it was tried)"
    return replace(decision, reason=decision.reason + told, against=incumbent.number)
