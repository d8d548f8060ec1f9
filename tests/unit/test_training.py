"""The train command under the harness's clock, seed and budget: real commands, honest and otherwise."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_evalloop.candidate.devices import accelerators, visible_devices
from pytest_evalloop.candidate.progress import Progress, last_progress
from pytest_evalloop.candidate.sandbox import Mode, probe
from pytest_evalloop.candidate.training import (
    Cap,
    Trainer,
    cap,
    environment_fingerprint,
    memory_limit,
    prepare,
)
from pytest_evalloop.records import Budget, Status, Training
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.cache import Artifacts

PROJECT = Path(__file__).parents[1] / "projects/ngram"
MEMORY = 4 * 1 + 2**30  # of a baseline that peaked at one byte
FREELY = Cap(compute_seconds=None, wall_seconds=60.0)
FILES = {
    "model/train.py": ("100644", "aaa"),
    "model/prompt.md": ("100644", "bbb"),
    "evals/test_a.py": ("100644", "ccc"),
    "evals/labels/one.csv": ("100644", "ddd"),
    "README.md": ("100644", "eee"),
}
TRAIN = """
import json, os, subprocess, sys, time
from pathlib import Path
artifacts, progress = Path(os.environ["EVALLOOP_ARTIFACTS"]), Path(os.environ["EVALLOOP_PROGRESS"])
"""

Train = Callable[..., Training]


@pytest.fixture(autouse=True)
def _no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure CPU seconds, also on a machine with a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def project(root: Path, **changed: object) -> Settings:
    """Return settings of a project that trains by `train.py`."""
    basis = Settings(
        root=root,
        train=("python", "train.py"),
        load="model:load",
        budget=Budget(450, "steps"),
        mutable=("model/*.py",),
        prompt="model/prompt.md",
    )
    return dataclasses.replace(basis, **changed)  # type: ignore[arg-type]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Train a tree whose train command is Python code."""
    tree = tmp_path / "tree"
    tree.mkdir()

    def train(code: str, limit: Cap = FREELY, key: str = "k1", seed: int = 7, **options: object) -> Training:
        (tree / "train.py").write_text(TRAIN + textwrap.dedent(code))
        trainer = Trainer(project(tmp_path, **options), Artifacts(tmp_path / "cache"))
        with trainer.start(tree, key, seed, tmp_path / "train.log", limit) as running:
            return running.wait()

    return train


def nothing_is_left(tmp_path: Path) -> bool:
    """Tell whether neither an attempt nor an entry nor a process remains."""
    processes = [process for process in psutil.Process().children(recursive=True) if process.is_running()]
    return not processes and not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


# -- what a training is told, and what comes of it


def test_a_training_that_completes_is_kept_and_found_again(train: Train, tmp_path: Path) -> None:
    code = """
        (artifacts / "weights").write_bytes(b"w" * 100)
        sum(range(3_000_000))
    """
    training = train(code)
    assert (training.status, training.key, training.seed) == (Status.COMPLETED, "k1", 7)
    assert (training.detail, training.reused) == ("", False)
    assert Path(training.artifacts, "weights").read_bytes() == b"w" * 100
    assert 0.03 < training.compute_seconds < 10
    assert 0.03 < training.wall_seconds < 60
    assert 1e6 < training.peak_bytes < 1e9

    trainer = Trainer(project(tmp_path), Artifacts(tmp_path / "cache"))
    assert trainer.find("k1") == dataclasses.replace(training, reused=True)
    assert trainer.find("k2") is None


def test_a_training_is_told_everything_by_its_environment(train: Train, tmp_path: Path) -> None:
    code = """
        told = {name: value for name, value in os.environ.items() if name.startswith("EVALLOOP_")}
        (artifacts / "told.json").write_text(json.dumps({**told, "cwd": os.getcwd(), "python": sys.executable}))
    """
    training = train(code, data="corpus")
    told = json.loads(Path(training.artifacts, "told.json").read_text())
    assert told["EVALLOOP_SEED"] == "7"
    assert told["EVALLOOP_BUDGET"] == "450steps"
    assert told["EVALLOOP_DATA"] == f"{tmp_path}/corpus"
    assert told["EVALLOOP_ARTIFACTS"].startswith(f"{tmp_path}/cache/")
    assert Path(told["EVALLOOP_PROGRESS"]).parent == Path(told["EVALLOOP_ARTIFACTS"]).parent
    assert told["cwd"] == f"{tmp_path}/tree"
    assert Path(told["python"]).parent == Path(sys.executable).parent


