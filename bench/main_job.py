"""The default loop from a clean clone: time to the first verdicts, to the end, overhead, memory, acceptances."""

from __future__ import annotations

import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from bench.figure import Figure, show

ROOT = Path(__file__).resolve().parent.parent


class PeakMemory(threading.Thread):
    """Samples the summed memory of a process tree, twice a second: proportional set size where known."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        """Sample until the process is gone."""
        while not self._over.wait(0.5):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                return
            self.bytes = max(self.bytes, sum(_memory(process) for process in tree))

    def stop(self) -> int:
        """Stop sampling and return the peak in bytes."""
        self._over.set()
        self.join()
        return self.bytes


def _memory(process: psutil.Process) -> int:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    except psutil.Error:
        return 0


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s (most {max(seconds):.1f} s)" if seconds else "none"


def figures() -> list[Figure]:
    """Clone the repository, run `pytest --evalloop` as `make loop` does, and read times, ledger and memory."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "pytest", "--evalloop"]
        verdicts: list[float] = []
        measured: set[int] = set()
        with subprocess.Popen(
            command,
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            memory = PeakMemory(process.pid)
            memory.start()
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{time.monotonic() - started:6.1f} {line}", end="", file=sys.stderr)
                if re.search(r"main/\d+ (baseline )?(accepted|rejected)", line):
                    verdicts.append(time.monotonic() - started)
                if found := re.search(r"candidate (\d+): measuring", line):
                    measured.add(int(found[1]))
        total = time.monotonic() - started
        peak = memory.stop()
        if process.returncode != 0:
            raise SystemExit(f"the loop ended with status {process.returncode}")
        status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True)
        ledger = sqlite3.connect(clone / ".evalloop/ledger.db")
        rows = ledger.execute(
            "SELECT number, mutator, verdict, overhead_seconds, train_seconds FROM candidates "
            "WHERE number > 0 AND bpb IS NOT NULL"
        ).fetchall()
        ledger.close()
        shutil.copy(clone / ".evalloop/results.tsv", ROOT / "bench" / "main_job.tsv")
    accepted = [mutator for _, mutator, verdict, *_ in rows if verdict == "accepted"]
    trained = [overhead for *_, overhead, training in rows if training]
    paced = [overhead for number, *_, overhead, _ in rows if number in measured]
    others = [overhead for *_, overhead, training in rows if not training]
    return [
        Figure(
            "default loop, first verdict (the baseline's)",
            f"{verdicts[0]:.0f} s",
            "≤ 120 s",
            verdicts[0] <= 120,
        ),
        Figure("default loop, first candidate's verdict", f"{verdicts[1]:.0f} s", "", None),
        Figure("default loop, end", f"{total:.0f} s", "≤ 600 s", total <= 600),
        Figure("default loop, accepted", ", ".join(accepted) or "none", "≥ 1", bool(accepted)),
        Figure(
            "default loop, peak memory of all processes (PSS)", f"{peak / 1e9:.2f} GB", "≤ 2 GB", peak <= 2e9
        ),
        Figure(
            "loop overhead per candidate that was trained, warm processes",
            _spread(trained),
            "≤ 2 s",
            bool(trained) and statistics.median(trained) <= 2,
        ),
        Figure(
            "… those of them whose pace was measured beside the incumbent's",
            _spread(paced),
            "≤ 2 s",
            statistics.median(paced) <= 2 if paced else None,
        ),
        Figure(
            "loop overhead per candidate without a training, cold processes",
            _spread(others),
            "≤ 6 s",
            bool(others) and statistics.median(others) <= 6,
        ),
        Figure("`git status` after the loop", status.stdout.decode() or "clean", "clean", not status.stdout),
    ]


if __name__ == "__main__":
    show(figures())
