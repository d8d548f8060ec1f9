"""Do replay and reality agree? Runs of the recorded table made anew, and a loop beside its replay.

python -m bench live

First some runs of the table, drawn by chance, are trained and graded through the loop's own path, and compared
with what is recorded of them. Then one loop of the `search` mutator over the grid runs for real, and the same loop
is replayed over the table. `bench/reality.py` says how the project is prepared for both.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.figure import Figure, show
from bench.ours import Loop, Propose, State, Tried, mutator
from bench.reality import Real, Repeat, Step, Told, loop, project, train
from bench.replay import Meter, Replay
from bench.table import Choice, Header, Point, Recorded, Table, load
from pytest_evalloop.loop.acceptance import Rule
from pytest_evalloop.loop.racing import LOOKS, Curve, Lesson, Race, lessons
from pytest_evalloop.metric.statistics import seed_noise
from pytest_evalloop.suite.project import SEED

RUNS, DRAW = 7, 0  # drawn from the table, besides the default; by which seed
CANDIDATES, SEEDS = 7, 3  # of the loop; of a candidate, as many as the table has
EVERY = 10  # steps from one progress line of a training to the next
SHARE_OF_NOISE = 0.1  # by which a run may differ from its record
RANKS = 0.95
PACE = 0.15  # by which the CPU seconds of a step may differ from those on record
AGREED = 0.8  # share of the verdicts
LOOP_SEEDS = tuple(range(SEED, SEED + SEEDS))


@dataclass(frozen=True)
class Pair:
    """A run on record, and the same one for real."""

    recorded: Recorded
    real: Real

    @property
    def bpb(self) -> float:
        """By how much the real one costs more, in bits per byte of validation text."""
        return self.real.val_bpb - self.recorded.val_bpb

    @property
    def document(self) -> float:
        """The most bits that one document differs by; raises `ValueError` when the documents are others."""
        both = list(zip(self.recorded.val, self.real.val, strict=True))
        if any((one.id, one.bytes) != (other.id, other.bytes) for one, other in both):
            raise ValueError("the table was recorded on other validation documents")
        return max(abs(one.bits - other.bits) for one, other in both)

    @property
    def curve(self) -> float:
        """The most bits per byte that a progress line differs by; raises `ValueError` for lines at other steps."""
        both = list(zip(lines(self.recorded.curve, EVERY), self.real.curve, strict=True))
        if any(one.step != other.step for one, other in both):
            raise ValueError("the training told of itself at other steps than are on record")
        return max(abs(one.train_bpb - other.train_bpb) for one, other in both)

    @property
    def pace(self) -> float:
        """CPU seconds of the steps over those on record."""
        return self.real.stepping / self.recorded.train_seconds

    @property
    def start(self) -> float:
        """CPU seconds of the train command that are not of its steps: a recording does not have them."""
        return self.real.seconds - self.real.stepping


def pick(table: Table, count: int, number: int) -> list[tuple[Choice, int]]:
    """Return the default under the first seed, and `count` other runs of the table, drawn by `number`."""
    first = table.header.key({}), SEED
    others = sorted((place for place in table.runs if place != first), key=repr)
    return [
        (dict(zip(table.header.space, key, strict=True)), seed)
        for key, seed in [first, *random.Random(number).sample(others, count)]
    ]


def lines(curve: Sequence[Point], every: int) -> tuple[Point, ...]:
    """Return a curve as a training would tell it, a line every so many steps and at its end.

    A line is the mean of what was counted since the last one; tokens stand for about as many bytes in all steps.
    """
    found, counted, before, last = list[Point](), 0.0, 0, 0
    for point in curve:
        counted += point.train_bpb * (point.step - before)
        before = point.step
        if point.step % every == 0 or point is curve[-1]:
            found.append(point._replace(train_bpb=counted / (point.step - last)))
            counted, last = 0.0, point.step
    return tuple(found)


def as_told(table: Table) -> Table:
    """Return the table with the curves that the loop would have seen."""
    runs = {place: replace(run, curve=lines(run.curve, EVERY)) for place, run in table.runs.items()}
    return Table(replace(table.header, every=EVERY), runs)


def replayed(table: Table, candidates: int) -> Told:
    """Replay a loop of so many candidates, which meets the seeds in the order in which the loop does."""

    def limited(
        header: Header, incumbent: Choice, bpb: float, tried: Sequence[Tried], seed: int
    ) -> Choice | None:
        return mutator(header, incumbent, bpb, tried, seed) if len(tried) < candidates else None

    default = table.header.default
    state = State(Meter(Replay(as_told(table), LOOP_SEEDS)), default)
    _follow(state, limited)
    named = {state.key(choice): choice for choice in (default, *(each.choice for each in state.tried))}
    trainings = []
    for (key, place), share in state.meter.trained.items():
        run = state.meter.replay.find(named[key], place)
        trainings.append(Repeat(named[key], run.seed, run.steps, share * run.train_seconds))
    return Told(tuple(_step(state, each) for each in state.tried), tuple(trainings))


@dataclass(frozen=True)
class Asked:
    """What a replay does where a real loop stood: what it proposes, and what becomes of the real proposal."""

    proposal: Choice | None
    step: Step


def retold(table: Table, real: Told) -> tuple[Asked, ...]:
    """Ask the replay candidate by candidate, each time knowing what the real loop knew then.

    The noise between seeds is that of the default over all of its seeds in the table.
    """
    header, told = table.header, as_told(table)
    noise = seed_noise(
        [[run.val_bpb for run in table.runs.values() if header.key(run.config) == header.key({})]]
    )
    found, tried = list[Asked](), list[Tried]()
    taught: dict[float, list[Lesson]] = {look: [] for look in LOOKS}
    for step in real.steps:
        meter = Meter(Replay(told, LOOP_SEEDS))
        known = {look: list(each) for look, each in taught.items()}
        past = [replace(each, accepted=each.accepted or each.choice == step.parent) for each in tried]
        state = State(meter, step.parent, believed=noise, taught=known, tried=past)
        proposals = list[Choice | None]()

        def scripted(
            header: Header,
            incumbent: Choice,
            bpb: float,
            tried: Sequence[Tried],
            seed: int,
            step: Step = step,
            proposals: list[Choice | None] = proposals,
        ) -> Choice | None:
            if proposals:
                return None
            proposals.append(mutator(header, incumbent, bpb, tried, seed))
            return step.choice

        _follow(state, scripted)
        found.append(Asked(proposals[0], _step(state, state.tried[-1])))
        tried.append(Tried(step.choice, step.parent, step.bpb, step.accepted and not step.revoked))
        if step.stopped is None:
            mine, theirs = (told.find(choice, SEED) for choice in (step.choice, step.parent))
            race = Race(_curve(mine), _curve(theirs), mine.val_bpb - theirs.val_bpb)
            for look, each in taught.items():
                each.extend(lessons([race], look))
    return tuple(found)


def _follow(state: State, propose: Propose) -> None:
    """Have a loop like the real one search on until nothing is proposed."""
    like = Loop("live", propose, Rule(most_seeds=SEEDS), defer=0, references=SEEDS)
    for _ in like.follow(state, SEED, math.inf):
        pass


def _step(state: State, tried: Tried) -> Step:
    share = state.meter.trained[state.key(tried.choice), 0]
    steps = state.meter.replay.table.header.steps(tried.choice)
    accepted = tried.accepted is True
    return Step(tried.choice, tried.parent, steps, accepted, None if share == 1 else share, tried.bpb)


def _curve(run: Recorded) -> Curve:
    return Curve.of((point.fraction, point.train_bpb) for point in run.curve)


def about_runs(pairs: Sequence[Pair], noise: float) -> list[Figure]:
    """Return how far real runs are from their records; `noise` is the sd between seeds, in bits per byte."""
    from scipy.stats import spearmanr  # noqa: PLC0415 - as in `bench.table`

    apart, most = max(abs(pair.bpb) for pair in pairs), SHARE_OF_NOISE * noise
    ranks = spearmanr(
        [pair.recorded.val_bpb for pair in pairs], [pair.real.val_bpb for pair in pairs]
    ).statistic
    paces, starts = [pair.pace for pair in pairs], [pair.start for pair in pairs]
    middle = statistics.median(paces)
    seeds = sorted({pair.real.seed for pair in pairs})
    return [
        Figure(
            "runs of the table, made anew through the loop's own path",
            f"{len(pairs)}, under the seeds {', '.join(map(str, seeds))}, "
            f"of {min(pair.recorded.val_bpb for pair in pairs):.4f} "
            f"to {max(pair.recorded.val_bpb for pair in pairs):.4f} bpb",
            "",
            None,
        ),
        Figure(
            "… validation bpb: largest difference from the record",
            f"{apart:.1e}",
            f"≤ {most:.1e}, {SHARE_OF_NOISE:.0%} of the noise",
            apart <= most,
        ),
        Figure(
            "… bits of a document: largest difference",
            f"{max(pair.document for pair in pairs):.3f}",
            "",
            None,
        ),
        Figure(
            "… a progress line: largest difference, bpb", f"{max(pair.curve for pair in pairs):.4f}", "", None
        ),
        Figure("… rank correlation of validation bpb", f"{ranks:.3f}", f"≥ {RANKS}", bool(ranks >= RANKS)),
        Figure(
            "… CPU-s of the steps over those on record",
            f"{middle:.3f} ({min(paces):.3f} to {max(paces):.3f})",
            f"{1 - PACE:g} to {1 + PACE:g} in the median",
            abs(middle - 1) <= PACE,
        ),
        Figure(
            "… CPU-s to start a training, which a replay does not pay",
            f"{statistics.median(starts):.1f} ({min(starts):.1f} to {max(starts):.1f})",
            "",
            None,
        ),
    ]


def about_loop(real: Told, replay: Told, asked: Sequence[Asked], start: float) -> list[Figure]:
    """Return where a loop and its replay went the same way; `start` is the CPU seconds that start a training."""
    count = len(real.steps)
    alike = sum(step.choice == each.proposal for step, each in zip(real.steps, asked, strict=True))
    agreed = sum(step.verdict == each.step.verdict for step, each in zip(real.steps, asked, strict=True))
    both = list(zip(real.steps, replay.steps, strict=False))
    parted = next(
        (
            place
            for place, (one, other) in enumerate(both)
            if (one.choice, one.verdict) != (other.choice, other.verdict)
        ),
        count,
    )
    found = [
        Figure(
            f"a loop of {count} candidates, asked of the replay one by one: the same proposals",
            f"{alike} of {count}",
            "all",
            alike == count,
        ),
        Figure(
            "… the same verdicts (accepted, rejected, stopped by racing)",
            f"{agreed} of {count}",
            f"≥ {AGREED:.0%}",
            agreed >= AGREED * count,
        ),
    ]
    for number, (step, each) in enumerate(zip(real.steps, asked, strict=True), start=1):
        changed = ", ".join(
            f"{name} {step.parent[name]} -> {value}"
            for name, value in step.choice.items()
            if value != step.parent[name]
        )
        found.append(
            Figure(f"… {number}: {changed}", f"{shown(step)}; replayed {shown(each.step)}", "", None)
        )
    found += [
        Figure(
            "the same loop, replayed from its beginning: candidates before proposal or verdict differ",
            f"{parted} of {count}",
            "",
            None,
        ),
        Figure("… in all, really and replayed", f"{counted(real.steps)}; {counted(replay.steps)}", "", None),
    ]
    mine, theirs = (
        sum(each.seconds - began for each in told.trainings) for told, began in ((real, start), (replay, 0.0))
    )
    found.append(
        Figure(
            "… CPU-s of all trainings, their start apart, over the replay's",
            f"{mine / theirs:.3f} ({mine:.0f} over {theirs:.0f})",
            f"{1 - PACE:g} to {1 + PACE:g}",
            abs(mine / theirs - 1) <= PACE,
        )
    )
    more = [[each for each in told.trainings if each.seed != SEED] for told in (real, replay)]
    unknown = sum(each.seed not in LOOP_SEEDS for each in more[0])
    found.append(
        Figure(
            "… trainings under further seeds, really and replayed",
            f"{len(more[0])}, of them {unknown} under seeds that the table does not have of all; {len(more[1])}",
            "",
            None,
        )
    )
    return found


def shown(step: Step) -> str:
    """Show what became of a candidate."""
    place = "after" if step.stopped is None else f"at {step.stopped:.0%} of"
    expected = "" if step.stopped is None else " expected"
    later = f", revoked: {step.revoked}" if step.revoked else ""
    return f"{step.verdict} {place} {step.steps} steps, {step.bpb:.4f} bpb{expected}{later}"


def counted(steps: Sequence[Step]) -> str:
    """Count verdicts."""
    found = Counter(step.verdict for step in steps)
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in ("accepted", "rejected", "stopped"))


def say(text: str) -> None:
    """Tell whoever waits how far it is."""
    print(text, file=sys.stderr, flush=True)


def figures() -> list[Figure]:
    """Train runs of the table anew and run a loop over its grid, and return where record and replay agree."""
    table = load()
    default = [run.val_bpb for seed in table.seeds({}) for run in (table.find({}, seed),)]
    with tempfile.TemporaryDirectory() as name:
        for part in ("runs", "loop"):
            (Path(name) / part).mkdir()
        picked = pick(table, RUNS, DRAW)
        say(f"training and grading {len(picked)} runs of the table")
        made = train(project(Path(name) / "runs", table.header), table.header, picked, say)
        pairs = [Pair(table.find(each.choice, each.seed), each) for each in made]
        say(f"a loop of {CANDIDATES} candidates")
        real = loop(project(Path(name) / "loop", table.header), table.header, CANDIDATES, SEEDS)
    replay, asked = replayed(table, CANDIDATES), retold(table, real)
    start = statistics.median(pair.start for pair in pairs)
    return [*about_runs(pairs, statistics.stdev(default)), *about_loop(real, replay, asked, start)]


if __name__ == "__main__":
    show(figures())
