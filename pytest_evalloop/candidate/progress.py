"""What a training says of itself as it goes, in files that a candidate writes: anything may stand there."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pytest_evalloop.candidate.pace import Sample
from pytest_evalloop.records import Training

PACE = "pace.json"
"""Beside the artifacts: samples of what the training used and how far it said it was."""
_MOST_SAID = 4 * 2**20  # bytes of a progress file


@dataclass(frozen=True, slots=True)
class Progress:
    """The last line of a training's progress file; a number that it did not say is None."""

    fraction: float | None
    train_bpb: float | None


def progress_file(artifacts: Path) -> Path:
    """Return where a training says how far it is: beside its artifacts, so that the curve is kept with them."""
    return artifacts.parent / "progress.jsonl"


def said(training: Training) -> bytes:
    """Return the progress file that is kept with the artifacts of a finished training."""
    return content(progress_file(Path(training.artifacts)))


def samples(training: Training) -> tuple[Sample, ...]:
    """Return what a finished training used, by shares of its budget; nothing where that is not known."""
    try:
        content = (Path(training.artifacts).parent / PACE).read_bytes()
        return tuple(msgspec.json.decode(content, type=list[Sample]))
    except (OSError, msgspec.DecodeError):
        return ()


def last_progress(path: Path) -> Progress | None:
    """Read the last whole line of a progress file; a candidate writes it, so anything may stand there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place would never open
        try:
            end = os.pread(descriptor, 4096, max(0, os.fstat(descriptor).st_size - 4096))
        finally:
            os.close(descriptor)
        line = json.loads(end.split(b"\n")[-2])
        return Progress(finite(line.get("fraction")), finite(line.get("train_bpb")))
    except (OSError, ValueError, IndexError, AttributeError, RecursionError):
        return None


def content(path: Path) -> bytes:
    """Read what a candidate may have put anything in the place of; nothing if it is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, _MOST_SAID, 0)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def finite(value: object) -> float | None:
    """Return what is a finite number as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
