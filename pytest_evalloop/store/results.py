"""The table of decided candidates that people watch while the loop runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pytest_evalloop.records import Candidate, Status
from pytest_evalloop.store.home import disk, write_atomically

COLUMNS: Final = (
    *("commit", "val_bpb", "memory_gb", "status", "description"),
    *(
        "run",
        "number",
        "verdict",
        "reason",
        "delta",
        "margin",
        "low",
        "high",
        "seeds",
        "mutator",
        "train_s",
        "check_s",
        "overhead_s",
    ),
)

# All that str.splitlines takes for the end of a line, and what else would break a row or a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def write_results(path: Path, candidates: Iterable[Candidate]) -> None:
    """Replace the table with one row for every decided candidate, in the order given.

    `val_bpb`, `delta`, `margin`, `low` and `high` are bits per byte, `memory_gb` is in units of 2**30 bytes, the
    last three columns are seconds. An absent number is empty. Raises StoreError if the file cannot be written.
    """
    rows = [COLUMNS, *(_row(candidate) for candidate in candidates if candidate.decision is not None)]
    text = "".join("\t".join(_CONTROL.sub(" ", cell) for cell in row) + "\n" for row in rows)
    with disk(f"the table {path}"):
        write_atomically(path, text.encode("utf-8", "backslashreplace"))


def _row(candidate: Candidate) -> tuple[str, ...]:
    decision = candidate.decision
    assert decision is not None
    memory = None if candidate.peak_bytes is None else candidate.peak_bytes / 2**30
    return (
        (candidate.accepted_commit or candidate.commit)[:12],
        _number(candidate.bpb, 6),
        _number(memory, 2),
        _status(candidate),
        candidate.description,
        candidate.run,
        str(candidate.number),
        "revoked" if candidate.revoked else decision.verdict.value,
        candidate.revoked or decision.reason,
        _number(decision.delta, 6),
        _number(decision.margin, 6),
        _number(decision.low, 6),
        _number(decision.high, 6),
        str(decision.seeds or ""),
        candidate.mutator,
        # No process takes exactly no time: zero seconds stand for a step that was never reached.
        _number(candidate.train_seconds or None, 2),
        _number(candidate.check_seconds or None, 2),
        _number(candidate.overhead_seconds or None, 2),
    )


def _status(candidate: Candidate) -> str:
    if candidate.stands:
        return "keep"
    return "discard" if candidate.status in {None, Status.COMPLETED} else "crash"


def _number(value: float | None, digits: int) -> str:
    # Adding zero turns a rounded -0.0 into 0.0.
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"
