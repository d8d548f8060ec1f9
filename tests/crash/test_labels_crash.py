"""Somebody labels, the process is killed at any moment: no acknowledged label is lost, and the log opens."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.traces import Library

KILLS = 10  # 50 for the figure that the documentation quotes

# Says what a label is after each call returned, and goes on where the log is.
LABELLER = """
import json, pathlib, random, sys
from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.traces import StoredTrace

dice = random.Random(int(sys.argv[2]))
with Labels.open(pathlib.Path(sys.argv[1]), write=True) as labels:
    at = 1.0 + max((label.at for label in labels.all().values()), default=0.0)
    while True:
        number = dice.randrange(40)
        trace = StoredTrace(f"t-{number}", "s", 0.0, Trace("i" * (number * 997 % 70_000), "o"))
        if dice.random() < 0.2:
            label = labels.undo("ann", at)
        else:
            note = "n" * dice.randrange(9_000)
            modes = {f"FM-{dice.randrange(5)}": dice.choice((True, False, None))}
            label = labels.change(trace, "ann", at, passed=dice.random() < 0.5, note=note, modes=modes)
        at += 1
        if label is not None:
            said = {"passed": label.passed, "note": len(label.note), "modes": label.modes}
            print(json.dumps([label.trace, label.revision, said]), flush=True)
"""


def test_no_kill_loses_an_acknowledged_label(tmp_path: Path) -> None:
    dice = random.Random(5)
    told: dict[str, dict[int, Any]] = {}
    for kill in range(KILLS):
        with subprocess.Popen(
            (sys.executable, "-c", LABELLER, tmp_path, str(kill)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as labeller:
            assert labeller.stdout is not None
            assert labeller.stderr is not None
            for _ in range(dice.randrange(0, 40)):
                _hear(told, labeller.stdout.readline())
            labeller.send_signal(signal.SIGKILL)
            # What was acknowledged before the kill counts, though nobody had read it yet; a torn line does not.
            for line in labeller.stdout.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    _hear(told, line)
            assert labeller.stderr.read() == ""
        assert labeller.returncode == -signal.SIGKILL
        _check(tmp_path, told)
    assert sum(map(len, told.values())) > KILLS * 5


def _hear(told: dict[str, dict[int, Any]], line: str) -> None:
    trace, revision, said = json.loads(line)
    assert revision not in told.setdefault(trace, {})
    told[trace][revision] = said


def _check(folder: Path, told: dict[str, dict[int, Any]]) -> None:
    labels = Labels.open(folder)
    library = Library.load(folder / "none", folder)
    ahead = 0
    for trace, answers in told.items():
        label = labels.get(trace)
        last = max(answers)
        assert label.revision >= last
        # Only the very last action may be unknown to us: on disk, and killed before it could say so. Nothing was
        # acknowledged after it, so every later process took it up.
        ahead += label.revision - len(answers)
        if label.revision == last:
            assert {"passed": label.passed, "note": len(label.note), "modes": label.modes} == answers[last]
    assert ahead <= KILLS
    assert labels.all().keys() <= library.traces.keys()
    assert library.problems == ()
