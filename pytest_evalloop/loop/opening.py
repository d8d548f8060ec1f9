"""Opens a loop: checks what can be checked without training, then puts the parts together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_evalloop.candidate.devices import accelerators
from pytest_evalloop.candidate.sandbox import probe
from pytest_evalloop.candidate.training import Trainer, prepare
from pytest_evalloop.loop.engine import Engine
from pytest_evalloop.loop.grading import Suite, collect
from pytest_evalloop.loop.inspection import Inspector
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.preflight import check, check_resumed, frozen
from pytest_evalloop.loop.record import Record, new_run
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.slots import Slots, default_size
from pytest_evalloop.loop.stopping import Stopper
from pytest_evalloop.loop.vault import vault_lines
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.statistics import seed_noise
from pytest_evalloop.protocols import Mutator, MutatorFactory
from pytest_evalloop.records import Candidate, Run, Status
from pytest_evalloop.settings import Settings, SettingsError
from pytest_evalloop.store.cache import Artifacts
from pytest_evalloop.store.home import Home
from pytest_evalloop.store.ledger import Ledger
from pytest_evalloop.store.workspace import Workspace
from pytest_evalloop.suite.assignment import Assignment
from pytest_evalloop.suite.imports import eval_files, mutable_imports
from pytest_evalloop.suite.outcomes import Collected
from pytest_evalloop.suite.project import prepare_failed

_COLLECT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that is ready to go: its record, and how to make the engine once somebody watches."""

    name: str
    results: Path
    record: Record
    settings: Settings
    workshop: Workshop
    inspector: Inspector
    mutators: Mapping[str, Mutator]
    vault: bool

    def engine(self, observer: Observer) -> Engine:
        """Return the engine of this run."""
        parts = (self.settings, self.record, self.workshop, self.inspector, self.mutators, observer)
        return Engine(*parts, vault=self.vault)

    def racing_lines(self) -> list[str]:
        """Say what racing saved and what it may have lost."""
        return Stopper(self.record, self.workshop, self.settings.race).lines()

    def vault_lines(self) -> list[str]:
        """Return what the vault says about baseline and incumbent, in sentences."""
        return vault_lines(self.record, seed_noise(self.record.repeated()))

    def compute_seconds(self) -> float:
        """Return what the run's trainings cost."""
        return self.record.compute_seconds()

    def candidates(self) -> tuple[Candidate, ...]:
        """Return all candidates so far, the baseline first."""
        return self.record.candidates()

    def incumbent(self) -> Candidate:
        """Return the incumbent."""
        return self.record.incumbent()

    def incumbent_bpb(self) -> float | None:
        """Return the incumbent's bits per byte, None before the baseline was graded."""
        return self.record.incumbent().bpb


@contextlib.contextmanager
def open_loop(
    settings: Settings,
    inipath: Path | None,
    factories: Mapping[str, MutatorFactory],
    say: Callable[[str], None],
) -> Iterator[Opened]:
    """Hold a run while the block lasts, new or taken up where it stopped.

    Raises `SettingsError` or `StoreError`, with nothing changed in the user's checkout, when the run cannot
    begin: its message says what, where and what to do. Raises `CannotGate` for a suite without tests or
    without an objective.
    """
    name = settings.run or "main"
    workspace = Workspace.open(settings.root)
    home = Home.open(settings.root)
    mutators = _mutators(settings, factories)
    _check_sandbox(settings, mutators, say)
    with contextlib.ExitStack() as stack:
        stack.enter_context(home.lock(name))
        ledger = stack.enter_context(Ledger.open(home.ledger))
        workspace.prune(name)
        run = _run(name, settings, workspace, ledger, say)
        suite, vault = stack.enter_context(_trusted(settings, inipath, workspace, name, run.snapshot))
        record = Record.begin(run, home, ledger, workspace)
        record.reconcile()
        workshop = _workshop(settings, name, home, workspace, suite)
        inspector = Inspector(settings, workspace, suite.tree)
        yield Opened(name, home.results, record, settings, workshop, inspector, mutators, vault)


@contextlib.contextmanager
def open_canary(
    settings: Settings, inipath: Path | None, say: Callable[[str], None]
) -> Iterator[tuple[Workshop, Candidate]]:
    """Yield a workshop for the working tree as it stands, and that tree as a baseline; no run is begun.

    Raises what `open_loop` raises.
    """
    name = "canary"
    workspace = Workspace.open(settings.root)
    home = Home.open(settings.root)
    _check_sandbox(settings, {}, say)
    workspace.prune()
    head, snapshot = workspace.snapshot()
    with _trusted(settings, inipath, workspace, name, snapshot) as (suite, _):
        baseline = Candidate(name, 0, head, snapshot, "baseline", "the working tree")
        yield _workshop(settings, name, home, workspace, suite), baseline


