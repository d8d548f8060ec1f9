"""Reads the tabular benchmark that `bench/curves.py` records, for scripts that replay a search over it.

`load()` returns a `Table`. It imports neither torch nor numpy, and a file whose last line was torn by a
kill is read up to that line.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.records import DocumentScore

PATH = Path(__file__).parent / "data" / "curves.jsonl"

Value = str | int | float
Choice = Mapping[str, Value]  # values of the parameters that are varied, by name
Key = tuple[Value, ...]  # the same in the order of the grid


class Point(NamedTuple):
    """One place of a learning curve, as a progress line of a training says it."""

    step: int
    fraction: float
    train_bpb: float


class Length(NamedTuple):
    """A document's id and its raw bytes."""

    id: str
    bytes: int


@dataclass(frozen=True)
class Architecture:
    """Parameters that decide what a step costs, that cost over the default's, and the steps it leaves."""

    choice: Choice
    cost: float
    steps: int


@dataclass(frozen=True)
class Header:
    """What all runs of a table share."""

    space: Mapping[str, tuple[Value, ...]]  # the grid
    default: Choice
    base: Mapping[str, Any]  # the whole configuration that a choice is put into
    architectures: tuple[Architecture, ...]
    every: int  # steps from one point of a curve to the next
    primer: str
    val: tuple[Length, ...]
    vault: tuple[Length, ...]
    made: Mapping[str, str]  # machine, commit, date, versions

    def key(self, choice: Choice) -> Key:
        """Return where a choice stands in the grid; what it does not name has its default.

        Raises `LookupError` when it stands outside: a replay must not guess.
        """
        if unknown := choice.keys() - self.space.keys():
            raise LookupError(f"the table does not vary {', '.join(sorted(unknown))}")
        whole = {**self.default, **choice}
        for name, values in self.space.items():
            if whole[name] not in values:
                raise LookupError(f"{name}={whole[name]!r} is not in the table, which has {values}")
        return tuple(whole[name] for name in self.space)

    def choices(self) -> Iterator[dict[str, Value]]:
        """Yield every configuration of the grid, recorded or not."""
        for values in itertools.product(*self.space.values()):
            yield dict(zip(self.space, values, strict=True))

    def steps(self, choice: Choice) -> int:
        """Return how many steps the budget leaves to a choice."""
        whole = {**self.default, **choice}
        for architecture in self.architectures:
            if all(whole[name] == value for name, value in architecture.choice.items()):
                return architecture.steps
        raise LookupError(f"no step count is known for {whole}")

    def line(self) -> str:
        """Return the first line of the table's file."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def parse(cls, line: str) -> Header:
        """Read what `line` wrote."""
        found = json.loads(line)
        found["space"] = {name: tuple(values) for name, values in found["space"].items()}
        found["architectures"] = tuple(Architecture(**each) for each in found["architectures"])
        for split in ("val", "vault"):
            found[split] = tuple(Length(*each) for each in found[split])
        return cls(**found)


@dataclass(frozen=True)
class Recorded:
    """One training with one seed, and what every held-out document costs after it."""

    config: Choice
    seed: int
    steps: int
    train_seconds: float  # of CPU
    score_seconds: float
    curve: tuple[Point, ...]
    val: tuple[DocumentScore, ...]
    vault: tuple[DocumentScore, ...]

    @cached_property
    def val_bpb(self) -> float:
        """Bits per byte of the validation documents."""
        return bits_per_byte(self.val)

    @cached_property
    def vault_bpb(self) -> float:
        """Bits per byte of the vault's documents."""
        return bits_per_byte(self.vault)

    def train_bpb(self, fraction: float) -> float:
        """Return the last point of the curve up to a share of the budget, the first before it has begun."""
        reached = [point.train_bpb for point in self.curve if point.fraction <= fraction + 1e-9]
        return reached[-1] if reached else self.curve[0].train_bpb

    def line(self) -> str:
        """Return the run as a line of the table's file: what the header says is left out."""
        found = {
            "config": dict(self.config),
            "seed": self.seed,
            "steps": self.steps,
            "train_s": round(self.train_seconds, 3),
            "score_s": round(self.score_seconds, 3),
            "curve": [round(point.train_bpb, 4) for point in self.curve],
            "val": [round(score.bits, 2) for score in self.val],
            "vault": [round(score.bits, 2) for score in self.vault],
        }
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def parse(cls, line: str, header: Header) -> Recorded:
        """Read what `line` wrote; raises `ValueError` when it does not fit to the header."""
        found = json.loads(line)
        steps = found["steps"]
        ends = [*range(header.every, steps, header.every), steps]
        return cls(
            config=found["config"],
            seed=found["seed"],
            steps=steps,
            train_seconds=found["train_s"],
            score_seconds=found["score_s"],
            curve=tuple(Point(end, end / steps, bpb) for end, bpb in zip(ends, found["curve"], strict=True)),
            val=_scores(header.val, found["val"]),
            vault=_scores(header.vault, found["vault"]),
        )