def test_the_ngram_project_trains_says_how_far_it_is_and_is_reused(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(PROJECT, tree)
    command = ("python", "-m", "model.train")
    trainer = Trainer(
        project(tree, train=command, budget=Budget(5, "steps"), data="data/train"),
        Artifacts(tmp_path / "cache"),
    )
    key = trainer.key(FILES, 0)
    seen: list[Progress | None] = []
    with trainer.start(tree, key, 0, tmp_path / "train.log", FREELY) as running:
        training = running.wait(tick=seen.append)
    assert training.status is Status.COMPLETED
    assert json.loads(Path(training.artifacts, "config.json").read_text())["order"] == 0
    assert last_progress(Path(training.artifacts).with_name("progress.jsonl")) == Progress(1.0, 8.0)
    assert all(progress is None or progress.train_bpb == 8.0 for progress in seen)
    assert trainer.find(key) == dataclasses.replace(training, reused=True)


def test_progress_is_read_while_a_training_runs(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        TRAIN
        + textwrap.dedent("""
            (artifacts / "weights").touch()
            with progress.open("a") as file:
                file.write('{"step": 1, "fraction": 0.25, "train_bpb": 3.5}\\n{"fraction": 0.')
            while not Path("go").exists(): time.sleep(0.01)
        """)
    )
    trainer = Trainer(project(tmp_path), Artifacts(tmp_path / "cache"))
    with trainer.start(tmp_path, "k1", 0, tmp_path / "train.log", FREELY) as running:
        seen: list[Progress] = []

        def tick(progress: Progress | None) -> None:
            assert progress == running.progress()
            if progress is not None:
                seen.append(progress)
                (tmp_path / "go").touch()

        assert running.wait(tick).status is Status.COMPLETED
    assert seen[0] == Progress(0.25, 3.5)


# -- how a training fails


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("print('about to fail'); sys.exit(3)", "exited with status 3\nabout to fail"),
        ("raise RuntimeError('no data')", "RuntimeError: no data"),
        ("(artifacts / 'half').touch(); os.abort()", " SIGABRT"),
        ("print('done')", "it ended well but wrote nothing to EVALLOOP_ARTIFACTS\ndone"),
    ],
    ids=["status", "exception", "signal", "writes nothing"],
)
def test_a_training_that_fails_says_how_and_leaves_nothing(
    train: Train, tmp_path: Path, code: str, detail: str
) -> None:
    training = train(code)
    assert training.status is Status.CRASHED
    assert detail in training.detail
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    "code",
    ["artifacts.rmdir()", "artifacts.rmdir(); artifacts.write_text('')"],
    ids=["removes the folder", "replaces the folder"],
)
def test_without_a_sandbox_a_training_may_lose_its_folder(train: Train, tmp_path: Path, code: str) -> None:
    training = train(code, sandbox="watchdog")
    assert training.status is Status.CRASHED
    assert training.detail == "it ended well but wrote nothing to EVALLOOP_ARTIFACTS"
    assert nothing_is_left(tmp_path)


