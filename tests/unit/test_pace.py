"""Two trees trained side by side, by real commands: what a step costs, and who cannot be measured."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pytest_evalloop.candidate.pace import (
    TOLERANCE,
    Meter,
    Ratio,
    Sample,
    granted,
    overdrawn,
    ratio,
    step_cost,
    tryout,
)
from pytest_evalloop.candidate.process import launch
from pytest_evalloop.candidate.side_by_side import Pace, Side, measure
from pytest_evalloop.candidate.training import Cap, Trainer
from pytest_evalloop.records import Budget, Status, Training
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.cache import Artifacts

LIMIT = Cap(compute_seconds=None, wall_seconds=60.0)
TRAIN = """
import json, os, sys, time
from pathlib import Path

def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def say(share):
    with open(os.environ["EVALLOOP_PROGRESS"], "a") as file:
        file.write(json.dumps({"fraction": share, "train_bpb": 8.0}) + "\\n")

steps = int(os.environ["EVALLOOP_BUDGET"].removesuffix("steps"))
artifacts = Path(os.environ["EVALLOOP_ARTIFACTS"])
"""
HONEST = """
work(0.1)
for step in range(steps):
    work(0.03)
    say((step + 1) / steps)
(artifacts / "weights").touch()
"""

Measure = Callable[..., Pace]


@pytest.fixture(autouse=True)
def _no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure CPU seconds, also on a machine with a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def beside(tmp_path: Path) -> Measure:
    """Measure train commands that are Python code: a candidate beside an incumbent."""

    def beside(
        candidate: str,
        incumbent: str = HONEST,
        limit: Cap = LIMIT,
        *,
        steps: int = 10,
        precise: float = 0.0,
    ) -> Pace:
        settings = Settings(
            root=tmp_path,
            train=("python", "train.py"),
            load="model:load",
            budget=Budget(steps, "steps"),
            mutable=("model/*.py",),
        )
        sides = []
        for name, code in (("candidate", candidate), ("incumbent", incumbent)):
            tree = tmp_path / name
            tree.mkdir()
            (tree / "train.py").write_text(TRAIN + textwrap.dedent(code))
            sides.append(Side(tree, f"{name}1", tmp_path / f"{name}.log"))
        trainer = Trainer(settings, Artifacts(tmp_path / "cache"))
        before = psutil.Process().cpu_affinity() if sys.platform == "linux" else None
        pace = measure(trainer, *sides, seed=0, limit=limit, precise=precise)
        assert before is None or psutil.Process().cpu_affinity() == before
        assert not [process for process in psutil.Process().children(recursive=True) if process.is_running()]
        return pace

    return beside


def stored(tmp_path: Path) -> set[str]:
    """Return the names of the files that are left of all trainings."""
    return {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}


# -- measuring


def test_equal_trees_cost_the_same_and_the_candidates_artifacts_are_kept(
    beside: Measure, tmp_path: Path
) -> None:
    pace = beside(HONEST)
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(1.0, abs=0.35)
    assert pace.ratio.error < 0.35
    for samples in (pace.candidate, pace.incumbent):
        assert len(samples) >= 5
        assert (step_cost(samples) or 0) / 10 == pytest.approx(0.03, rel=0.4)
    assert pace.training.status is Status.COMPLETED
    assert (Path(pace.training.artifacts) / "weights").is_file()
    assert stored(tmp_path) == {"weights", "training.json", "progress.jsonl", "pace.json"}


def test_a_hidden_inner_loop_costs_what_it_does(beside: Measure) -> None:
    pace = beside(HONEST.replace("work(0.03)", "work(0.03); work(0.03)"))
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(2.0, rel=0.25)


def test_nobody_trains_on_once_the_ratio_is_known_precisely(beside: Measure, tmp_path: Path) -> None:
    pace = beside(HONEST, steps=100_000, precise=0.1)
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(1.0, abs=0.35)
    assert pace.ratio.error <= 0.1 * pace.ratio.value
    assert min(len(pace.candidate), len(pace.incumbent)) >= 5
    assert pace.training.status is Status.KILLED
    assert pace.training.detail == "enough is known of what its steps cost"
    assert stored(tmp_path) == set()


def test_a_ratio_that_is_never_known_so_precisely_takes_the_whole_budget(beside: Measure) -> None:
    uneven = HONEST.replace("work(0.03)", "work(0.01 + 0.1 * (step % 4 == 0))")
    pace = beside(uneven, uneven, steps=24, precise=1e-9)
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(1.0, abs=0.35)
    assert pace.ratio.error > 1e-9
    assert max(samples[-1].done for samples in (pace.candidate, pace.incumbent)) == 1.0


def test_who_is_left_alone_is_stopped(beside: Measure, tmp_path: Path) -> None:
    pace = beside(
        "work(0.1)\nfor step in range(10 * steps):\n    work(0.03)\n    say((step + 1) / (10 * steps))",
        precise=1e-9,
    )
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(10.0, rel=0.35)
    assert pace.training.status is Status.KILLED
    assert pace.incumbent[-1].done == 1.0
    assert pace.candidate[-1].done < 0.5
    assert stored(tmp_path) == set()


def test_work_that_another_process_does_counts(beside: Measure) -> None:
    aside = """
        import subprocess
        busy = "import time\\nwhile time.process_time() < 0.12: pass"
        for step in range(steps):
            subprocess.run([sys.executable, "-S", "-c", busy])
            say((step + 1) / steps)
        (artifacts / "weights").touch()
    """
    pace = beside(aside)
    assert pace.ratio is not None
    assert pace.ratio.value > 2.5


def test_start_up_is_no_cost_of_a_step(beside: Measure) -> None:
    pace = beside(HONEST.replace("work(0.1)", "work(1.0)"))
    assert pace.ratio is not None
    assert pace.ratio.value == pytest.approx(1.0, abs=0.35)
    assert pace.candidate[0].compute_seconds > 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes cannot be bound to a processor")
def test_both_take_turns_on_one_processor(beside: Measure, tmp_path: Path) -> None:
    told = "print(*os.sched_getaffinity(0))\n(artifacts / 'weights').touch()"
    assert beside(told, told).training.status is Status.COMPLETED
    one, other = ((tmp_path / f"{name}.log").read_text().split() for name in ("candidate", "incumbent"))
    assert one == other
    assert len(one) == 1


def test_a_candidate_that_fails_says_how_and_the_incumbent_is_not_waited_for(
    beside: Measure, tmp_path: Path
) -> None:
    pace = beside("raise ValueError('no such width')", "work(600)")
    assert pace.ratio is None
    assert pace.training.status is Status.CRASHED
    assert "ValueError: no such width" in pace.training.detail
    assert stored(tmp_path) == set()


def test_a_candidate_that_fails_at_its_end_has_no_ratio(beside: Measure) -> None:
    pace = beside(HONEST + "raise OSError('cannot save')")
    assert pace.ratio is None
    assert "OSError: cannot save" in pace.training.detail
    assert len(pace.candidate) >= 5


def test_a_candidate_that_hangs_is_stopped_by_the_clock(beside: Measure) -> None:
    pace = beside("time.sleep(600)", "time.sleep(600)", Cap(None, 0.7))
    assert (pace.ratio, pace.training.status) == (None, Status.TIMED_OUT)


def test_an_incumbent_that_fails_costs_the_ratio_alone(beside: Measure) -> None:
    pace = beside(HONEST, "sys.exit(3)")
    assert (pace.ratio, pace.training.status) == (None, Status.COMPLETED)
    assert pace.incumbent == ()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "say(1.0)",
        "say('half'); say(0.5); say(True); say([1]); say(None)",
        "say(0.5); say(0.5); say(0.4); say(0.6)",
        "open(os.environ['EVALLOOP_PROGRESS'], 'wb').write(b'\\xff{\\n' * 100)",
    ],
    ids=["nothing", "the end alone", "no numbers", "backwards", "garbage"],
)
def test_who_says_too_little_of_how_far_it_is_has_no_ratio(beside: Measure, said: str) -> None:
    said = said.replace("; ", "; work(0.05); ")
    pace = beside(f"{said}\nwork(0.05)\n(artifacts / 'weights').touch()", HONEST)
    assert pace.ratio is None
    assert pace.training.status is Status.COMPLETED
    assert len(pace.candidate) <= 2
    assert len(pace.incumbent) >= 5


def test_on_an_accelerator_one_is_trained_after_the_other(
    beside: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(100))))
    times = "print(time.time(), flush=True)\n"
    idle = times + HONEST.replace("work(0.03)", "time.sleep(0.03)") + times
    pace = beside(idle, idle)
    assert pace.ratio is not None
    for samples in (pace.candidate, pace.incumbent):
        assert samples[-1].compute_seconds >= 100 * 0.03 * 10 * samples[-1].done
    _, ended = (tmp_path / "candidate.log").read_text().split()
    begun, _ = (tmp_path / "incumbent.log").read_text().split()
    assert float(ended) <= float(begun)


def test_on_an_accelerator_nothing_is_measured_beside_a_failure(
    beside: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert beside("sys.exit(3)").training.status is Status.CRASHED
    assert not (tmp_path / "incumbent.log").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is known of children that ended")
def test_a_tree_has_used_what_its_living_and_its_ended_processes_used(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\n"
    (tmp_path / "child.py").write_text(busy)
    (tmp_path / "orphan.py").write_text(f"{busy}open('ended', 'w')")
    (tmp_path / "main.py").write_text(
        "import os, subprocess, sys\n"
        "subprocess.run([sys.executable, 'child.py'])\n"
        "subprocess.run(['sh', '-c', sys.executable + ' orphan.py &'])\n"
        f"{busy}"
        "while not os.path.exists('ended'):\n    time.sleep(0.01)\n"
        "open('done', 'w')\n"
        "time.sleep(600)\n"
    )
    with launch(
        [sys.executable, "main.py"], cwd=tmp_path, env=dict(os.environ), log=tmp_path / "log"
    ) as process:
        while not (tmp_path / "done").exists():
            with pytest.raises(TimeoutError):
                process.wait(0.05)
        used = Meter(process.pid).seconds()
        result = process.kill()
    assert used is not None
    assert used >= 0.85
    assert used == pytest.approx(result.cpu_seconds, abs=0.1)
    assert Meter(process.pid).seconds() is None


# -- deciding


def test_too_few_samples_have_no_slope() -> None:
    samples = [Sample(0.1, 5.0), Sample(0.2, 6.0), Sample(0.2, 7.0)]
    for end in range(4):
        assert step_cost(samples[:end]) is None
    assert step_cost([*samples, Sample(0.3, 7.0)]) is not None


def test_steps_that_cost_nothing_have_no_cost_and_no_ratio() -> None:
    idle = [Sample(step, 5.0) for step in range(9)]
    busy = [Sample(step, 5.0 + step) for step in range(9)]
    assert step_cost(idle) is None
    assert ratio(idle, busy) is ratio(busy, idle) is ratio([], busy) is None


def test_many_samples_are_thinned_and_not_dropped() -> None:
    samples = [Sample(step, 3.0 + 0.5 * step) for step in range(5000)]
    assert step_cost(samples) == pytest.approx(0.5)


def test_the_grain_of_a_clock_is_no_error() -> None:
    grainy = [Sample(step, round(0.0031 * step, 2)) for step in range(1000)]
    found = ratio(grainy, grainy)
    assert found is not None
    assert found.value == 1.0
    assert found.error < 0.02


def test_uneven_steps_have_an_error() -> None:
    uneven = [Sample(step, step + 0.2 * (step % 2)) for step in range(12)]
    found = ratio(uneven, [Sample(step, 1.0 * step) for step in range(12)])
    assert found is not None
    assert found.value == pytest.approx(1.0, abs=0.05)
    assert 0.01 < found.error < 0.1
    twice = ratio(
        [Sample(sample.done, 2 * sample.compute_seconds) for sample in uneven],
        [Sample(step, 1.0 * step) for step in range(12)],
    )
    assert twice is not None
    assert twice.error == pytest.approx(2 * found.error)


@pytest.mark.parametrize(
    ("budget", "value", "expected"),
    [
        (Budget(450, "steps"), 0.75, Budget(600, "steps")),
        (Budget(450, "steps"), 2.0, Budget(225, "steps")),
        (Budget(450, "steps"), 1000.0, Budget(1, "steps")),
        (Budget(450, "steps"), 1 + 0.99 * TOLERANCE, Budget(450, "steps")),
        (Budget(450, "steps"), 1 - 0.99 * TOLERANCE, Budget(450, "steps")),
        (Budget(5e6, "tokens"), 1.3, Budget(3846154, "tokens")),
        (Budget(1e13, "flops"), 0.5, Budget(2e13, "flops")),
        (Budget(40, "cpu-s"), 2.0, Budget(40, "cpu-s")),
        (Budget(300, "s"), 0.5, Budget(300, "s")),
    ],
    ids=str,
)
def test_equal_compute_buys_as_many_steps(budget: Budget, value: float, expected: Budget) -> None:
    assert granted(budget, Ratio(value, 0.01)) == expected


@pytest.mark.parametrize(
    ("value", "error", "steps"),
    [(0.94, 0.06, 450), (0.94, 0.02, 479), (0.8, 0.11, 450), (0.8, 0.09, 562), (1.1, 0.2, 409)],
)
def test_more_steps_are_not_granted_by_luck(value: float, error: float, steps: int) -> None:
    assert granted(Budget(450, "steps"), Ratio(value, error)) == Budget(steps, "steps")


def test_without_a_ratio_the_budget_stays() -> None:
    assert granted(Budget(450, "steps"), None) == Budget(450, "steps")


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(Budget(450, "steps"), 30.0), (Budget(5e6, "tokens"), 333334.0), (Budget(3, "steps"), 1.0)],
    ids=str,
)
def test_a_tryout_takes_so_many_seconds_of_the_incumbent(budget: Budget, expected: float) -> None:
    training = Training("k", 0, Status.COMPLETED, "", 30.0, 30.0, 1)
    assert tryout(budget, training, 2.0) == Budget(expected, budget.unit)


def test_a_short_training_is_its_own_tryout() -> None:
    training = Training("k", 0, Status.COMPLETED, "", 0.0, 1.0, 1)
    assert tryout(Budget(7, "steps"), training, 2.0) == Budget(7, "steps")


# -- who overdraws


def course(*places: tuple[float, float]) -> list[Sample]:
    return [Sample(done, seconds) for done, seconds in places]


def test_a_forecast_has_twice_the_tolerance() -> None:
    samples = [Sample(step / 100, 5.0 + 0.29 * step) for step in range(1, 101)]  # 29 s in all
    assert overdrawn(samples[:80], 20.0, 0.25) == ""
    assert overdrawn(samples, 20.0, 0.25)
    assert overdrawn(samples[:80], 20.0, 0.2)


def test_twice_the_cost_is_foretold_after_a_tenth_of_the_budget() -> None:
    slow = [Sample(step / 100, 5.0 + 0.4 * step) for step in range(1, 30)]  # 40 s in all, 20 s are allowed
    first = next(end for end in range(len(slow)) if overdrawn(slow[:end], 20.0, 0.25))
    assert slow[first - 1].done == pytest.approx(0.11)
    assert overdrawn(slow[:first], 20.0, 0.25) == (
        "its steps used 4.0 seconds of compute for 10% of its budget, so 40.0 in the end, and 20.0 are granted. "
        "Count every step, or make a step cheaper."
    )


def test_who_stops_counting_is_seen_to_go_on() -> None:
    samples = course((0.01, 5.0), (0.05, 5.8), (0.05, 15.0), (0.05, 29.0))
    assert overdrawn(samples, 20.0, 0.25) == ""
    assert overdrawn([*samples, Sample(0.05, 30.0)], 20.0, 0.25) == (
        "since its first progress line it has used 25.0 seconds of compute and may use 24.8, and it says that 5% "
        "of its budget are done. Count every step, or make a step cheaper."
    )


def test_who_claims_to_be_done_early_and_goes_on_is_seen() -> None:
    samples = course((0.1, 5.0), (0.5, 6.0), (1.0, 7.0), (1.0, 20.0))
    assert overdrawn(samples, 20.0, 0.25) == ""
    assert overdrawn([*samples, Sample(1.0, 29.0)], 20.0, 0.25)


def test_who_speaks_at_the_end_alone_may_still_save_its_weights() -> None:
    assert overdrawn(course((1.0, 25.0), (1.0, 29.0)), 20.0, 0.25) == ""
    assert overdrawn(course((1.0, 25.0), (1.0, 31.0)), 20.0, 0.25)


def test_a_claim_beyond_the_end_is_one_of_the_end() -> None:
    assert overdrawn(course((5.0, 25.0), (5.0, 29.0)), 20.0, 0.25) == ""


def test_no_claim_buys_more_than_the_budget() -> None:
    assert overdrawn(course((0.1, 5.0), (7.0, 5.5), (-3.0, 5.6), (7.0, 40.0)), 20.0, 0.25)
    assert overdrawn(course((9.0, 5.0), (9.0, 11.0)), 20.0, 0.25)


def test_start_up_is_apart_and_no_claim_is_no_verdict() -> None:
    assert overdrawn([], 20.0, 0.25) == ""
    assert overdrawn(course((0.0, 5.0), (0.0, 500.0)), 20.0, 0.25) == ""
    assert overdrawn(course((0.0, 5.0), (0.0, 50.0), (0.2, 51.0), (1.0, 70.0)), 20.0, 0.25) == ""
