"""Where the engine's work is done: worktrees, trainings and gradings of one run."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from pytest_evalloop.candidate.pace import tryout
from pytest_evalloop.candidate.progress import Progress, said
from pytest_evalloop.candidate.side_by_side import Pace, Side, measure
from pytest_evalloop.candidate.training import RunningTraining, Trainer, cap, environment_fingerprint
from pytest_evalloop.loop.assigning import SUITE, Asked, Assigner, Expected, Most, worktree_name
from pytest_evalloop.loop.crew import cores, go_on
from pytest_evalloop.loop.grading import Grading, Suite
from pytest_evalloop.loop.place import Place, ends_soon
from pytest_evalloop.loop.slots import Slot, Slots
from pytest_evalloop.records import Budget, Candidate, Grade, Training
from pytest_evalloop.settings import Settings, parse_budget
from pytest_evalloop.store.home import Home, disk
from pytest_evalloop.store.workspace import Workspace

_SLOWER, _GRACE_SECONDS = 4.0, 60.0  # times the baseline's grading, and so many seconds of wall clock besides
_DEARER, _GRACE_COMPUTE = 2.0, 15.0  # the same of CPU seconds, which no other process disturbs
_PATIENCE = 0.2  # seconds between two looks at whether the loop goes on


class Workshop:
    """Edits, trains and grades candidates; every process it starts is gone when its method returns.

    Several threads may use it: each training and grading waits for a slot.
    """

    def __init__(
        self,
        settings: Settings,
        run: str,
        home: Home,
        workspace: Workspace,
        trainer: Trainer,
        suite: Suite,
        slots: Slots,
    ) -> None:
        self._settings = settings
        self._run = run
        self._home = home
        self._workspace = workspace
        self._trainer = trainer
        self._suite = suite
        self._assigner = Assigner(settings, run, home, workspace, suite)
        self._slots = slots
        self._waited: dict[int, float] = {}
        self._noting = threading.Lock()
        self._contents: dict[str, threading.Lock] = {}
        self._cap = cap(settings, None)
        self._most = Most(settings.grade_seconds)

    def limit(self, training: Training, graded: Grade) -> None:
        """Cap all further work by what the baseline used."""
        self._cap = cap(self._settings, training)
        self._most = Most(
            min(self._settings.grade_seconds, _SLOWER * graded.wall_seconds + _GRACE_SECONDS),
            _DEARER * graded.compute_seconds + _GRACE_COMPUTE if graded.compute_seconds else None,
        )

    @property
    def places(self) -> int:
        """How many trainings and gradings are done at once."""
        return self._slots.size

    def waited(self, number: int) -> float:
        """Return the seconds that the trainings and gradings of a candidate waited for others."""
        return self._waited.get(number, 0.0)

    @contextlib.contextmanager
    def _slot(self, number: int) -> Iterator[Slot]:
        with self._slots.take() as slot:
            self._note_waiting(number, slot.waited)
            yield slot

    def _note_waiting(self, number: int, seconds: float) -> None:
        with self._noting:
            self._waited[number] = self.waited(number) + seconds

    def folder(self, number: int) -> Path:
        """Return the folder of a candidate's logs, created if need be."""
        folder = self._home.candidate(self._run, number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def edit(self, number: int, commit: str) -> Iterator[Path]:
        """Yield a worktree at `commit` for a mutator to edit."""
        with self._workspace.worktree(worktree_name(number, "edit"), commit) as tree:
            yield tree

    def commit(self, worktree: Path, message: str) -> str:
        """Commit what a mutator left in its worktree and return the commit."""
        return self._workspace.commit_all(worktree, message)

    def merge(self, ours: Candidate, theirs: Candidate, parent: str, message: str) -> str | None:
        """Return a commit on `parent` with the changes of two candidates, None where they are at odds."""
        tree = self._workspace.merge(ours.commit, theirs.commit)
        if tree is None or tree == self._workspace.tree(parent):
            return None
        return self._workspace.commit_tree(tree, parent, message)

    def forget(self, training: Training) -> None:
        """Remove what a training left that is on nobody's record."""
        self._trainer.forget(training.key)

    def find(self, candidate: Candidate, seed: int) -> Training | None:
        """Return the training of this very content, if there was one, also as part of another candidate."""
        return self._trainer.find(self._key(candidate, seed, self._budget(candidate)))

    def same_training(self, one: Candidate, other: Candidate) -> bool:
        """Tell whether two candidates have the same weights under each seed, as after a change of the prompt."""
        keys = {self._key(candidate, 0, self._budget(candidate)) for candidate in (one, other)}
        return len(keys) == 1

    def train(
        self,
        candidate: Candidate,
        seed: int,
        tick: Callable[[Progress | None], None] = lambda _: None,
        check: Callable[[RunningTraining], str] = lambda _: "",
        *,
        place: Place,
    ) -> Training:
        """Train a candidate under a seed, unless this very content was trained before.

        `tick` is told the progress. It is stopped once `check` gives a reason, a sentence; the progress file is
        kept. In its `place` the grading gets ready when it is about to end.
        """
        budget = self._budget(candidate)
        key = self._key(candidate, seed, budget)
        name = worktree_name(candidate.number, f"seed-{seed}")
        log = self.folder(candidate.number) / f"train-seed-{seed}.log"
        if (found := self._trainer.find(key)) is not None:
            return found
        slot = place.slot()  # before the content: who holds that never waits for a slot
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._content(key, candidate.number))
            if (found := self._trainer.find(key)) is not None:
                return found
            tree = stack.enter_context(self._workspace.worktree(name, candidate.commit))
            running = stack.enter_context(
                self._trainer.start(tree, key, seed, log, self._cap, budget, slot.variables)
            )

            def watch(progress: Progress | None) -> None:
                go_on()
                tick(progress)
                if reason := check(running):
                    running.stop(reason)
                elif self._may_get_ready and ends_soon(progress, running.elapsed):
                    place.get_ready(Expected(running.artifacts, seed, finished=False))

            training = running.wait(watch)
            kept = self._curve(candidate.number, seed)
            with disk(f"the progress file {kept}"):
                kept.write_bytes(running.said())
            return training

    def alone(self, candidate: Candidate) -> contextlib.AbstractContextManager[None]:
        """Hold the files of a candidate, so that of two with the same ones the second meets the first's verdict."""
        return self._content(self._workspace.tree(candidate.commit), candidate.number)

    @contextlib.contextmanager
    def _content(self, key: str, number: int) -> Iterator[None]:
        """Hold a training's content, so that of two that want it the second finds what the first one made."""
        with self._noting:
            lock = self._contents.setdefault(key, threading.Lock())
        begun = time.monotonic()
        while not lock.acquire(timeout=_PATIENCE):
            go_on()
        self._note_waiting(number, time.monotonic() - begun)
        try:
            yield
        finally:
            lock.release()

    def pace(
        self, candidate: Candidate, incumbent: Candidate, training: Training, seconds: float, place: Place
    ) -> Pace:
        """Train a candidate beside the incumbent, at most what took the incumbent's training some CPU seconds."""
        budget = tryout(self._budget(incumbent), training, seconds)
        folder = self.folder(candidate.number)
        slot = place.slot()  # the candidate's own: there may be no other
        with contextlib.ExitStack() as stack:
            sides = []
            for who, name in ((candidate, "pace"), (incumbent, "pace-incumbent")):
                tree = stack.enter_context(
                    self._workspace.worktree(worktree_name(candidate.number, name), who.commit)
                )
                key = self._key(who, training.seed, budget)
                sides.append(Side(tree, key, folder / f"train-{name}.log"))
            one, other = sides
            found = measure(
                *(self._trainer, one, other),
                seed=training.seed,
                limit=self._cap,
                budget=budget,
                variables=slot.variables,
                tick=go_on,
            )
        for who, side in zip((candidate, incumbent), sides, strict=True):
            if budget != self._budget(who):  # else it is the whole training, which somebody will ask for
                self._trainer.forget(side.key)
        return found

    def _budget(self, candidate: Candidate) -> Budget:
        return parse_budget(candidate.budget) if candidate.budget else self._settings.budget

    def _key(self, candidate: Candidate, seed: int, budget: Budget) -> str:
        return self._trainer.key(self._workspace.files(candidate.commit), seed, budget)

    def said(self, candidate: Candidate, training: Training) -> bytes:
        """Return the progress file of a training, also of one whose artifacts were dropped."""
        kept = self._curve(candidate.number, training.seed)
        return kept.read_bytes() if kept.is_file() else said(training)

    def _curve(self, number: int, seed: int) -> Path:
        return self.folder(number) / f"progress-seed-{seed}.jsonl"

    def train_least(
        self, candidate: Candidate, seed: int, amount: float = 1.0, place: Place | None = None
    ) -> Training:
        """Train a candidate for one step, or one of another unit, or for another small amount.

        In a `place` of its own the grading gets ready meanwhile.
        """
        least = replace(candidate, budget=str(Budget(amount, self._settings.budget.unit)))
        key = self._key(least, seed, self._budget(least))
        if (found := self._trainer.find(key)) is not None:
            return found
        log = self.folder(candidate.number) / f"train-{amount:g}.log"
        name = worktree_name(candidate.number, f"least-{amount:g}")
        with contextlib.ExitStack() as stack:
            slot = place.slot() if place is not None else stack.enter_context(self._slot(candidate.number))
            tree = stack.enter_context(self._workspace.worktree(name, candidate.commit))
            running = stack.enter_context(
                self._trainer.start(tree, key, seed, log, self._cap, self._budget(least), slot.variables)
            )
            if place is not None and self._may_get_ready:
                place.get_ready(Expected(running.artifacts, seed, finished=False))
            return running.wait(lambda _: go_on())

    def grade(
        self,
        candidate: Candidate,
        training: Training,
        asked: Asked = SUITE,
        place: Place | None = None,
    ) -> Grade:
        """Run the trusted suite on trained artifacts, loaded by the candidate's own tree in its own process.

        Where the training has just ended in a `place`, the suite waits there already.
        """
        with contextlib.ExitStack() as stack:
            place = place or stack.enter_context(self.place(candidate, asked))
            if (ready := place.ready(training, asked)) is not None:
                return ready.grade()
            there = Expected(Path(training.artifacts), training.seed)
            return stack.enter_context(self._begin(candidate, asked, there, place.slot())).grade()

    def place(self, candidate: Candidate, asked: Asked = SUITE) -> Place:
        """Return a place for a training of a candidate and the grading after it."""
        return Place(
            asked,
            lambda: self._slot(candidate.number),
            lambda expected, slot: self._begin(candidate, asked, expected, slot),
        )

    def _begin(
        self, candidate: Candidate, asked: Asked, expected: Expected, slot: Slot
    ) -> contextlib.AbstractContextManager[Grading]:
        return self._assigner.begin(candidate, asked, expected, slot, self._most)

    @property
    def _may_get_ready(self) -> bool:
        """Tell whether a training may be disturbed, or is not: one that is measured by the clock would suffer."""
        return self._settings.budget.unit != "s" or cores() > self.places

    def faults(self) -> tuple[str, ...]:
        """Return the names of the faults that the suite can plant."""
        return self._suite.faults

    def canary(self, candidate: Candidate, training: Training) -> Path:
        """Return where the canary of this very content is kept: of the tree, the data and the settings."""
        settings = self._settings
        hidden = [environment_fingerprint(settings.root / path)["data"] for path in settings.hidden]
        told = [settings.evals, settings.load, settings.data, settings.prompt]
        content = (self._workspace.tree(candidate.commit), training.key, hidden, told, self._suite.faults)
        key = hashlib.sha256(repr((version("pytest-evalloop"), *content)).encode()).hexdigest()
        return self._home.path / "canary" / f"{key}.json"

    def seal(self, candidate: Candidate, graded: Grade, tip: str) -> str:
        """Return the commit, with trailers, under which an accepted candidate enters the branch at `tip`."""
        if candidate.number == 0:
            return candidate.commit
        delta = candidate.decision.delta if candidate.decision is not None else None
        passed = sum(case.outcome == "passed" for case in graded.outcomes)
        lines = [
            candidate.description,
            "",
            candidate.decision.reason if candidate.decision is not None else "",
            "",
            f"Val-BPB: {candidate.bpb:.6f}",
            f"Val-BPB-Delta: {-delta:.6f}" if delta is not None else "Val-BPB-Delta: unknown",
            f"Evals: {passed} passed",
            *([f"Budget: {candidate.budget}"] if candidate.budget else []),
            f"Mutator: {candidate.mutator}",
            f"Candidate: {candidate.run}/{candidate.number}",
        ]
        tree = self._workspace.tree(candidate.commit)
        return self._workspace.commit_tree(tree, tip, "\n".join(lines) + "\n")

    def unseal(self, candidate: Candidate, predecessor: Candidate, reason: str, tip: str) -> str:
        """Return the commit at `tip` that takes an accepted candidate back: the predecessor's tree, and why."""
        tree = self._workspace.tree(predecessor.accepted_commit or predecessor.commit)
        who = f"{candidate.run}/{candidate.number}"
        lines = [f"Revoke {who}: {candidate.description}", "", reason, "", f"Revokes: {who}"]
        return self._workspace.commit_tree(tree, tip, "\n".join(lines) + "\n")
