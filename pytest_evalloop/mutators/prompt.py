"""The `prompt` mutator: edits the primer, the text that stands before every document."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_evalloop.mutators.base import generator, locate
from pytest_evalloop.mutators.history import accepted, plain
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Candidate, Proposal

if TYPE_CHECKING:
    import random

# A model reads the primer again with every document, and sees no more of it than its context holds.
LIMIT = 600
DRAWS = 400
# How much more a passage is worth trying than an edit of a line, before anything is known.
PRIORS = MappingProxyType({"start_from_passage": 6.0, "append_passage": 4.0, "replace_by_passage": 2.0})
# How much of a training file is read to cut a passage from it.
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a training document: its name, the lines without their ends, and where it was cut."""

    document: str
    lines: tuple[str, ...]
    place: str

    def __str__(self) -> str:
        """Render as descriptions name it."""
        count = len(self.lines)
        return f"a passage of {self.document} ({count} line{'s' if count > 1 else ''})"


@dataclass(frozen=True, slots=True)
class Edit:
    """New lines of the primer, what was done to them in words, and the details for the ledger."""

    lines: tuple[str, ...]
    description: str
    details: Mapping[str, object] = field(default_factory=dict)


class PromptMutator:
    """Edits lines of the primer, or puts passages of the training documents into it."""

    writes_code = False

    def propose(self, brief: Brief) -> Proposal:
        """Write a primer that was not measured before, of at most `LIMIT` bytes unless it was longer already.

        Raises `MutatorError` when nothing new can be made of the primer and the training documents.
        """
        if brief.prompt is None:
            raise MutatorError("evalloop_prompt is not set, so there is no primer to edit.")
        path = locate(brief, brief.prompt)
        before = path.read_bytes() if path.is_file() else b""
        numbers = generator(brief, "prompt")
        seen = {_digest(before)}
        for candidate in brief.history:
            seen |= {str(candidate.parameters.get(key)) for key in ("content", "previous")}
        documents = _documents(brief.train_data)
        weights = earned(brief.history)
        for _ in range(DRAWS):
            operator = numbers.choices(list(weights), list(weights.values()))[0]
            edit = OPERATORS[operator](decode(before), documents, numbers)
            if edit is None:
                continue
            after = encode(edit.lines, like=before)
            if len(after) > max(LIMIT, len(before)) or _digest(after) in seen:
                continue
            path.write_bytes(after)
            return Proposal(
                f"primer: {edit.description}",
                {
                    "operator": operator,
                    **edit.details,
                    "content": _digest(after),
                    "previous": _digest(before),
                },
            )
        raise MutatorError(
            f"No new primer was found in {DRAWS} draws: the training data {brief.train_data} offers no fresh "
            f"passage of text, and every edit of the lines of {brief.prompt} was tried. "
            "Go on with another mutator, or write a longer primer."
        )


def earned(history: Sequence[Candidate]) -> dict[str, float]:
    """Return the weight of every operator: its smoothed share of accepted candidates.

    Passages of the training data come first: they are text as the model knows it.
    """
    weights = {}
    for operator in OPERATORS:
        own = [
            candidate
            for candidate in history
            if candidate.mutator == "prompt" and candidate.parameters.get("operator") == operator
        ]
        share = (1 + sum(map(accepted, own))) / (2 + len(own))
        weights[operator] = share * PRIORS.get(operator, 1.0)
    return weights


def decode(primer: bytes) -> tuple[str, ...]:
    """Return the lines of a primer of any bytes, without their ends; an empty one has none."""
    text = primer.decode("utf-8", "surrogateescape")
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def encode(lines: Sequence[str], *, like: bytes) -> bytes:
    """Return the bytes of a primer, which ends in a newline unless the one it was made from did not."""
    end = "\n" if lines and (not like or like.endswith(b"\n")) else ""
    return ("\n".join(lines) + end).encode("utf-8", "surrogateescape")


def _digest(primer: bytes) -> str:
    return hashlib.sha256(primer).hexdigest()[:16]


def _documents(folder: str) -> list[Path]:
    """Return the training files in order; a link may lead to text that is held out, so none is followed."""
    entries = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in entries if stat.S_ISREG(path.lstat().st_mode))


