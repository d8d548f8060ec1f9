"""Judges and checks against people, and the gate: through a real socket, and on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response

from pytest_evalloop.review.events import Label
from pytest_evalloop.review.judges import Judge, JudgeError
from pytest_evalloop.review.looks import Look, read_looks, record
from pytest_evalloop.review.rates import Agreement
from pytest_evalloop.review.splits import Split, human, read_splits, settle
from pytest_evalloop.review.traces import ReviewError
from pytest_evalloop.review.validation import (
    Disagreement,
    Validation,
    gate_problem,
    validate,
    validate_verdicts,
)
from pytest_evalloop.store.home import StoreError
from tests.judging import MODE, Model, example, judge, label, labelled, said, stored

GOOD = Agreement(20, 18, 20, 19)


class Desk:
    """Labelled traces in a folder, and a judge that is measured against them."""

    def __init__(self, folder: Path, passes: int = 50, fails: int = 50) -> None:
        self.folder, self.cache = folder / "labels", folder / "judgements"
        self.traces, self.labels = labelled(passes, fails)

    def splits(self) -> dict[str, Split]:
        return settle(self.folder, MODE, human(self.labels.values(), MODE))

    def of(self, split: Split, *, occurs: bool) -> list[str]:
        return [
            trace
            for trace, where in self.splits().items()
            if where is split and self.labels[trace].modes[MODE] is occurs
        ]

    def validate(self, judge: Judge, split: str, at: float = 1.0) -> Validation:
        return validate(
            judge,
            self.labels,
            self.traces,
            split,
            folder=self.folder,
            cache=self.cache,
            at=at,
            environment={},
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_good_judge_is_measured_on_test_and_may_gate(model: Model, desk: Desk) -> None:
    found = desk.validate(model.judge(), "test", at=7.0)
    assert found.agreement.true_passes == found.agreement.passes
    assert found.agreement.true_fails == found.agreement.fails
    assert 20 <= found.agreement.passes <= 22
    assert (found.split, found.look, found.others, found.disagreements) == ("test", 1, 0, ())
    (look,) = read_looks(desk.folder)
    assert (look.mode, look.fingerprint, look.at) == (MODE, model.judge().fingerprint, 7.0)
    assert look.agreement == found.agreement
    assert gate_problem(model.judge(), read_looks(desk.folder)) == ""


def test_dev_is_read_as_often_as_need_be_and_leaves_no_look(model: Model, desk: Desk) -> None:
    first, second = (desk.validate(model.judge(), "dev") for _ in range(2))
    assert first == second
    assert (first.split, first.look) == ("dev", 0)
    assert read_looks(desk.folder) == ()
    assert "never validated" in gate_problem(model.judge(), read_looks(desk.folder))


def test_a_judge_sees_only_the_split_that_it_is_measured_on(model: Model, desk: Desk) -> None:
    desk.validate(model.judge(), "dev")
    sent = {asked["messages"][-1]["content"] for asked in model.asked}
    expected = {trace for trace, split in desk.splits().items() if split is Split.DEV}
    assert len(sent) == len(expected)
    assert all(any(f"question of {trace}\n" in text for text in sent) for trace in expected)


def test_train_is_not_for_measuring(model: Model, desk: Desk) -> None:
    with pytest.raises(JudgeError, match="measure it on dev, then once on test"):
        desk.validate(model.judge(), "train")
    assert model.asked == []


def test_disagreements_say_which_way_and_why(model: Model, desk: Desk) -> None:
    lenient, strict = desk.of(Split.DEV, occurs=True)[0], desk.of(Split.DEV, occurs=False)[0]
    desk.traces[lenient] = stored(lenient, "good")
    desk.traces[strict] = stored(strict, "BAD")
    found = desk.validate(model.judge(), "dev")
    one, other = found.disagreements
    assert (one.trace, one.kind, one.note) == (lenient, "false pass", "says BAD")
    assert (other.trace, other.kind, other.note) == (strict, "false fail", "")
    assert f"'{strict}'" in other.critique
    assert found.agreement.passes - found.agreement.true_passes == 1
    assert found.agreement.fails - found.agreement.true_fails == 1


def test_a_second_look_says_so(model: Model, desk: Desk) -> None:
    first, second = desk.validate(model.judge(), "test", 1.0), desk.validate(model.judge(), "test", 2.0)
    assert "look" not in first.sentence
    assert (second.look, second.others) == (2, 0)
    assert "This is look 2 at the test split with the same fingerprint" in second.sentence
    assert [look.at for look in read_looks(desk.folder)] == [1.0, 2.0]
    assert len({look.split for look in read_looks(desk.folder)}) == 1


def test_another_version_starts_anew_and_says_how_often_the_split_was_read(model: Model, desk: Desk) -> None:
    desk.validate(model.judge(), "test")
    found = desk.validate(model.judge(prompt="It says BAD, really."), "test")
    assert (found.look, found.others) == (1, 1)
    assert "Other versions of this judge were tested on the split 1 time already" in found.sentence


def test_the_digest_of_a_split_changes_with_its_labels(model: Model, desk: Desk) -> None:
    desk.validate(model.judge(), "test")
    changed = desk.of(Split.TEST, occurs=True)[0]
    desk.labels[changed] = label(changed, occurs=False)
    desk.validate(model.judge(), "test")
    one, other = read_looks(desk.folder)
    assert one.split != other.split


def test_a_look_is_on_record_only_when_there_are_figures(model: Model, desk: Desk) -> None:
    model.reply = lambda _: Response("no", 400)
    with pytest.raises(JudgeError, match="gave no verdict on trace"):
        desk.validate(model.judge(), "test")
    assert read_looks(desk.folder) == ()


def test_no_figures_are_given_when_the_look_cannot_be_recorded(model: Model, desk: Desk) -> None:
    desk.splits()
    (desk.folder / "looks.jsonl").mkdir()
    with pytest.raises(StoreError, match=r"looks\.jsonl"):
        desk.validate(model.judge(), "test")


@pytest.mark.parametrize("split", [Split.DEV, Split.TEST])
def test_examples_come_from_train(model: Model, desk: Desk, split: Split) -> None:
    taken = desk.of(split, occurs=True)[0]
    with pytest.raises(JudgeError) as caught:
        desk.validate(model.judge(example(desk.traces[taken], passed=False)), "dev")
    assert f"shows the trace '{taken}', which is in the {split} split" in str(caught.value)
    assert desk.of(Split.TRAIN, occurs=True)[0] in str(caught.value)
    assert model.asked == []
    allowed = desk.of(Split.TRAIN, occurs=True)[0]
    assert desk.validate(model.judge(example(desk.traces[allowed], passed=False)), "dev").disagreements == ()


def test_the_first_examples_become_train(model: Model, desk: Desk) -> None:
    desk.validate(model.judge(example(desk.traces["t-099"], passed=False)), "dev")
    assert read_splits(desk.folder, MODE)["t-099"] is Split.TRAIN


def test_an_example_without_a_label_is_in_no_split(model: Model, desk: Desk) -> None:
    with pytest.raises(JudgeError, match="which is in no split, having no label"):
        desk.validate(model.judge(example(stored("elsewhere"), passed=True)), "dev")


def test_an_example_may_not_come_back_under_another_name(model: Model, desk: Desk) -> None:
    tested, shown = desk.of(Split.TEST, occurs=True)[0], desk.of(Split.TRAIN, occurs=True)[0]
    desk.traces[shown] = replace(desk.traces[tested], id=shown)
    with pytest.raises(JudgeError, match=f"shows the trace '{shown}', which says the same as '{tested}'"):
        desk.validate(model.judge(example(desk.traces[shown], passed=False)), "test")


def test_without_labels_there_is_nothing_to_measure(model: Model, tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=r"No trace in the dev split is labelled for FM-07\. Label about 50"):
        Desk(tmp_path, 0, 0).validate(model.judge(), "dev")


def test_a_lost_trace_is_named(model: Model, desk: Desk) -> None:
    lost = desk.of(Split.DEV, occurs=True)[0]
    del desk.traces[lost]
    with pytest.raises(JudgeError, match=f"Labelled traces of FM-07 are lost: {lost}"):
        desk.validate(model.judge(), "dev")


def test_a_judge_that_always_passes_cannot_gate(model: Model, desk: Desk) -> None:
    model.reply = lambda _: said("pass")
    found = desk.validate(model.judge(), "test")
    assert (found.agreement.tpr, found.agreement.tnr) == (1.0, 0.0)
    assert {each.kind for each in found.disagreements} == {"false pass"}
    assert "cannot gate: TPR 1.00" in gate_problem(model.judge(), read_looks(desk.folder))


def test_a_check_is_measured_on_every_label_that_it_has_a_verdict_for() -> None:
    labels = {
        "a": label("a", occurs=False),
        "b": label("b", occurs=True, note="too long"),
        "c": label("c", occurs=True),
        "d": Label("d", passed=True),
    }
    found = validate_verdicts({"a": True, "b": True, "d": False, "x": True}, labels, MODE)
    assert found == Validation(
        MODE,
        Agreement(1, 1, 1, 0),
        (Disagreement("b", said=True, note="too long"),),
        unjudged=("c",),
    )
    assert found.sentence == (
        "FM-07: TPR 1.00 (1 of 1, 95 % bounds 0.207 to 1.000), TNR 0.00 (0 of 1, 95 % bounds 0.000 to 0.793); "
        "target 0.90, minimum 0.80."
    )


def test_a_check_without_labels_has_no_figures() -> None:
    assert "TPR unknown (no labels), TNR unknown" in validate_verdicts({}, {}, MODE).sentence


def look(of: Judge, agreement: Agreement = GOOD, **more: Any) -> Look:
    values = {"parts": of.parts, "at": 1.0, "split": "s", **more}
    return Look(of.mode, of.fingerprint, agreement=agreement, **values)


def test_a_validated_judge_may_gate() -> None:
    assert gate_problem(judge(), [look(judge())]) == ""


@pytest.mark.parametrize(
    ("looks", "problem"),
    [
        (
            [],
            "Judge FM-07 was never validated against labels, so it cannot gate. Validate it on its test split",
        ),
        ([replace(look(judge()), mode="FM-01")], "was never validated"),
        (
            [look(judge(prompt="old"))],
            "was changed since it was validated (prompt), so it cannot gate. Validate",
        ),
        ([look(judge(prompt="old", model="m-2025-01-01"))], "validated (prompt, model), so"),
        ([look(judge(parameters={"seed": 1}))], "validated (parameters), so"),
        (
            [look(judge(examples=[example(stored("a"), passed=True)])), look(judge(prompt="newer"))],
            "validated (prompt), so",
        ),
        (
            [look(judge(), Agreement(14, 14, 20, 20))],
            "14 passes and 20 fails, which is too few to gate: at least 15",
        ),
        ([look(judge(), Agreement(20, 20, 0, 0))], "on 20 passes and 0 fails, which is too few"),
        (
            [look(judge(), Agreement(20, 15, 20, 20))],
            "cannot gate: TPR 0.75 (15 of 20, 95 % bounds 0.531 to 0.888)",
        ),
        ([look(judge(), Agreement(20, 20, 20, 15))], "TNR 0.75 (15 of 20"),
        ([look(judge()), look(judge(), Agreement(20, 20, 20, 15))], "TNR 0.75 (15 of 20"),
    ],
)
def test_any_other_judge_may_not_and_is_told_why(looks: list[Look], problem: str) -> None:
    assert problem in gate_problem(judge(), looks)


def test_the_minimum_and_the_least_labels_can_be_set() -> None:
    looks = [look(judge(), Agreement(20, 16, 20, 20))]
    assert gate_problem(judge(), looks) == ""
    assert "target 0.90, minimum 0.85. Read where" in gate_problem(judge(), looks, minimum=0.85)
    assert "at least 21 of each" in gate_problem(judge(), looks, fewest=21)


def test_the_look_of_a_check_validates_no_judge() -> None:
    checked = Look(MODE, "check", 1.0, "s", GOOD)
    assert "never validated" in gate_problem(judge(), [checked])
    assert gate_problem(judge(), [look(judge()), checked]) == ""


def test_looks_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = [look(judge()), Look(MODE, "check", 2.5, "s", Agreement(0, 0, 1, 1))]
    for each in written:
        record(tmp_path, each)
    assert read_looks(tmp_path) == tuple(written)


def test_a_torn_look_does_not_count_and_the_next_one_is_whole(tmp_path: Path) -> None:
    record(tmp_path, look(judge()))
    path = tmp_path / "looks.jsonl"
    path.write_bytes(path.read_bytes() + b'{"mode":"FM-')
    assert read_looks(tmp_path) == (look(judge()),)
    record(tmp_path, look(judge(), at=9.0))
    assert [each.at for each in read_looks(tmp_path)] == [1.0, 9.0]


@pytest.mark.parametrize("line", ["{}", "[]", '{"mode": 4}', "nonsense"])
def test_a_damaged_look_is_named(tmp_path: Path, line: str) -> None:
    record(tmp_path, look(judge()))
    path = tmp_path / "looks.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(ReviewError, match=r"looks\.jsonl, line 1 is no look at a test split"):
        read_looks(tmp_path)
