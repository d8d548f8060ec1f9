r"""Records to rows of the ledger and back: pure, and strict about what can be kept exactly.

Numbers that are not finite are refused: SQL and JSON both turn a NaN into an absent value, and a measurement
that failed must not look like one that was not made. The sign of a zero is not kept. Text is kept as it is,
NUL included; lone surrogates, which no file can hold as UTF-8, become their escapes (`\udc80` is then six plain
characters).
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Final, TypeVar

import msgspec

from pytest_evalloop.records import (
    Audit,
    Candidate,
    CaseOutcome,
    Decision,
    DocumentScore,
    Grade,
    Rate,
    Run,
    Status,
    Training,
    VaultScore,
    Verdict,
)
from pytest_evalloop.store.home import StoreError

Cell = str | int | float | None
Row = dict[str, Cell]

_INTEGER: Final = 2**63  # what a column of SQLite holds
_DECISION: Final = tuple(field.name for field in fields(Decision))
_T = TypeVar("_T")


def run_row(run: Run) -> Row:
    """Return the row of a run; raises StoreError for what cannot be kept exactly."""
    return _cells(run, json=("settings",))


def run_record(row: sqlite3.Row) -> Run:
    """Return the run of a row."""
    settings = _load(row["settings"], dict[str, object])
    return Run(row["name"], row["created"], row["head"], row["snapshot"], settings)


def candidate_row(candidate: Candidate) -> Row:
    """Return the row of a candidate without its place in the order of decisions; raises StoreError."""
    row = _cells(candidate, json=("parameters",), skip=("decision",))
    decision = candidate.decision
    empty: Row = dict.fromkeys(_DECISION)
    return row | (empty if decision is None else _cells(decision))


def candidate_record(row: sqlite3.Row) -> Candidate:
    """Return the candidate of a row."""
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118 - iterating a Row gives its values
    del values["decided"], values["fell"]
    decision = {name: values.pop(name) for name in _DECISION}
    values["parameters"] = _load(values["parameters"], dict[str, object])
    values["status"] = None if values["status"] is None else Status(values["status"])
    values["passed"] = None if values["passed"] is None else bool(values["passed"])
    if decision["verdict"] is not None:
        told = {"verdict": Verdict(decision["verdict"]), "seeds": decision["seeds"] or 0}
        values["decision"] = Decision(**(decision | told))
    return Candidate(**values)


def training_row(training: Training) -> Row:
    """Return the row of a training without its place; raises StoreError for what cannot be kept exactly."""
    return _cells(training)


def training_record(row: sqlite3.Row) -> Training:
    """Return the training of a row."""
    values = {field.name: row[field.name] for field in fields(Training)}
    return Training(**(values | {"status": Status(row["status"]), "reused": bool(row["reused"])}))


def grade_row(grade: Grade) -> Row:
    """Return the row of a grade without its place, with its totals beside it for those who ask in SQL."""
    row = _cells(grade, json=("outcomes", "rates", "scores", "audit"))
    row["tests"] = len(grade.outcomes)
    row["tests_passed"] = sum(outcome.outcome == "passed" for outcome in grade.outcomes)
    row["bits"] = math.fsum(score.bits for score in grade.scores) if grade.scores else None
    row["bytes"] = sum(score.bytes for score in grade.scores) if grade.scores else None
    return row


def grade_record(row: sqlite3.Row) -> Grade:
    """Return the grade of a row."""
    values = {field.name: row[field.name] for field in fields(Grade)}
    return Grade(
        **values
        | {
            "status": Status(row["status"]),
            "outcomes": _load(row["outcomes"], tuple[CaseOutcome, ...]),
            "rates": _load(row["rates"], tuple[Rate, ...]),
            "scores": _load(row["scores"], tuple[DocumentScore, ...]),
            "audit": None if row["audit"] in (None, "null") else _load(row["audit"], Audit),
        },
    )


def vault_row(score: VaultScore) -> Row:
    """Return the row of a reading of the vault without its run."""
    row = _cells(score, json=("scores", "audit"))
    row["bits"] = math.fsum(part.bits for part in score.scores)
    row["bytes"] = sum(part.bytes for part in score.scores)
    return row


def vault_record(row: sqlite3.Row) -> VaultScore:
    """Return the reading of the vault of a row."""
    scores = _load(row["scores"], tuple[DocumentScore, ...])
    return VaultScore(row["number"], row["seed"], row["read"], scores, _load(row["audit"], Audit))


def _cells(record: object, *, json: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Row:
    """Return the fields of a record as cells, those named in `json` as JSON text."""
    assert is_dataclass(record)
    kind = type(record).__name__.lower()
    row: Row = {}
    for field in fields(record):
        if field.name in skip:
            continue
        place = f"{kind}.{field.name}"
        value = _plain(getattr(record, field.name), place)
        if field.name in json:
            row[field.name] = msgspec.json.encode(value).decode()
        elif isinstance(value, int) and not -_INTEGER <= value < _INTEGER:
            raise StoreError(f"The ledger cannot keep {place} = {value}: it has more than 64 bits.")
        else:
            assert value is None or isinstance(value, (str, int, float))
            row[field.name] = value
    return row


def _plain(value: object, place: str) -> object:
    """Return what JSON can say exactly; raises StoreError, naming the place, for anything else."""
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if is_dataclass(value):
        return {
            part.name: _plain(getattr(value, part.name), f"{place}.{part.name}") for part in fields(value)
        }
    return _scalar(value, place)


def _scalar(value: object, place: str) -> str | int | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Integral):
        return int(value)
    if not isinstance(value, Real):
        raise StoreError(
            f"The ledger cannot keep {place}, a {type(value).__name__}: use text, numbers, booleans, None, "
            "and lists and mappings of them.",
        )
    number = float(value)
    if not math.isfinite(number):
        raise StoreError(
            f"The ledger cannot keep {place} = {number}: a number that is not finite is no measurement. "
            "Record None, and say in words what happened.",
        )
    return number


def _text(value: str) -> str:
    # An enum's value, not its name, whatever its class makes of str().
    return str.encode(value, "utf-8", "backslashreplace").decode()


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise StoreError(f"The ledger cannot keep {place}: its key {key!r} is not text. Use text for keys.")
    return _text(key)


def _load(text: str, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"A row of the ledger holds what this pytest-evalloop cannot read ({error}). "
            "If a newer one wrote it, upgrade; otherwise move .evalloop/ledger.db* away to start anew.",
        ) from error
