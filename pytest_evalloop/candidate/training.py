"""Runs the project's train command under the harness's clock, seed and budget."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec

from pytest_evalloop.candidate.client import tail
from pytest_evalloop.candidate.devices import accelerators
from pytest_evalloop.candidate.pace import Meter, Sample
from pytest_evalloop.candidate.process import Limits, Process, clean_environment, launch
from pytest_evalloop.candidate.progress import PACE, Progress, content, last_progress, progress_file
from pytest_evalloop.candidate.sandbox import Mode, for_candidates
from pytest_evalloop.records import Budget, ProcessResult, Status, Training
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.cache import Artifacts, ArtifactsError, training_key
from pytest_evalloop.store.home import disk, write_atomically

_GRACE_SECONDS = 5.0
# Seconds from look to look, and up to half as many more: what a step costs is known no better than when it ended.
_EVERY = 0.08
_LARGER, _MEMORY_GRACE = 4, 2**30  # times the baseline's peak of memory, and so many bytes besides


@dataclass(frozen=True, slots=True)
class Cap:
    """What a training may use at most: seconds of compute and of wall clock, bytes of memory; None is no cap."""

    compute_seconds: float | None
    wall_seconds: float
    memory_bytes: int | None = None


def cap(settings: Settings, baseline: Training | None) -> Cap:
    """Return the cap of a training: that of the budget itself, and of what the baseline used.

    A budget in steps, tokens or FLOPs is counted by code that a candidate may change, so only what the
    baseline spent on it is a measure. A wall-clock cap stands beside it for a training that hangs.
    """
    allowed = 1.0 + settings.overdraft
    budget = settings.budget
    compute = budget.amount * allowed + _GRACE_SECONDS if budget.unit == "cpu-s" else None
    wall = budget.amount * allowed + _GRACE_SECONDS if budget.unit == "s" else settings.train_seconds
    if baseline is None:
        return Cap(compute, wall)
    memory = _LARGER * baseline.peak_bytes + _MEMORY_GRACE
    if budget.unit != "s":
        compute = min(compute or float("inf"), baseline.compute_seconds * allowed + _GRACE_SECONDS)
        wall = min(wall, 4.0 * baseline.wall_seconds + 60.0)
    return Cap(compute, wall, memory)


def environment_fingerprint(data: Path, devices: int | None = None) -> dict[str, str]:
    """Return what besides the tree decides a training's result: interpreter, packages, devices, training data."""
    site = Path(sysconfig.get_path("purelib"))
    packages = sorted(entry.name for entry in site.glob("*.dist-info"))
    files = sorted(path for path in data.rglob("*") if path.is_file()) if data.is_dir() else []
    stats = [(path.relative_to(data).as_posix(), path.stat()) for path in files]
    return {
        "python": sys.version,
        "machine": f"{platform.machine()}, {accelerators() if devices is None else devices} accelerators",
        "packages": _digest(packages),
        "data": _digest([f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]),
    }