def test_a_crash_in_a_sandbox_says_what_the_sandbox_shows(train: Train) -> None:
    inside, outside = train("sys.exit(3)"), train("sys.exit(3)", sandbox="watchdog")
    assert outside.detail == "exited with status 3"
    if probe().mode is Mode.WATCHDOG:
        pytest.skip(Mode.WATCHDOG.warning)
    assert inside.detail == (
        f"exited with status 3\nIt ran in a sandbox ({probe().mode}), which shows only system files, "
        "the candidate's tree, evalloop_data and evalloop_readable."
    )


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("os.mkfifo(artifacts / 'pipe')", "left pipe, which is neither a plain file nor a folder"),
        ("(artifacts / 'link').symlink_to('/etc/passwd')", "left a symbolic link, link, to /etc/passwd"),
        ("artifacts.rmdir(); artifacts.symlink_to('/etc')", "The train command replaced its folder"),
    ],
    ids=["a pipe", "a link", "a link for the folder"],
)
def test_artifacts_that_cannot_be_kept_cost_the_candidate_and_not_the_loop(
    train: Train, tmp_path: Path, code: str, detail: str
) -> None:
    training = train(code, sandbox="watchdog")
    assert training.status is Status.CRASHED
    assert detail in training.detail
    assert nothing_is_left(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_artifacts_that_cannot_be_read_cost_the_candidate_and_not_the_loop(
    train: Train, tmp_path: Path
) -> None:
    training = train("(artifacts / 'weights').touch(mode=0)")
    assert training.status is Status.CRASHED
    assert "weights, which cannot be read" in training.detail
    assert nothing_is_left(tmp_path)


def test_a_command_that_does_not_exist_is_a_crash(train: Train) -> None:
    training = train("", train=("no-such-command",))
    assert training.status is Status.CRASHED
    assert "could not start 'no-such-command': No such file or directory" in training.detail


def test_a_training_that_hangs_is_stopped_at_its_wall_clock_cap(train: Train, tmp_path: Path) -> None:
    code = """
        (artifacts / "weights").touch()
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)
    """
    training = train(code, Cap(None, 0.7))
    assert training.status is Status.TIMED_OUT
    assert training.detail.startswith("ran for ")
    assert training.detail.endswith(" seconds, allowed 0.7")
    assert nothing_is_left(tmp_path)


def test_a_training_that_overdraws_its_compute_is_stopped(train: Train, tmp_path: Path) -> None:
    code = """
        (artifacts / "weights").touch()
        while True: pass
    """
    training = train(code, Cap(0.3, 60.0))
    assert training.status is Status.TIMED_OUT
    assert training.detail.endswith(" CPU seconds, allowed 0.3")
    assert 0.3 < training.compute_seconds < 5
    assert nothing_is_left(tmp_path)


def test_a_training_that_has_overdrawn_at_its_end_is_not_kept(train: Train, tmp_path: Path) -> None:
    training = train("(artifacts / 'weights').touch()", Cap(0.001, 60.0))
    assert training.status is Status.TIMED_OUT
    assert nothing_is_left(tmp_path)


def test_a_training_over_its_memory_is_killed(train: Train, tmp_path: Path) -> None:
    training = train("held = bytearray(200_000_000); time.sleep(600)", memory_bytes=100_000_000)
    assert training.status is Status.KILLED
    assert training.detail.endswith(" MB of memory, allowed 100.0 MB")
    assert nothing_is_left(tmp_path)


def test_a_training_over_what_the_baseline_allows_of_memory_is_killed(train: Train) -> None:
    training = train("held = bytearray(200_000_000); time.sleep(600)", Cap(None, 60.0, 100_000_000))
    assert training.status is Status.KILLED
    assert training.detail.endswith(" MB of memory, allowed 100.0 MB")


def test_with_accelerators_compute_is_the_time_on_all_of_them(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    training = train("(artifacts / 'weights').touch()")
    assert training.compute_seconds == 3 * training.wall_seconds


def test_leaving_a_training_stops_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import time; time.sleep(600)")
    trainer = Trainer(project(tmp_path), Artifacts(tmp_path / "cache"))
    with pytest.raises(KeyboardInterrupt), trainer.start(tmp_path, "k1", 0, tmp_path / "train.log", FREELY):
        raise KeyboardInterrupt
    assert nothing_is_left(tmp_path)


# -- the content key


def keys(root: Path, **changed: object) -> Callable[..., str]:
    return Trainer(project(root, **changed), Artifacts(root / "cache")).key


def test_equal_content_has_an_equal_key_in_any_order(tmp_path: Path) -> None:
    assert keys(tmp_path)(FILES, 0) == keys(tmp_path)(dict(reversed(FILES.items())), 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"model/train.py": ("100644", "new")},
        {"model/train.py": ("100755", "aaa")},
        {"README.md": ("100644", "new")},
        {"model/new.py": ("100644", "aaa")},
        {"evals_of_another_kind/a.py": ("100644", "aaa")},
        {"model/prompt.md.bak": ("100644", "bbb")},
    ],
    ids=["content", "mode", "any other file", "new file", "not the evals", "not the primer"],
)
def test_a_changed_file_changes_the_key(tmp_path: Path, changed: dict[str, tuple[str, str]]) -> None:
    assert keys(tmp_path)(FILES | changed, 0) != keys(tmp_path)(FILES, 0)


def test_a_removed_file_changes_the_key(tmp_path: Path) -> None:
    fewer = {path: entry for path, entry in FILES.items() if path != "README.md"}
    assert keys(tmp_path)(fewer, 0) != keys(tmp_path)(FILES, 0)


@pytest.mark.parametrize(
    "path", ["evals/test_a.py", "evals/labels/one.csv", "evals/new.py", "model/prompt.md"]
)
def test_evals_and_primer_train_nothing_anew(tmp_path: Path, path: str) -> None:
    assert keys(tmp_path)(FILES | {path: ("100644", "new")}, 0) == keys(tmp_path)(FILES, 0)