def cut(documents: Sequence[Path], numbers: random.Random) -> Passage | None:
    """Return a passage from the start, the end or the middle of a random document; None if it has no text."""
    if not documents:
        return None
    path = numbers.choice(documents)
    place = numbers.choice(("start", "end", "middle"))
    most = numbers.choice((60, 120, 200, 300, 450))
    size = path.stat().st_size
    offset = {"start": 0, "end": max(0, size - CHUNK), "middle": numbers.randrange(size + 1)}[place]
    with path.open("rb") as file:
        file.seek(offset)
        chunk = file.read(CHUNK)
    if b"\0" in chunk:
        return None  # token ids or an archive
    lines = chunk.decode("utf-8", "surrogateescape").split("\n")
    if offset > 0:
        lines = lines[1:]  # begins within a line
    if offset + len(chunk) < size:
        lines = lines[:-1]
    taken = tuple(_fill(reversed(lines) if place == "end" else iter(lines), most))
    taken = taken[::-1] if place == "end" else taken
    if not any(line.strip() for line in taken):
        return None
    return Passage(plain(path.stem, 40), taken, place)


def _fill(lines: Iterator[str], most: int) -> Iterator[str]:
    """Yield whole lines up to `most` bytes, without blank ones at the front; a too long first one is cut."""
    used = 0
    for line in lines:
        if used == 0 and not line.strip():
            continue
        size = len(line.encode("utf-8", "surrogateescape")) + 1
        if used == 0 and size > most:
            yield line.encode("utf-8", "surrogateescape")[: most - 1].decode("utf-8", "ignore")
            return
        used += size
        if used > most:
            return
        yield line


def _drop(lines: tuple[str, ...], _: Sequence[Path], numbers: random.Random) -> Edit | None:
    if not lines:
        return None
    at = numbers.randrange(len(lines))
    return Edit(lines[:at] + lines[at + 1 :], f"dropped line {at + 1}", {"line": at + 1})


def _swap(lines: tuple[str, ...], _: Sequence[Path], numbers: random.Random) -> Edit | None:
    if len(lines) < 2:
        return None
    first, second = sorted(numbers.sample(range(len(lines)), 2))
    edited = list(lines)
    edited[first], edited[second] = edited[second], edited[first]
    return Edit(
        tuple(edited), f"swapped lines {first + 1} and {second + 1}", {"lines": [first + 1, second + 1]}
    )


def _duplicate(lines: tuple[str, ...], _: Sequence[Path], numbers: random.Random) -> Edit | None:
    if not lines:
        return None
    at = numbers.randrange(len(lines))
    return Edit(lines[: at + 1] + lines[at:], f"duplicated line {at + 1}", {"line": at + 1})


def _join(lines: tuple[str, ...], _: Sequence[Path], numbers: random.Random) -> Edit | None:
    if len(lines) < 2:
        return None
    at = numbers.randrange(len(lines) - 1)
    joined = f"{lines[at].rstrip()} {lines[at + 1].lstrip()}".strip()
    return Edit(
        (*lines[:at], joined, *lines[at + 2 :]), f"joined lines {at + 1} and {at + 2}", {"line": at + 1}
    )


def _start(_: tuple[str, ...], documents: Sequence[Path], numbers: random.Random) -> Edit | None:
    passage = cut(documents, numbers)
    return Edit(passage.lines, f"replaced by {passage}", _source(passage)) if passage else None


def _append(lines: tuple[str, ...], documents: Sequence[Path], numbers: random.Random) -> Edit | None:
    passage = cut(documents, numbers)
    return Edit((*lines, *passage.lines), f"appended {passage}", _source(passage)) if passage else None


def _replace(lines: tuple[str, ...], documents: Sequence[Path], numbers: random.Random) -> Edit | None:
    passage = cut(documents, numbers)
    if passage is None or len(lines) < 2:
        return None
    first = numbers.randrange(len(lines))
    last = min(first + numbers.choice((0, 0, 1, 2, 3)), len(lines) - 1)
    where = f"line {first + 1}" if first == last else f"lines {first + 1}-{last + 1}"
    return Edit(
        (*lines[:first], *passage.lines, *lines[last + 1 :]),
        f"{where} replaced by {passage}",
        {**_source(passage), "lines": [first + 1, last + 1]},
    )


def _source(passage: Passage) -> dict[str, object]:
    return {"document": passage.document, "place": passage.place}


Operator = Callable[[tuple[str, ...], Sequence[Path], "random.Random"], Edit | None]
OPERATORS: Mapping[str, Operator] = {
    "start_from_passage": _start,
    "append_passage": _append,
    "replace_by_passage": _replace,
    "drop": _drop,
    "swap": _swap,
    "duplicate": _duplicate,
    "join": _join,
}
