"""A writer that is killed at any moment loses nothing that it was told is recorded."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from pytest_evalloop.store.ledger import Ledger

KILLS = 20

# Says what it recorded after each call returned, and goes on where the ledger is.
WRITER = """
import pathlib, sys
from dataclasses import replace
from pytest_evalloop.records import *
from pytest_evalloop.store.ledger import Ledger

grade = Grade(Status.COMPLETED, 0, (CaseOutcome("n" * 500, "passed", 0.1),) * 20, (), (), 1.0, 1.0)
training = Training("k", 0, Status.COMPLETED, "", 1.0, 1.0, 1)
with Ledger.open(pathlib.Path(sys.argv[1])) as ledger:
    if ledger.run("r") is None:
        ledger.create_run(Run("r", 0.0, "", "", {}))
    for number in range(len(ledger.candidates("r")), 10**6):
        candidate = Candidate("r", number, "", "", "m", "d" * (number * 97 % 5000))
        ledger.add_candidate(candidate)
        print("candidate", number, flush=True)
        ledger.add_training("r", number, 0, training)
        print("training", number, flush=True)
        ledger.add_grade("r", number, 0, grade)
        print("grade", number, flush=True)
        ledger.decide(replace(candidate, decision=Decision(Verdict.REJECTED, "so")))
        print("decision", number, flush=True)
"""


def test_kill_nine_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    dice = random.Random(20)
    told: dict[str, set[int]] = {"candidate": set(), "training": set(), "grade": set(), "decision": set()}
    for _ in range(KILLS):
        with subprocess.Popen(
            (sys.executable, "-c", WRITER, path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            assert writer.stderr is not None
            for _ in range(dice.randrange(1, 60)):
                _hear(told, writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            # What it said before it died counts, though nobody had read it yet; a torn line does not.
            for line in writer.stdout.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    _hear(told, line)
            assert writer.stderr.read() == ""
        assert writer.returncode == -signal.SIGKILL
        _check(path, told)
    assert len(told["candidate"]) > KILLS


def _hear(told: dict[str, set[int]], line: str) -> None:
    what, number = line.split()
    assert int(number) not in told[what]
    told[what].add(int(number))


def _check(path: Path, told: dict[str, set[int]]) -> None:
    with Ledger.open(path) as ledger:
        candidates = ledger.candidates("r")
        numbers = [candidate.number for candidate in candidates]
        assert numbers == list(range(len(numbers)))
        assert told["candidate"] <= set(numbers)
        assert told["decision"] <= {each.number for each in candidates if each.decision is not None}
        # Only the last may be unknown to us: it was recorded, and the writer died before it could say so.
        assert len(numbers) - len(told["candidate"]) <= KILLS
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for what, table in (("training", "trainings"), ("grade", "grades")):
            found = [row[0] for row in connection.execute(f"SELECT number FROM {table}")]
            assert len(found) == len(set(found))
            assert told[what] <= set(found)
    finally:
        connection.close()