class Trainer:
    """Trains trees for one project, and never the same content twice."""

    def __init__(self, settings: Settings, artifacts: Artifacts, devices: int | None = None) -> None:
        """`devices` is how many accelerators each training has; None stands for all."""
        self._settings = settings
        self._artifacts = artifacts
        self._fingerprint = environment_fingerprint(settings.root / settings.data, devices)

    def key(self, files: Mapping[str, tuple[str, str]], seed: int, budget: Budget | None = None) -> str:
        """Return the content key of a training of `files` (path to mode and blob) under `seed`.

        Evals and the primer are left out: training does not see them, so changing them trains nothing.
        """
        settings = self._settings
        evals = [glob for path in settings.evals for glob in (path, f"{path}/**")]
        exclude = evals + ([settings.prompt] if settings.prompt else [])
        return training_key(
            files,
            exclude=exclude,
            budget=str(budget or settings.budget),
            seed=seed,
            command=json.dumps(settings.train),
            environment=self._fingerprint,
        )

    def forget(self, key: str) -> None:
        """Remove a finished training that nobody will ask for again; absent is fine."""
        self._artifacts.drop(key)

    def find(self, key: str) -> Training | None:
        """Return the finished training of this content, marked as reused, or None."""
        return self._artifacts.get(key)

    def start(
        self,
        tree: Path,
        key: str,
        seed: int,
        log: Path,
        limit: Cap,
        budget: Budget | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> RunningTraining:
        """Start the train command in `tree`; its artifacts become visible only when it has ended well.

        `variables` say which accelerators are its own, as CUDA_VISIBLE_DEVICES does.
        Raises `SettingsError` if the sandbox that the settings want does not work.
        """
        settings, own = self._settings, dict(variables or {})
        devices = accelerators({**os.environ, **own})
        jail = for_candidates(settings)
        folder = self._artifacts.claim(key)
        progress = progress_file(folder)
        progress.touch()
        data = settings.root / settings.data
        process = jail.launch(
            settings.train,
            tree=tree,
            log=log,
            limits=Limits(
                wall_seconds=limit.wall_seconds,
                cpu_seconds=None if devices else limit.compute_seconds,
                memory_bytes=min(memory_limit(settings), limit.memory_bytes or sys.maxsize),
            ),
            readable=[data],
            writable=[folder, progress],
            variables=own
            | {
                "EVALLOOP_ARTIFACTS": str(folder),
                "EVALLOOP_SEED": str(seed),
                "EVALLOOP_BUDGET": str(budget or settings.budget),
                "EVALLOOP_DATA": str(data),
                "EVALLOOP_PROGRESS": str(progress),
            },
        )
        return RunningTraining(process, self._artifacts, folder, key, seed, log, jail.sandbox.mode, devices)


class RunningTraining:
    """A training under way; a context manager that kills the whole process tree on leaving."""

    def __init__(
        self,
        process: Process,
        artifacts: Artifacts,
        folder: Path,
        key: str,
        seed: int,
        log: Path,
        mode: Mode,
        devices: int,
    ) -> None:
        self._process = process
        self._artifacts = artifacts
        self._folder = folder
        self._key = key
        self._seed = seed
        self._log = log
        self._mode = mode
        self._devices = devices
        self._meter = Meter(process.pid)
        self._said: bytes | None = None  # once it has ended
        self._stopped = ""
        self._kept = False
        self._begun = time.monotonic()
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.__exit__(*exception)
        if not self._kept:
            self._artifacts.discard(self._folder)

    def progress(self) -> Progress | None:
        """Return what the training last said of itself, None before it said anything."""
        return last_progress(progress_file(self._folder))

    @property
    def artifacts(self) -> Path:
        """The folder that it fills."""
        return self._folder

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds since it began."""
        return time.monotonic() - self._begun

    @property
    def status(self) -> Status | None:
        """How it ended, None while it runs."""
        result = self._process.poll()
        return None if result is None else result.status

    def look(self) -> None:
        """Take a sample of what it used and how far it is, in shares of its budget, if it has come further."""
        progress = self.progress()
        done = None if progress is None else progress.fraction
        if done is None or (self.samples and done <= self.samples[-1].done):
            if not self._devices and self._meter.due:
                self._meter.seconds()  # for the sake of the next
            return
        seconds = self.elapsed * self._devices if self._devices else self._meter.seconds()
        if seconds is not None:
            self.samples.append(Sample(done, seconds))

    def said(self) -> bytes:
        """Return its progress file from the beginning; what lies beyond some megabytes is left out."""
        return content(progress_file(self._folder)) if self._said is None else self._said

    def stop(self, reason: str) -> None:
        """End the training; `wait` then returns it as killed, with this reason."""
        self._stopped = reason
        self._process.kill()

    def wait(self, tick: Callable[[Progress | None], None] | None = None) -> Training:
        """Wait for the end and store the artifacts of a training that completed."""

        def watch() -> None:
            self.look()
            if tick is not None:
                tick(self.progress())

        result = self._process.wait(tick=watch, every=_EVERY)
        self._said = self.said()
        if result.status is Status.COMPLETED and self._folder.parent.is_dir():
            with disk(f"the samples of {self._folder}"):
                write_atomically(self._folder.parent / PACE, msgspec.json.encode(self.samples))
        training = self._training(result)
        if training.status is not Status.COMPLETED:
            return training
        try:
            kept = self._artifacts.commit(self._key, self._folder, training)
        except ArtifactsError as error:
            return replace(training, status=Status.CRASHED, detail=str(error))
        self._kept = not kept.reused
        return kept

    def _training(self, result: ProcessResult) -> Training:
        compute = result.wall_seconds * self._devices if self._devices else result.cpu_seconds
        status, detail = result.status, result.detail
        if self._stopped and status is not Status.COMPLETED:
            status, detail = Status.KILLED, self._stopped
        if status is Status.COMPLETED and _holds_nothing(self._folder):
            status, detail = Status.CRASHED, "it ended well but wrote nothing to EVALLOOP_ARTIFACTS"
        if status is Status.CRASHED:
            detail = f"{detail}\n{tail(self._log)}".rstrip()
            if self._mode is not Mode.WATCHDOG:
                detail += (
                    f"\nIt ran in a sandbox ({self._mode}), which shows only system files, the candidate's tree, "
                    "evalloop_data and evalloop_readable."
                )
        return Training(
            key=self._key,
            seed=self._seed,
            status=status,
            artifacts=str(self._folder),
            compute_seconds=compute,
            wall_seconds=result.wall_seconds,
            peak_bytes=result.peak_bytes,
            detail=detail,
        )


def memory_limit(settings: Settings) -> int:
    """Return the memory that one process tree may use: the setting, or 80 % of the machine."""
    if settings.memory_bytes is not None:
        return settings.memory_bytes
    import psutil

    return int(psutil.virtual_memory().total * 0.8)


def prepare(settings: Settings, tree: Path, log: Path) -> ProcessResult | None:
    """Run `evalloop_prepare` in the trusted `tree`, told the project's root by `EVALLOOP_ROOT`."""
    if not settings.prepare:
        return None
    environment = clean_environment(EVALLOOP_ROOT=str(settings.root))
    limits = Limits(wall_seconds=settings.train_seconds)
    with launch(settings.prepare, cwd=tree, env=environment, log=log, limits=limits) as process:
        return process.wait()


def _holds_nothing(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # a candidate may remove its folder, or put something else in its place
        return True


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
