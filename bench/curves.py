"""Records a tabular benchmark of the default job: every configuration of a grid, trained and scored whole.

python -m bench.curves --record --jobs 2   # records what is missing; --seconds N starts no run after N
python -m bench.curves                     # prints what is there

The grid is a full factorial part of the search space in `model/config.py`, so that any search over it can
be replayed without interpolation. Runs come seed by seed, so that the table is of use before it is whole;
the default has more seeds than the others, so that the noise between seeds is known. Compute is equal:
what a step of an architecture costs is measured beside the default's, once, and kept with the table.

A line is written when its run is over, by one process that holds a lock. A kill loses the runs that are
under way, and the next recording drops a line that it tore and goes on.
"""

from __future__ import annotations

import argparse
import datetime as dt
import fcntl
import itertools
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.__main__ import machine
from bench.table import (
    PATH,
    Architecture,
    Choice,
    Header,
    Length,
    Point,
    Recorded,
    Value,
    describe,
    load,
    parse,
    whole_lines,
)
from pytest_evalloop.records import DocumentScore

if TYPE_CHECKING:
    from model.config import Config
    from model.gpt import GPT
    from model.train import Trainer

ROOT = Path(__file__).parents[1]
STEPS, EVERY = 160, 5  # of the default configuration; from one point of a curve to the next
SEEDS = 3  # of every configuration
MORE_SEEDS = range(SEEDS, 12)  # of the default
PAIRS, BLOCK = 15, 8  # blocks of steps, in turn with the default's, that a step's cost is measured over
SPACE: dict[str, tuple[Value, ...]] = {
    "activation": ("relu2", "gelu"),
    "n_layer": (3, 4),
    "matrix_lr": (0.01, 0.02, 0.04),
    "embedding_lr": (0.0006, 0.002, 0.006),
    "head_lr": (0.0006, 0.002, 0.006),
    "warmdown": (0.2, 0.6),
}
SHAPES = ("activation", "n_layer")  # what decides the cost of a step


def plan(header: Header) -> Iterator[tuple[Choice, int]]:
    """Yield configurations and seeds in the order of recording, the same in every call."""
    others = [choice for choice in header.choices() if choice != header.default]
    random.Random(0).shuffle(others)
    for seed in range(SEEDS):
        yield header.default, seed
        yield from ((choice, seed) for choice in others)
        if seed == 0:
            yield from ((header.default, more) for more in MORE_SEEDS)


class Worker:
    """What one process needs to train and score on one thread, prepared once."""

    def __init__(self) -> None:
        import torch  # noqa: PLC0415 - the recording and the printing process do not need it

        from model.config import Config  # noqa: PLC0415
        from model.corpus import read_documents  # noqa: PLC0415
        from model.device import one_thread  # noqa: PLC0415
        from model.tokenizer import BPETokenizer  # noqa: PLC0415

        one_thread()
        self.checked = False
        # Scoring at stride = context costs half, and compares configurations as well.
        self.base = Config(stride=Config.context)
        self.device = torch.device("cpu")
        data = ROOT / ".evalloop/data"
        texts = [text for _, text in read_documents(data / "train")]
        self.tokenizer = BPETokenizer.train(texts, self.base.vocab_size)
        bos, encode = self.tokenizer.bos, self.tokenizer.encode
        self.tokens = torch.tensor([token for text in texts for token in (bos, *encode(text))])
        self.held_out = {split: read_documents(data / split) for split in ("val", "vault")}
        self.encoded = {
            split: [encode(text) for _, text in documents] for split, documents in self.held_out.items()
        }

    def trainer(self, config: Config, seed: int) -> Trainer:
        """Return an untrained model with its optimizers."""
        from model.train import Trainer  # noqa: PLC0415

        return Trainer(config, self.tokenizer, seed=seed, device=self.device)

    def train(
        self, values: Mapping[str, Any], seed: int, steps: int, stop: int
    ) -> tuple[GPT, list[Point], float]:
        """Train as `Trainer.run` does on a budget of `steps`, until `stop`; also return curve and CPU seconds."""
        from model.config import Config  # noqa: PLC0415
        from model.train import Progress, batches, learning_rate_scale  # noqa: PLC0415

        started, config = time.process_time(), Config(**values)
        trainer, progress = self.trainer(config, seed), Progress(None)
        data, curve = batches(self.tokens, config, seed=seed), []
        for step in range(1, stop + 1):
            nats, size = trainer.step(*next(data), learning_rate_scale((step - 1) / steps, config))
            progress.add(float(nats), float(size))
            if step % EVERY == 0 or step == steps:
                progress.report(step, step / steps)
                curve.append(Point(step, step / steps, progress.bpb))
        return trainer.model, curve, time.process_time() - started

    def score(self, model: GPT, primer: str) -> tuple[dict[str, list[float]], float]:
        """Return what every held-out document costs in bits, as the grader counts them, and CPU seconds."""
        from model.adapter import ScoredGPT  # noqa: PLC0415
        from pytest_evalloop.metric.bpb import bits  # noqa: PLC0415

        started = time.process_time()
        scorer = ScoredGPT(model.eval(), self.tokenizer, self.device)
        before = scorer.encode(primer.encode())
        found = {
            split: [bits(nats.tolist()) for nats in scorer.nll(documents, primer=before)]
            for split, documents in self.encoded.items()
        }
        return found, time.process_time() - started

    def check(self, header: Header, first: float) -> None:
        """Refuse to go on when the default no longer starts as it did: a table is of one machine, data and code.

        Raises `RuntimeError` with what differs; what was checked once is not checked again.
        """
        if not self.checked:
            _, curve, _ = self.train(header.base, 0, header.steps({}), stop=EVERY)
            if abs(curve[0].train_bpb - first) > 1e-3:
                raise RuntimeError(
                    f"the default's first steps cost {curve[0].train_bpb:.4f} bpb, once {first:.4f}"
                )
            self.checked = True

    def run(self, header: Header, choice: Choice, seed: int) -> Recorded:
        """Train and score one configuration."""
        steps = header.steps(choice)
        model, curve, train_seconds = self.train({**header.base, **choice}, seed, steps, stop=steps)
        costs, score_seconds = self.score(model, header.primer)
        val, vault = (
            tuple(DocumentScore(length.id, cost, length.bytes) for length, cost in zip(*pair, strict=True))
            for pair in ((header.val, costs["val"]), (header.vault, costs["vault"]))
        )
        return Recorded(choice, seed, steps, train_seconds, score_seconds, tuple(curve), val, vault)

    def header(self) -> Header:
        """Measure what steps cost, and describe a table that is to be recorded."""
        base = asdict(self.base)
        commit = ["git", "rev-parse", "--short=12", "HEAD"]
        architectures = []
        for values in itertools.product(*(SPACE[name] for name in SHAPES)):
            shape = dict(zip(SHAPES, values, strict=True))
            cost = self.cost(shape)
            architectures.append(Architecture(shape, round(cost, 4), round(STEPS / cost)))
        val, vault = (
            tuple(Length(name, len(text)) for name, text in self.held_out[split])
            for split in ("val", "vault")
        )
        return Header(
            space=SPACE,
            default={name: base[name] for name in SPACE},
            base=base,
            architectures=tuple(architectures),
            every=EVERY,
            primer=(ROOT / "model/prompt.md").read_text(encoding="utf-8"),
            val=val,
            vault=vault,
            made={
                "machine": machine(),
                "commit": subprocess.check_output(commit, cwd=ROOT, text=True).strip(),
                "date": f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}",
                "torch": version("torch"),
            },
        )

    def cost(self, shape: Choice) -> float:
        """Return the CPU seconds of a step over those of the default's, measured in turn."""
        from model.config import Config  # noqa: PLC0415
        from model.train import batches  # noqa: PLC0415

        config = Config(**{**asdict(self.base), **shape})
        if config == self.base:
            return 1.0
        data = batches(self.tokens, self.base, seed=0)

        def seconds(trainer: Trainer) -> float:
            started = time.process_time()
            for _ in range(BLOCK):
                trainer.step(*next(data), scale=0.1)
            return time.process_time() - started

        pair = self.trainer(config, 0), self.trainer(self.base, 0)
        ratios = []
        for index in range(PAIRS + 1):
            if index % 2:
                above, below = seconds(pair[0]), seconds(pair[1])
            else:
                below, above = seconds(pair[1]), seconds(pair[0])
            ratios.append(above / below)
        return statistics.median(ratios[1:])  # the first warmed up