def _workshop(settings: Settings, run: str, home: Home, workspace: Workspace, suite: Suite) -> Workshop:
    slots = Slots(settings.parallel or default_size(settings.budget.unit))
    devices = accelerators()
    trainer = Trainer(settings, Artifacts(home.artifacts), devices if slots.size == 1 else min(devices, 1))
    return Workshop(settings, run, home, workspace, trainer, suite, slots)


@contextlib.contextmanager
def _trusted(
    settings: Settings, inipath: Path | None, workspace: Workspace, name: str, snapshot: str
) -> Iterator[tuple[Suite, bool]]:
    """Yield the suite in a checkout of the snapshot, its data prepared, and whether there is a vault."""
    check(settings, workspace.files(snapshot))
    with workspace.worktree(f"loop-{os.getpid()}-trusted", snapshot) as tree:
        problems = mutable_imports(tree, eval_files(tree, settings.evals), settings.mutable)
        if problems:
            raise SettingsError("\n".join(problems))
        logs = workspace.home.path / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        prepared = prepare(settings, tree, logs / "prepare.log")
        if prepared is not None and prepared.status is not Status.COMPLETED:
            raise SettingsError(prepare_failed(settings, prepared.detail, logs / "prepare.log"))
        suite = Suite(tree, _inifile(settings.root, inipath), settings.evals, settings.workers)
        collected = _check_suite(settings, suite, name, snapshot, workspace.home)
        yield replace(suite, faults=collected.faults), collected.vault


def _run(
    name: str, settings: Settings, workspace: Workspace, ledger: Ledger, say: Callable[[str], None]
) -> Run:
    """Return the run on record, or a new one from the working tree as it stands."""
    head, snapshot = workspace.snapshot()
    fresh = new_run(name, head, snapshot, frozen(settings))
    run = ledger.run(name)
    if run is None:
        return fresh
    candidates = ledger.candidates(name)
    if not candidates or candidates[0].decision is None:
        return fresh  # nothing was judged yet, so the tree as it stands now is the baseline
    check_resumed(name, settings, run.settings)
    decided = [candidate for candidate in candidates[1:] if candidate.decision is not None]
    say(f"evalloop: going on with run {name}: {len(decided)} candidates are decided")
    if snapshot != run.snapshot:
        say(
            f"evalloop: the working tree has changed since run {name} began, and the run goes on from its own "
            f"snapshot {run.snapshot[:12]}. To begin with the tree as it is now: --evalloop-run NAME"
        )
    return run


def _mutators(settings: Settings, factories: Mapping[str, MutatorFactory]) -> dict[str, Mutator]:
    for name in settings.mutators:
        if name not in factories:
            raise SettingsError(
                f"--evalloop-mutator is {name!r}, which nobody provides. Choose from {', '.join(sorted(factories))}, "
                "or provide it with the hook pytest_evalloop_mutators."
            )
    return {name: factories[name](settings) for name in settings.mutators}


def _check_sandbox(settings: Settings, mutators: Mapping[str, Mutator], say: Callable[[str], None]) -> None:
    """Say where candidates run; raise `SettingsError` for untrusted ones that nothing would keep in."""
    mode = probe(settings.sandbox).mode
    if not mode.warning:
        say(f"evalloop: candidates run in a sandbox ({mode})")
        return
    writers = [name for name, mutator in mutators.items() if getattr(mutator, "writes_code", True)]
    if writers and not settings.unsafe:
        raise SettingsError(
            f"The mutator {writers[0]!r} writes code of its own, and no sandbox would keep it in. {mode.warning} "
            "Or run it all the same with --evalloop-unsafe."
        )
    say(f"evalloop: WARNING: {mode.warning}")


def _inifile(root: Path, inipath: Path | None) -> Path | None:
    if inipath is None or root not in inipath.parents:
        return None
    return inipath.relative_to(root)


def _check_suite(settings: Settings, suite: Suite, name: str, snapshot: str, home: Home) -> Collected:
    """Return what the suite holds.

    Raises `SettingsError` when it cannot be collected, `CannotGate` when it could not judge.
    """
    folder = home.candidate(name, 0) / "collect"
    assignment = Assignment(
        str(settings.root), str(suite.tree), "", str(folder), f"{name}/0", snapshot, settings.mutable
    )
    collected, why = collect(suite, assignment, seconds=_COLLECT_SECONDS)
    places = ", ".join(settings.evals)
    if collected is None:
        raise SettingsError(f"the evals in {places} cannot be collected: {why}")
    if not collected.nodeids:
        raise CannotGate(
            f"there are no tests in {places}, so nothing can gate. Write one, or set evalloop_evals."
        )
    if not collected.objective:
        raise CannotGate(
            f"no test in {places} uses the fixture val_bpb, so the loop has no objective. Add one: "
            "def test_val_bpb(val_bpb): assert val_bpb <= 2.4"
        )
    return collected
