"""A real project in a real git repository, and pytest as a user runs it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

PROJECTS = Path(__file__).parent / "projects"
_SCRUBBED = ("PYTEST_", "EVALLOOP_", "CI", "BUILD_NUMBER")  # under CI pytest repeats whole messages
_IDENTITY = ["-c", "user.name=A User", "-c", "user.email=user@example.org"]


def _heed_interrupts() -> None:
    """Undo what a shell does to what it starts in the background: there interrupts are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Project:
    """One project on disk, with the commands that its user would type."""

    path: Path

    def git(self, *arguments: str) -> str:
        command = ["git", *_IDENTITY, *arguments]
        done = subprocess.run(command, cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def setting(self, key: str, value: str) -> None:
        """Set an ini value, given as TOML."""
        lines = [line for line in (self.path / "pyproject.toml").read_text().splitlines() if key not in line]
        self.write("pyproject.toml", "\n".join([*lines, f"{key} = {value}"]) + "\n")

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "change")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start pytest in its own session, so that the test's signals reach it alone."""
        scrubbed = {key: value for key, value in os.environ.items() if not key.startswith(_SCRUBBED)}
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=self.path,
            env={**scrubbed, "COLUMNS": "200", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,  # noqa: PLW1509 - no thread of this process holds a lock here
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run pytest to its end and return exit status and output."""
        with self.start(*arguments, **environment) as process:
            output, _ = process.communicate(timeout=240)
            return process.returncode, output

    def loop(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a loop to its end and return exit status and output."""
        return self.run("--evalloop", *arguments, **environment)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """Ask the ledger, read-only, as a user with sqlite3 would."""
        ledger = sqlite3.connect(f"file:{self.path / '.evalloop/ledger.db'}?mode=ro", uri=True)
        try:
            return ledger.execute(query).fetchall()
        finally:
            ledger.close()

    def results(self) -> list[dict[str, str]]:
        """Return the rows of results.tsv."""
        head, *rows = (self.path / ".evalloop/results.tsv").read_text().splitlines()
        return [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]

    def processes(self) -> list[psutil.Process]:
        """Return every live process that works for this project."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), process.cwd(), *process.environ().values()]
                dead = process.status() == psutil.STATUS_ZOMBIE
            except (psutil.Error, OSError):
                continue
            if not dead and process.pid != os.getpid() and any(str(self.path) in word for word in words):
                found.append(process)
        return found

    def wait_until_no_process_is_left(self, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"still alive: {left}"
            psutil.wait_procs(left, timeout=0.1)


def make_project(folder: Path) -> Project:
    """Return the n-gram project, committed once, in a folder whose name has a space."""
    path = folder / "a project"
    shutil.copytree(PROJECTS / "ngram", path, ignore=shutil.ignore_patterns("__pycache__"))
    made = Project(path)
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit()
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh copy of the n-gram project."""
    return make_project(tmp_path)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process as the machine's owner would in anger."""
    process.send_signal(signal.SIGKILL)
    process.wait()
