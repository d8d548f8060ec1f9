"""Does for real what a replay reads from the table: trains and grades its runs, and runs a loop over its grid.

Everything goes through the loop's own path: the candidate's files are written by the search space's own editing, its
train command runs under the harness in the sandbox, and the grading suite scores it from a host of its own. The
project is a clone in which stand what the table was recorded with: its values, its primer, and its grid as the
whole search space.
"""

from __future__ import annotations

import ast
import math
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.table import Choice, Header, Point
from pytest_evalloop.candidate.pace import step_cost
from pytest_evalloop.candidate.progress import samples
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.opening import open_canary
from pytest_evalloop.loop.racing import progress_curve
from pytest_evalloop.loop.stopping import Found
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.metric.bpb import bits_per_byte
from pytest_evalloop.mutators import space
from pytest_evalloop.records import Budget, Candidate, DocumentScore, Status, Training, Verdict
from pytest_evalloop.settings import Settings, read
from pytest_evalloop.store.home import Home
from pytest_evalloop.store.ledger import Ledger

ROOT = Path(__file__).parents[1]
CONFIG, PROMPT, SUITE = "model/config.py", "model/prompt.md", "evals"
AT_ONCE = 2  # trainings of one thread each
RUN = "live"
EVAL = '''"""The model expects what Shakespeare wrote."""


def test_val_bpb(val_bpb: float) -> None:
    """Better than an untrained model: the checks of the default job are made for longer trainings."""
    assert val_bpb <= 3.0
'''


@dataclass(frozen=True)
class Real:
    """A run of the table, trained and graded for real.

    `seconds` are of CPU for the whole train command, `stepping` those for its steps alone.
    """

    choice: Choice
    seed: int
    steps: int
    seconds: float
    stepping: float
    curve: tuple[Point, ...]
    val: tuple[DocumentScore, ...]

    @property
    def val_bpb(self) -> float:
        """Bits per byte of the validation documents."""
        return bits_per_byte(self.val)


@dataclass(frozen=True)
class Repeat:
    """A training that a loop made: whose and under which seed, the steps it was granted, and CPU seconds."""

    choice: Choice
    seed: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Step:
    """What became of one candidate of a loop, and the incumbent that it was made from.

    `stopped` is the share of the budget at which racing stopped it, None if it did not. `bpb` is that under the
    first seed, and what was expected of it if it was stopped. `steps` are those of a whole training.
    """

    choice: Choice
    parent: Choice
    steps: int
    accepted: bool
    stopped: float | None
    bpb: float
    reason: str = ""
    revoked: str = ""

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        if self.stopped is not None:
            return "stopped"
        return "accepted" if self.accepted else "rejected"


@dataclass(frozen=True)
class Told:
    """A loop from beginning to end: its candidates in order, and its trainings."""

    steps: tuple[Step, ...]
    trainings: tuple[Repeat, ...]


def project(folder: Path, header: Header) -> Path:
    """Return a clone of this project's committed tree whose defaults, primer and search space are the table's.

    Its suite is the objective alone, and it has no vault: a replay has neither.
    """
    root = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    config, conftest = root / CONFIG, root / "conftest.py"
    config.write_text(restricted(config.read_text(encoding="utf-8"), header), encoding="utf-8")
    (root / PROMPT).write_text(header.primer, encoding="utf-8")
    conftest.write_text(without(conftest.read_text(encoding="utf-8"), "vault_documents"), encoding="utf-8")
    for path in (root / SUITE).glob("*.py"):
        if path.name != "__init__.py":
            path.unlink()
    (root / SUITE / "test_val_bpb.py").write_text(EVAL, encoding="utf-8")
    return root


def restricted(source: str, header: Header) -> str:
    """Return the model's configuration with the table's values, of which those in its grid may be chosen.

    These stand together in the grid's order, which a replay has them in as well. Raises `LookupError` when the
    file lacks one of the values, or has one that the table does not know.
    """
    lines = source.splitlines()
    fields = {
        node.target.id: node
        for each in ast.parse(source).body
        if isinstance(each, ast.ClassDef)
        for node in each.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    if odd := fields.keys() ^ header.base.keys():
        raise LookupError(
            f"the model's configuration and the table do not both have {', '.join(sorted(odd))}"
        )
    first = min(fields[name].lineno for name in header.space)
    for name, node in fields.items():
        assert node.lineno == node.end_lineno
        value = header.base[name]
        lines[node.lineno - 1] = (
            "" if name in header.space else f"    {name}: {type(value).__name__} = {value!r}"
        )
    lines[first - 1] = "\n".join(
        f"    {name}: Literal[{', '.join(map(repr, values))}] = {header.default[name]!r}"
        for name, values in header.space.items()
    )
    return "\n".join(lines) + "\n"


def without(source: str, function: str) -> str:
    """Return Python source without one of its functions; raises `LookupError` when there is none of that name."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            lines = source.splitlines(keepends=True)
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            return "".join(lines[: first - 1] + lines[node.end_lineno :])
    raise LookupError(f"there is no function {function}")


def settings(root: Path, budget: Budget) -> Settings:
    """Read the project's settings as its tests do, but for the budget and how many train at once."""
    options = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]
    head = "evalloop_"
    ini = {name.removeprefix(head): value for name, value in options.items() if name.startswith(head)}
    return replace(read({}, ini, root), budget=budget, parallel=AT_ONCE)