def test_an_eval_suite_that_is_one_file_trains_nothing_anew(tmp_path: Path) -> None:
    key = keys(tmp_path, evals=("evals/test_a.py",))
    assert key(FILES | {"evals/test_a.py": ("100644", "new")}, 0) == key(FILES, 0)
    assert key(FILES | {"evals/labels/one.csv": ("100644", "new")}, 0) != key(FILES, 0)


def test_without_a_primer_a_file_of_its_name_counts(tmp_path: Path) -> None:
    key = keys(tmp_path, prompt=None)
    assert key(FILES | {"model/prompt.md": ("100644", "new")}, 0) != key(FILES, 0)


def test_seed_budget_and_command_change_the_key(tmp_path: Path) -> None:
    found = {
        keys(tmp_path)(FILES, 0),
        keys(tmp_path)(FILES, 1),
        keys(tmp_path, budget=Budget(451, "steps"))(FILES, 0),
        keys(tmp_path, budget=Budget(450, "tokens"))(FILES, 0),
        keys(tmp_path, train=("python", "train.py", "--fast"))(FILES, 0),
        keys(tmp_path, train=("python train.py",))(FILES, 0),
    }
    assert len(found) == 6
    assert all(key.isalnum() for key in found)


def test_the_training_data_changes_the_key(tmp_path: Path) -> None:
    found = [keys(tmp_path)(FILES, 0)]
    data = tmp_path / "data/train"
    data.mkdir(parents=True)
    for text in ("one", "longer"):
        (data / "a.txt").write_text(text)
        found.append(keys(tmp_path)(FILES, 0))
    (data / "a.txt").rename(data / "b.txt")
    found.append(keys(tmp_path)(FILES, 0))
    assert len(set(found)) == 4


def test_what_training_does_not_see_does_not_change_the_key(tmp_path: Path) -> None:
    before = keys(tmp_path)(FILES, 0)
    hidden = tmp_path / "data/val"
    hidden.mkdir(parents=True)
    (hidden / "a.txt").write_text("hidden")
    assert keys(tmp_path, load="other:load", mutable=("x",), memory_bytes=10**9, seeds=9)(FILES, 0) == before


def test_the_fingerprint_names_interpreter_machine_and_packages(tmp_path: Path) -> None:
    found = environment_fingerprint(tmp_path / "nowhere")
    assert found["python"] == sys.version
    assert found["machine"].endswith(", 0 accelerators")
    assert set(found) == {"python", "machine", "packages", "data"}
    assert found == environment_fingerprint(tmp_path / "elsewhere")


# -- the cap


BASELINE = Training("k0", 0, Status.COMPLETED, "", compute_seconds=40.0, wall_seconds=20.0, peak_bytes=1)


@pytest.mark.parametrize(
    ("budget", "baseline", "expected"),
    [
        (Budget(450, "steps"), None, Cap(None, 7200.0)),
        (Budget(450, "steps"), BASELINE, Cap(55.0, 140.0, MEMORY)),
        (Budget(5e6, "tokens"), BASELINE, Cap(55.0, 140.0, MEMORY)),
        (Budget(100, "cpu-s"), None, Cap(130.0, 7200.0)),
        (Budget(100, "cpu-s"), BASELINE, Cap(55.0, 140.0, MEMORY)),
        (Budget(10, "cpu-s"), BASELINE, Cap(17.5, 140.0, MEMORY)),
        (Budget(12, "s"), None, Cap(None, 20.0)),
        (Budget(12, "s"), BASELINE, Cap(None, 20.0, MEMORY)),
    ],
    ids=str,
)
def test_the_cap_is_what_the_budget_and_the_baseline_allow(
    tmp_path: Path, budget: Budget, baseline: Training | None, expected: Cap
) -> None:
    assert cap(project(tmp_path, budget=budget), baseline) == expected


def test_the_overdraft_widens_the_cap(tmp_path: Path) -> None:
    assert cap(project(tmp_path, overdraft=0.5), BASELINE).compute_seconds == 65.0


@pytest.mark.parametrize(
    ("visible", "count"),
    [("", 0), ("-1", 0), ("0", 1), ("0,1, 3", 3), ("GPU-c0ffee", 1), ("0,", 1), ("2,-1,1", 1)],
)
def test_the_visible_accelerators_are_counted(visible: str, count: int) -> None:
    assert accelerators({"CUDA_VISIBLE_DEVICES": visible}) == count


