"""What is on record of one run: the ledger, the refs that keep its commits, and the results table."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator

from pytest_evalloop.loop.acceptance import Measurement
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.records import Candidate, Grade, Run, Status, Training, VaultScore, Verdict
from pytest_evalloop.store.cache import Artifacts
from pytest_evalloop.store.home import Home, StoreError
from pytest_evalloop.store.ledger import Ledger
from pytest_evalloop.store.results import write_results
from pytest_evalloop.store.workspace import Workspace, branch_ref, candidate_ref
from pytest_evalloop.suite.project import SEED

FRESH = 10**6
"""The first of the seeds that no decision sees."""
TAMPERING = "tampering: "
"""How the reason of a candidate begins that changed what judges."""
_APART = 1000  # from the seeds of one null candidate to those of the next


class Record:
    """The durable state of one run; a process that is killed between any two calls loses nothing.

    The ledger leads: it says what is true, and refs and table are brought to agree with it.
    """

    def __init__(self, run: Run, home: Home, ledger: Ledger, workspace: Workspace) -> None:
        self.run = run
        self._home = home
        self._ledger = ledger
        self._workspace = workspace
        self._artifacts = Artifacts(home.artifacts)

    @classmethod
    def begin(cls, run: Run, home: Home, ledger: Ledger, workspace: Workspace) -> Record:
        """Put a new run on record, or one again whose baseline has no verdict yet."""
        existing = ledger.run(run.name)
        if existing is None and workspace.ref(branch_ref(run.name)) is not None:
            raise StoreError(
                f"The branch evalloop/{run.name} exists, but {home.ledger} knows no run of that name. Rename or "
                f"delete the branch (git branch -D evalloop/{run.name}), or choose another --evalloop-run."
            )
        if existing is None:
            ledger.create_run(run)
        elif (existing.snapshot, existing.settings) != (run.snapshot, run.settings):
            ledger.restart_run(run)
        if not ledger.candidates(run.name):
            ledger.add_candidate(
                Candidate(run.name, 0, run.head, run.snapshot, "baseline", "the working tree at the start")
            )
        return cls(run, home, ledger, workspace)

    def reconcile(self) -> None:
        """Bring refs, table and cache to agree with the ledger after a crash.

        Raises `StoreError` when the run's branch is checked out, or stands where the loop never put it.
        """
        place = self._workspace.checked_out(branch_ref(self.run.name))
        if place is not None:
            raise StoreError(
                f"The branch evalloop/{self.run.name} is checked out in {place}, and moving it would change that "
                "checkout. Switch to another branch there (git switch --detach keeps the files)."
            )
        self._artifacts.sweep()
        for candidate in self.candidates():
            self._keep(candidate)
        self._advance()
        self._write_results()

    # -- what is known

    def candidates(self) -> tuple[Candidate, ...]:
        """Return all candidates by number, the baseline first."""
        return self._ledger.candidates(self.run.name)

    def baseline(self) -> Candidate:
        """Return candidate 0."""
        return self.candidates()[0]

    def incumbent(self) -> Candidate:
        """Return the candidate that was accepted last."""
        return self._ledger.incumbent(self.run.name)

    def decided_candidates(self) -> tuple[Candidate, ...]:
        """Return the candidates with a verdict in the order of their decisions."""
        return self._ledger.decided(self.run.name)

    def tip(self) -> str:
        """Return the commit that the next candidate is made from."""
        stations = self._stations()
        return stations[-1] if stations else self.baseline().commit

    def at(self, commit: str) -> Candidate | None:
        """Return the incumbent of the time at which the branch stood at a commit."""
        return self._incumbents().get(commit)

    def _incumbents(self) -> dict[str, Candidate]:
        """Return the incumbents by the commits at which the branch stood."""
        standing: list[Candidate] = []
        found = {}
        for candidate, commit in self._ledger.stations(self.run.name):
            if commit == candidate.accepted_commit:
                standing.append(candidate)
            else:
                standing.remove(candidate)
            found[commit] = standing[-1]
        return found

    def judged(self) -> tuple[Candidate, ...]:
        """Return the decided candidates whose verdicts hold for whoever brings the same files.

        Not those that met an incumbent which was revoked since, nor those that were rejected for what they did
        to the suite or the data while they were tried.
        """
        revoked = {incumbent.number for incumbent in self._incumbents().values() if incumbent.revoked}
        met = {commit for commit, incumbent in self._incumbents().items() if incumbent.number in revoked}
        return tuple(
            candidate
            for candidate in self._ledger.decided(self.run.name)
            if candidate.decision is not None
            and not candidate.revoked
            and candidate.parent not in met
            and candidate.decision.against not in revoked
            and not candidate.decision.reason.startswith(TAMPERING)
        )

    def accepted(self) -> tuple[Candidate, ...]:
        """Return baseline and accepted candidates that were not revoked, in the order of their acceptance."""
        return tuple(candidate for candidate in self._ledger.decided(self.run.name) if candidate.stands)

    def unfinished(self) -> tuple[Candidate, ...]:
        """Return the candidates that were proposed and have no verdict."""
        return self._ledger.open_candidates(self.run.name)

    def trainings(self, candidate: Candidate) -> tuple[Training, ...]:
        """Return the trainings of a candidate, in the order in which they ended."""
        return self._ledger.trainings(self.run.name, candidate.number)

    def grades(self, candidate: Candidate) -> dict[int, Grade]:
        """Return the grades of a candidate by seed."""
        return self._ledger.grades(self.run.name, candidate.number)

    def measurements(self, candidate: Candidate) -> tuple[Measurement, ...]:
        """Return what was measured of a candidate, one measurement a seed."""
        return self._measured(self.run.name, candidate.number)

    def _measured(self, run: str, number: int) -> tuple[Measurement, ...]:
        keys = {training.seed: training.key for training in self._ledger.trainings(run, number)}
        return tuple(
            Measurement(keys[seed], seed, grade.scores)
            for seed, grade in sorted(self._ledger.grades(run, number).items())
            if grade.scores
        )

    def reference(self, candidate: Candidate) -> tuple[Measurement, ...]:
        """Return the measurements of an incumbent that others are compared with.

        Weights that an acceptance was decided by are left out: they were chosen for their luck as well.
        """
        known: set[str] = set()
        chosen: set[str] = set()
        for earlier in self._ledger.decided(self.run.name):
            if earlier.decision is not None and earlier.decision.verdict is Verdict.ACCEPTED:
                runs = self.measurements(earlier)
                chosen |= {run.training_key for run in runs[: earlier.decision.seeds]} - known
                known |= {run.training_key for run in runs}
        return tuple(run for run in self.measurements(candidate) if run.training_key not in chosen)

    def repeated(self) -> list[list[float]]:
        """Return the bits per byte of weights that nobody chose, a list a tree, one a seed.

        The first result of a candidate is left out, since only those that looked lucky were given more seeds.
        Runs that began with the very training of this one tell as much about its noise.
        """
        known: set[str] = set()
        groups = []
        for name in self._kin():
            for runs in self._trees(name):
                groups.append([bits_per_byte(run.scores) for run in runs if run.training_key not in known])
                known |= {run.training_key for run in runs}
        return groups

    def _kin(self) -> list[str]:
        """Return this run, and before it those whose baseline is the same code, budget, data and environment."""
        first = {run.training_key for run in self.measurements(self.baseline()) if run.seed == SEED}
        others = [run.name for run in self._ledger.runs() if run.name != self.run.name]
        kin = [name for name in others if first & {run.training_key for run in self._measured(name, 0)}]
        return [*kin, self.run.name]

    def _trees(self, run: str) -> Iterator[tuple[Measurement, ...]]:
        """Yield the measurements of every tree of a run; its null candidates are the baseline's tree."""
        recorded = self._ledger.run(run)
        candidates = self._ledger.candidates(run)
        firsts = [self._measured(run, candidate.number) for candidate in candidates]
        if recorded is not None and recorded.settings.get("aa"):
            yield tuple(found for runs in firsts for found in runs[:1])
        yield from (runs if number == 0 else runs[1:] for number, runs in enumerate(firsts))

    def first_seed(self, candidate: Candidate) -> int:
        """Return the seed of a candidate's first training: that of all others, unless nulls are compared."""
        apart = self.run.settings.get("aa") and candidate.number > 0
        return SEED + candidate.number * _APART if apart else SEED

    def next_seeds(self, candidate: Candidate, count: int) -> list[int]:
        """Return the first seeds under which a candidate was not graded, and did not fail, so far."""
        done = set(self.grades(candidate)) | {
            run.seed for run in self.trainings(candidate) if run.status is not Status.COMPLETED
        }
        fresh = (seed for seed in itertools.count(self.first_seed(candidate)) if seed not in done)
        return list(itertools.islice(fresh, count))

    def compute_seconds(self) -> float:
        """Return what all trainings of the run cost that were not known before."""
        return sum(
            training.compute_seconds
            for candidate in self.candidates()
            for training in self.trainings(candidate)
            if not training.reused
        )

    def vault(self) -> tuple[VaultScore, ...]:
        """Return what the vault said so far."""
        return self._ledger.vault(self.run.name)

    # -- what happens

    def proposed(self, candidate: Candidate) -> None:
        """Record a proposed candidate and keep its commit reachable, with its diff as a file."""
        self._ledger.add_candidate(candidate)
        self._keep(candidate)

    def granted(self, candidate: Candidate) -> None:
        """Record the budget that a candidate without a verdict was granted."""
        self._ledger.update(candidate)

    def waiting(self, candidate: Candidate) -> None:
        """Record what a candidate came to whose verdict waits for further seeds."""
        self._ledger.update(candidate)

    def trained(self, candidate: Candidate, training: Training) -> None:
        """Record how a training ended; one that is on record already is left as it is."""
        known = self.trainings(candidate)
        if not any(run.seed == training.seed and run.status is training.status for run in known):
            self._ledger.add_training(self.run.name, candidate.number, len(known), training)

    def graded(self, candidate: Candidate, seed: int, grade: Grade) -> None:
        """Record what the suite said of a candidate under a seed."""
        self._ledger.add_grade(self.run.name, candidate.number, seed, grade)

    def read_vault(self, score: VaultScore) -> None:
        """Record what the vault said about a candidate."""
        self._ledger.add_vault_score(self.run.name, score)

    def decided(self, candidate: Candidate) -> None:
        """Record a verdict, move the branch to an accepted commit, and drop what a rejected one trained."""
        self._ledger.decide(candidate)
        self._advance()
        self._sort_artifacts(candidate)
        self._write_results()

    def revoked(self, candidate: Candidate, reason: str, commit: str) -> None:
        """Record that an acceptance did not hold up, and move the branch to the commit that takes it back."""
        self._ledger.revoke(self.run.name, candidate.number, reason, commit)
        self._advance()
        self._write_results()

    def _keep(self, candidate: Candidate) -> None:
        ref = candidate_ref(self.run.name, candidate.number)
        if self._workspace.ref(ref) != candidate.commit:
            self._workspace.update_ref(ref, candidate.commit, self._workspace.ref(ref))
        diff = self._home.candidate(self.run.name, candidate.number) / "change.diff"
        if candidate.number > 0 and not diff.exists():
            diff.parent.mkdir(parents=True, exist_ok=True)
            text = self._workspace.diff(candidate.parent, candidate.commit)
            diff.write_text(text, encoding="utf-8", errors="surrogateescape")

    def _advance(self) -> None:
        """Move the branch to its tip, and only from where the loop itself left it."""
        stations = self._stations()
        if not stations:
            return
        name = branch_ref(self.run.name)
        stands = self._workspace.ref(name)
        if stands == stations[-1]:
            return
        if stands is not None and stands not in stations:
            raise StoreError(
                f"The branch evalloop/{self.run.name} stands at {stands[:12]}, where this loop never put it. Set it "
                f"back with git update-ref {name} {stations[-1]}, or start another run with --evalloop-run NAME."
            )
        self._workspace.update_ref(name, stations[-1], stands)

    def _stations(self) -> list[str]:
        """Return the commits that the branch stood at, in order: acceptances, and what took them back."""
        return [commit for _, commit in self._ledger.stations(self.run.name)]

    def _sort_artifacts(self, candidate: Candidate) -> None:
        if candidate.stands:
            for training in self.trainings(candidate):
                link = (
                    self._home.candidate(self.run.name, candidate.number) / f"artifacts-seed-{training.seed}"
                )
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(os.path.relpath(training.artifacts, link.parent))
            return
        kept = {
            training.key
            for other in self.candidates()
            if other.number != candidate.number
            for training in self.trainings(other)
        }
        for training in self.trainings(candidate):
            if training.key not in kept and not training.reused:
                self._artifacts.drop(training.key)

    def _write_results(self) -> None:
        runs = self._ledger.runs()
        write_results(self._home.results, [row for run in runs for row in self._ledger.candidates(run.name)])


def new_run(name: str, head: str, snapshot: str, settings: dict[str, object]) -> Run:
    """Return the record of a run that begins now."""
    return Run(name, time.time(), head, snapshot, settings)
