"""Two changes that were each good on their own, from one parent, are proposed together."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_evalloop.loop.acceptance import Rule, judge, shares_weights
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.record import TAMPERING, Record
from pytest_evalloop.loop.repeats import Repeats
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate, Verdict
from pytest_evalloop.store.git import GitError

MERGE = "merge"
"""The mutator's name of merged candidates; no other may have it."""


class Merger:
    """Finds candidates whose incumbent moved while they were tried, and merges them with the one that came first.

    What is due follows from the record alone, so a loop that is killed merges the same pairs after it.
    """

    def __init__(
        self, record: Record, workshop: Workshop, observer: Observer, repeats: Repeats, rule: Rule
    ) -> None:
        self._record = record
        self._workshop = workshop
        self._observer = observer
        self._repeats = repeats
        self._rule = rule
        self._refused: set[tuple[int, int]] = set()

    def propose(self) -> Candidate | None:
        """Return the next merged candidate, not yet on record; None if none is due."""
        tip = self._record.tip()
        incumbent = self._record.at(tip)
        if incumbent is None or incumbent.number == 0 or incumbent.revoked:
            return None
        for partner in self._partners(incumbent):
            first, second = sorted((incumbent, partner), key=lambda candidate: candidate.number)
            pair = (first.number, second.number)
            if pair in self._refused:
                continue
            description = f"candidates {pair[0]} and {pair[1]}: {first.description}; {second.description}"
            if (commit := self._merged(incumbent, partner, tip, description)) is None:
                self._refused.add(pair)
                continue
            return Candidate(
                run=incumbent.run,
                number=len(self._record.candidates()),
                parent=tip,
                commit=commit,
                mutator=MERGE,
                description=description[:200],
                parameters={"merges": list(pair)},
                budget=incumbent.budget,
            )
        return None

    def _merged(self, incumbent: Candidate, partner: Candidate, tip: str, description: str) -> str | None:
        try:
            return self._workshop.merge(incumbent, partner, tip, f"Merge {description}")
        except GitError as error:
            self._observer.note(
                f"candidates {incumbent.number} and {partner.number} are not merged, which needs git 2.38: {error}"
            )
            return None

    def _partners(self, incumbent: Candidate) -> Iterator[Candidate]:
        """Yield the candidates to merge the incumbent with: from another parent's time, and good on their own."""
        decided = {candidate.number: candidate for candidate in self._record.decided_candidates()}
        merged = [
            candidate.parameters.get("merges")
            for candidate in self._record.candidates()
            if candidate.mutator == MERGE
        ]
        for candidate in decided.values():
            parent = self._record.at(candidate.parent)
            against = candidate.decision.against if candidate.decision is not None else None
            if parent is None or parent.revoked or against in {None, parent.number}:
                continue  # it was compared with its own parent, or with nobody
            pair = {candidate.number, against}
            if incumbent.number not in pair or sorted(pair) in merged:
                continue
            other = next(number for number in pair if number != incumbent.number)
            partner = decided[other]
            if not partner.revoked and (candidate.stands or self._good(candidate, parent)):
                yield partner

    def _good(self, candidate: Candidate, parent: Candidate) -> bool:
        """Tell whether a candidate that was rejected for its bpb alone may be better than its own parent."""
        verdict = candidate.decision
        if not candidate.passed or verdict is None or verdict.delta is None:
            return False
        won = verdict.margin is not None and verdict.delta > verdict.margin
        if won or verdict.reason.startswith(TAMPERING):
            return False  # it was refused for something else
        measured, known = self._record.measurements(candidate), self._record.measurements(parent)
        if not shares_weights(known, measured):
            known = self._record.reference(parent) or known
        decision = judge(known, measured, (), self._repeats.noise(), self._rule)
        return decision is None or decision.verdict is Verdict.ACCEPTED
