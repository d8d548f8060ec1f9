"""Asks mutators for candidates, in turn, and puts what they propose on record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_evalloop.loop.merging import Merger
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.record import Record
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.protocols import Mutator, MutatorError
from pytest_evalloop.records import Brief, Candidate, Proposal
from pytest_evalloop.settings import Settings
from pytest_evalloop.store.staging import UnfitTree
from pytest_evalloop.suite.project import SEED


class Proposer:
    """Has mutators edit worktrees that stand at the tip of the run's branch."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        workshop: Workshop,
        mutators: Mapping[str, Mutator],
        observer: Observer,
        merger: Merger,
    ) -> None:
        self._settings = settings
        self._record = record
        self._workshop = workshop
        self._mutators = dict(mutators)
        self._observer = observer
        self._merger = merger

    def propose(self) -> Candidate:
        """Put the next candidate on record: a merge that is due, or what the next mutator proposes.

        A mutator's failure costs one candidate.
        """
        if (merged := self._merger.propose()) is not None:
            self._record.proposed(merged)
            return merged
        number = len(self._record.candidates())
        # The tip first: while others decide, an incumbent that is asked for on its own may be a later one.
        tip = self._record.tip()
        incumbent = self._record.at(tip) or self._record.baseline()
        names = list(self._mutators)
        name = names[(number - 1) % len(names)]
        self._observer.stage(number, "mutating", name)
        with self._workshop.edit(number, tip) as worktree:
            brief = self._brief(number, worktree, incumbent, tip)
            try:
                proposal = self._mutators[name].propose(brief)
                failure = ""
            except MutatorError as error:
                proposal, failure = Proposal("no proposal"), str(error)
            except Exception as error:  # noqa: BLE001 - a mutator is an extension; its bug costs one candidate
                proposal, failure = Proposal("no proposal"), f"{type(error).__name__}: {error}"
            try:
                commit = tip if failure else self._workshop.commit(worktree, proposal.description)
            except UnfitTree as error:
                commit, failure = tip, str(error)
        candidate = Candidate(
            run=incumbent.run,
            number=number,
            parent=tip,
            commit=commit,
            mutator=name,
            description=" ".join(proposal.description.split())[:200],
            parameters=dict(proposal.parameters),
            detail=failure,
            budget=incumbent.budget,
        )
        self._record.proposed(candidate)
        return candidate

    def _brief(self, number: int, worktree: Path, incumbent: Candidate, tip: str) -> Brief:
        settings = self._settings
        program = settings.root / "program.md"
        return Brief(
            run=incumbent.run,
            number=number,
            seed=SEED,
            worktree=str(worktree),
            incumbent=tip,
            incumbent_bpb=incumbent.bpb if incumbent.bpb is not None else float("nan"),
            history=self._record.candidates(),
            mutable=settings.mutable,
            budget=settings.budget,
            train_data=str(settings.root / settings.data),
            prompt=settings.prompt,
            space=settings.space,
            log=str(self._workshop.folder(number) / "mutator.log"),
            program=program.read_text(encoding="utf-8", errors="replace") if program.is_file() else None,
        )
