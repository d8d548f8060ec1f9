"""Who leads follows from the record alone, whatever order candidates came in."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.loop.leading import due, overtaken, rival, standing, waits
from pytest_evalloop.loop.references import FEW, enough, least, next_look
from pytest_evalloop.metric.statistics import SeedNoise, seed_noise
from pytest_evalloop.records import Candidate, Decision, Status, Verdict

BASELINE = Candidate(
    "main", 0, "", "", "baseline", "", decision=Decision(Verdict.ACCEPTED, "it passes"), bpb=2.5, passed=True
)


@st.composite
def records(draw: st.DrawFn) -> tuple[Candidate, ...]:
    """Return the baseline and candidates that are in flight, wait, or have a verdict."""
    found = [BASELINE]
    for number in range(1, draw(st.integers(1, 12))):
        candidate = Candidate("main", number, "", "", "search", "")
        kind = draw(st.sampled_from(["flying", "waiting", "rejected", "stopped"]))
        if kind in {"waiting", "rejected"}:
            bpb = draw(st.integers(200, 260)) / 100
            candidate = replace(candidate, bpb=bpb, passed=True, status=Status.COMPLETED)
        if kind in {"rejected", "stopped"}:
            candidate = replace(candidate, decision=Decision(Verdict.REJECTED, "no"))
        found.append(candidate)
    return tuple(found)


@given(records())
def test_the_lowest_leads_and_all_others_that_wait_are_behind_it(candidates: tuple[Candidate, ...]) -> None:
    found = standing(candidates)
    waiting = [candidate for candidate in candidates if waits(candidate)]
    if found.leader is None:
        assert waiting == []
        return
    assert sorted([found.leader, *found.behind], key=lambda each: each.number) == waiting
    assert all((found.leader.bpb, found.leader.number) < (other.bpb, other.number) for other in found.behind)


@given(records(), st.randoms(use_true_random=False))
def test_the_order_in_which_the_record_is_read_changes_nothing(
    candidates: tuple[Candidate, ...], numbers: object
) -> None:
    shuffled = list(candidates)
    numbers.shuffle(shuffled)  # type: ignore[attr-defined]
    assert standing(shuffled) == standing(candidates)


@given(records(), st.integers(0, 5))
def test_a_leader_is_due_after_so_many_later_verdicts_or_at_the_target(
    candidates: tuple[Candidate, ...], patience: int
) -> None:
    found = standing(candidates)
    if found.leader is None:
        assert not due(found, patience, target=9.0)
        return
    number = found.leader.number
    later = sum(each.number > number and each.decision is not None for each in candidates)
    assert due(found, patience) == (later >= patience)
    assert due(found, patience, target=found.leader.bpb)
    assert due(found, 99, target=1.0) is False


@given(records())
def test_once_those_behind_have_their_verdict_the_same_one_leads_alone(
    candidates: tuple[Candidate, ...],
) -> None:
    found = standing(candidates)
    if found.leader is None:
        return
    behind = {other.number for other in found.behind}
    settled = [
        replace(each, decision=overtaken(each, found.leader)) if each.number in behind else each
        for each in candidates
    ]
    again = standing(settled)
    assert (again.leader, again.behind) == (found.leader, ())
    assert again.since == found.since + sum(number > found.leader.number for number in behind)
    for each in settled:
        if each.number in behind:
            assert each.decision is not None
            assert each.decision.against == found.leader.number
            assert each.decision.verdict is Verdict.REJECTED
            assert each.decision.delta is not None
            assert each.decision.delta <= 0


@given(records())
def test_a_candidate_never_races_against_itself_nor_against_who_is_worse_than_the_incumbent(
    candidates: tuple[Candidate, ...],
) -> None:
    for candidate in candidates[1:]:
        other = rival(candidate, candidates, BASELINE)
        assert other is BASELINE or (waits(other) and other.number != candidate.number)
        assert other.bpb is not None
        assert other.bpb <= 2.5


@given(st.integers(0, 40), st.integers(1, 40), st.booleans())
def test_looks_at_an_incumbent_are_few_and_the_same_after_a_kill_between_two_seeds(
    known: int, wanted: int, baseline: bool
) -> None:
    following = next_look(known, wanted, baseline=baseline)
    assert following <= wanted
    assert following > known or following == wanted
    for between in range(known, following):
        assert next_look(between, wanted, baseline=baseline) == following
    looks = {next_look(seeds, wanted, baseline=baseline) for seeds in range(wanted)}
    assert len(looks) <= 1 + wanted.bit_length()
    assert min(looks) == least(wanted, baseline=baseline) == min(wanted, 1 if baseline else FEW)


@given(st.integers(2, 12), st.integers(0, 20), st.floats(0, 0.1))
def test_an_incumbent_gets_all_seeds_until_the_noise_is_known(seeds: int, freedom: int, sd: float) -> None:
    assert enough(None, seeds) == seeds
    noise = SeedNoise(sd, freedom)
    found = enough(noise, seeds)
    if freedom >= seeds - 2:
        assert found == min(seeds, FEW)
    else:
        assert found == (1 if noise.still else seeds)


def test_where_seeds_change_nothing_one_is_enough() -> None:
    assert enough(seed_noise([[2.0, 2.0]]), 8) == 1
