"""What the gradings of stand-ins say about a suite: pure judgement, its sentences, and the matrix."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from pytest_evalloop.loop.findings import Canary, Mode, Planted, judge, refusals, remarks, unnoticed
from pytest_evalloop.records import CaseOutcome, Grade, Rate, Status
from pytest_evalloop.report.canary import findings, matrix

ENDS = Rate("FM-01", "never ends", 0, 2, 0.5, 0.6, passed=True, generates=True, tests=("evals/a.py::ends",))
NAMES = Rate(
    "FM-02", "has no names", 0, 2, 0.8, 0.0, passed=True, generates=True, tests=("evals/b.py::C::names",)
)
ENCODES = Rate("FM-03", "loses text", 0, 1, 0.9, 0.0, passed=True, tests=("evals/c.py::encodes",))
NODES = (
    "evals/a.py::ends[0]",
    "evals/a.py::ends[1::x]",
    "evals/b.py::C::names[0]",
    "evals/b.py::C::names[1]",
    "evals/c.py::encodes",
    "evals/d.py::bpb",
    "evals/d.py::other[1]",
    "evals/a.py::FM-01",
)


def graded(*rates: Rate, exit_status: int = 0, **outcomes: str) -> Grade:
    """Return a grade in which the named nodes (by index, as n5) ended otherwise than passed."""
    cases = tuple(
        CaseOutcome(node, outcomes.get(f"n{index}", "passed"), 0.1)
        for index, node in enumerate(NODES)
        if outcomes.get(f"n{index}") != "absent"
    )
    return Grade(Status.COMPLETED, exit_status, cases, rates, (), 1.0, 2.0, host_seconds=0.1)


BASELINE = graded(ENDS, NAMES, ENCODES)
CONTROL = BASELINE


def failing(rate: Rate, failures: int) -> Rate:
    return dataclasses.replace(rate, failures=failures, passed=False)


def planted(grade: Grade | str) -> Planted:
    (fault,) = judge(BASELINE, {"uniform": grade}, CONTROL).faults
    return fault


def test_a_suite_that_passes_has_not_caught_the_fault() -> None:
    assert planted(BASELINE) == Planted("uniform")
    assert not planted(BASELINE).caught


@pytest.mark.parametrize(
    ("grade", "modes", "tests"),
    [
        (graded(failing(ENDS, 2), NAMES, ENCODES, n7="failed"), ("FM-01",), ()),
        (graded(ENDS, failing(NAMES, 1), ENCODES, n3="failed"), ("FM-02",), ()),
        (graded(ENDS, NAMES, ENCODES, n5="failed"), (), ("evals/d.py::bpb",)),
        (graded(ENDS, NAMES, n4="error"), ("FM-03",), ()),
        (graded(n6="skipped", n5="error"), (), ("evals/d.py::bpb", "evals/d.py::other")),
        (graded(ENDS, NAMES, ENCODES, n6="absent"), (), ("evals/d.py::other",)),
        (graded(ENDS, NAMES, n4="failed", n5="absent", n6="absent"), ("FM-03",), ()),
    ],
    ids=[
        "a tolerant rate",
        "a strict one",
        "a plain test",
        "an error",
        "several",
        "a missing test",
        "stopped early",
    ],
)
def test_what_fails_has_caught_the_fault(
    grade: Grade, modes: tuple[str, ...], tests: tuple[str, ...]
) -> None:
    assert planted(grade) == Planted("uniform", modes, tests)


@pytest.mark.parametrize(
    ("grade", "trouble"),
    [
        ("its training crashed: out of steps", "its training crashed: out of steps"),
        (
            dataclasses.replace(BASELINE, status=Status.TIMED_OUT, detail="after 90 s"),
            "the eval process timed out: after 90 s",
        ),
        (
            dataclasses.replace(
                BASELINE, host_seconds=0.0, outcomes=(CaseOutcome("a", "error", 0.1, "E   no\nmore"),)
            ),
            "no",
        ),
    ],
)
def test_what_could_not_be_planted_is_not_caught(grade: Grade | str, trouble: str) -> None:
    fault = planted(grade)
    assert (fault.caught, fault.trouble) == (False, trouble)
    assert trouble in unnoticed(fault)


def modes(control: Grade | str) -> dict[str, tuple[int, int]]:
    return {mode.id: (mode.false_alarms, mode.cases) for mode in judge(BASELINE, {}, control).modes}


def test_false_alarms_are_counted_for_modes_that_look_at_text_and_for_no_other() -> None:
    assert modes(CONTROL) == {"FM-01": (0, 2), "FM-02": (0, 2), "FM-03": (0, 0)}
    control = graded(failing(ENDS, 1), failing(NAMES, 2), n1="error", n2="failed", n3="failed", n7="failed")
    assert modes(control) == {"FM-01": (2, 2), "FM-02": (2, 2), "FM-03": (0, 0)}


def test_without_a_control_no_rate_is_known() -> None:
    assert set(modes("it crashed").values()) == {(0, 0)}
    canary = judge(BASELINE, {}, "it crashed")
    assert any("unknown: it crashed" in sentence for sentence in remarks(canary))


def test_a_plain_test_that_blames_people_is_remarked() -> None:
    canary = judge(BASELINE, {}, graded(ENDS, NAMES, ENCODES, n6="failed"))
    assert canary.blaming == ("evals/d.py::other",)
    assert "evals/d.py::other fails on human text" in " ".join(remarks(canary))


CAUGHT = Planted("uniform", ("FM-01",), ("evals/d.py::bpb",))
MISSED = Planted("mine")


def canary(*faults: Planted, alarms: int = 0, allowed: float = 0.05) -> Canary:
    return Canary(faults, (Mode("FM-01", "never ends", alarms, 40, allowed),), ("evals/d.py::bpb",))


def test_a_suite_that_no_fault_can_fail_is_refused_with_their_names() -> None:
    (sentence,) = refusals(canary(MISSED, Planted("unigram"), Planted("x", trouble="no")))
    assert "every test passes on each of mine, unigram." in sentence
    assert refusals(canary(MISSED, CAUGHT)) == ()
    (sentence,) = refusals(canary(Planted("x", trouble="no")))
    assert sentence.startswith("No fault could be planted")


@pytest.mark.parametrize(
    ("alarms", "allowed", "refused"), [(2, 0.05, False), (3, 0.05, True), (3, 0.1, False)]
)
def test_more_false_alarms_than_allowed_cannot_gate(alarms: int, allowed: float, refused: bool) -> None:
    found = canary(CAUGHT, alarms=alarms, allowed=allowed)
    assert bool(refusals(found)) is refused
    assert found.passed is not refused
    if refused:
        (sentence,) = refusals(found)
        assert "FM-01 (never ends) raises false alarms: its check fails on 3 of 40 human texts" in sentence
        assert "which is 7.5 %, and 5 % are allowed" in sentence
        assert "Repair the check, or raise false_alarms" in sentence


def test_a_fault_that_is_not_noticed_and_a_mode_that_catches_nothing_are_named() -> None:
    found = canary(MISSED, Planted("uniform", (), ("evals/d.py::bpb",)))
    assert not found.passed
    assert unnoticed(MISSED) == (
        "The suite does not notice the fault mine: every test passes. Write a check that fails on it."
    )
    assert unnoticed(found.faults[1]) == ""
    assert "FM-01 (never ends) catches no planted fault" in " ".join(remarks(found))
    assert remarks(canary(CAUGHT)) == ()


def test_what_is_kept_is_what_is_read() -> None:
    found = judge(BASELINE, {"uniform": graded(n5="failed"), "mine": "no"}, CONTROL, 12.5)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Canary) == found


def test_the_matrix_shows_modes_tests_faults_and_false_alarms() -> None:
    found = canary(CAUGHT, MISSED, Planted("broken", trouble="no"), alarms=3)
    lines = matrix(found)
    assert lines[0].split() == ["1", "2", "3", "false", "alarms"]
    assert " ".join(lines[1].split()) == "FM-01 never ends x . ? 3 of 40 (7.5 %) > 5 %"
    assert lines[2].split() == ["evals/d.py::bpb", "x", ".", "?"]
    assert " 1 uniform  a model that expects every byte alike, and writes noise" in lines
    assert findings(found)[-1].startswith("1 of 3 faults caught")
    assert [line[:4] for line in findings(found) if line[:4] in {"FAIL", "NOTE"}] == ["FAIL", "FAIL", "FAIL"]


def test_a_mode_without_a_rate_shows_a_dash_and_not_zero() -> None:
    found = dataclasses.replace(canary(CAUGHT), modes=(Mode("FM-01", "loses text", 0, 0, 0.05),))
    assert matrix(found)[1].split()[-1] == "-"


def test_the_matrix_fits_a_hundred_columns_whatever_is_in_it() -> None:
    faults = tuple(Planted(f"fault-{number}-{'y' * 24}", ("FM-01",)) for number in range(30))
    long = "evals/" + "x" * 200 + ".py::test_" + "z" * 90
    modes = (Mode("FM-01", "w" * 150, 12, 40, 0.05), Mode("FM-02", "short", 0, 1000, 0.05))
    found = Canary(faults, modes, (long,), (long,), trouble="t " * 100, seconds=1234.0)
    assert max(map(len, matrix(found))) <= 100
    assert max(map(len, findings(found))) <= 100
    assert sum(line.endswith("false alarms") for line in matrix(found)) == 1
    marks = [line.split().count("x") for line in matrix(found) if line.startswith("FM-01")]
    assert sum(marks) == 30
