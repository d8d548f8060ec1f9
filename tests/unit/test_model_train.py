"""Training follows its protocol of environment variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from safetensors.torch import load_file

from model.config import Config
from model.tokenizer import BPETokenizer
from model.train import Budget, batches, learning_rate_scale

ROOT = Path(__file__).parents[2]
Run: TypeAlias = tuple[dict[str, torch.Tensor], str]
Trained: TypeAlias = tuple[Run, Path]
SCENE = """### SCENE {number}. A street in Verona.

_Enter SAMPSON and GREGORY_

**SAMPSON**
Gregory, o' my word, we'll not carry coals {number} times.

**GREGORY**
No, for then we should be colliers, and no better than that.
""".replace("**\n", "**  \n")

TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
AND_NAME_THE_THREADS = """
from pathlib import Path
from model.train import main
main()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print("ended with", *names, flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number in range(80):
        (folder / f"play-1-{number:02d}.md").write_text(SCENE.format(number=number), encoding="utf-8")
    return folder


def train(
    data: Path, artifacts: Path, *command: str, seed: int = 0, budget: str = "12steps", **environment: str
) -> Run:
    """Run the real command in a process of its own and return its weights and what it printed."""
    protocol = {
        "EVALLOOP_DATA": str(data),
        "EVALLOOP_ARTIFACTS": str(artifacts),
        "EVALLOOP_SEED": str(seed),
        "EVALLOOP_BUDGET": budget,
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command or (sys.executable, "-m", "model.train"),
        cwd=ROOT,
        env=os.environ | protocol | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(artifacts / "model.safetensors"), done.stdout


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    return train(data, folder / "artifacts", EVALLOOP_PROGRESS=str(folder / "progress")), folder


def test_the_artifacts_are_complete(trained: Trained) -> None:
    (weights, printed), folder = trained
    assert {path.name for path in (folder / "artifacts").iterdir()} == {
        "model.safetensors",
        "tokenizer.json",
        "config.json",
    }
    size = len(BPETokenizer.load(folder / "artifacts/tokenizer.json").vocabulary)
    assert Config.load(folder / "artifacts/config.json") == Config()
    assert len(weights["embedding.weight"]) == size <= Config().vocab_size
    assert "12 steps" in printed
    assert printed.count("\n") == 1


def test_progress_is_reported(trained: Trained) -> None:
    _, folder = trained
    lines = [json.loads(line) for line in (folder / "progress").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 12]
    assert lines[-1]["fraction"] == 1.0
    assert 8 > lines[0]["train_bpb"] > lines[1]["train_bpb"] > 0


def test_the_seed_decides_everything(trained: Trained, data: Path, tmp_path: Path) -> None:
    (weights, _), _ = trained
    again, _ = train(data, tmp_path / "again")
    other, _ = train(data, tmp_path / "other", seed=1)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not any(torch.equal(weights[name], other[name]) for name in weights)


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    weights, printed = train(data, tmp_path / "two", *TWO, "-m", "model.train", budget="3steps")
    twice = Config().context * Config().batch_size * 2
    assert f"3 steps, {3 * twice} tokens" in printed
    assert all(weight.isfinite().all() for weight in weights.values())


def test_no_thread_of_the_process_group_outlives_the_training(data: Path, tmp_path: Path) -> None:
    script = (sys.executable, "-c", AND_NAME_THE_THREADS)
    _, printed = train(data, tmp_path / "two", *TWO, "--no-python", *script, budget="1steps")
    assert printed.count("ended with") == 2
    assert "gloo" not in printed


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"No documents in .* python -m model.corpus"):
        train(tmp_path, tmp_path / "artifacts")


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("450steps", 450, "steps"),
        ("5e6tokens", 5e6, "tokens"),
        ("1e13flops", 1e13, "flops"),
        ("40cpu-s", 40, "cpu-s"),
        ("0.5s", 0.5, "s"),
    ],
)
def test_budgets_are_read(text: str, amount: float, unit: str) -> None:
    budget = Budget.parse(text)
    assert (budget.amount, budget.unit) == (amount, unit)


@pytest.mark.parametrize("text", ["450", "steps", "450 steps", "-3s", "5minutes", ""])
def test_a_wrong_budget_is_explained(text: str) -> None:
    with pytest.raises(ValueError, match="450steps, 5e6tokens or 300s"):
        Budget.parse(text)


def test_budgets_are_used_up() -> None:
    assert Budget(450, "steps", steps=45).fraction(world=1) == 0.1
    assert Budget(100, "tokens", tokens=200).fraction(world=1) == 1.0
    assert Budget(1e9, "flops", flops=5e8).fraction(world=1) == 0.5
    assert 0 < Budget(1e6, "cpu-s").fraction(world=1) < Budget(1e6, "cpu-s").fraction(world=2) < 1
    assert 0 < Budget(1e6, "s").fraction(world=1) < 1


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = Config(warmup=0.1, warmdown=0.5)
    scales = [learning_rate_scale(fraction, config) for fraction in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)]
    assert scales == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.5, 0.0])
    assert learning_rate_scale(0.0, Config(warmup=0.0, warmdown=0.0)) == 1.0


def test_a_pass_shows_each_window_once_and_shares_them_out() -> None:
    config = Config(context=64, batch_size=4)
    tokens = torch.arange(64 * 41)  # forty windows from any offset
    shares = [batches(tokens, config, seed=3, rank=rank, world=2) for rank in range(2)]
    seen = []
    for share in shares:
        for _ in range(5):
            inputs, targets = next(share)
            assert inputs.shape == targets.shape == (4, 64)
            assert torch.equal(inputs + 1, targets)
            seen += inputs[:, 0].tolist()
    assert len(set(seen)) == 40
    assert len({start % 64 for start in seen}) == 1


def test_too_little_text_is_explained() -> None:
    with pytest.raises(ValueError, match="EVALLOOP_DATA"):
        next(batches(torch.arange(100), Config(), seed=0))
