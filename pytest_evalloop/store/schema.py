"""The tables of the ledger, as the steps that lead from each version to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pytest_evalloop.store.home import StoreError

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

_AUDIT = """
ALTER TABLE grades ADD COLUMN audit TEXT;
ALTER TABLE grades ADD COLUMN documents TEXT NOT NULL DEFAULT '';
CREATE TABLE vault (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    read REAL NOT NULL,
    bits REAL NOT NULL,
    bytes INTEGER NOT NULL,
    scores TEXT NOT NULL,
    audit TEXT NOT NULL,
    UNIQUE (run, number, seed),
    FOREIGN KEY (run, number) REFERENCES candidates (run, number)
) STRICT;
"""

_NOISE = """
ALTER TABLE candidates ADD COLUMN low REAL;
ALTER TABLE candidates ADD COLUMN high REAL;
ALTER TABLE candidates ADD COLUMN seeds INTEGER;
ALTER TABLE candidates ADD COLUMN budget TEXT NOT NULL DEFAULT '';
ALTER TABLE candidates ADD COLUMN revoked TEXT NOT NULL DEFAULT '';
ALTER TABLE candidates ADD COLUMN revoked_commit TEXT;
"""

_PARALLEL = """
ALTER TABLE candidates ADD COLUMN against INTEGER;
-- Revocations in the order of the decisions: the last acceptance is not always the first to fall.
ALTER TABLE candidates ADD COLUMN fell INTEGER;
"""

_SCORING = """
ALTER TABLE grades ADD COLUMN compute_seconds REAL NOT NULL DEFAULT 0;
"""

MIGRATIONS: Final = (_FIRST, _AUDIT, _NOISE, _PARALLEL, _SCORING)
"""Step i brings a ledger from `user_version` i to i + 1; a step that was released is never edited."""


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Check a just opened file, set it up for durable writes and bring its schema up to date.

    Raises StoreError, with nothing changed, if it is damaged, something else or of a newer schema.
    """
    connection.row_factory = sqlite3.Row
    version = _pragma(connection, "user_version")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} has schema {version}, written by a newer pytest-evalloop; this one knows "
            f"schema {len(MIGRATIONS)}. Nothing was changed. Upgrade pytest-evalloop, or move the file away.",
        )
    if _pragma(connection, "application_id") not in {0, APPLICATION} or (
        version == 0
        and _pragma(connection, "schema_version") != 0
        and not _pragma(connection, "application_id")
    ):
        raise StoreError(
            f"{path} is a database of something else. Move it away and run the same command again."
        )
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise damaged(path, "its pages do not fit together")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    while version < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have come first while this one waited.
        version = _pragma(connection, "user_version")
        if version < len(MIGRATIONS):
            version += 1
            for statement in _statements(MIGRATIONS[version - 1]):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements, since sqlite3's executescript would commit between them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def damaged(path: Path, why: str) -> StoreError:
    """Return the error for a file that SQLite cannot read; nothing is ever deleted for it."""
    aside = path.parent / "damaged"
    return StoreError(
        f"The ledger {path} is damaged ({why}). Nothing was deleted. To start anew, keep it aside "
        f"with `mkdir -p {aside} && mv {path}* {aside}/` and run the same command again; "
        "accepted changes are still on the branch of their run.",
    )