@dataclass(frozen=True)
class Table:
    """All that is recorded, by configuration and seed."""

    header: Header
    runs: Mapping[tuple[Key, int], Recorded]

    def find(self, choice: Choice, seed: int) -> Recorded:
        """Return the run of a configuration under a seed; raises `LookupError` when there is none."""
        key = self.header.key(choice)
        try:
            return self.runs[key, seed]
        except KeyError:
            raise LookupError(f"{dict(choice)} under seed {seed} is not recorded") from None

    def seeds(self, choice: Choice) -> tuple[int, ...]:
        """Return the seeds under which a configuration is recorded, in order."""
        key = self.header.key(choice)
        return tuple(sorted(seed for found, seed in self.runs if found == key))

    def by_seed(self, seed: int) -> tuple[Recorded, ...]:
        """Return all runs under one seed, in the order of their recording."""
        return tuple(run for run in self.runs.values() if run.seed == seed)


def whole_lines(content: bytes) -> list[bytes]:
    """Return the lines that were written to their end; a torn one can only be the last."""
    return content.split(b"\n")[:-1]


def parse(lines: Sequence[str]) -> Table:
    """Read a header and the runs below it; raises `ValueError` when a run stands there twice."""
    header = Header.parse(lines[0])
    runs: dict[tuple[Key, int], Recorded] = {}
    for number, line in enumerate(lines[1:], start=2):
        run = Recorded.parse(line, header)
        place = header.key(run.config), run.seed
        if place in runs:
            raise ValueError(f"line {number}: {dict(run.config)} under seed {run.seed} stands there twice")
        runs[place] = run
    return Table(header, runs)


def load(path: Path = PATH) -> Table:
    """Read the recorded table; raises `FileNotFoundError` with what to do when there is none."""
    lines = whole_lines(path.read_bytes()) if path.is_file() else []
    if not lines:
        raise FileNotFoundError(f"no table in {path}; record it: python -m bench.curves --record")
    return parse([line.decode() for line in lines])


def describe(table: Table, planned: int) -> list[str]:
    """Say how far a table is, which noise and spread it has, and what it cost."""
    from scipy.stats import spearmanr  # noqa: PLC0415 - a replay does not need it

    header, runs = table.header, list(table.runs.values())
    made = ", ".join(f"{name} {value}" for name, value in header.made.items())
    lines = [f"{len(runs)} of {planned} runs; {made}"]
    for shape in header.architectures:
        seconds = [run.train_seconds for run in runs if shape.choice.items() <= run.config.items()]
        spent = f"{statistics.mean(seconds):.2f} CPU-s" if seconds else "none yet"
        lines.append(
            f"  {json.dumps(shape.choice)}: step cost {shape.cost:.3f}, {shape.steps} steps, {spent}"
        )
    default = [table.find({}, seed) for seed in table.seeds({})]
    ranked = sorted(table.by_seed(0), key=lambda run: run.val_bpb)
    if len(default) < 2 or len(ranked) < 3:
        return [*lines, "too few to say more"]

    for split in ("val", "vault"):
        found = [getattr(run, f"{split}_bpb") for run in default]
        lines.append(
            f"default, {split}: {statistics.mean(found):.4f} bpb, sd {statistics.stdev(found):.4f} "
            f"over {len(found)} seeds ({min(found):.4f} to {max(found):.4f})"
        )
    by_key: dict[Key, list[float]] = {}
    for (key, _), run in table.runs.items():
        by_key.setdefault(key, []).append(run.val_bpb)
    if several := [found for key, found in by_key.items() if len(found) > 1 and key != header.key({})]:
        pooled = statistics.mean(map(statistics.variance, several)) ** 0.5
        lines.append(f"the others, val: sd {pooled:.4f} between the seeds of {len(several)} configurations")
    lines.append(f"{len(ranked)} configurations under seed 0, val bpb (vault bpb):")
    for name, run in (("best", ranked[0]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[-1])):
        lines.append(f"  {name}: {run.val_bpb:.4f} ({run.vault_bpb:.4f}) {json.dumps(run.config)}")
    final = [run.val_bpb for run in ranked]
    for fraction in (0.25, 0.5, 0.75, 1.0):
        partial = [run.train_bpb(fraction) for run in ranked]
        lines.append(
            f"train bpb at {fraction:.0%} with val bpb at the end: r {statistics.correlation(partial, final):.3f}, "
            f"rank {spearmanr(partial, final).statistic:.3f}"
        )
    vault = [run.vault_bpb for run in ranked]
    lines.append(f"val with vault: rank {spearmanr(final, vault).statistic:.3f}")
    trained = [run.train_seconds for run in runs]
    scored = [run.score_seconds for run in runs]
    middle = statistics.median(run.train_seconds for run in default)
    apart = sorted(abs(seconds / middle - 1) for seconds in trained)
    lines.append(
        f"CPU-s a run: train {statistics.mean(trained):.2f}, score {statistics.mean(scored):.2f}; "
        f"{(sum(trained) + sum(scored)) / 3600:.2f} CPU-h in all"
    )
    lines.append(
        f"train CPU-s apart from the default's median of {middle:.2f}: median {statistics.median(apart):.1%}, "
        f"95th percentile {apart[int(0.95 * len(apart))]:.1%}, most {apart[-1]:.1%}"
    )
    return lines


def _scores(documents: Sequence[Length], bits: Sequence[float]) -> tuple[DocumentScore, ...]:
    """Put costs to their documents."""
    pairs = zip(documents, bits, strict=True)
    return tuple(DocumentScore(document.id, cost, document.bytes) for document, cost in pairs)
