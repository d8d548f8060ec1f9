"""What the requirements document is made of: the same on every machine, whatever was merged, lost or renamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.judges import read_judge
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.looks import Look, record
from pytest_evalloop.review.modes import Mode, write_modes
from pytest_evalloop.review.rates import Agreement
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.suite.catalogue import Catalogue, Test, Verdicts
from pytest_evalloop.suite.dossier import Requirement, flags
from pytest_evalloop.suite.failure_modes import FailureMode
from pytest_evalloop.suite.gathering import People, requirements
from pytest_evalloop.suite.results import Results

JUDGE = 'prompt = "Does it close?"\nmodel = "some-model-2026-01-01"\n'


def marked(mode: FailureMode, name: str = "test_a") -> Test:
    return Test(f"evals/test_a.py::{name}", "Says so.", mode, objective=False, cases=("x",))


def gathered(folder: Path, *tests: Test, verdicts: tuple[Verdicts, ...] = ()) -> dict[str, Requirement]:
    found = requirements(People.read(folder), Catalogue(tests, (), verdicts), Results(), "pytest evals")
    return {mode.id: mode for mode in found.modes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Labels.open(tmp_path, write=True) as labels:
        for number in range(4):
            trace = StoredTrace(f"t-{number}", "x", 1.0, Trace("in", str(number)))
            labels.change(trace, "me", 1.0 + number, note=f"note {number}", modes={"FM-01": number == 0})
    write_modes(tmp_path, [Mode("FM-01", "stops", "It stops.", "critical", ("t-0", "t-9"), "2026-11-01")])
    return tmp_path


def test_what_people_named_counts_more_than_what_a_marker_says(folder: Path) -> None:
    mode = gathered(folder, marked(FailureMode("FM-01", "ends", "minor", ("t-1", "t-0"), 0.1)))["FM-01"]
    assert (mode.title, mode.severity, mode.called) == ("stops", "critical", ("ends",))
    assert mode.cited == ("t-0", "t-9", "t-1")
    assert [(each.id, each.output, each.note) for each in mode.quoted] == [
        ("t-0", "0", "note 0"),
        ("t-1", "1", "note 1"),
    ]
    assert (mode.rate.failures, mode.rate.labelled) == (1, 4)


def test_a_mode_that_nobody_named_is_described_by_its_marker(folder: Path) -> None:
    found = gathered(
        folder,
        marked(FailureMode("FM-02", "ends", "minor", (), 0.1)),
        verdicts=(Verdicts("a::b", "FM-03", {}),),
    )
    assert (found["FM-02"].title, found["FM-02"].severity, found["FM-02"].named) == ("ends", "minor", False)
    assert list(found) == ["FM-01", "FM-02", "FM-03"]
    assert found["FM-01"].tests == found["FM-03"].tests == ()


def test_a_check_is_measured_on_what_it_gave_a_verdict_on(folder: Path) -> None:
    said = {"t-0": True, "t-1": True, "t-2": False}
    (check,) = gathered(folder, verdicts=(Verdicts("a::b", "FM-01", said, "gave no verdict on 1."),))[
        "FM-01"
    ].checks
    assert check.agreement == Agreement(passes=2, true_passes=1, fails=1, true_fails=0)
    assert [(each.trace, each.said) for each in check.disagreements] == [("t-0", True), ("t-2", False)]
    assert check.problem == "gave no verdict on 1."


def test_traces_that_were_lost_are_not_asked_for(folder: Path) -> None:
    (folder / "traces.jsonl").unlink()
    people = People.read(folder)
    assert list(people.labelled("FM-01")) == []
    mode = gathered(folder)["FM-01"]
    assert mode.quoted == ()
    assert "It cites traces that are not among the kept ones: t-0, t-9." in flags(mode, "")


def judge(folder: Path, text: str = JUDGE) -> Path:
    path = folder / "judges/FM-01.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_a_judge_is_known_by_its_last_look_wherever_it_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = judge(folder)
    never = gathered(folder)["FM-01"].judge
    assert never is not None
    assert never.agreement is None
    assert "never validated against labels, so it cannot gate" in never.problem
    known = read_judge(path, {}, {}, {"OPENAI_BASE_URL": "https://example.org"})
    for at, passes in ((1.0, 10), (86_400.0, 40)):
        found = Agreement(passes, passes, 40, 38)
        record(folder, Look("FM-01", known.fingerprint, at, "x", found, known.parts))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org")
    judged = gathered(folder)["FM-01"].judge
    assert judged is not None
    assert (judged.fingerprint, judged.looked, judged.problem) == (known.fingerprint, "1970-01-02", "")
    assert judged.agreement == Agreement(40, 40, 40, 38)


def test_a_judge_that_cannot_be_used_is_said_in_the_same_words_everywhere(folder: Path) -> None:
    judge(folder, 'prompt = "x"\n')
    judged = gathered(folder)["FM-01"].judge
    assert judged is not None
    assert judged.problem == "judges/FM-01.toml has no model. A judge needs a prompt and a model."
