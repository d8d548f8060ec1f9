"""Every reading of a test split, on record: a split that is read again and again ends up as a second dev split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_evalloop.review.journal import Journal, ReviewError, read_lines
from pytest_evalloop.review.rates import Agreement


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of the test split of a failure mode, by a judge or a check with that fingerprint.

    `parts` are digests of what the fingerprint covers, `split` is one of the traces and their labels; `at` is
    seconds since the epoch.
    """

    mode: str
    fingerprint: str
    at: float
    split: str
    agreement: Agreement
    parts: Mapping[str, str] = field(default_factory=dict)


def record(folder: Path, look: Look) -> None:
    """Add a look to `looks.jsonl` in the folder of labels; on disk when this returns.

    Raises StoreError if it cannot be written.
    """
    import msgspec

    with Journal.open(folder / "looks.jsonl", wait=True) as journal:
        journal.append(msgspec.json.encode(look) + b"\n")


def read_looks(folder: Path) -> tuple[Look, ...]:
    """Return all looks, in the order in which they were taken; raises ReviewError, naming the line, for others."""
    import msgspec

    path = folder / "looks.jsonl"
    looks = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            looks.append(msgspec.json.decode(line, type=Look))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReviewError(
                f"{path}, line {number} is no look at a test split ({error}). Take it back from version control: "
                "without it nobody knows how often the split was read."
            ) from error
    return tuple(looks)
