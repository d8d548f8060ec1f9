"""Who leads among the candidates that look better and wait for a verdict, and when it is due: from the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_evalloop.records import Candidate, Decision, Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """The candidate that leads, if one waits; those that wait behind it; and the verdicts since it was proposed."""

    leader: Candidate | None
    behind: tuple[Candidate, ...]
    since: int


def waits(candidate: Candidate) -> bool:
    """Tell whether a candidate was graded and may be better, but has no verdict yet."""
    return candidate.decision is None and candidate.bpb is not None


def standing(candidates: Sequence[Candidate]) -> Standing:
    """Return who leads: who has the lowest bits per byte under its first seed, and of equals who came first."""
    waiting = sorted(
        filter(waits, candidates), key=lambda candidate: (candidate.bpb or 0.0, candidate.number)
    )
    if not waiting:
        return Standing(None, (), 0)
    leader, *behind = waiting
    later = [other for other in candidates if other.number > leader.number and other.decision is not None]
    return Standing(leader, tuple(behind), len(later))


def due(found: Standing, patience: int, target: float | None = None) -> bool:
    """Tell whether the leader is to be measured under further seeds now.

    It is once `patience` later candidates have their verdicts, or when it is as low as the run is to come.
    """
    if found.leader is None or found.leader.bpb is None:
        return False
    return found.since >= patience or (target is not None and found.leader.bpb <= target)


def rival(candidate: Candidate, candidates: Sequence[Candidate], incumbent: Candidate) -> Candidate:
    """Return whom a candidate's training races against: who leads, where that is lower than the incumbent."""
    leader = standing(candidates).leader
    if leader is None or leader.number == candidate.number or leader.bpb is None or incumbent.bpb is None:
        return incumbent
    return leader if leader.bpb < incumbent.bpb else incumbent


def overtaken(candidate: Candidate, leader: Candidate) -> Decision:
    """Return the verdict on a candidate that waited until a lower one came.

    It counts as compared with that one: where both were made from one parent and are good on their own, their merge
    is proposed.
    """
    assert candidate.bpb is not None
    assert leader.bpb is not None
    reason = (
        f"candidate {leader.number} came to {leader.bpb:.4f} bpb under one seed, and this one to {candidate.bpb:.4f}, "
        "before it was measured under further seeds"
    )
    delta = leader.bpb - candidate.bpb
    return Decision(Verdict.REJECTED, reason, delta, seeds=1, against=leader.number)
