"""Judges as files: what one has to say, and the fingerprint of what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review import wording
from pytest_evalloop.review.endpoint import is_local
from pytest_evalloop.review.judges import Example, Judge, JudgeError, judge_files, read_judge
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.review.wording import Verdict
from tests.judging import MODE, example, judge, labelled, stored, write_judge

PLAIN = 'prompt = "It says BAD."\nmodel = "gpt-5-mini-2025-08-07"\n'
REMOTE = PLAIN + 'base_url = "https://llm.example.org/v1"\n'
TRACES, LABELS = labelled(2, 2)


def read(folder: Path, text: str, **environment: str) -> Judge:
    return read_judge(write_judge(folder, text), TRACES, LABELS, environment)


def test_a_judge_needs_a_prompt_a_model_and_an_endpoint(tmp_path: Path) -> None:
    assert read(tmp_path, REMOTE) == Judge(
        mode=MODE,
        prompt="It says BAD.",
        model="gpt-5-mini-2025-08-07",
        base_url="https://llm.example.org/v1",
    )


def test_a_judge_may_say_more(tmp_path: Path) -> None:
    text = (
        f'mode = "{MODE}"\n{REMOTE}examples = ["t-001", "t-003"]\nkey = "LLM_KEY"\ntimeout = 5\nretries = 0\n'
    )
    found = read(tmp_path, text + "[parameters]\ntemperature = 0.0\nseed = 7\n")
    assert (found.key, found.timeout, found.retries) == ("LLM_KEY", 5.0, 0)
    assert found.parameters == {"temperature": 0.0, "seed": 7}
    assert found.examples == (
        Example(TRACES["t-001"], Verdict(passed=True, critique="It does not occur here.")),
        Example(TRACES["t-003"], Verdict(passed=False, critique="says BAD")),
    )


def test_the_environment_may_name_the_endpoint_and_the_file_comes_first(tmp_path: Path) -> None:
    there = "http://elsewhere.example.org/v1"
    assert read(tmp_path, PLAIN, OPENAI_BASE_URL=there).base_url == there
    assert read(tmp_path, REMOTE, OPENAI_BASE_URL=there).base_url == "https://llm.example.org/v1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt = ", "is no TOML: "),
        (PLAIN, "nothing is sent anywhere that was not named"),
        (PLAIN + 'base_url = "llm.example.org"', "which is no address of an endpoint"),
        ('model = "m-2025-01-01"', "has no prompt"),
        ('prompt = "  "\nmodel = "m"', "has no prompt"),
        ('prompt = "p"', "has no model"),
        (REMOTE + 'modle = "x"', "sets 'modle', which no judge has. It has mode, prompt, model,"),
        (REMOTE + "retries = true", "sets retries to True, which is of the wrong kind"),
        (REMOTE + 'timeout = "5 s"', "sets timeout to '5 s', which is of the wrong kind"),
        (REMOTE + "timeout = 0", "needs a timeout of up to 3600 seconds and up to 10 retries"),
        (REMOTE + "timeout = nan", "needs a timeout of up to 3600 seconds"),
        (REMOTE + "retries = 11", "up to 10 retries"),
        (REMOTE + 'mode = "FM-01"', "is for the mode 'FM-01'. Name the file FM-01.toml"),
        (REMOTE + 'examples = ["t-009"]', "shows the trace 't-009', which is not known"),
        (REMOTE + "examples = [7]", "shows the trace 7, which is not known"),
        (
            REMOTE + "[parameters]\nstream = true",
            "sets stream in [parameters], which is not a judge's to choose",
        ),
        (REMOTE + "[parameters]\ntemperature = nan", "cannot be sent as JSON"),
        (REMOTE + "[parameters]\nsince = 2026-01-01", "cannot be sent as JSON"),
    ],
)
def test_a_file_that_makes_no_judge_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(JudgeError) as caught:
        read(tmp_path, text)
    assert "FM-07.toml" in str(caught.value)
    assert message in str(caught.value)


def test_a_judge_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"FM-01\.toml cannot be read: No such file"):
        read_judge(tmp_path / "FM-01.toml", {}, {}, {})


def test_an_example_without_a_label_is_refused(tmp_path: Path) -> None:
    path = write_judge(tmp_path, REMOTE + 'examples = ["t-000"]')
    unsaid = {"t-000": replace(LABELS["t-000"], modes={"FM-01": True})}
    for labels in ({}, unsaid):
        with pytest.raises(JudgeError, match=r"no label says whether FM-07 occurs in it\. Label"):
            read_judge(path, TRACES, labels, {})


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4.1-2025-04-14",
        "claude-sonnet-4-5-20250929",
        "gpt-4-0613",
        "gemini-2.0-flash-001",
        "mistral-large-2411",
        "some/model@0123abc",
        "weights@sha256:0123456789abcdef",
    ],
)
def test_a_pinned_snapshot_may_be_anywhere(tmp_path: Path, model: str) -> None:
    assert read(tmp_path, REMOTE.replace("gpt-5-mini-2025-08-07", model)).model == model


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "claude-sonnet-4-5", "gpt-4o-latest", "llama3:latest", "mixtral-8x7b-32768", "o3", "qwen-72b"],
)
def test_a_name_that_may_change_its_model_is_for_local_endpoints(tmp_path: Path, model: str) -> None:
    text = REMOTE.replace("gpt-5-mini-2025-08-07", model)
    with pytest.raises(JudgeError, match="which may become another one under the same name"):
        read(tmp_path, text)
    assert read(tmp_path, text.replace("https://llm.example.org", "http://localhost:8000")).model == model


@pytest.mark.parametrize(
    ("base_url", "local"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://llm.localhost/v1", True),
        ("https://localhost.example.org/v1", False),
        ("https://8.8.8.8/v1", False),
        ("https://user@localhost:1@llm.example.org/v1", False),
    ],
)
def test_local_is_what_the_address_says(base_url: str, local: bool) -> None:
    assert is_local(base_url) is local


def test_the_judges_of_a_project_are_found_by_mode(tmp_path: Path) -> None:
    assert judge_files(tmp_path) == {}
    one, other = write_judge(tmp_path, PLAIN), write_judge(tmp_path, PLAIN, "FM-01")
    assert judge_files(tmp_path) == {"FM-01": other, MODE: one}


SHOWN = example(stored("a", "BAD"), passed=False)
BASE = judge(examples=[SHOWN], parameters={"temperature": 0})


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        (replace(BASE, prompt=BASE.prompt + " "), "prompt"),
        (replace(BASE, model="judge-2026-02-01"), "model"),
        (replace(BASE, parameters={"temperature": 1}), "parameters"),
        (replace(BASE, parameters={}), "parameters"),
        (replace(BASE, examples=()), "examples"),
        (replace(BASE, examples=(SHOWN, SHOWN)), "examples"),
        (replace(BASE, examples=(example(stored("a", "BAD!"), passed=False),)), "examples"),
        (replace(BASE, examples=(example(SHOWN.trace, passed=True),)), "examples"),
        (replace(BASE, examples=(example(SHOWN.trace, passed=False, critique="it does"),)), "examples"),
    ],
    ids=["prompt", "model", "parameter", "no parameter", "none", "twice", "content", "verdict", "critique"],
)
def test_the_fingerprint_changes_with_whatever_makes_a_verdict(changed: Judge, part: str) -> None:
    assert changed.fingerprint != BASE.fingerprint
    assert [name for name, digest in changed.parts.items() if digest != BASE.parts[name]] == [part]


def test_the_fingerprint_changes_with_the_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BASE.fingerprint
    monkeypatch.setattr("pytest_evalloop.review.judges.FRAME", wording.FRAME + "!")
    assert BASE.fingerprint != before


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, base_url="https://llm.example.org/v1", key="K", timeout=1.0, retries=9),
        replace(BASE, parameters=dict(BASE.parameters)),
        replace(
            BASE,
            examples=(
                replace(
                    SHOWN,
                    trace=StoredTrace("b", "elsewhere", 2.0, Trace("question of a", "BAD", (), {"n": 1})),
                ),
            ),
        ),
    ],
    ids=["how it is reached", "equal", "names and metadata"],
)
def test_the_fingerprint_stays_with_what_makes_no_difference(same: Judge) -> None:
    assert same.fingerprint == BASE.fingerprint


def test_the_order_of_parameters_does_not_matter() -> None:
    one, other = judge(parameters={"a": 1, "b": 2}), judge(parameters={"b": 2, "a": 1})
    assert one.fingerprint == other.fingerprint
