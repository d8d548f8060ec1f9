"""What is refused before anything is trained: each setting that cannot work, by name and with a remedy."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pytest_evalloop.loop.preflight import RESUMED, check, check_resumed, frozen
from pytest_evalloop.records import Budget
from pytest_evalloop.settings import Settings, SettingsError

FILES = (
    "conftest.py",
    "evals/conftest.py",
    "evals/test_a.py",
    "model/adapter.py",
    "model/gpt.py",
    "model/prompt.md",
    "pyproject.toml",
)
SETTINGS = Settings(
    root=Path("/nowhere"),
    train=("python", "-m", "model.train"),
    load="model.adapter:load",
    budget=Budget(450, "steps"),
    mutable=("model/*.py", "model/prompt.md"),
    prompt="model/prompt.md",
    mutators=("agent",),
)


def refusal(**changed: object) -> str:
    """Return the message with which the changed settings are refused."""
    with pytest.raises(SettingsError) as caught:
        check(dataclasses.replace(SETTINGS, **changed), FILES)  # type: ignore[arg-type]
    return str(caught.value)


def test_settings_that_can_work_are_let_through() -> None:
    check(SETTINGS, FILES)
    check(dataclasses.replace(SETTINGS, evals=("evals/test_a.py",)), frozenset(FILES))


@pytest.mark.parametrize("name", ["train", "load", "mutable"])
def test_what_a_loop_cannot_do_without_is_asked_for(name: str) -> None:
    empty = "" if name == "load" else ()
    assert refusal(**{name: empty}).startswith(f"evalloop_{name} is not set")


@pytest.mark.parametrize(("mutator", "key"), [("prompt", "prompt"), ("search", "space")])
def test_what_a_mutator_edits_has_to_be_mutable(mutator: str, key: str) -> None:
    assert refusal(**{"mutators": (mutator,), key: "conftest.py"}) == (
        f"evalloop_{key} is 'conftest.py', which no glob of evalloop_mutable matches, so the mutator {mutator!r} may "
        "not change it. Add it to evalloop_mutable, or leave the mutator out."
    )


def test_a_glob_that_matches_nothing_is_named() -> None:
    assert refusal(mutable=("model/*.py", "modules/*.py")) == (
        "evalloop_mutable names 'modules/*.py', which matches no file of the snapshot. Correct the glob, "
        "or check that git does not ignore the file."
    )


@pytest.mark.parametrize(
    ("glob", "path", "why"),
    [
        ("evals/*.py", "evals/test_a.py", "it belongs to the evals"),
        ("**", "evals/conftest.py", "it belongs to the evals"),
        ("*.py", "conftest.py", "it steers Python, pytest or git"),
        ("*", "pyproject.toml", "it steers Python, pytest or git"),
    ],
)
def test_a_glob_that_opens_what_grades_is_named_with_the_path(glob: str, path: str, why: str) -> None:
    message = refusal(mutable=(glob,))
    assert f"{path} matches {glob!r} of evalloop_mutable, but {why}" in message
    assert message.endswith("\nNarrow the globs of evalloop_mutable.")


@pytest.mark.parametrize("folder", ["eval", "evals/test_b.py", "model/gpt"])
def test_evals_that_hold_no_file_are_named(folder: str) -> None:
    message = refusal(evals=("evals", folder))
    assert message == f"evalloop_evals names {folder!r}, which holds no file of the snapshot."


def test_a_train_command_that_does_not_exist_is_named() -> None:
    assert refusal(train=("no-such-python", "-m", "model.train")) == (
        "evalloop_train is 'no-such-python -m model.train', but there is no command 'no-such-python'. "
        "Correct the command, or install what provides it."
    )


def test_a_train_command_may_be_a_file_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/train").touch()
    check(dataclasses.replace(SETTINGS, root=tmp_path, train=("bin/train",)), FILES)
    assert refusal(root=tmp_path, train=("bin",)).startswith(
        "evalloop_train is 'bin', but there is no command"
    )


def test_a_run_that_goes_on_under_the_same_settings_is_let_through() -> None:
    recorded = json.loads(json.dumps(frozen(SETTINGS)))  # as a ledger gives it back
    check_resumed("night", SETTINGS, recorded)
    check_resumed("night", SETTINGS, {})  # begun by a version that recorded less


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget", Budget(451, "steps")),
        ("data", "data/more"),
        ("evals", ("evals", "more")),
        ("load", "model.adapter:load_fast"),
        ("mutable", ("model/*.py",)),
        ("prompt", None),
        ("seeds", 5),
        ("train", ("python", "-m", "model.train", "--fast")),
    ],
)
def test_a_run_that_began_under_another_setting_is_named_with_both(name: str, value: object) -> None:
    recorded = frozen(SETTINGS)
    now = dataclasses.replace(SETTINGS, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(SettingsError) as caught:
        check_resumed("night", now, recorded)
    message = str(caught.value)
    assert message.startswith(f"run 'night' began with evalloop_{name} = {recorded[name]!r}, now it is ")
    assert "Restore the setting, or start another run with --evalloop-run NAME." in message


def test_every_setting_that_is_compared_is_recorded() -> None:
    assert set(RESUMED) <= set(frozen(SETTINGS))


def test_limits_may_change_while_a_run_lasts() -> None:
    now = dataclasses.replace(
        SETTINGS, candidates=9, seconds=60.0, target=2.0, patience=3, mutators=("search",), memory_bytes=10**9
    )
    check_resumed("night", now, frozen(SETTINGS))