def train(
    root: Path, header: Header, picked: Sequence[tuple[Choice, int]], say: Callable[[str], None]
) -> tuple[Real, ...]:
    """Train and grade runs of the table, each as a candidate of a loop would be under that seed."""
    asked = settings(root, Budget(header.steps({}), "steps"))
    with open_canary(asked, root / "pyproject.toml", say) as (workshop, baseline):
        with Crew[Real](workshop.places) as crew:
            made = [
                crew.submit(partial(_real, workshop, baseline, header, number, choice, seed, say))
                for number, (choice, seed) in enumerate(picked, start=1)
            ]
            crew.finish()
        return tuple(each.result() for each in made)


def _real(
    workshop: Workshop,
    baseline: Candidate,
    header: Header,
    number: int,
    choice: Choice,
    seed: int,
    say: Callable[[str], None],
) -> Real:
    with workshop.edit(number, baseline.commit) as tree:
        config = tree / CONFIG
        before = config.read_bytes()
        config.write_bytes(after := space.write(before, choice))
        commit = workshop.commit(tree, f"run {number}") if after != before else baseline.commit
    steps = header.steps(choice)
    candidate = replace(
        baseline, number=number, parent=baseline.commit, commit=commit, budget=str(Budget(steps, "steps"))
    )
    with workshop.place(candidate) as place:
        training = workshop.train(candidate, seed, place=place)
        if training.status is not Status.COMPLETED or training.reused:
            raise RuntimeError(
                f"run {number}, {dict(choice)}, was not trained: {training.status} {training.detail}"
            )
        grade = workshop.grade(candidate, training, place=place)
    cost = step_cost(samples(training))
    if not grade.scores or cost is None:
        raise RuntimeError(f"run {number}, {dict(choice)}, was not graded: {grade.detail}")
    found = Real(
        choice,
        seed,
        steps,
        training.compute_seconds,
        cost,
        curve(workshop, candidate, training, steps),
        grade.scores,
    )
    say(
        f"run {number}: {found.val_bpb:.6f} bpb, {found.seconds:.1f} CPU-s, {found.stepping:.1f} of them for steps"
    )
    return found


def curve(workshop: Workshop, candidate: Candidate, training: Training, steps: int) -> tuple[Point, ...]:
    """Return what a training said of itself as it went."""
    points = progress_curve(workshop.said(candidate, training)).points
    return tuple(Point(round(share * steps), share, bpb) for share, bpb in points)


def loop(root: Path, header: Header, candidates: int, seeds: int) -> Told:
    """Run a loop of the search mutator, one candidate at a time, each under `seeds` seeds at most."""
    options = {"evalloop_seeds": seeds, "evalloop_most_seeds": seeds, "evalloop_defer": "0"}
    command = [
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--evalloop", "--evalloop-run", RUN),
        *("--evalloop-mutator", "search", "--evalloop-candidates", str(candidates)),
        *("--evalloop-parallel", "1", "--evalloop-budget", str(Budget(header.steps({}), "steps"))),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
    ]
    done = subprocess.run(command, cwd=root, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode:
        raise RuntimeError(f"the loop ended with status {done.returncode}")
    return tell(root, header)


def tell(root: Path, header: Header) -> Told:
    """Read from its ledger what a loop did."""
    home, whole = Home.open(root), header.steps({})
    with Ledger.open(home.ledger) as ledger:
        known = ledger.candidates(RUN)
        choices = [header.default, *(_values(each.parameters) for each in known[1:])]
        trained = {each.number: ledger.trainings(RUN, each.number) for each in known}
    trainings, steps = list[Repeat](), list[Step]()
    bpb = {each.commit: each.bpb for each in known} | {each.accepted_commit: each.bpb for each in known}
    for candidate, choice in zip(known, choices, strict=True):
        granted = int(float(candidate.budget.removesuffix("steps"))) if candidate.budget else whole
        runs, decision = trained[candidate.number], candidate.decision
        trainings += [Repeat(choice, run.seed, granted, run.compute_seconds) for run in runs]
        if candidate.number and decision is not None:
            place = home.candidate(RUN, candidate.number) / "race.json"
            found = candidate.bpb
            if found is None:
                found = (bpb.get(candidate.parent) or math.nan) - (decision.delta or math.nan)
            steps.append(
                Step(
                    choice,
                    {**choice, **_before(candidate.parameters)},
                    granted,
                    decision.verdict is Verdict.ACCEPTED,
                    _stopped(place),
                    found,
                    decision.reason,
                    candidate.revoked,
                )
            )
    return Told(tuple(steps), tuple(trainings))


def _before(parameters: Mapping[str, object]) -> dict[str, Any]:
    """Return the values that a candidate changed, as they were."""
    found = parameters["changed"]
    assert isinstance(found, Mapping)
    return {name: old for name, (old, _) in found.items()}


def _values(parameters: Mapping[str, object]) -> dict[str, Any]:
    found = parameters["values"]
    assert isinstance(found, Mapping)
    return dict(found)


def _stopped(place: Path) -> float | None:
    """Return the share of the budget at which a training was stopped, None if it was not."""
    import msgspec  # noqa: PLC0415 - as the loop reads it

    if not place.is_file():
        return None
    found = msgspec.json.decode(place.read_bytes(), type=Found)
    return found.fraction if found.stopped else None
