"""What audit and sandbox add to grading the default model, side by side, and what scoring costs.

python -m bench.audit_cost
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figure import Figure, show

ROOT = Path(__file__).parents[1]
PAIRS = 7


def grade(clone: Path, *, bare: bool) -> float:
    """Grade the clone's working tree, bare or as users do, and return seconds of wall clock."""
    without = ["-p", "bench.bare", "-o", "evalloop_sandbox=watchdog"] if bare else []
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "evals", "-q", "-p", "no:cacheprovider", *without],
        cwd=clone,
        check=True,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def score(stride: int) -> None:
    """Train a few steps of the default model, score some documents at `stride`, print CPU seconds per MB."""
    import torch  # noqa: PLC0415 - the parent process does not need it

    from model.adapter import ScoredGPT  # noqa: PLC0415
    from model.config import Config  # noqa: PLC0415
    from model.corpus import read_documents  # noqa: PLC0415
    from model.device import one_thread  # noqa: PLC0415
    from model.gpt import GPT  # noqa: PLC0415
    from model.tokenizer import BPETokenizer  # noqa: PLC0415

    one_thread()
    documents = [text for _, text in read_documents(ROOT / ".evalloop/data/val")]
    config = Config()
    tokenizer = BPETokenizer.train(documents, config.vocab_size)
    scorer = ScoredGPT(GPT(config, len(tokenizer.vocabulary)).eval(), tokenizer, torch.device("cpu"))
    scorer.stride = stride or scorer.context
    encoded = [scorer.encode(text) for text in documents]
    scorer.nll(encoded[:2])
    started = time.process_time()
    scorer.nll(encoded)
    print(json.dumps((time.process_time() - started) / (sum(map(len, documents)) / 1e6)))


def figures() -> list[Figure]:
    """Return what audit and sandbox add, in wall-clock and CPU seconds, and the cost of scoring."""
    subprocess.run([sys.executable, "-m", "model.corpus"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        whole: list[float] = []
        bare: list[float] = []
        for without in (False, True):
            grade(clone, bare=without)  # the first trains
        for index in range(PAIRS):
            order: list[Callable[[], None]] = [
                lambda: whole.append(grade(clone, bare=False)),
                lambda: bare.append(grade(clone, bare=True)),
            ]
            for run in order if index % 2 else reversed(order):
                run()
    ratio = statistics.median(a / b for a, b in zip(whole, bare, strict=True))
    added = statistics.median(a - b for a, b in zip(whole, bare, strict=True))
    seconds = statistics.median(bare)
    costs = {stride: _score(stride) for stride in (0, 64)}
    return [
        Figure("grading without audit and sandbox", f"{seconds:.1f} s", "", None),
        Figure(
            "grading with audit and sandbox over without, wall clock",
            f"{ratio:.3f} ({PAIRS} pairs)",
            "≤ 1.15",
            ratio <= 1.15,
        ),
        Figure("what audit and sandbox add, wall clock", f"{added:.2f} s", "≤ 2 s", added <= 2),
        Figure("scoring at stride = context, CPU-s per MB", f"{costs[0]:.1f}", "≤ 13", costs[0] <= 13),
        Figure("scoring at stride = context / 2, CPU-s per MB", f"{costs[64]:.1f}", "", None),
    ]


def _score(stride: int) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "bench.audit_cost", "--score", str(stride)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(json.loads(done.stdout))


if __name__ == "__main__":
    if "--score" in sys.argv:
        score(int(sys.argv[-1]))
    else:
        show(figures())
