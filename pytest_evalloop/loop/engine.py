"""The order of events of a loop; every step is on record before the next one begins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pytest_evalloop.candidate.progress import Progress
from pytest_evalloop.candidate.training import RunningTraining
from pytest_evalloop.loop import canary
from pytest_evalloop.loop.acceptance import Rule
from pytest_evalloop.loop.crew import Crew, go_on
from pytest_evalloop.loop.inspection import Inspector
from pytest_evalloop.loop.judging import Judge
from pytest_evalloop.loop.leading import due, overtaken, standing, waits
from pytest_evalloop.loop.limits import reached
from pytest_evalloop.loop.merging import Merger
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.pacing import Pacer
from pytest_evalloop.loop.passing import broken_training, first_line, suite_problems
from pytest_evalloop.loop.place import Place
from pytest_evalloop.loop.proposing import Proposer
from pytest_evalloop.loop.record import TAMPERING, Record
from pytest_evalloop.loop.refusal import CannotGate, Tampered
from pytest_evalloop.loop.repeats import Repeats
from pytest_evalloop.loop.stopping import Stopper
from pytest_evalloop.loop.tryout import Tryout
from pytest_evalloop.loop.vault import Vault
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.protocols import Mutator
from pytest_evalloop.records import (
    Candidate,
    Decision,
    Grade,
    Status,
    Training,
    Verdict,
)
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.project import SEED


@dataclass(frozen=True, slots=True)
class Reached:
    """Why the loop stopped."""

    reason: str


class Engine:
    """Runs one loop: baseline, then candidates, several at once, until a limit is reached.

    Candidates are proposed one after the other, tried side by side, and decided about one at a time: whoever is
    decided about meets the incumbent of that moment, which may not be its parent any more.
    """

    def __init__(
        self,
        settings: Settings,
        record: Record,
        workshop: Workshop,
        inspector: Inspector,
        mutators: Mapping[str, Mutator],
        observer: Observer,
        *,
        vault: bool,
    ) -> None:
        self._settings = settings
        self._record = record
        self._workshop = workshop
        self._inspector = inspector
        self._observer = observer
        self._vault = Vault(record, workshop, observer, SEED, settings.vault_seeds) if vault else None
        self._repeats = Repeats(record, workshop, observer)
        rule = Rule(settings.level, settings.most_seeds, settings.min_effect)
        self._judge = Judge(settings, record, workshop, observer, self._repeats, self._vault, rule)
        merger = Merger(record, workshop, observer, self._repeats, rule)
        self._proposer = Proposer(settings, record, workshop, mutators, observer, merger)
        self._code = any(getattr(mutator, "writes_code", True) for mutator in mutators.values())
        self._judging = threading.Lock()
        self._writing = threading.RLock()
        self._flying: set[int] = set()
        self._tryout = Tryout(record, workshop, observer, settings.tryout)
        self._stopper = Stopper(record, workshop, settings.race)
        # Null candidates differ by their seeds alone: who of them is lowest must not decide about the others.
        self._wait = settings.defer > 0 and not record.run.settings.get("aa")
        self._pacer = Pacer(record, workshop, observer, settings.budget.unit)

    def run(self) -> Reached:
        """Run until a limit is reached; raises `CannotGate` when the baseline does not pass.

        Killed at any point, it may be called again on the same record and goes on.
        """
        started = time.monotonic()
        self._baseline()
        reason = None
        with Crew[None](self._workshop.places) as crew:
            waiting = [candidate for candidate in self._record.unfinished() if not waits(candidate)]
            crew.submit(self._settle)  # a leader's verdict may have been under way when the loop was killed
            if self._code and (waiting or self._reached(0.0) is None):
                crew.submit(self._tryout.begin)
            while True:
                crew.collect(block=False)
                while crew.busy >= self._workshop.places:
                    crew.collect()
                if waiting:
                    crew.submit(partial(self._try, waiting.pop(0)))
                elif (reason := self._reached(time.monotonic() - started)) is None:
                    crew.submit(partial(self._try, self._proposer.propose()))
                elif crew.busy:
                    crew.collect()  # an acceptance under way may be reason to go on
                elif standing(self._record.candidates()).leader is not None:
                    crew.submit(partial(self._settle, final=True))  # and so may that of who leads
                else:
                    break
        if self._vault is not None:
            self._vault.close()
        return Reached(reason)

    def _reached(self, elapsed: float) -> str | None:
        proposed, decided = self._record.candidates()[1:], self._record.decided_candidates()[1:]
        return reached(self._settings, elapsed, self._record.incumbent().bpb, proposed, decided)

    # -- the baseline

    def _baseline(self) -> None:
        baseline = self._record.baseline()
        if baseline.decision is not None:
            self._limit(baseline)
            return
        started = time.monotonic()
        with self._workshop.place(baseline) as place:
            baseline, training = self._train(baseline, place)
            if training.status is not Status.COMPLETED:
                raise CannotGate(f"The baseline cannot be trained: {training.status}, {training.detail}")
            grade = self._grade(baseline, training, place)
        problems = suite_problems(grade, None)
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems[:20])
            raise CannotGate(
                f"The baseline does not pass its own evals, so no candidate can be judged by them:\n{listed}\n"
                f"{grade.detail}".rstrip()
            )
        seconds = time.monotonic() - started
        self._limit(baseline)
        canary.check(self._workshop, baseline, training, grade, self._observer)
        decision = Decision(Verdict.ACCEPTED, "the baseline passes its evals")
        self._decide(self._graded(baseline, training, grade, seconds), grade, decision)

    def _limit(self, baseline: Candidate) -> None:
        """Cap all that follows by what the baseline's first training and grading used."""
        first = next(run for run in self._record.trainings(baseline) if run.seed == SEED)
        self._workshop.limit(first, self._record.grades(baseline)[SEED])

    # -- one candidate

    def _try(self, candidate: Candidate) -> None:
        """Take a proposed candidate as far as its first seed does; raises `Tampered` if it changed what judges."""
        self._flying.add(candidate.number)
        try:
            with self._workshop.alone(candidate):
                self._finish(candidate)
            self._guard(candidate.number)
            self._settle()
        finally:
            self._flying.discard(candidate.number)

    def _guard(self, number: int) -> None:
        """Raise `Tampered` if what judges is no longer as it was, in words that blame a candidate."""
        with self._writing:
            go_on()
            tampering = self._inspector.tampering(number)
        if tampering:
            raise Tampered(number, tampering, sorted(self._flying - {number}))

    def _finish(self, candidate: Candidate) -> None:
        """Take a proposed candidate to its verdict, or to where it waits; what is on record is not done again."""
        started = time.monotonic()
        if candidate.detail and candidate.commit == candidate.parent:
            reason = f"{candidate.mutator} proposed nothing that can be tried: {first_line(candidate.detail)}"
            self._reject(candidate, Status.CRASHED, reason)
            return
        objections = self._inspector.objections(candidate)
        if objections:
            more = f" (and {len(objections) - 1} more)" if len(objections) > 1 else ""
            self._reject(candidate, Status.COMPLETED, f"{objections[0]}{more}", "\n".join(objections))
            return
        if (twin := self._inspector.twin(candidate, self._record.judged())) is not None:
            verdict = twin.decision.verdict if twin.decision is not None else "open"
            reason = f"the same as candidate {twin.number}, which was {verdict}"
            self._reject(candidate, None, reason)
            return
        untried = not self._record.trainings(candidate) and self._inspector.structural(candidate)
        if untried and (broken := self._tryout.problem(candidate)) is not None:
            self._reject(candidate, *broken)
            return
        with self._workshop.place(candidate) as place:
            candidate, training = self._train(candidate, place)
            if training.status is not Status.COMPLETED:
                self._reject_untrained(candidate, training)
                return
            grade = self._grade(candidate, training, place)
        seconds = time.monotonic() - started - self._workshop.waited(candidate.number)
        with self._judging:
            go_on()
            graded = self._graded(candidate, training, grade, seconds)
            self._conclude(graded, training, grade, wait=self._wait)

    def _conclude(self, candidate: Candidate, training: Training, grade: Grade, *, wait: bool) -> None:
        """Decide about a graded candidate, or with `wait` let it wait where that takes further seeds."""
        decision = self._judge.judge(candidate, training, grade, wait=wait)
        with self._writing:
            go_on()
            if tampering := self._inspector.tampering(candidate.number):
                blank = decision or Decision(Verdict.REJECTED, "")
                decision = replace(blank, verdict=Verdict.REJECTED, reason=f"{TAMPERING}{tampering[0]}")
            if decision is None:
                self._record.waiting(candidate)
                told = (
                    f"{candidate.bpb:.4f} bpb under one seed; more follow unless something lower comes first"
                )
                self._observer.stage(candidate.number, "waiting", told)
            else:
                self._decide(candidate, grade, decision)

    def _settle(self, *, final: bool = False) -> None:
        """Reject who was overtaken while it waited, and decide about the leader when it is due, or the loop ends."""
        with self._judging:
            go_on()
            found = standing(self._record.candidates())
            if found.leader is None:
                return
            for other in found.behind:
                self._close(replace(other, decision=overtaken(other, found.leader)))
            # Those that were overtaken just now have a verdict, too.
            found = standing(self._record.candidates())
            if found.leader is None or not (final or due(found, self._settings.defer, self._settings.target)):
                return
            with self._workshop.place(found.leader) as place:
                leader, training = self._train(found.leader, place)
                if training.status is not Status.COMPLETED:  # its artifacts were gone, and it does not repeat
                    self._reject_untrained(leader, training)
                    return
                grade = self._grade(leader, training, place)
            self._conclude(leader, training, grade, wait=False)
            self._guard(leader.number)

    def _train(self, candidate: Candidate, place: Place) -> tuple[Candidate, Training]:
        """Train a candidate under its first seed; returns it with the budget that it was granted."""
        seed = self._record.first_seed(candidate)
        known = [run for run in self._record.trainings(candidate) if run.seed == seed]
        if known and (known[-1].status is not Status.COMPLETED or Path(known[-1].artifacts).is_dir()):
            return candidate, known[-1]
        if self._workshop.find(candidate, seed) is None:
            self._observer.stage(candidate.number, "training", candidate.description)
        race, pace = self._stopper.watch(candidate, self._repeats.noise()), self._pacer.watch(candidate)

        def check(running: RunningTraining) -> str:
            # One whose steps are cheaper gets more of them, so with as many as the incumbent it may well be behind.
            return pace(running) or ("" if pace.pending else race(running))

        training = self._workshop.train(candidate, seed, self._progress(candidate), check, place=place)
        if pace.deviates:
            candidate = self._pacer.grant(candidate, place)
            self._observer.stage(candidate.number, "training", candidate.description)
            training = self._workshop.train(candidate, seed, self._progress(candidate), race, place=place)
        self._record.trained(candidate, training)
        return candidate, training

    def _progress(self, candidate: Candidate) -> Callable[[Progress | None], None]:
        return lambda progress: self._observer.progress(candidate.number, progress)

    def _grade(self, candidate: Candidate, training: Training, place: Place) -> Grade:
        known = self._record.grades(candidate).get(training.seed)
        if known is not None:
            return known
        self._observer.stage(candidate.number, "grading", candidate.description)
        grade = self._workshop.grade(candidate, training, place=place)
        self._record.graded(candidate, training.seed, grade)
        return grade

    def _spent(self, candidate: Candidate) -> float:
        """Return the compute of a candidate's trainings, under all seeds, that were not known before."""
        return sum(run.compute_seconds for run in self._record.trainings(candidate) if not run.reused)

    # -- verdicts

    def _reject_untrained(self, candidate: Candidate, training: Training) -> None:
        found = self._stopper.found(candidate)
        if found is not None and found.stopped:
            self._reject(candidate, None, training.detail, training=training, delta=-found.expected)
            return
        self._reject(candidate, training.status, broken_training(training), training.detail, training)

    def _reject(
        self,
        candidate: Candidate,
        status: Status | None,
        reason: str,
        detail: str = "",
        training: Training | None = None,
        delta: float | None = None,
    ) -> None:
        decided = replace(
            candidate,
            status=status,
            decision=Decision(Verdict.REJECTED, reason, delta),
            detail=detail or candidate.detail,
            train_seconds=training.compute_seconds if training and not training.reused else 0.0,
            peak_bytes=training.peak_bytes if training else None,
        )
        self._close(decided)

    def _graded(self, candidate: Candidate, training: Training, grade: Grade, seconds: float) -> Candidate:
        """Return a candidate with what its first grading said; it took `seconds` up to here."""
        checks = max(0.0, grade.check_seconds - grade.host_seconds)
        work = checks + (0.0 if training.reused else training.wall_seconds)
        return replace(
            candidate,
            status=grade.status,
            bpb=bits_per_byte(grade.scores) if grade.scores else None,
            passed=not suite_problems(grade, None),
            peak_bytes=training.peak_bytes,
            train_seconds=self._spent(candidate),
            check_seconds=checks,
            overhead_seconds=max(0.0, seconds - work),
            detail=grade.detail,
        )

    def _decide(self, candidate: Candidate, grade: Grade, decision: Decision) -> None:
        """Put the verdict on a graded candidate on record; an accepted one enters the branch."""
        decided = replace(candidate, decision=decision, train_seconds=self._spent(candidate))
        if decision.verdict is Verdict.ACCEPTED:
            commit = self._workshop.seal(decided, grade, self._record.tip())
            decided = replace(decided, accepted_commit=commit)
        self._close(decided)

    def _close(self, decided: Candidate) -> None:
        with self._writing:
            go_on()
            self._record.decided(decided)
            self._observer.decided(decided)
