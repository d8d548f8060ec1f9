"""Measures one candidate for a session of evals: its processes, its score and its samples, every claim audited."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from pytest_evalloop.candidate import audit
from pytest_evalloop.candidate.client import Client
from pytest_evalloop.candidate.devices import accelerators
from pytest_evalloop.candidate.scoring import score
from pytest_evalloop.metric.audit import Surprise
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.protocols import Fault
from pytest_evalloop.records import Audit, Document
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.assignment import Assignment
from pytest_evalloop.suite.hosts import BLIND, HOST, Hosts
from pytest_evalloop.suite.stand_in import Documents, StandIn, open_stand_in

Blind = Callable[[], Client]
"""Returns the process that has seen no document, once it is loaded; raises `CandidateError` if it cannot be."""
Subject: TypeAlias = Client | StandIn
"""What is examined: a candidate behind its wall, or what stands in for it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The objective, a digest of the documents it was measured on, and what its audit found.

    A stand-in is not audited: whether the suite notices it is the question.
    """

    bpb: BitsPerByte
    documents: str
    audit: Audit | None


class Examiner:
    """Asks one candidate on behalf of a session; keeps what `generate` wrote, to audit it at the end.

    A stand-in that is assigned, one of `faults` or human text, answers in the candidate's place.
    """

    def __init__(
        self, settings: Settings, assignment: Assignment, hosts: Hosts, faults: Mapping[str, Fault]
    ) -> None:
        self.assignment = assignment
        self._hosts = hosts
        self._settings = settings
        self._faults = faults
        self._samples: list[audit.Sample] = []
        self._chance = random.SystemRandom()  # no candidate can guess what will be audited

    @contextlib.contextmanager
    def open(self, human: Documents) -> Iterator[Subject]:
        """Yield what encodes, scores and writes; raises `CandidateError` when it cannot be loaded.

        `human` asks for the documents of the control, should that be what is assigned.
        """
        opening: contextlib.AbstractContextManager[Subject] = (
            open_stand_in(self._settings, self.assignment, self._hosts, self._faults, human)
            if self.assignment.stand_in
            else self._hosts.open(HOST)
        )
        with opening as subject:
            yield subject

    def chosen(self, documents: Sequence[Document]) -> Sequence[Document]:
        """Return the documents that are to be scored: all, or the shortest ones up to some bytes, one at least."""
        few = self.assignment.few
        if not few:
            return documents
        shortest = sorted(documents, key=lambda document: len(document.text))
        ends = itertools.accumulate(len(document.text) for document in shortest)
        return shortest[: max(1, sum(end <= few for end in ends))]

    @contextlib.contextmanager
    def open_blind(self) -> Iterator[Blind | None]:
        """Start the process for the audit while others work, and yield how to get at it; None for a stand-in.

        There is none in a tryout either, which is to find mistakes in seconds: who was scored is asked for its
        predictions as well. One that cheats meets a blind process when it is graded.
        """
        if self.assignment.stand_in or self.assignment.few:
            yield None
            return
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            yield pool.submit(stack.enter_context, self._hosts.open(BLIND)).result

    def measure(self, model: Subject, blind: Blind | None, documents: Sequence[Document]) -> Measured:
        """Return the exact bits per byte of `documents`, audited by `blind`, in a tryout by the candidate itself.

        Raises `ScoringError`, `AuditError` or `CandidateError` when the candidate's numbers cannot be trusted.
        """
        known = model.known_score(documents) if isinstance(model, StandIn) else None
        if known is not None:
            return Measured(known, digest(documents), None)
        scored = score(model, documents, primer=model.primer_tokens)
        if isinstance(model, StandIn):
            return Measured(scored.bpb, digest(documents), None)
        audit.audit_encoding(scored, model, documents, self._chance)
        positions = self.assignment.positions or self._settings.audit
        found = audit.audit_score(
            scored,
            blind() if blind is not None else model,
            primer=model.primer_tokens,
            positions=positions,
            tolerance=audit.tolerance(self._settings.audit_tolerance, accelerators()),
            chance=self._chance,
        )
        return Measured(scored.bpb, digest(documents), found)

    def generate(
        self,
        model: Subject,
        prompt: bytes,
        *,
        max_bytes: int = 256,
        seed: int = 0,
        temperature: float = 0.8,
    ) -> bytes:
        """Return what the candidate writes after `prompt`, and keep it for the audit."""
        output = model.generate(prompt, max_bytes=max_bytes, seed=seed, temperature=temperature)
        self._samples.append(audit.Sample(prompt, output, max_bytes, seed, temperature))
        return output

    def audit_samples(self, model: Subject, blind: Blind | None) -> Surprise | None:
        """Return how much all samples so far surprise the candidate; raises `AuditError` when too much."""
        if blind is None or not self._samples:
            return None
        return audit.audit_samples(
            self._samples,
            model,
            blind(),
            primer=model.primer,
            positions=self._settings.audit,
            chance=self._chance,
        )


def digest(documents: Sequence[Document]) -> str:
    """Return a SHA-256 of ids and texts, with their lengths, in the order given."""
    total = hashlib.sha256()
    for document in documents:
        name = document.id.encode()
        total.update(f"{len(name)} {len(document.text)} ".encode() + name + document.text)
    return total.hexdigest()
