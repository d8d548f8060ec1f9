"""Settings from flags and ini: what is read, and what is refused by value, option and remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_evalloop.records import Budget
from pytest_evalloop.settings import (
    Settings,
    SettingsError,
    parse_budget,
    parse_bytes,
    parse_command,
    parse_seconds,
    read,
    relative,
    require,
)

ROOT = Path("/home/me/project")
INI: dict[str, object] = {
    "train": "python -m model.train",
    "load": "model.adapter:load",
    "mutable": ["model/*.py"],
    "budget": "450steps",
}


def refusal(parse: Callable[[], object]) -> str:
    """Return the message with which something is refused."""
    with pytest.raises(SettingsError) as caught:
        parse()
    return str(caught.value)


# -- budgets


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("450steps", Budget(450, "steps")),
        ("5e6tokens", Budget(5_000_000, "tokens")),
        ("1e13flops", Budget(1e13, "flops")),
        ("1E+13flops", Budget(1e13, "flops")),
        ("40cpu-s", Budget(40, "cpu-s")),
        ("300s", Budget(300, "s")),
        (" 1.5 s ", Budget(1.5, "s")),
        (".5s", Budget(0.5, "s")),
    ],
)
def test_a_budget_is_an_amount_and_a_unit(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "450",
            "steps",
            "450 step",
            "450stepss",
            "450Steps",
            "0steps",
            "-5steps",
            "1e999steps",
            "nansteps",
        ),
        *("450steps 300s", "4 5steps", "infs", "1e-999s", "٣s", "5m", "5h", "450steps\n300s"),
    ],
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    message = refusal(lambda: parse_budget(text))
    assert message.startswith(f"evalloop_budget is {text!r}, which is no budget. ")
    assert "450steps, 5e6tokens, 1e13flops, 40cpu-s or 300s" in message


def test_a_budget_is_spelled_as_it_is_read() -> None:
    assert [str(Budget(amount, "s")) for amount in (450, 450.0, 0.25, 5e6, 1e13)] == [
        "450s",
        "450s",
        "0.25s",
        "5000000s",
        "1e+13s",
    ]


# -- times, sizes, commands, paths


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 28800),
        ("1h30m", 5400),
        ("90s", 90),
        ("90", 90),
        ("1.5h", 5400),
        (" 2M ", 120),
        ("0.5", 0.5),
        ("1m30s", 90),
    ],
)
def test_a_length_of_time_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text, "--evalloop-time") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0s", "-5", "5 minutes", "h", "1h 30m", "1e3", "nan", "inf", "5d", "9" * 400],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    message = refusal(lambda: parse_seconds(text, "--evalloop-time"))
    assert message == (
        f"--evalloop-time is {text!r}, which is no length of time. Write for example 8h, 1h30m or 90s."
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5 kb", 1500),
        ("1KiB", 1024),
        ("0.001KB", 1),
        (" 3gib ", 3 * 2**30),
    ],
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert parse_bytes(text, "evalloop_memory") == size


@pytest.mark.parametrize(
    "text",
    ["", "0GB", "2", "GB", "-1GB", "2TB", "2G", "1e3MB", "0.0001kb", "9" * 400 + "KB"],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    message = refusal(lambda: parse_bytes(text, "evalloop_memory"))
    assert message == f"evalloop_memory is {text!r}, which is no size. Write for example 2GB or 512MiB."


def test_a_command_is_split_as_a_shell_splits_it_but_nothing_is_expanded() -> None:
    assert parse_command("python -m 'my model' \"$HOME\" *.py a\\ b", "evalloop_train") == (
        *("python", "-m", "my model", "$HOME", "*.py", "a b"),
    )
    assert parse_command("", "evalloop_train") == ()


def test_a_quotation_that_is_not_closed_is_refused() -> None:
    message = refusal(lambda: parse_command("python 'train", "evalloop_train"))
    assert message == (
        'evalloop_train is "python \'train", which cannot be split into words (No closing quotation). '
        "Close the quotation."
    )


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("data/val", "data/val"),
        ("./data//val/", "data/val"),
        (f"{ROOT}/data", "data"),
        (str(ROOT), "."),
        (".", "."),
        ("..data", "..data"),
    ],
)
def test_a_path_is_kept_relative_to_the_root(value: str, path: str) -> None:
    assert relative(ROOT, value, "evalloop_data") == path


@pytest.mark.parametrize("value", ["/etc/passwd", "/home/me/project2/data", "/home/me"])
def test_a_path_outside_of_the_project_is_refused(value: str) -> None:
    assert refusal(lambda: relative(ROOT, value, "evalloop_data")) == (
        f"evalloop_data names {value!r}, which lies outside of the project {ROOT}. Use a path inside of it."
    )


@pytest.mark.parametrize("value", ["..", "../data", "data/../../x", f"{ROOT}/../x"])
def test_a_path_that_leads_out_is_refused(value: str) -> None:
    assert refusal(lambda: relative(ROOT, value, "evalloop_data")) == (
        f"evalloop_data names {value!r}, which leads out of the project. Use a path without '..'."
    )


# -- everything together


def test_the_defaults_are_those_that_the_help_promises() -> None:
    settings = read({}, INI, ROOT)
    assert settings == Settings(
        root=ROOT,
        train=("python", "-m", "model.train"),
        load="model.adapter:load",
        budget=Budget(450, "steps"),
        mutable=("model/*.py",),
    )
    assert (settings.evals, settings.data, settings.hidden) == (("evals",), "data/train", ())
    assert (settings.mutators, settings.seeds, settings.agent_seconds) == (("prompt", "search"), 8, 600)
    assert (settings.train_seconds, settings.grade_seconds) == (7200, 1800)
    assert settings.overdraft == 0.25


def test_null_candidates_have_a_mutator_and_a_run_of_their_own() -> None:
    settings = read({"aa": "20", "mutator": ["agent"]}, INI, ROOT)
    assert (settings.aa, settings.run, settings.mutators, settings.candidates) == (True, "aa", ("null",), 20)
    assert read({"aa": "20", "run": "quiet"}, INI, ROOT).run == "quiet"
    assert not read({}, INI, ROOT).aa


def test_racing_can_be_switched_off() -> None:
    assert read({}, {**INI, "race": "0"}, ROOT).race == 0.0
    assert read({}, {**INI, "defer": "0"}, ROOT).defer == 0
    assert read({}, INI, ROOT).defer == 3


def test_every_value_has_its_place() -> None:
    ini: dict[str, object] = {
        "train": "train --all",
        "load": "a.b:c",
        "prepare": "prepare data",
        "budget": "40cpu-s",
        "mutable": ["a/*", "b"],
        "evals": ["evals/", "./more"],
        "data": "d/t",
        "hidden": ["d/v", f"{ROOT}/d/w"],
        "prompt": "p.md",
        "space": "s.py",
        "agent": "claude -p",
        "agent_time": "5m",
        "memory": "2GB",
        "seeds": "4",
        "most_seeds": "6",
        "level": "0.01",
        "min_effect": "0.002",
        "race": "0.05",
        "defer": "2",
        "vault_seeds": "3",
        "tryout": "2m",
        "train_limit": "1h",
        "grade_limit": "90s",
        "mutator": ["search"],
        "candidates": "7",
        "time": "8h",
        "target": "2.2",
        "patience": "3",
        "run": "night",
    }
    assert read({"workers": "2"}, ini, ROOT) == Settings(
        root=ROOT,
        train=("train", "--all"),
        load="a.b:c",
        prepare=("prepare", "data"),
        budget=Budget(40, "cpu-s"),
        mutable=("a/*", "b"),
        evals=("evals", "more"),
        data="d/t",
        hidden=("d/v", "d/w"),
        prompt="p.md",
        space="s.py",
        agent=("claude", "-p"),
        agent_seconds=300,
        memory_bytes=2 * 10**9,
        seeds=4,
        most_seeds=6,
        level=0.01,
        min_effect=0.002,
        race=0.05,
        defer=2,
        vault_seeds=3,
        tryout=120.0,
        train_seconds=3600,
        grade_seconds=90,
        mutators=("search",),
        candidates=7,
        seconds=28800,
        target=2.2,
        patience=3,
        run="night",
        workers="2",
    )


def test_a_flag_wins_over_the_ini_file() -> None:
    flags = {"budget": "9s", "mutator": ["agent"], "candidates": "2", "run": None}
    settings = read(flags, {**INI, "mutator": ["search"], "candidates": "7", "run": "night"}, ROOT)
    assert (settings.budget, settings.mutators) == (Budget(9, "s"), ("agent",))
    assert (settings.candidates, settings.run) == (2, "night")


def test_a_target_may_lie_below_one_bit() -> None:
    assert read({"target": "0.25"}, INI, ROOT).target == 0.25


def test_a_mutator_named_twice_counts_once_and_order_is_kept() -> None:
    assert read({"mutator": ["b", "a", "b"]}, INI, ROOT).mutators == ("b", "a")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("budget", "fast", "evalloop_budget is 'fast'"),
        ("train", "a 'b", "evalloop_train is"),
        ("prepare", "a 'b", "evalloop_prepare is"),
        ("agent", "a 'b", "evalloop_agent is"),
        ("data", "/etc", "evalloop_data names '/etc'"),
        ("prompt", "../p", "evalloop_prompt names '../p'"),
        ("space", "/s", "evalloop_space names '/s'"),
        ("evals", ["evals", ".."], "evalloop_evals names '..'"),
        ("hidden", ["/x"], "evalloop_hidden names '/x'"),
        ("agent_time", "soon", "evalloop_agent_time is 'soon'"),
        ("time", "never", "evalloop_time is 'never'"),
        ("train_limit", "0", "evalloop_train_limit is '0'"),
        ("grade_limit", "-", "evalloop_grade_limit is '-'"),
        ("memory", "much", "evalloop_memory is 'much'"),
        ("candidates", "0", "--evalloop-candidates is '0'. Give a whole number of at least 1."),
        ("candidates", "3.5", "--evalloop-candidates is '3.5'. Give a whole number of at least 1."),
        ("patience", "-1", "--evalloop-patience is '-1'. Give a whole number of at least 1."),
        ("seeds", "1", "evalloop_seeds is '1'. Give a whole number of at least 2."),
        ("most_seeds", "0", "evalloop_most_seeds is '0'. Give a whole number of at least 1."),
        ("level", "0", "evalloop_level is '0'. Give a positive number"),
        ("level", "0.5", "evalloop_level is '0.5': more than one in ten candidates that change nothing"),
        ("min_effect", "-1", "evalloop_min_effect is '-1'. Give a positive number"),
        ("race", "0.6", "evalloop_race is '0.6': a training that is as likely to win as not"),
        ("defer", "soon", "evalloop_defer is 'soon'. Give a whole number of at least 0."),
        ("race", "-1", "evalloop_race is '-1'. Give a positive number"),
        ("aa", "0", "--evalloop-aa is '0'. Give a whole number of at least 1."),
        ("target", "0", "--evalloop-target is '0'. Give the bits per byte at which the loop may stop"),
        ("target", "nan", "--evalloop-target is 'nan'. Give the bits per byte at which the loop may stop"),
        ("target", "inf", "--evalloop-target is 'inf'. Give the bits per byte at which the loop may stop"),
        ("target", "low", "--evalloop-target is 'low'. Give the bits per byte at which the loop may stop"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_option(name: str, value: object, message: str) -> None:
    assert refusal(lambda: read({}, {**INI, name: value}, ROOT)).startswith(message)


# -- what cannot be done without


@pytest.mark.parametrize(
    ("changed", "loop", "message"),
    [
        ({"load": ""}, False, "evalloop_load is not set"),
        ({"load": "model.adapter"}, False, "evalloop_load is 'model.adapter', which names no function"),
        (
            {"load": "model/adapter.py:load"},
            False,
            "evalloop_load is 'model/adapter.py:load', which names no function",
        ),
        ({"load": "a:b:c"}, False, "evalloop_load is 'a:b:c', which names no function"),
        ({"load": "a:b()"}, False, "evalloop_load is 'a:b()', which names no function"),
        ({"train": ()}, False, "evalloop_train is not set"),
        ({"mutable": ()}, True, "evalloop_mutable is not set"),
    ],
)
def test_what_is_missing_is_named_with_an_example(
    changed: dict[str, object], loop: bool, message: str
) -> None:
    settings = dataclasses.replace(read({}, INI, ROOT), **changed)  # type: ignore[arg-type]
    said = refusal(lambda: require(settings, loop=loop))
    assert said.startswith(message)
    assert "model" in said.partition(". ")[2]


def test_grading_alone_needs_nothing_mutable() -> None:
    settings = read({}, {**INI, "mutable": []}, ROOT)
    require(settings, loop=False)
    require(read({}, INI, ROOT), loop=True)


# -- requirements


def test_labels_lie_in_the_project_and_the_document_where_it_is_asked_for() -> None:
    default = read({}, INI, ROOT)
    assert (default.labels, default.prd) == ("evals/labels", None)
    chosen = read({"prd": "/tmp/R.HTML"}, {**INI, "labels": "labels", "prd": "docs/R.md"}, ROOT)
    assert (chosen.labels, chosen.prd) == ("labels", "/tmp/R.HTML")
    assert "evalloop_labels names '../x'" in refusal(lambda: read({}, {**INI, "labels": "../x"}, ROOT))


@pytest.mark.parametrize("path", ["evals", "docs/R.txt", "md"])
def test_a_document_says_by_its_name_what_it_is(path: str) -> None:
    message = refusal(lambda: read({"prd": path}, INI, ROOT))
    assert message.startswith(
        f"--evalloop-prd is {path!r}, which names no document. Give a file that ends in .md"
    )
