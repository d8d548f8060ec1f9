"""What a session of evals needs of the project: its settings, and the candidate to grade."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalloop.candidate.training import Trainer, cap, prepare
from pytest_evalloop.records import Status, Training
from pytest_evalloop.settings import Settings, SettingsError, read, require
from pytest_evalloop.store.cache import Artifacts
from pytest_evalloop.store.home import Home, StoreError
from pytest_evalloop.store.workspace import Workspace
from pytest_evalloop.suite.assignment import WORKING_TREE, Assignment, from_environment
from pytest_evalloop.suite.hosts import BLIND, HOST, Hosts
from pytest_evalloop.suite.imports import eval_files, mutable_imports

SEED = 0
"""The seed under which every candidate, and a plain `pytest evals`, is trained and graded first."""


def read_settings(flags: Mapping[str, object], ini: Mapping[str, object], rootpath: Path) -> Settings:
    """Return the settings of this session; raises `pytest.UsageError` when a value cannot be used."""
    assignment = from_environment()
    try:
        settings = read(flags, ini, rootpath)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    return settings if assignment is None else replace(settings, root=Path(assignment.root))


def select(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep only the tests that use the objective when no more than that is asked for."""
    assignment = from_environment()
    if assignment is None or not assignment.objective_only:
        return
    kept = [item for item in items if "val_bpb" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def forbidden_imports(settings: Settings, items: Sequence[pytest.Item], rootpath: Path) -> list[str]:
    """Return a sentence, with file and line, for every import of a mutable path by the collected evals."""
    folders = [rootpath / folder for folder in settings.evals]
    if not any(folder in (item.path, *item.path.parents) for item in items for folder in folders):
        return []
    return mutable_imports(rootpath, eval_files(rootpath, settings.evals), settings.mutable)


@contextlib.contextmanager
def assigned(settings: Settings, say: Callable[[str], None]) -> Iterator[Assignment]:
    """Yield what this session grades: what a loop assigned, or the working tree in one started by hand.

    Raises `pytest.UsageError` when the working tree cannot be trained.
    """
    try:
        require(settings, loop=False)
        with contextlib.ExitStack() as stack:
            yield from_environment() or stack.enter_context(_working_tree(settings, say))
    except (SettingsError, StoreError) as error:
        raise pytest.UsageError(str(error)) from None


def hosts_of(settings: Settings, assignment: Assignment) -> Hosts:
    """Return what starts the candidate's processes; raises `pytest.UsageError` if its sandbox does not work."""
    try:
        return Hosts(settings, assignment)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


def hosts_ahead(settings: Settings) -> Hosts | None:
    """Start the processes of the candidate that a loop assigned; None where something stands in for it.

    They import while this process collects; a tryout needs no blind one. Raises `pytest.UsageError` if their
    sandbox does not work.
    """
    assignment = from_environment()
    if assignment is None or assignment.stand_in:
        return None
    hosts = hosts_of(settings, assignment)
    hosts.start(*([HOST] if assignment.few else [HOST, BLIND]))
    return hosts


def prepared_root(settings: Settings) -> Path:
    """Return the project's root, its data prepared; a loop has prepared it before it assigns anything.

    Raises `pytest.UsageError` when `evalloop_prepare` fails.
    """
    if from_environment() is not None or not settings.prepare:
        return settings.root
    try:
        home = Home.open(settings.root)
    except StoreError as error:
        raise pytest.UsageError(str(error)) from None
    log = home.path / "logs" / "prepare.log"
    log.parent.mkdir(exist_ok=True)
    with _alone(home.path / "locks" / "working-tree.lock"):
        done = prepare(settings, settings.root, log)
    if done is not None and done.status is not Status.COMPLETED:
        raise pytest.UsageError(prepare_failed(settings, done.detail, log))
    return settings.root


@contextlib.contextmanager
def _working_tree(settings: Settings, say: Callable[[str], None]) -> Iterator[Assignment]:
    """Train the working tree unless this very content was trained before, and assign it to this session."""
    home = Home.open(settings.root)
    workspace = Workspace.open(settings.root)
    _, commit = workspace.snapshot()
    logs = home.path / "logs"
    logs.mkdir(exist_ok=True)
    with workspace.worktree(f"evals-{os.getpid()}", commit) as tree:
        with _alone(home.path / "locks" / "working-tree.lock"):
            training = _train(settings, workspace, home, commit, tree, say)
        yield Assignment(
            root=str(settings.root),
            tree=str(tree),
            artifacts=training.artifacts,
            logs=str(logs),
            id=WORKING_TREE,
            commit=commit,
        )


def _train(
    settings: Settings, workspace: Workspace, home: Home, commit: str, tree: Path, say: Callable[[str], None]
) -> Training:
    logs = home.path / "logs"
    trainer = Trainer(settings, Artifacts(home.artifacts))
    key = trainer.key(workspace.files(commit), SEED)
    found = trainer.find(key)
    if found is not None:
        return found
    say(f"evalloop: training the working tree for {settings.budget} (log: {logs / 'train.log'})")
    with trainer.start(tree, key, SEED, logs / "train.log", cap(settings, None)) as running:
        training = running.wait()
    if training.status is not Status.COMPLETED:
        raise pytest.UsageError(train_failed(settings, training, logs / "train.log"))
    say(f"evalloop: trained in {training.compute_seconds:.0f} seconds of compute")
    return training


def prepare_failed(settings: Settings, detail: str, log: Path) -> str:
    """Say that the data could not be prepared, with the end of what the command printed."""
    from pytest_evalloop.candidate.client import tail

    command = " ".join(settings.prepare)
    return f"evalloop_prepare ({command}) failed: {detail}\n{tail(log)}\nThe whole log is {log}."


def train_failed(settings: Settings, training: Training, log: Path) -> str:
    """Say that the train command failed, why, and where to read more."""
    command = " ".join(settings.train)
    return f"evalloop_train ({command}) {training.status}: {training.detail}\nThe whole log is {log}."


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock between processes, so that xdist's workers train the working tree once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
