"""The cache of trainings, and the folder in which all of the store lies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalloop.records import Status, Training
from pytest_evalloop.store.cache import Artifacts, ArtifactsError, training_key
from pytest_evalloop.store.home import Home, StoreError
from pytest_evalloop.store.owner import Owner

KEY = "ab" * 32
TRAINING = Training("", 3, Status.COMPLETED, "", 43.25, 50.5, 2**33, "as planned")


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def fill(folder: Path, content: bytes = b"weights") -> None:
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/model.bin").write_bytes(content)
    (folder / "config.json").write_bytes(b"{}")


def test_key_depends_on_everything_but_the_order() -> None:
    files = {"model/gpt.py": ("100644", "a" * 40), "evals/test_a.py": ("100644", "b" * 40)}
    base = training_key(
        files,
        exclude=["evals/**"],
        budget="450steps",
        seed=1,
        command="train",
        environment={"A": "1", "B": "2"},
    )
    assert len(base) == 64

    def key(**changes: object) -> str:
        given = {"exclude": ["evals/**"], "budget": "450steps", "seed": 1, "command": "train"}
        given |= {"environment": {"B": "2", "A": "1"}, "files": dict(reversed(files.items()))}
        given |= changes
        return training_key(given.pop("files"), **given)  # type: ignore[arg-type]

    assert key() == base
    assert key(files=files | {"evals/test_a.py": ("100644", "c" * 40)}) == base
    others = [
        key(files=files | {"model/gpt.py": ("100644", "c" * 40)}),
        key(files=files | {"model/gpt.py": ("100755", "a" * 40)}),
        key(files=files | {"model/x.py": ("100644", "a" * 40)}),
        key(exclude=[]),
        key(budget="451steps"),
        key(seed=2),
        key(command="train "),
        key(environment={"A": "12", "B": ""}),
        key(environment={"A": "1"}),
    ]
    assert len({base, *others}) == 10


def test_a_training_is_kept_whole(artifacts: Artifacts) -> None:
    assert artifacts.get(KEY) is None
    assert artifacts.size(KEY) is None
    folder = artifacts.claim(KEY)
    assert list(folder.iterdir()) == []
    fill(folder)
    assert artifacts.get(KEY) is None
    kept = artifacts.commit(KEY, folder, TRAINING)
    assert kept == replace(TRAINING, key=KEY, artifacts=kept.artifacts)
    assert (Path(kept.artifacts) / "deep/er/model.bin").read_bytes() == b"weights"
    assert artifacts.get(KEY) == replace(kept, reused=True)
    assert artifacts.size(KEY) == 9
    assert Path(kept.artifacts) == folder
    artifacts.drop(KEY)
    assert artifacts.get(KEY) is None
    assert not folder.parent.exists()


def test_the_cache_may_move(artifacts: Artifacts, tmp_path: Path) -> None:
    artifacts.commit(KEY, artifacts.claim(KEY), TRAINING)
    artifacts.path.rename(tmp_path / "moved")
    found = Artifacts(tmp_path / "moved").get(KEY)
    assert found is not None
    assert Path(found.artifacts).is_dir()


def test_the_first_to_finish_wins(artifacts: Artifacts) -> None:
    first, second = artifacts.claim(KEY), artifacts.claim(KEY)
    assert first != second
    fill(first, b"first")
    fill(second, b"second")
    winner = artifacts.commit(KEY, first, TRAINING)
    assert artifacts.commit(KEY, second, replace(TRAINING, wall_seconds=1.0)) == replace(winner, reused=True)
    assert (Path(winner.artifacts) / "deep/er/model.bin").read_bytes() == b"first"
    assert not second.exists()


def test_only_completed_trainings_are_kept(artifacts: Artifacts) -> None:
    folder = artifacts.claim(KEY)
    with pytest.raises(ValueError, match="crashed"):
        artifacts.commit(KEY, folder, replace(TRAINING, status=Status.CRASHED))
    artifacts.discard(folder)
    assert not folder.parent.exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x", "nowhere", "loop", "{folder}/config.json"])
def test_links_out_are_refused(artifacts: Artifacts, target: str) -> None:
    folder = artifacts.claim(KEY)
    fill(folder)
    (artifacts.path / "x").touch()
    (folder / "loop").symlink_to(target.format(folder=folder))
    with pytest.raises(StoreError, match=r"left a symbolic link, loop, to .*Copy the file instead"):
        artifacts.commit(KEY, folder, TRAINING)
    assert artifacts.get(KEY) is None


def test_links_inside_are_kept(artifacts: Artifacts) -> None:
    folder = artifacts.claim(KEY)
    fill(folder)
    (folder / "last.bin").symlink_to("deep/er/model.bin")
    kept = artifacts.commit(KEY, folder, TRAINING)
    assert (Path(kept.artifacts) / "last.bin").read_bytes() == b"weights"


@pytest.mark.parametrize("trick", ["pipe", "folder"])
def test_odd_things_are_refused(artifacts: Artifacts, trick: str, tmp_path: Path) -> None:
    folder = artifacts.claim(KEY)
    if trick == "pipe":
        os.mkfifo(folder / "pipe")
    else:
        folder.rmdir()
        folder.symlink_to(tmp_path)
    with pytest.raises(StoreError, match="The train command"):
        artifacts.commit(KEY, folder, TRAINING)


def test_sweep_takes_attempts_of_the_dead_only(artifacts: Artifacts) -> None:
    mine = artifacts.claim(KEY)
    code = f"""if True:
        import os, pathlib
        from pytest_evalloop.store.cache import Artifacts
        folder = Artifacts(pathlib.Path({str(artifacts.path)!r})).claim({KEY!r})
        (folder / "half").write_text("done")
        (folder.parent / "training.json").write_text("{{")
        os._exit(9)
    """
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 9
    assert len(list(mine.parent.parent.iterdir())) == 2
    artifacts.sweep()
    assert [path.name for path in mine.parent.parent.iterdir()] == [mine.parent.name]
    artifacts.discard(mine)
    artifacts.sweep()
    assert list(artifacts.path.glob("*/*")) == []
    Artifacts(artifacts.path / "none").sweep()


def test_sweep_leaves_what_a_process_that_is_gone_has_finished(artifacts: Artifacts) -> None:
    code = f"""if True:
        import os, pathlib
        from pytest_evalloop.records import Status, Training
        from pytest_evalloop.store.cache import Artifacts
        cache = Artifacts(pathlib.Path({str(artifacts.path)!r}))
        folder = cache.claim({KEY!r})
        (folder / "whole").write_text("done")
        cache.commit({KEY!r}, folder, Training({KEY!r}, 0, Status.COMPLETED, "", 1.0, 1.0, 1))
        os._exit(9)
    """
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 9
    artifacts.sweep()
    kept = artifacts.get(KEY)
    assert kept is not None
    assert (Path(kept.artifacts) / "whole").read_text() == "done"


def test_a_record_that_cannot_be_read_is_named(artifacts: Artifacts) -> None:
    kept = artifacts.commit(KEY, artifacts.claim(KEY), TRAINING)
    (Path(kept.artifacts).parents[1] / "training.json").write_text("{")
    artifacts.sweep()
    assert Path(kept.artifacts).is_dir()
    with pytest.raises(StoreError, match=r"training\.json cannot be read.*trains anew"):
        artifacts.get(KEY)
    with pytest.raises(ValueError, match="no key"):
        artifacts.get("../..")


def test_a_full_disk_leaves_no_entry(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = artifacts.claim(KEY)
    fill(folder)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="disk is full: the artifacts"):
            artifacts.commit(KEY, folder, TRAINING)
    assert artifacts.get(KEY) is None
    artifacts.commit(KEY, folder, TRAINING)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times come from /proc")
def test_an_owner_lives_as_long_as_its_process() -> None:
    me = Owner.current()
    assert me.alive
    assert Owner.parse(f"{me}-x") == me
    assert Owner.parse("x") is None
    assert not Owner(me.pid, me.start + 1).alive
    with subprocess.Popen(("sleep", "60")) as process:
        other = Owner(process.pid, int(Path(f"/proc/{process.pid}/stat").read_text().split()[21]))
        assert other.alive
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not other.alive  # a zombie does no more work


def test_home_makes_itself_known(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    assert (tmp_path / ".evalloop/.gitignore").read_text() == "*\n"
    assert (tmp_path / ".evalloop/version").read_text() == "1\n"
    assert home.candidate("r", 3) == tmp_path / ".evalloop/candidates/r/3"
    assert home.ledger == tmp_path / ".evalloop/ledger.db"
    assert home.results == tmp_path / ".evalloop/results.tsv"
    assert Home.open(tmp_path) == home


@pytest.mark.parametrize(
    ("text", "words"),
    [("7\n", r"layout 7.*layout 1\. Nothing was changed. Upgrade"), ("", "damaged"), ("x", "damaged")],
)
def test_home_of_another_version_is_left_alone(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / ".evalloop").mkdir()
    (tmp_path / ".evalloop/version").write_text(text)
    with pytest.raises(StoreError, match=words):
        Home.open(tmp_path)
    assert [path.name for path in (tmp_path / ".evalloop").iterdir()] == ["version"]


def test_home_sweeps_half_written_files_of_the_dead(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    (home.path / ".tmp-999999999-1-aa").touch()
    mine = home.path / f".tmp-{Owner.current()}-aa"
    mine.touch()
    Home.open(tmp_path)
    assert list(home.path.glob(".tmp*")) == [mine]


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / ".evalloop").touch()
    with pytest.raises(StoreError, match=r"\.evalloop"):
        Home.open(tmp_path)


def test_a_run_is_locked_while_its_process_lives(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    words = f"by process {os.getpid()} .*another --evalloop-run"
    with home.lock("r"):
        with pytest.raises(StoreError, match=words), home.lock("r"):
            pass
        with home.lock("other"):
            pass
    code = f"""if True:
        import pathlib, signal
        from pytest_evalloop.store.home import Home
        with Home.open(pathlib.Path({str(tmp_path)!r})).lock("r"):
            print(flush=True)
            signal.pause()
    """
    with subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StoreError, match=f"by process {process.pid} "), home.lock("r"):
            pass
        process.kill()
    with home.lock("r"):
        pass


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a..b", "a.lock", "a.", "a b", "ü", "a" * 65, "a\n"])
def test_run_names_are_checked(tmp_path: Path, name: str) -> None:
    home = Home.open(tmp_path)
    with pytest.raises(StoreError, match="cannot name a run"), home.lock(name):
        pass
    with pytest.raises(StoreError, match="cannot name a run"):
        home.candidate(name, 1)


def deep(folder: Path, levels: int) -> None:
    """Nest folders as deep as no path can name."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_folders_deeper_than_python_follows_are_refused_and_removed(tmp_path: Path) -> None:
    cache = Artifacts(tmp_path / "artifacts")
    artifacts = cache.claim("a" * 64)
    deep(artifacts, 3000)
    with pytest.raises(ArtifactsError, match="nested folders more than 64 deep"):
        cache.commit("a" * 64, artifacts, TRAINING)
    cache.discard(artifacts)
    assert not artifacts.parent.exists()
