"""Judging through a real socket: every way in which an endpoint fails, and what is asked only once."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response

from pytest_evalloop.review.judgements import Judgement, judgements
from pytest_evalloop.review.judges import Judge, JudgeError
from pytest_evalloop.review.wording import SCHEMA
from tests.judging import MODEL, Model, completion, example, honest, judge, said, stored

SOON = {"retry-after-ms": "1", "content-type": "application/json"}  # so that nobody sleeps


def one(model: Model, cache: Path, *, output: str = "good", repeat: int = 0, **more: Any) -> Judgement:
    """Judge one trace."""
    asked = stored("t-1", output)
    return judgements(model.judge(**more), [asked], cache, repeat=repeat, environment={})["t-1"]


def fails(model: Model, cache: Path, **more: Any) -> str:
    """Judge one trace in vain and return what is said of it."""
    with pytest.raises(JudgeError) as caught:
        one(model, cache, **more)
    message = str(caught.value)
    assert message.startswith("Judge FM-07 gave no verdict on trace t-1: ")
    assert not list(cache.rglob("*.json"))
    return message.removeprefix("Judge FM-07 gave no verdict on trace t-1: ")


def test_a_judge_passes_and_fails(model: Model, tmp_path: Path) -> None:
    found = judgements(model.judge(), [stored("a", "good"), stored("b", "BAD")], tmp_path, environment={})
    assert {name: each.passed for name, each in found.items()} == {"a": True, "b": False}
    assert all(each.critique and not each.reused for each in found.values())


def test_what_is_sent_is_what_the_judge_says(model: Model, tmp_path: Path) -> None:
    shown = example(stored("e", "BAD"), passed=False)
    asked = model.judge(shown, parameters={"temperature": 0.5, "top_k": 3})
    judgements(asked, [stored("a", "answer pass")], tmp_path, environment={"OPENAI_API_KEY": "k"})
    (sent,) = model.asked
    assert (sent["model"], sent["temperature"], sent["top_k"]) == (MODEL, 0.5, 3)
    assert sent["response_format"] == SCHEMA
    assert sent.keys() == {"model", "messages", "response_format", "temperature", "top_k"}
    assert [each["role"] for each in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert [index for index, each in enumerate(sent["messages"]) if "answer pass" in each["content"]] == [3]


def test_prose_is_no_verdict(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: completion("I would say that it passes.")
    message = fails(model, tmp_path)
    assert message.startswith("it answered in prose where JSON belongs: 'I would say that it passes.'")
    assert "Use a model that keeps to a JSON schema" in message


def test_a_verdict_before_the_critique_is_none(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: completion({"verdict": "pass", "critique": "fine"})
    assert fails(model, tmp_path).startswith("it gave its verdict before it gave a critique")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (completion('{"critique": "it is', finish_reason="length"), "its answer was cut off"),
        (completion(None, message={"refusal": "I cannot"}), "it refused: 'I cannot'"),
        (completion(None), "its answer is empty"),
        (completion(""), "its answer is empty"),
    ],
    ids=["cut off", "refusal", "none", "empty"],
)
def test_half_an_answer_is_no_verdict(
    model: Model, tmp_path: Path, answer: Mapping[str, Any], message: str
) -> None:
    model.reply = lambda _: answer
    assert fails(model, tmp_path).startswith(message)


@pytest.mark.parametrize(
    "answer",
    [
        "{",
        "<html>hello</html>",
        "null",
        "[]",
        "{}",
        '{"model": "judge-2026-01-31", "choices": []}',
        '{"choices": 4}',
    ],
)
def test_what_is_no_chat_completion_is_said(model: Model, tmp_path: Path, answer: str) -> None:
    model.reply = lambda _: answer
    message = fails(model, tmp_path)
    assert "/v1 answered with something other than a chat completion: " in message
    assert "Check base_url" in message


def test_another_model_than_the_one_that_was_asked_is_an_error(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: {**said("pass"), "model": "judge-mini"}
    message = fails(model, tmp_path)
    assert "was asked for the model 'judge-2026-01-31' and answered with 'judge-mini'" in message


def test_a_model_that_changes_between_two_traces_is_an_error(model: Model, tmp_path: Path) -> None:
    model.reply = lambda asked: (
        said("pass") if "first" in asked["messages"][-1]["content"] else {**said("pass"), "model": "x"}
    )
    with pytest.raises(JudgeError, match=r"on trace second: .* answered with 'x'"):
        judgements(model.judge(), [stored("first"), stored("second")], tmp_path, environment={})


def test_an_endpoint_that_is_busy_is_asked_again(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: said("pass") if len(model.asked) > 1 else Response("{}", 429, SOON)
    assert one(model, tmp_path, retries=1).passed
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("status", "remedy"), [(500, "Try again later."), (503, "Try again later."), (429, "Wait, or ask for")]
)
def test_an_endpoint_that_stays_ill_is_given_up(
    model: Model, tmp_path: Path, status: int, remedy: str
) -> None:
    model.reply = lambda _: Response('{"error": "overloaded"}', status, SOON)
    message = fails(model, tmp_path, retries=2)
    assert f'answered with status {status}: \'{{"error": "overloaded"}}\'. {remedy}' in message
    assert "What was judged so far is kept; run the same command again." in message
    assert len(model.asked) == 3


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "Check [parameters]."), (401, "Check the key."), (404, "Check base_url")]
)
def test_an_endpoint_that_refuses_is_not_asked_again(
    model: Model, tmp_path: Path, status: int, remedy: str
) -> None:
    model.reply = lambda _: Response("no", status)
    assert f"answered with status {status}: 'no'. {remedy}" in fails(model, tmp_path, retries=2)
    assert len(model.asked) == 1


def test_an_endpoint_that_never_answers_is_given_up(model: Model, tmp_path: Path) -> None:
    def silent(_: Mapping[str, Any]) -> object:
        model.release.wait(30)
        return said("pass")

    model.reply = silent
    message = fails(model, tmp_path, timeout=0.1)
    assert "gave no answer within 0.1 s, in 1 try. Raise timeout" in message


def test_an_endpoint_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"http://127\.0\.0\.1:9/v1 cannot be reached, in 1 try"):
        judgements(judge(), [stored("a")], tmp_path, environment={})


def test_without_a_key_nothing_leaves_the_machine(tmp_path: Path) -> None:
    remote = judge("https://llm.example.org/v1", key="LLM_KEY")
    with pytest.raises(JudgeError, match=r"has no key for https://llm\.example\.org/v1\. Set LLM_KEY"):
        judgements(remote, [stored("a")], tmp_path, environment={"OPENAI_API_KEY": "k"})


def test_what_was_asked_is_not_asked_again(model: Model, tmp_path: Path) -> None:
    first = one(model, tmp_path)
    again = one(model, tmp_path)
    assert (again.passed, again.critique, again.reused) == (first.passed, first.critique, True)
    assert len(model.asked) == 1


def test_what_is_known_needs_no_endpoint(model: Model, tmp_path: Path) -> None:
    asked = model.judge()
    judgements(asked, [stored("a")], tmp_path, environment={})
    elsewhere = judge("https://llm.example.org/v1", retries=0)
    assert elsewhere.fingerprint == asked.fingerprint
    assert judgements(elsewhere, [stored("a")], tmp_path, environment={})["a"].reused


def test_repeats_are_asked_for_one_by_one(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: said("pass" if len(model.asked) == 1 else "fail")
    verdicts = [one(model, tmp_path, repeat=repeat).passed for repeat in (0, 1, 0, 1)]
    assert verdicts == [True, False, True, False]
    assert len(model.asked) == 2


def test_a_changed_judge_asks_anew(model: Model, tmp_path: Path) -> None:
    one(model, tmp_path)
    assert not one(model, tmp_path, prompt="another").reused
    assert not one(model, tmp_path, parameters={"seed": 1}).reused
    assert len(model.asked) == 3


def test_a_changed_trace_is_judged_anew(model: Model, tmp_path: Path) -> None:
    assert one(model, tmp_path, output="good").passed
    assert not one(model, tmp_path, output="BAD").passed


@pytest.mark.parametrize("damage", [b"", b"{", b'{"passed": "yes", "critique": ""}', b"\xff"])
def test_a_damaged_verdict_is_asked_for_again(model: Model, tmp_path: Path, damage: bytes) -> None:
    one(model, tmp_path)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(damage)
    assert not one(model, tmp_path).reused
    assert one(model, tmp_path).reused


def test_what_came_in_before_a_failure_is_kept(model: Model, tmp_path: Path) -> None:
    model.reply = lambda asked: (
        Response("no", 400) if "t-3" in asked["messages"][-1]["content"] else honest(asked)
    )
    traces = [stored(f"t-{number}") for number in range(4)]
    with pytest.raises(JudgeError, match="on trace t-3"):
        judgements(model.judge(), traces, tmp_path, environment={})
    model.reply = honest
    found = judgements(model.judge(), traces, tmp_path, environment={})
    assert [each.reused for each in found.values()] == [True, True, True, False]


def test_after_a_failure_nothing_more_is_asked(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: Response("no", 400)
    with pytest.raises(JudgeError, match="on trace t-0"):
        judgements(model.judge(), [stored(f"t-{number}") for number in range(200)], tmp_path, environment={})
    assert len(model.asked) < 200


def test_several_are_asked_at_once(model: Model, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    def together(asked: Mapping[str, Any]) -> object:
        both.wait()
        return honest(asked)

    model.reply = together
    assert len(judgements(model.judge(), [stored("a"), stored("b")], tmp_path, environment={})) == 2


def test_a_trace_that_no_text_can_hold_is_sent_all_the_same(model: Model, tmp_path: Path) -> None:
    assert one(model, tmp_path, output="\ud800 \x00 \x1b[2J").passed
    assert "\\ud800 \x00 \x1b[2J" in model.asked[0]["messages"][-1]["content"]


def test_a_verdict_is_kept_as_text_that_can_be_read(model: Model, tmp_path: Path) -> None:
    model.reply = lambda _: said("fail", "zu kurz ü")
    one(model, tmp_path)
    (kept,) = tmp_path.rglob("*.json")
    assert json.loads(kept.read_text()) == {"passed": False, "critique": "zu kurz ü"}
    assert kept.parent.name == model.judge().fingerprint


def test_nothing_to_judge_asks_nobody(tmp_path: Path) -> None:
    assert judgements(Judge("FM-07", "p", "m", "http://127.0.0.1:9"), [], tmp_path) == {}
