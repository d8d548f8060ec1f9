"""How fast the default job trains and scores: two one-thread trainings side by side, bf16 against fp32.

python -m bench.train_throughput
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figure import Figure, show

ROOT = Path(__file__).parents[1]
ROUNDS, STEPS = 5, 20  # blocks of one precision, in turn with the other, and training steps in each
TARGET = 25_000.0  # tokens a second, of both trainings


def work() -> None:
    """Train and score in this process as soon as a line arrives, and print what that took as JSON."""
    import torch  # noqa: PLC0415 - the parent process does not need it

    from model.adapter import ScoredGPT  # noqa: PLC0415
    from model.config import Config  # noqa: PLC0415
    from model.corpus import read_documents  # noqa: PLC0415
    from model.device import one_thread, precision  # noqa: PLC0415
    from model.tokenizer import BPETokenizer  # noqa: PLC0415
    from model.train import Trainer, batches  # noqa: PLC0415

    one_thread()
    device, config = torch.device("cpu"), Config()
    documents = [text for _, text in read_documents(ROOT / ".evalloop/data/train")]
    tokenizer = BPETokenizer.train(documents, config.vocab_size)
    tokens = [token for text in documents for token in (tokenizer.bos, *tokenizer.encode(text))]
    trainer = Trainer(config, tokenizer, seed=0, device=device)
    data = batches(torch.tensor(tokens), config, seed=0)
    precisions = {"bf16": trainer.autocast, "fp32": torch.autocast("cpu", enabled=False)}

    def speed(name: str) -> tuple[float, float]:
        """Return tokens a second and tokens a CPU second over one block of steps."""
        trainer.autocast = precisions[name]
        started, used = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            trainer.step(*next(data), scale=1.0)
        size = STEPS * config.batch_size * config.context
        return size / (time.perf_counter() - started), size / (time.process_time() - used)

    print("ready", flush=True)
    sys.stdin.readline()
    speed("bf16"), speed("fp32")  # a warm-up
    blocks = [{name: speed(name) for name in precisions} for _ in range(ROUNDS)]

    scorer = ScoredGPT(trainer.model.eval(), tokenizer, device)
    encoded = [scorer.encode(text) for text in documents[:40]]
    started = time.process_time()
    scorer.nll(encoded)
    seconds = time.process_time() - started
    megabytes = sum(map(len, documents[:40])) / 1e6
    native = precision(device) is torch.bfloat16
    print(json.dumps({"blocks": blocks, "score": seconds / megabytes, "native": native}), flush=True)


def figures() -> list[Figure]:
    """Return tokens a second of both trainings together, bf16 over fp32, and the cost of scoring."""
    command = [sys.executable, "-m", "bench.train_throughput", "--work"]
    subprocess.run([sys.executable, "-m", "model.corpus"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    workers = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    results = [json.loads(worker.communicate()[0]) for worker in _started(workers)]
    each, busy = (
        [statistics.median(b["bf16"][i] for b in result["blocks"]) for result in results] for i in (0, 1)
    )
    ratios = [b["bf16"][1] / b["fp32"][1] for result in results for b in result["blocks"]]
    ratio = statistics.median(ratios)
    score = statistics.median(result["score"] for result in results)
    return [
        Figure(
            "two trainings side by side, tokens/s",
            f"{sum(each):,.0f} ({each[0]:,.0f} + {each[1]:,.0f})",
            f"≥ {TARGET:,.0f}",
            sum(each) >= TARGET,
        ),
        Figure(
            "the same, in tokens per CPU-s", f"{sum(busy):,.0f} ({busy[0]:,.0f} + {busy[1]:,.0f})", "", None
        ),
        Figure(
            "training in bf16 over fp32, tokens per CPU-s",
            f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} pairs)",
            "> 1",
            ratio > 1,
        )
        if results[0]["native"]
        else Figure("training in bf16 over fp32", "this CPU has no bfloat16: all is in fp32", "", None),
        Figure("scoring at stride = context / 2, CPU-s per MB", f"{score:.1f}", "≤ 26", score <= 26),
    ]


def _started(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Let all workers go at the same moment."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return workers


if __name__ == "__main__":
    if "--work" in sys.argv:
        work()
    else:
        show(figures())
