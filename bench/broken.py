"""How long the default loop takes to reject a broken candidate, from its mutator's end to its verdict."""

from __future__ import annotations

import re
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Figure, show

ROOT = Path(__file__).resolve().parent.parent
BOUND = 4.0  # seconds of wall clock


@dataclass(frozen=True)
class Break:
    """One way to break the default job: in a file, `old` becomes `new`."""

    name: str
    path: str
    old: str
    new: str


BREAKS = (
    Break("a file that is no Python", "model/gpt.py", "def rms_norm(x: Tensor)", "def rms_norm((x: Tensor)"),
    Break("an eval that is changed", "evals/test_val_bpb.py", '"""', '"""Easier now. '),
    Break("an import that fails", "model/train.py", "import AdamW, Muon", "import Adam, Muon"),
    Break(
        "a first step that fails",
        "model/gpt.py",
        "self.features(tokens, cache))",
        "self.feature(tokens, cache))",
    ),
    Break(
        "shapes that do not fit",
        "model/gpt.py",
        "nn.Linear(config.width, vocab",
        "nn.Linear(config.width + 1, vocab",
    ),
    Break(
        "a model that cannot be loaded", "model/adapter.py", '"model.safetensors"', '"weights.safetensors"'
    ),
    Break("a score that fails", "model/adapter.py", "logits.flatten(0, 1), wanted", "logits, wanted"),
    Break(
        "tokens that do not give the text back",
        "model/adapter.py",
        "return self.tokenizer.token_bytes()",
        "return [b'', *self.tokenizer.token_bytes()]",
    ),
    Break(
        "a score that no prediction backs", "model/adapter.py", "place.copy_(row[", "place.copy_(0.9 * row["
    ),
)


def mutate(log: Path) -> None:
    """Break the worktree that this process was started in as its brief's number says, and log when that was done."""
    found = re.search(r"^# Propose candidate (\d+)", sys.stdin.read())
    assert found is not None
    each = BREAKS[int(found[1]) - 1]
    source = Path(each.path).read_text(encoding="utf-8")
    assert each.old in source, each
    Path(each.path).write_text(source.replace(each.old, each.new, 1), encoding="utf-8")
    print(f"DESCRIPTION: {each.name}")
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{time.monotonic()}\n")


def figures() -> list[Figure]:
    """Run one loop whose mutator breaks one thing after the other, and return the seconds to each verdict."""
    with tempfile.TemporaryDirectory() as name:
        clone, log = Path(name) / "clone", Path(name) / "mutated"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        agent = shlex.join([sys.executable, "-m", "bench.broken", "--break", str(log)])
        options = ["--evalloop-mutator", "agent", "--evalloop-parallel", "1"]
        command = [sys.executable, "-m", "pytest", "--evalloop", *options, "-o", f"evalloop_agent={agent}"]
        verdicts: list[float] = []
        with subprocess.Popen(
            [*command, "--evalloop-candidates", str(len(BREAKS))],
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", file=sys.stderr)
                if re.search(r"main/[1-9]\d* (accepted|rejected)", line):
                    verdicts.append(time.monotonic())
        if process.returncode != 0:
            raise SystemExit(f"the loop ended with status {process.returncode}")
        mutated = [float(line) for line in log.read_text(encoding="utf-8").splitlines()]
        ledger = sqlite3.connect(clone / ".evalloop/ledger.db")
        rows = ledger.execute(
            "SELECT verdict, reason FROM candidates WHERE number > 0 ORDER BY number"
        ).fetchall()
        ledger.close()
    taken = [verdict - start for start, verdict in zip(mutated, verdicts, strict=True)]
    found = [
        Figure(
            f"{each.name}: {verdict}, {reason.splitlines()[0][:100]}",
            f"{seconds:.1f} s",
            f"≤ {BOUND:.0f} s, rejected",
            seconds <= BOUND and verdict == "rejected",
        )
        for each, seconds, (verdict, reason) in zip(BREAKS, taken, rows, strict=True)
    ]
    middle = statistics.median(taken)
    return [*found, Figure("the middle of them", f"{middle:.1f} s", "", None)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--break"]:
        mutate(Path(sys.argv[2]))
    else:
        show(figures())
