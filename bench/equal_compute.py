"""How close candidates of the default search space come to the compute of the budget.

python -m bench.equal_compute

Shapes of the network are drawn from the search space in `model/config.py`; what else is in it costs nothing. Each is
trained beside the default on one processor, as the loop does it, and is granted steps by what was found. What the grant
really costs is told by a second measurement of the same pair, longer than the first and independent of it.
"""

from __future__ import annotations

import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figure import Figure, show
from pytest_evalloop.candidate.pace import Ratio, granted
from pytest_evalloop.candidate.side_by_side import PRECISE, Side, measure
from pytest_evalloop.candidate.training import Cap, Trainer
from pytest_evalloop.loop.pacing import APART
from pytest_evalloop.mutators.space import Value, read, write
from pytest_evalloop.records import Budget
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.cache import Artifacts

ROOT = Path(__file__).parents[1]
SHAPES = 20
BUDGET = Budget(450, "steps")
TRIED = Budget(100, "steps")  # at most, as in the loop's side-by-side trainings, about
SURELY = Budget(200, "steps"), 0.007  # of the measurement that tells the truth: at most, and how precise
MEDIAN, MOST = 0.05, 0.10


def drawn(numbers: random.Random) -> dict[str, Value]:
    """Return another shape than the default's: layers, heads, activation and softcap by chance."""
    parameters = {item.name: item for item in read((ROOT / "model/config.py").read_bytes())}
    while True:
        shape = {
            name: numbers.choice(list(parameters[name].grid()))
            for name in ("n_layer", "n_head", "activation", "logit_softcap")
        }
        if any(value != parameters[name].value for name, value in shape.items()):
            return shape


def tree(folder: Path, changes: dict[str, Value]) -> Path:
    """Return a folder with the default model, changed."""
    shutil.copytree(ROOT / "model", folder / "model", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "model/config.py"
    config.write_bytes(write(config.read_bytes(), changes))
    return folder


def figures() -> list[Figure]:
    """Return by how much the compute of granted budgets differs from that of the default's."""
    subprocess.run([sys.executable, "-m", "model.corpus"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    numbers, off = random.Random(0), []
    settings = Settings(
        root=ROOT,
        train=("python", "-m", "model.train"),
        load="model.adapter:load",
        budget=BUDGET,
        mutable=(),
        data=".evalloop/data/train",
    )
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        trainer = Trainer(settings, Artifacts(place / "artifacts"))
        default = tree(place / "default", {})

        def cost(candidate: Path, seed: int, budget: Budget, precise: float) -> Ratio:
            """Return what a step costs over one of the default."""
            sides = [
                Side(folder, f"{folder.name}seed{seed}", place / f"{folder.name}.log")
                for folder in (candidate, default)
            ]
            limit = Cap(None, 600.0)
            pace = measure(trainer, *sides, seed=seed, limit=limit, budget=budget, precise=precise)
            found = pace.ratio
            if found is None:
                raise RuntimeError(
                    f"{candidate} did not train:\n{(place / candidate.name).with_suffix('.log').read_text()}"
                )
            return found

        for index in range(SHAPES):
            shape = drawn(numbers)
            candidate = tree(place / f"shape{index}", shape)
            first, second = cost(candidate, 0, TRIED, PRECISE), cost(candidate, 1, *SURELY)
            due = granted(BUDGET, first) if abs(first.value - 1) > APART else BUDGET
            used = due.amount * second.value / BUDGET.amount
            off.append(abs(used - 1))
            costs = f"a step costs {first.value:.3f} ± {first.error:.3f}, then {second.value:.3f} ± {second.error:.3f}"
            print(f"{shape}: {costs}; {due} use {used:.3f}", file=sys.stderr, flush=True)
    middle, most = statistics.median(off), sorted(off)[math.ceil(0.95 * len(off)) - 1]
    return [
        Figure(
            f"compute of granted budgets over the default's, {SHAPES} shapes of the search space: median difference",
            f"{middle:.1%}",
            f"≤ {MEDIAN:.0%}",
            middle <= MEDIAN,
        ),
        Figure("the same: 95th percentile", f"{most:.1%}", f"≤ {MOST:.0%}", most <= MOST),
        Figure("the same: the largest", f"{max(off):.1%}", "", None),
    ]


if __name__ == "__main__":
    show(figures())