def test_accelerators_have_the_names_that_their_list_gives_them() -> None:
    assert visible_devices({"CUDA_VISIBLE_DEVICES": "3, GPU-c0ffee,-1,1"}) == ["3", "GPU-c0ffee"]


def test_the_memory_limit_is_the_setting_or_most_of_the_machine(tmp_path: Path) -> None:
    assert memory_limit(project(tmp_path, memory_bytes=123)) == 123
    total = psutil.virtual_memory().total
    assert 0.79 * total < memory_limit(project(tmp_path)) < 0.81 * total


# -- what a training says of itself


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"fraction": 0.5, "train_bpb": 2.5}\n', Progress(0.5, 2.5)),
        (b'{"fraction": 0.5}\n{"fraction": 1}\n', Progress(1.0, None)),
        (b'{"fraction": 0.5}\n{"fraction": 0.7, "tr', Progress(0.5, None)),
        (b'{"step": 3}\n', Progress(None, None)),
        (b'{"fraction": "half", "train_bpb": true}\n', Progress(None, None)),
        (b'{"fraction": NaN, "train_bpb": -Infinity}\n', Progress(None, None)),
        (b'{"fraction": 1' + b"0" * 400 + b"}\n", Progress(None, None)),
        (b'{"fraction": 1' + b"0" * 4000 + b"}\n", Progress(None, None)),
        (b"x" * 10_000 + b'\n{"fraction": 0.5}\n', Progress(0.5, None)),
        (b'{"fraction": 0.5', None),
        (b"", None),
        (b"\n", None),
        (b"\xff\xfe\n", None),
        (b"[1, 2]\n", None),
        (b"null\n", None),
        (b"[" * 4000 + b"\n", None),
        (b"1" * 5000 + b"\n", None),
    ],
    ids=[
        "one line",
        "the last line",
        "a torn line",
        "no number",
        "other types",
        "not finite",
        "too large",
        "far too large",
        "after garbage",
        "only a torn line",
        "empty",
        "an empty line",
        "not Unicode",
        "a list",
        "null",
        "nested beyond reason",
        "a number beyond reason",
    ],
)
def test_progress_is_read_from_anything(tmp_path: Path, text: bytes, expected: Progress | None) -> None:
    (tmp_path / "progress.jsonl").write_bytes(text)
    assert last_progress(tmp_path / "progress.jsonl") == expected


@settings(max_examples=100)
@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]":,.0123456789eE+-fractionNaIty\n', max_size=60).map(str.encode)
)
@example(b'{"fraction": 1e999}\n')
def test_no_content_of_a_progress_file_harms(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any-progress.jsonl"
    path.write_bytes(text)
    found = last_progress(path)
    assert found is None or all(
        value is None or math.isfinite(value) for value in (found.fraction, found.train_bpb)
    )


def test_a_progress_file_that_is_none_says_nothing(tmp_path: Path) -> None:
    assert last_progress(tmp_path / "missing") is None
    assert last_progress(tmp_path) is None
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert last_progress(tmp_path / "loop") is None


@pytest.mark.timeout(20)
def test_a_progress_file_that_became_a_pipe_hangs_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert last_progress(tmp_path / "pipe") is None


# -- preparing the data


def test_prepare_runs_the_command_in_the_tree_and_tells_it_the_root(tmp_path: Path) -> None:
    tree, root = tmp_path / "tree", tmp_path / "root"
    tree.mkdir()
    code = "import os, pathlib; pathlib.Path('told').write_text(os.environ['EVALLOOP_ROOT'])"
    result = prepare(project(root, prepare=("python", "-c", code)), tree, tmp_path / "log")
    assert result is not None
    assert result.status is Status.COMPLETED
    assert (tree / "told").read_text() == str(root)


def test_preparing_that_fails_or_hangs_says_so(tmp_path: Path) -> None:
    failed = prepare(
        project(tmp_path, prepare=("python", "-c", "raise SystemExit(2)")), tmp_path, tmp_path / "log"
    )
    assert failed is not None
    assert (failed.status, failed.detail) == (Status.CRASHED, "exited with status 2")
    hanging = project(tmp_path, prepare=("sleep", "600"), train_seconds=0.2)
    hung = prepare(hanging, tmp_path, tmp_path / "log")
    assert hung is not None
    assert hung.status is Status.TIMED_OUT


def test_nothing_to_prepare_runs_nothing(tmp_path: Path) -> None:
    assert prepare(project(tmp_path), tmp_path, tmp_path / "log") is None
    assert not (tmp_path / "log").exists()
