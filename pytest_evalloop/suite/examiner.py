"""Measures one candidate for a session of evals: its processes, its score and its samples, every claim audited."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytest_evalloop.candidate import audit
from pytest_evalloop.candidate.client import Client
from pytest_evalloop.candidate.scoring import score
from pytest_evalloop.candidate.training import accelerators
from pytest_evalloop.metric.audit import Surprise
from pytest_evalloop.metric.bpb import BitsPerByte
from pytest_evalloop.records import Audit, Document
from pytest_evalloop.settings import Settings
from pytest_evalloop.suite.assignment import Assignment
from pytest_evalloop.suite.project import open_client

Blind = Callable[[], Client]
"""Returns the process that has seen no document, once it is loaded; raises `CandidateError` if it cannot be."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The objective, a digest of the documents it was measured on, and what its audit found."""

    bpb: BitsPerByte
    documents: str
    audit: Audit


class Examiner:
    """Asks one candidate on behalf of a session; keeps what `generate` wrote, to audit it at the end."""

    def __init__(self, settings: Settings, assignment: Assignment) -> None:
        self.assignment = assignment
        self._settings = settings
        self._samples: list[audit.Sample] = []
        self._chance = random.SystemRandom()  # no candidate can guess what will be audited

    @contextlib.contextmanager
    def open(self) -> Iterator[Client]:
        """Yield the process that encodes, scores and writes; raises `CandidateError` when it cannot be loaded."""
        with open_client(self._settings, self.assignment, "host") as client:
            yield client

    @contextlib.contextmanager
    def open_blind(self) -> Iterator[Blind]:
        """Start the process for the audit while others work, and yield how to get at it."""
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            opening = open_client(self._settings, self.assignment, "blind")
            yield pool.submit(stack.enter_context, opening).result

    def measure(self, model: Client, blind: Blind, documents: Sequence[Document]) -> Measured:
        """Return the exact bits per byte of `documents`, audited.

        Raises `ScoringError`, `AuditError` or `CandidateError` when the candidate's numbers cannot be trusted.
        """
        scored = score(model, documents, primer=model.primer_tokens)
        audit.audit_encoding(scored, model, documents, self._chance)
        positions = self.assignment.positions or self._settings.audit
        found = audit.audit_score(
            scored,
            blind(),
            primer=model.primer_tokens,
            positions=positions,
            tolerance=audit.tolerance(self._settings.audit_tolerance, accelerators()),
            chance=self._chance,
        )
        return Measured(scored.bpb, digest(documents), found)

    def generate(
        self,
        model: Client,
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

    def audit_samples(self, model: Client, blind: Blind) -> Surprise | None:
        """Return how much all samples so far surprise the candidate; raises `AuditError` when too much."""
        if not self._samples:
            return None
        return audit.audit_samples(
            self._samples,
            model,
            blind(),
            primer=model.primer_tokens,
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