@cache
def worker() -> Worker:
    """Return the one worker of this process."""
    return Worker()


def begin(_: object) -> Header:
    """Measure the header of a new table, in a process of its own."""
    return worker().header()


@dataclass(frozen=True)
class Task:
    """One run that a worker process is to make, unless its time is over."""

    header: Header
    choice: Choice
    seed: int
    first: float | None  # bpb of the default's first steps, if the table has it
    until: float


def carry_out(task: Task) -> Recorded | None:
    """Make a run, in a worker process; None when it is too late to start one."""
    if time.time() >= task.until:
        return None
    if task.first is not None:
        worker().check(task.header, task.first)
    return worker().run(task.header, task.choice, task.seed)


def mend(file: IO[bytes]) -> list[str]:
    """Cut off a last line that was torn, leave the file at its end, and return the whole lines."""
    file.seek(0)
    lines = whole_lines(file.read())
    file.truncate(file.seek(sum(len(line) + 1 for line in lines)))
    return [line.decode() for line in lines]


def append(file: IO[bytes], line: str) -> None:
    """Write one line so that a kill from now on does not lose it."""
    file.write(line.encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def record(path: Path, *, jobs: int, seconds: float) -> None:
    """Record what is missing, `jobs` runs at once, and start none when `seconds` are over."""
    until = time.time() + seconds
    subprocess.run([sys.executable, "-m", "model.corpus"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.environ["OMP_NUM_THREADS"] = "1"
    # Workers of a pool end with the process that owns it, also when that is killed.
    with path.open("r+b") as file, multiprocessing.get_context("spawn").Pool(jobs) as pool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"{path} is being recorded by another process") from None
        lines = mend(file)
        if not lines:
            lines = [pool.apply(begin, (None,)).line()]
            append(file, lines[0])
        table = parse(lines)
        header, started = table.header, (table.header.key({}), 0)
        first = table.runs[started].curve[0].train_bpb if started in table.runs else None
        tasks = [
            Task(header, choice, seed, first, until)
            for choice, seed in plan(header)
            if (header.key(choice), seed) not in table.runs
        ]
        for run in pool.imap_unordered(carry_out, tasks):
            if run is not None:
                append(file, run.line())
                note = f"{run.val_bpb:.4f} bpb, {run.train_seconds:.1f} CPU-s"
                print(f"seed {run.seed}, {json.dumps(run.config)}: {note}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, or print what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--record", action="store_true", help="record what is missing")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after so long")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    options = parser.parse_args(arguments)
    if options.record:
        record(PATH, jobs=options.jobs, seconds=options.seconds)
    else:
        table = load()
        print("\n".join(describe(table, planned=len(list(plan(table.header))))))


if __name__ == "__main__":
    main()
