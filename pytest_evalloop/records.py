"""The frozen records that every room of the package speaks in."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Status(enum.StrEnum):
    """What happened to a process; says nothing about whether its work was any good."""

    COMPLETED = "completed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"


class Verdict(enum.StrEnum):
    """What the acceptance rule decided about a candidate."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Document:
    """One text to be scored whole: its id and its raw bytes."""

    id: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything one answer of the system went through: input, steps, output."""

    input: str
    output: str
    steps: tuple[Mapping[str, object], ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """What one document cost: its information content in bits and its length in bytes."""

    id: str
    bits: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one training run may use, as `amount` of `unit` (steps, tokens, flops, cpu-s or s)."""

    amount: float
    unit: str

    def __str__(self) -> str:
        """Render as the flag and `EVALLOOP_BUDGET` spell it."""
        return f"{self.amount:.12g}{self.unit}"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a supervised process tree ended and what it used, measured from outside of it.

    `cpu_seconds` covers every process of the tree, `peak_bytes` is the highest sampled sum of
    their resident memory, `returncode` is that of the first process (negative: the signal).
    """

    status: Status
    returncode: int | None
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """One training run of one tree under one seed, and where its artifacts lie."""

    key: str
    seed: int
    status: Status
    artifacts: str
    compute_seconds: float
    wall_seconds: float
    peak_bytes: int
    detail: str = ""
    reused: bool = False


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """How one test of the eval suite ended; `tolerated` is a failing case within a rate."""

    nodeid: str
    outcome: str
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a failure mode occurred in one grading, and what its bound says.

    `upper` is the one-sided upper confidence bound of the failure rate. `tests` are the node ids of its tests
    without parameters, `generates` tells whether they look at what was written. On human text a failure is a
    false alarm, of which a share of `false_alarms` is allowed.
    """

    id: str
    title: str
    failures: int
    cases: int
    upper: float
    tolerate: float
    passed: bool
    false_alarms: float = 0.05
    generates: bool = False
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audit:
    """What a blind audit of one score found: differences in nats, estimates in bits per byte.

    `positions` of `tokens` were audited; `disagreements` of them differed by more than `tolerance`.
    `estimate` ± `error` (95 %) is the audit's own bits per byte. A cheat at a share `fraction` of the
    positions would have escaped with a probability of 5 %, and could have hidden `hidden` bits per byte.
    """

    positions: int
    tokens: int
    tolerance: float
    disagreements: int
    largest: float
    mean: float
    estimate: float
    error: float
    fraction: float
    hidden: float


@dataclass(frozen=True, slots=True)
class Grade:
    """What the eval suite said about one set of artifacts.

    `exit_status` is that of the eval process, None when it did not report one. `scores` is empty
    when the objective was not measured. `check_seconds` is the tests' own time, `host_seconds` what
    starting hosts cost inside of it, `compute_seconds` the CPU seconds of the eval process with its hosts.
    `documents` is a digest of what was scored.
    """

    status: Status
    exit_status: int | None
    outcomes: tuple[CaseOutcome, ...]
    rates: tuple[Rate, ...]
    scores: tuple[DocumentScore, ...]
    check_seconds: float
    wall_seconds: float
    host_seconds: float = 0.0
    detail: str = ""
    audit: Audit | None = None
    documents: str = ""
    compute_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class VaultScore:
    """What one reading of the vault said about a candidate; `read` is seconds since the epoch."""

    number: int
    seed: int
    read: float
    scores: tuple[DocumentScore, ...]
    audit: Audit


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with its numbers: improvement, margin it had to exceed, and the reason in words.

    `delta` is incumbent minus candidate in bits per byte, so an improvement is positive; `low` and `high` are
    the ends of its 95 % interval. `seeds` counts the trainings of the candidate that it was decided by, which
    flatter what was accepted. `against` is the number of the incumbent that it was compared with, or of the candidate
    that overtook it while it waited.
    """

    verdict: Verdict
    reason: str
    delta: float | None = None
    margin: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    against: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the ledger: a proposed change and all that is known about it so far.

    Number 0 is the baseline. `commit` is the proposed commit, `accepted_commit` the one with trailers
    on the run's branch. A candidate without a verdict is still to be finished. `revoked` says why an acceptance
    did not hold up, and `revoked_commit` is the commit that took it back. `budget` is what its trainings are
    granted, as `EVALLOOP_BUDGET` spells it; empty is that of the run.
    """

    run: str
    number: int
    parent: str
    commit: str
    mutator: str
    description: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    status: Status | None = None
    decision: Decision | None = None
    bpb: float | None = None
    passed: bool | None = None
    peak_bytes: int | None = None
    accepted_commit: str | None = None
    train_seconds: float = 0.0
    check_seconds: float = 0.0
    overhead_seconds: float = 0.0
    detail: str = ""
    budget: str = ""
    revoked: str = ""
    revoked_commit: str | None = None

    @property
    def stands(self) -> bool:
        """Whether it was accepted, and was not revoked since."""
        return self.decision is not None and self.decision.verdict is Verdict.ACCEPTED and not self.revoked


@dataclass(frozen=True, slots=True)
class Run:
    """One loop: its name, trusted snapshot, and the settings that its numbers depend on."""

    name: str
    created: float
    head: str
    snapshot: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a mutator is told before it proposes a candidate.

    `worktree`, `train_data` and `log` are absolute, `prompt` and `space` relative to the worktree.
    `history` holds every candidate in order, the baseline first, those without a verdict included, which others
    work on at this moment or which wait for further seeds (these have a `bpb`); validation and vault data are never
    part of it.
    """

    run: str
    number: int
    seed: int
    worktree: str
    incumbent: str
    incumbent_bpb: float
    history: tuple[Candidate, ...]
    mutable: tuple[str, ...]
    budget: Budget
    train_data: str
    prompt: str | None
    space: str | None
    log: str
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a mutator did to the worktree: one line of description and the parameters it set."""

    description: str
    parameters: Mapping[str, object] = field(default_factory=dict)
