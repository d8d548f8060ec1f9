"""The durable record of all runs: SQLite, one transaction a transition, on disk before a call returns."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pytest_evalloop.records import Candidate, Grade, Run, Training, VaultScore
from pytest_evalloop.store import rows
from pytest_evalloop.store.home import StoreError, disk, disk_full, free_bytes
from pytest_evalloop.store.schema import damaged, prepare

_PATIENCE = 60.0  # seconds to wait for another process's transaction; ours take milliseconds


class Ledger:
    """One open ledger; its methods may be called from several threads.

    Every method raises StoreError when the file is damaged, locked for too long or cannot grow.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a ledger, creating it or bringing it to the current schema.

        Raises StoreError, with nothing changed, if it is damaged or a newer release wrote it.
        """
        with disk(f"the folder {path.parent}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        with _errors(path):
            connection = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        try:
            with _errors(path):
                prepare(path, connection)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create_run(self, run: Run) -> None:
        """Record a new run; raises StoreError if its name is taken."""
        row = rows.run_row(run)
        with self._transaction():
            if self._one("SELECT 1 FROM runs WHERE name = ?", row["name"]):
                raise StoreError(
                    f"Run {run.name!r} exists in {self._path} already. Choose another --evalloop-run."
                )
            self._insert("runs", row)

    def restart_run(self, run: Run) -> None:
        """Replace a run that judged nothing yet; raises StoreError once its baseline has a verdict."""
        with self._transaction():
            if self._one("SELECT 1 FROM candidates WHERE run = ? AND decided IS NOT NULL", run.name):
                raise StoreError(f"Run {run.name!r} has verdicts in {self._path}, so it cannot begin again.")
            for table in ("vault", "grades", "trainings", "candidates"):
                self._connection.execute(f"DELETE FROM {table} WHERE run = ?", (run.name,))  # noqa: S608
            self._connection.execute("DELETE FROM runs WHERE name = ?", (run.name,))
            self._insert("runs", rows.run_row(run))

    def run(self, name: str) -> Run | None:
        """Return the run of that name, None if there is none."""
        row = self._one("SELECT * FROM runs WHERE name = ?", name)
        return None if row is None else rows.run_record(row)

    def runs(self) -> tuple[Run, ...]:
        """Return all runs, the oldest first."""
        return tuple(rows.run_record(row) for row in self._all("SELECT * FROM runs ORDER BY created, rowid"))

    def add_candidate(self, candidate: Candidate) -> None:
        """Record a new candidate, decided or not; raises StoreError unless its number is the run's next."""
        row = rows.candidate_row(candidate)
        with self._transaction():
            if self._one("SELECT 1 FROM runs WHERE name = ?", candidate.run) is None:
                raise StoreError(
                    f"Run {candidate.run!r} is not in {self._path}. Create it before its candidates."
                )
            last = self._one("SELECT max(number) AS number FROM candidates WHERE run = ?", candidate.run)
            due = 0 if last is None or last["number"] is None else last["number"] + 1
            if candidate.number != due:
                raise StoreError(
                    f"Run {candidate.run!r} has its candidates up to {due - 1}, so the next is {due} and "
                    f"{candidate.number} cannot be added. Is another loop writing to {self._path}?",
                )
            self._insert("candidates", row | {"decided": self._due(candidate)})

    def update(self, candidate: Candidate) -> None:
        """Replace what is known about an open candidate; raises StoreError if it is decided or unknown."""
        if candidate.decision is not None:
            raise StoreError(f"{_name(candidate)} has a verdict: record it with decide(), not update().")
        with self._transaction():
            self._replace(candidate)

    def decide(self, candidate: Candidate) -> None:
        """Record a candidate with its verdict, once and for all; raises StoreError if it has one already."""
        if candidate.decision is None:
            raise StoreError(f"{_name(candidate)} has no verdict to record.")
        with self._transaction():
            self._replace(candidate)

    def revoke(self, run: str, number: int, reason: str, commit: str) -> None:
        """Record that an acceptance did not hold up; its verdict stays on record beside it.

        Raises StoreError unless the candidate is the incumbent and not the baseline.
        """
        with self._transaction():
            if number == 0 or self.incumbent(run).number != number:
                raise StoreError(
                    f"Candidate {number} of run {run!r} is no incumbent, so it cannot be revoked."
                )
            self._connection.execute(
                "UPDATE candidates SET revoked = ?, revoked_commit = ?, fell = ? WHERE run = ? AND number = ?",
                (reason, commit, self._next(), run, number),
            )

    def stations(self, run: str) -> tuple[tuple[Candidate, str], ...]:
        """Return the commits that a run's branch stood at, in order: each acceptance, and what took it back."""
        found = self._all("SELECT * FROM candidates WHERE run = ? AND accepted_commit IS NOT NULL", run)
        events = []
        for row in found:
            candidate = rows.candidate_record(row)
            events.append((row["decided"], candidate, row["accepted_commit"]))
            if row["revoked_commit"]:
                events.append((row["fell"] or row["decided"] + 0.5, candidate, row["revoked_commit"]))
        return tuple(
            (candidate, commit) for _, candidate, commit in sorted(events, key=lambda event: event[0])
        )

    def candidates(self, run: str) -> tuple[Candidate, ...]:
        """Return a run's candidates by number, the baseline first."""
        found = self._all("SELECT * FROM candidates WHERE run = ? ORDER BY number", run)
        return tuple(rows.candidate_record(row) for row in found)

    def decided(self, run: str) -> tuple[Candidate, ...]:
        """Return a run's decided candidates in the order of their decisions."""
        found = self._all(
            "SELECT * FROM candidates WHERE run = ? AND decided IS NOT NULL ORDER BY decided", run
        )
        return tuple(rows.candidate_record(row) for row in found)

    def open_candidates(self, run: str) -> tuple[Candidate, ...]:
        """Return a run's candidates that have no verdict yet, by number."""
        found = self._all("SELECT * FROM candidates WHERE run = ? AND decided IS NULL ORDER BY number", run)
        return tuple(rows.candidate_record(row) for row in found)

    def incumbent(self, run: str) -> Candidate:
        """Return the candidate accepted last and not revoked, or the baseline, which counts as accepted.

        Raises StoreError if the run has no baseline.
        """
        row = self._one(
            "SELECT * FROM candidates WHERE run = ? AND (verdict = 'accepted' AND revoked = '' OR number = 0) "
            "ORDER BY verdict IS 'accepted' DESC, decided DESC LIMIT 1",
            run,
        )
        if row is None:
            raise StoreError(f"Run {run!r} has no baseline in {self._path}, so it has no incumbent.")
        return rows.candidate_record(row)

    def add_training(self, run: str, number: int, attempt: int, training: Training) -> None:
        """Record how one attempt to train a candidate under a seed ended; raises StoreError if it is known."""
        row: rows.Row = {"run": run, "number": number, "attempt": attempt}
        what = f"attempt {attempt} to train under seed {training.seed}"
        self._add("trainings", row | rows.training_row(training), what)

    def trainings(self, run: str, number: int) -> tuple[Training, ...]:
        """Return a candidate's trainings in the order in which they were recorded."""
        found = self._all("SELECT * FROM trainings WHERE run = ? AND number = ? ORDER BY id", run, number)
        return tuple(rows.training_record(row) for row in found)

    def add_grade(self, run: str, number: int, seed: int, grade: Grade) -> None:
        """Record the grade of a candidate as trained under a seed; raises StoreError if it has one."""
        row: rows.Row = {"run": run, "number": number, "seed": seed}
        self._add("grades", row | rows.grade_row(grade), f"a grade under seed {seed}")

    def grades(self, run: str, number: int) -> dict[int, Grade]:
        """Return a candidate's grades by seed, in the order in which they were recorded."""
        found = self._all("SELECT * FROM grades WHERE run = ? AND number = ? ORDER BY id", run, number)
        return {row["seed"]: rows.grade_record(row) for row in found}

    def add_vault_score(self, run: str, score: VaultScore) -> None:
        """Record what the vault said about a candidate; raises StoreError if that is known."""
        row: rows.Row = {"run": run}
        self._add("vault", row | rows.vault_row(score), f"a vault score under seed {score.seed}")

    def vault(self, run: str) -> tuple[VaultScore, ...]:
        """Return what the vault said in a run, in the order in which it was read."""
        found = self._all("SELECT * FROM vault WHERE run = ? ORDER BY id", run)
        return tuple(rows.vault_record(row) for row in found)

    def _add(self, table: str, row: rows.Row, what: str) -> None:
        name = f"Candidate {row['number']} of run {row['run']!r}"
        try:
            with self._transaction():
                if (
                    self._one(
                        "SELECT 1 FROM candidates WHERE run = ? AND number = ?", row["run"], row["number"]
                    )
                    is None
                ):
                    raise StoreError(f"{name} is not in {self._path}. Add the candidate first.")
                self._insert(table, row)
        except sqlite3.IntegrityError as error:
            raise StoreError(
                f"{name} has {what} in {self._path} already, so nothing was recorded."
            ) from error

    def _insert(self, table: str, row: rows.Row) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        # Names of tables and columns come from the source; values are bound.
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608

    def _replace(self, candidate: Candidate) -> None:
        row = rows.candidate_row(candidate) | {"decided": self._due(candidate)}
        marks = ", ".join(f'"{name}" = ?' for name in row)
        done = self._connection.execute(
            f"UPDATE candidates SET {marks} WHERE run = ? AND number = ? AND decided IS NULL",  # noqa: S608
            (*row.values(), candidate.run, candidate.number),
        )
        if done.rowcount == 1:
            return
        old = self._one(
            "SELECT verdict FROM candidates WHERE run = ? AND number = ?", candidate.run, candidate.number
        )
        if old is None:
            raise StoreError(f"{_name(candidate)} is not in {self._path}. Add the candidate first.")
        raise StoreError(
            f"{_name(candidate)} is decided already ({old['verdict']}); a verdict is never replaced."
        )

    def _due(self, candidate: Candidate) -> int | None:
        """Return the place of this candidate's decision among all, None while it has none."""
        return None if candidate.decision is None else self._next()

    def _next(self) -> int:
        row = self._one(
            "SELECT coalesce(max(decided), 0) AS last, coalesce(max(fell), 0) AS fell FROM candidates"
        )
        assert row is not None
        return int(max(row["last"], row["fell"])) + 1

    def _one(self, statement: str, *values: rows.Cell) -> sqlite3.Row | None:
        found = self._all(statement, *values)
        return found[0] if found else None

    def _all(self, statement: str, *values: rows.Cell) -> Sequence[sqlite3.Row]:
        with self._lock, _errors(self._path):
            return self._connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, _errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _name(candidate: Candidate) -> str:
    return f"Candidate {candidate.number} of run {candidate.run!r}"


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences; broken constraints pass, for those who know what they mean."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # A write-ahead log that cannot be mapped for want of space is reported as a plain I/O error.
        starved = code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and free_bytes(path.parent) < 2**16
        if code == sqlite3.SQLITE_FULL or starved:
            raise disk_full(f"{path}") from error
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise damaged(path, str(error)) from error
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise StoreError(
                f"Another process has kept the ledger {path} locked for {_PATIENCE:.0f} s. "
                "Close it there and run the same command again.",
            ) from error
        raise StoreError(
            f"The ledger {path} could not be used: {error}. Make sure that it and its folder can be written, "
            "and run the same command again.",
        ) from error
