"""The tables of the ledger, as the steps that lead from each version to the next."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x65766C70
"""What SQLite's `application_id` holds, so that `file` and we know a ledger from any other database."""

_FIRST = """
CREATE TABLE runs (
    name TEXT PRIMARY KEY,
    created REAL NOT NULL,
    head TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT;

CREATE TABLE candidates (
    run TEXT NOT NULL REFERENCES runs (name),
    number INTEGER NOT NULL CHECK (number >= 0),
    parent TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    mutator TEXT NOT NULL,
    description TEXT NOT NULL,
    parameters TEXT NOT NULL,
    status TEXT CHECK (status IN ('completed', 'crashed', 'timed_out', 'killed')),
    verdict TEXT CHECK (verdict IN ('accepted', 'rejected')),
    reason TEXT,
    delta REAL,
    margin REAL,
    bpb REAL,
    passed INTEGER CHECK (passed IN (0, 1)),
    peak_bytes INTEGER,
    accepted_commit TEXT,
    train_seconds REAL NOT NULL,
    check_seconds REAL NOT NULL,
    overhead_seconds REAL NOT NULL,
    detail TEXT NOT NULL,
    -- Decisions in the order they fell, which is not that of the numbers when candidates run in parallel.
    decided INTEGER UNIQUE,
    PRIMARY KEY (run, number),
    CHECK ((verdict IS NULL) = (reason IS NULL)),
    CHECK ((verdict IS NULL) = (decided IS NULL))
) STRICT;

CREATE TABLE trainings (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    key TEXT NOT NULL,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('completed', 'crashed', 'timed_out', 'killed')),
    artifacts TEXT NOT NULL,
    compute_seconds REAL NOT NULL,
    wall_seconds REAL NOT NULL,
    peak_bytes INTEGER NOT NULL,
    detail TEXT NOT NULL,
    reused INTEGER NOT NULL CHECK (reused IN (0, 1)),
    UNIQUE (run, number, seed, attempt),
    FOREIGN KEY (run, number) REFERENCES candidates (run, number)
) STRICT;

CREATE TABLE grades (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('completed', 'crashed', 'timed_out', 'killed')),
    exit_status INTEGER,
    tests INTEGER NOT NULL,
    tests_passed INTEGER NOT NULL,
    bits REAL,
    bytes INTEGER,
    check_seconds REAL NOT NULL,
    wall_seconds REAL NOT NULL,
    host_seconds REAL NOT NULL,
    detail TEXT NOT NULL,
    outcomes TEXT NOT NULL,
    rates TEXT NOT NULL,
    scores TEXT NOT NULL,
    UNIQUE (run, number, seed),
    FOREIGN KEY (run, number) REFERENCES candidates (run, number)
) STRICT;
"""

MIGRATIONS: Final = (_FIRST,)
"""Step i brings a ledger from `user_version` i to i + 1; a step that was released is never edited."""
