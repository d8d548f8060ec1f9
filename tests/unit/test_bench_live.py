"""Replay and reality: which runs are made anew, what is compared, and the rows that come of it."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.live import Asked, Pair, about_loop, about_runs, as_told, lines, pick, replayed, retold
from bench.reality import CONFIG, ROOT, RUN, Real, Repeat, Step, Told, restricted, tell, without
from bench.table import Header, Point, Recorded, Table, load
from pytest_evalloop.loop.stopping import Found
from pytest_evalloop.mutators.space import read
from pytest_evalloop.records import (
    Candidate,
    Decision,
    DocumentScore,
    Run,
    Status,
    Training,
    Verdict,
)
from pytest_evalloop.store.home import Home
from pytest_evalloop.store.ledger import Ledger
from tests.unit.test_bench_replay import BEST, HEADER, NOISY

SOURCE = (ROOT / CONFIG).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def header() -> Header:
    return load().header


# -- the project that things are done in


def test_the_model_can_be_put_into_the_grid_and_nowhere_else(header: Header) -> None:
    source = restricted(SOURCE, header)
    found = read(source.encode())
    assert [parameter.name for parameter in found] == list(header.space)
    assert {parameter.name: tuple(parameter.grid()) for parameter in found} == header.space


def test_the_model_has_the_values_of_the_table(header: Header, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    module = ModuleType("restricted")
    monkeypatch.setitem(sys.modules, "restricted", module)  # a dataclass looks its module up
    exec(restricted(SOURCE, header), module.__dict__)
    assert dataclasses.asdict(module.Config()) == dict(header.base)


@pytest.mark.parametrize("change", [{"depth": 3}, {"width": None}], ids=["more", "less"])
def test_a_model_with_other_values_than_the_table_is_refused(
    header: Header, change: dict[str, object]
) -> None:
    base = {name: value for name, value in {**header.base, **change}.items() if value is not None}
    with pytest.raises(LookupError, match=f"do not both have {next(iter(change))}"):
        restricted(SOURCE, replace(header, base=base))


def test_a_function_goes_with_its_decorator() -> None:
    source = "import a\n\n\n@a.b\ndef one():\n    pass\n\n\ndef two():\n    pass\n"
    assert without(source, "one") == "import a\n\n\n\n\ndef two():\n    pass\n"
    with pytest.raises(LookupError, match="no function three"):
        without(source, "three")


# -- runs


def test_the_default_is_always_made_anew_and_no_run_twice() -> None:
    found = pick(NOISY, 5, 0)
    assert found == pick(NOISY, 5, 0) != pick(NOISY, 5, 1)
    assert found[0] == (dict(HEADER.default), 0)
    assert len({(HEADER.key(choice), seed) for choice, seed in found}) == 6
    assert all((HEADER.key(choice), seed) in NOISY.runs for choice, seed in found)


def test_all_of_a_table_can_be_made_anew() -> None:
    found = pick(NOISY, len(NOISY.runs) - 1, 3)
    assert {(HEADER.key(choice), seed) for choice, seed in found} == set(NOISY.runs)


@given(
    st.integers(1, 60).flatmap(
        lambda steps: st.tuples(
            st.just([*range(5, steps, 5), steps]),
            st.lists(st.floats(0, 10), min_size=(steps + 4) // 5, max_size=(steps + 4) // 5),
        )
    )
)
def test_a_line_is_the_mean_of_the_steps_since_the_last_one(points: tuple[list[int], list[float]]) -> None:
    ends, values = points
    steps = ends[-1]
    curve = [Point(end, end / steps, bpb) for end, bpb in zip(ends, values, strict=True)]
    found = lines(curve, 10)
    assert [line.step for line in found] == [*range(10, steps, 10), steps]
    assert all(line.fraction == line.step / steps for line in found)

    def total(told: list[Point]) -> float:
        starts = [0, *(line.step for line in told)]
        return sum(line.train_bpb * (line.step - start) for line, start in zip(told, starts, strict=False))

    assert total(list(found)) == pytest.approx(total(curve))


def test_the_table_as_told_keeps_all_but_the_curves() -> None:
    found = as_told(NOISY)
    assert found.header.every == 10
    assert found.runs.keys() == NOISY.runs.keys()
    assert all(replace(found.runs[place], curve=run.curve) == run for place, run in NOISY.runs.items())


def real(run: Recorded, more: float = 0.0, pace: float = 1.0) -> Real:
    """Return a run as on record, with so many bits per byte more, at so many times the compute."""
    val = tuple(replace(score, bits=score.bits + more * score.bytes) for score in run.val)
    seconds = pace * run.train_seconds
    return Real(run.config, run.seed, run.steps, seconds + 4, seconds, lines(run.curve, 10), val)


def pairs(more: float = 0.0, pace: float = 1.0) -> list[Pair]:
    runs = [NOISY.find(choice, seed) for choice, seed in pick(NOISY, 6, 0)]
    return [Pair(run, real(run, more, pace)) for run in runs]


def kept(more: float = 0.0, pace: float = 1.0) -> list[bool]:
    return [figure.kept for figure in about_runs(pairs(more, pace), 0.01) if figure.kept is not None]


def test_runs_as_on_record_keep_all_bounds() -> None:
    figures = about_runs(pairs(), 0.01)
    assert [figure.value for figure in figures[1:]] == [
        "0.0e+00",
        "0.000",
        "0.0000",
        "1.000",
        "1.000 (1.000 to 1.000)",
        "4.0 (4.0 to 4.0)",
    ]
    assert kept() == [True] * len(kept())


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tenth_of_the_noise_is_the_most_that_a_run_may_differ(sign: int) -> None:
    assert kept(sign * 0.00099)[0]
    assert not kept(sign * 0.00101)[0]


def test_steps_may_not_cost_much_more_or_less_than_on_record() -> None:
    assert [kept(pace=pace)[-1] for pace in (0.8, 0.9, 1.1, 1.2)] == [False, True, True, False]


def test_one_run_that_differs_is_told() -> None:
    found = pairs()
    found[2] = Pair(found[2].recorded, real(found[2].recorded, -0.5))
    assert found[2].bpb == pytest.approx(-0.5)
    assert found[2].document == pytest.approx(1500)
    figures = about_runs(found, 0.01)
    assert (figures[1].value, figures[1].kept) == ("5.0e-01", False)
    assert figures[2].value == "1500.000"


def test_what_cannot_be_compared_is_refused() -> None:
    run = NOISY.find({}, 0)
    other = replace(real(run), val=(DocumentScore("z", 1.0, 1000), run.val[1]))
    with pytest.raises(ValueError, match="other validation documents"):
        _ = Pair(run, other).document
    early = replace(real(run), curve=(Point(9, 9 / 40, 3.0), *lines(run.curve, 10)[1:]))
    with pytest.raises(ValueError, match="other steps"):
        _ = Pair(run, early).curve


# -- the loop


@pytest.fixture(scope="module")
def played() -> Told:
    return replayed(NOISY, 6)


def test_a_replay_tells_its_candidates_and_what_it_trained(played: Told) -> None:
    assert len(played.steps) == 6
    assert played.steps[0].parent == HEADER.default
    assert any(step.accepted for step in played.steps)
    trained = {(HEADER.key(each.choice), each.seed) for each in played.trainings}
    assert len(trained) == len(played.trainings)
    firsts = [HEADER.default, *(step.choice for step in played.steps)]
    assert {(HEADER.key(choice), 0) for choice in firsts} <= trained


def test_a_loop_that_went_as_its_replay_is_proposed_the_same_again(played: Told) -> None:
    asked = retold(NOISY, played)
    assert [each.proposal for each in asked] == [step.choice for step in played.steps]
    assert [each.step.choice for each in asked] == [step.choice for step in played.steps]
    assert [each.step.parent for each in asked] == [step.parent for step in played.steps]
    figures = {figure.name: figure for figure in about_loop(played, played, asked, 0.0)}
    same = figures["a loop of 6 candidates, asked of the replay one by one: the same proposals"]
    assert (same.value, same.kept) == ("6 of 6", True)
    parted = figures[
        "the same loop, replayed from its beginning: candidates before proposal or verdict differ"
    ]
    assert parted.value == "6 of 6"
    costs = figures["… CPU-s of all trainings, their start apart, over the replay's"]
    assert costs.value.startswith("1.000 (")
    assert costs.kept


def test_a_default_with_more_seeds_on_record_than_the_rest_gets_no_more_in_the_replay() -> None:
    more = {(HEADER.key({}), seed): replace(NOISY.find({}, seed % 3), seed=seed) for seed in range(3, 8)}
    played = replayed(Table(HEADER, {**NOISY.runs, **more}), 6)
    assert max(each.seed for each in played.trainings) < 3


def step(verdict: str, lr: float) -> Step:
    choice = {**HEADER.default, "lr": lr}
    return Step(choice, HEADER.default, 40, verdict == "accepted", 0.3 if verdict == "stopped" else None, 2.5)


def test_other_proposals_and_verdicts_are_told() -> None:
    first, second = step("rejected", 0.02), step("stopped", 0.04)
    went = Told((first, second), (Repeat(HEADER.default, 0, 40, 10.0), Repeat(HEADER.default, 3, 40, 9.0)))
    other = Told((first, step("accepted", 0.04)), (Repeat(HEADER.default, 0, 40, 12.5),))
    asked = (Asked(first.choice, first), Asked(BEST, step("accepted", 0.04)))
    figures = about_loop(went, other, asked, 2.0)
    assert [(figure.value, figure.kept) for figure in figures] == [
        ("1 of 2", False),
        ("1 of 2", False),
        ("rejected after 40 steps, 2.5000 bpb; replayed rejected after 40 steps, 2.5000 bpb", None),
        (
            "stopped at 30% of 40 steps, 2.5000 bpb expected; replayed accepted after 40 steps, 2.5000 bpb",
            None,
        ),
        ("1 of 2", None),
        ("0 accepted, 1 rejected, 1 stopped; 1 accepted, 1 rejected, 0 stopped", None),
        ("1.200 (15 over 12)", False),
        ("1, of them 1 under seeds that the table does not have of all; 0", None),
    ]
    assert figures[3].name == "… 2: lr 0.01 -> 0.04"


def test_a_loop_is_read_from_its_ledger(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    numbers = random.Random(0)
    with Ledger.open(home.ledger) as ledger:
        ledger.create_run(Run(RUN, 0.0, "h", "c0", {}))

        def decide(candidate: Candidate, decision: Decision, bpb: float | None) -> None:
            ledger.add_candidate(candidate)
            done = Status.COMPLETED if bpb is not None else Status.KILLED
            seconds = float(numbers.randrange(5, 10))
            ledger.add_training(
                RUN, candidate.number, 0, Training(f"k{candidate.number}", 0, done, "", seconds, 1.0, 1)
            )
            commit = candidate.commit if decision.verdict is Verdict.ACCEPTED else None
            ledger.decide(replace(candidate, decision=decision, bpb=bpb, accepted_commit=commit))

        def proposed(number: int, parent: str, old: float, new: float, budget: str) -> Candidate:
            parameters = {"changed": {"lr": [old, new]}, "values": {**HEADER.default, "lr": new}}
            names = (RUN, number, parent, f"c{number}", "search", "")
            return Candidate(*names, parameters=parameters, budget=budget)

        decide(Candidate(RUN, 0, "h", "c0", "baseline", ""), Decision(Verdict.ACCEPTED, ""), 2.5)
        decide(proposed(1, "c0", 0.01, 0.02, ""), Decision(Verdict.ACCEPTED, "less", 0.1), 2.4)
        decide(proposed(2, "c1", 0.02, 0.04, "30steps"), Decision(Verdict.REJECTED, "more", -0.25), None)
        folder = home.candidate(RUN, 2)
        folder.mkdir(parents=True)
        (folder / "race.json").write_bytes(msgspec.json.encode(Found(0.35, 0.01, 0.25, stopped=True)))
    found = tell(tmp_path, HEADER)
    assert [(each.seed, each.steps) for each in found.trainings] == [(0, 40), (0, 40), (0, 30)]
    first, second = found.steps
    assert (first.choice["lr"], first.parent["lr"], first.verdict, first.bpb) == (0.02, 0.01, "accepted", 2.4)
    assert (second.choice["lr"], second.parent["lr"], second.verdict) == (0.04, 0.02, "stopped")
    assert (second.stopped, second.steps) == (0.35, 30)
    assert second.bpb == pytest.approx(2.65)
    assert second.reason == "more"
