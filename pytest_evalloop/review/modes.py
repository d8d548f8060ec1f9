"""The failure modes that people named, in a file that people edit too."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Final

from pytest_evalloop.review.traces import ReviewError, plain
from pytest_evalloop.store.home import disk, write_atomically

COLUMNS: Final = ("trace_id", "input", "output", "pass_fail", "note", "revision")
"""Names of a spreadsheet's own columns, which no failure mode can have."""

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
AN_ID: Final = (
    "1 to 64 letters, digits, dots, underscores or hyphens of which the first is a letter or digit, such as FM-01, and "
    f"none of {', '.join(COLUMNS)}"
)
_HEADER: Final = "# The failure modes of this product, written by people and by the review page.\n"


@dataclass(frozen=True, slots=True)
class Mode:
    """A named way in which the product fails; `reviewed` is an ISO date, or empty if it never was."""

    id: str
    title: str
    definition: str = ""
    severity: str = "major"
    examples: tuple[str, ...] = ()
    reviewed: str = ""


def is_id(text: str) -> bool:
    """Tell whether text can name a failure mode, and so a column and a file."""
    return bool(_ID.fullmatch(text)) and text.casefold() not in COLUMNS


def read_modes(folder: Path) -> tuple[Mode, ...]:
    """Return the failure modes in `modes.toml`, in its order; none if there is no file.

    Raises ReviewError, naming mode and key, for what cannot be used.
    """
    path = folder / "modes.toml"
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror or error}. Make it readable.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ReviewError(f"{path} is no TOML: {error}. Mend that line.") from error
    entries = table.pop("mode", [])
    if table or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        what = ", ".join(map(repr, table)) or "a 'mode' that is no list"
        raise ReviewError(f"{path} holds {what}. It holds [[mode]] tables and nothing else.")
    modes = tuple(_mode(entry, f"{path}, mode {number}") for number, entry in enumerate(entries, 1))
    _check(modes, path)
    return modes


def write_modes(folder: Path, modes: Sequence[Mode]) -> None:
    """Replace `modes.toml`, in the order given; whoever reads it sees the old or the new file whole.

    Raises ReviewError, with nothing changed, for an id that is taken or cannot name a mode.
    """
    path = folder / "modes.toml"
    _check(modes, path)
    text = _HEADER + "".join(map(_table, modes))
    with disk(f"the file {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


def _mode(entry: Mapping[str, object], place: str) -> Mode:
    identity = entry.get("id")
    place += f" ({identity})" if isinstance(identity, str) else ""
    known = [field.name for field in fields(Mode)]
    unknown = [name for name in entry if name not in known]
    if unknown:
        raise ReviewError(f"{place} has {', '.join(unknown)}. A mode has {', '.join(known)}.")
    values = {**entry}
    reviewed = values.get("reviewed")
    if isinstance(reviewed, date) and not isinstance(reviewed, datetime):
        values["reviewed"] = reviewed.isoformat()
    examples = values.get("examples", [])
    if not (isinstance(examples, list) and all(isinstance(example, str) for example in examples)):
        raise ReviewError(f"{place}: examples is {examples!r}; it is a list of trace ids.")
    words = {name: value for name, value in values.items() if name != "examples"}
    for name, value in words.items():
        if not isinstance(value, str):
            kind = "a date such as 2026-11-23" if name == "reviewed" else "text"
            raise ReviewError(f"{place}: {name} is {value!r}; it is {kind}.")
    if "id" not in words or "title" not in words:
        raise ReviewError(
            f'{place} needs an id and a title, such as id = "FM-01" and title = "speeches never end".'
        )
    return Mode(**words, examples=tuple(examples))  # type: ignore[arg-type]


def _check(modes: Sequence[Mode], path: Path) -> None:
    seen: set[str] = set()
    for mode in modes:
        place = f"{path}, mode {mode.id}"
        if not is_id(mode.id):
            raise ReviewError(f"{path}: {mode.id!r} cannot name a mode. An id is {AN_ID}.")
        # Ids name files too, and some disks do not tell FM-01 from fm-01.
        if mode.id.casefold() in seen:
            raise ReviewError(f"{place} is there twice. Give one of the two another id.")
        seen.add(mode.id.casefold())
        for name in ("title", "severity"):
            if not getattr(mode, name).strip():
                raise ReviewError(f"{place}: {name} is empty. Say it in a few words.")
        if mode.reviewed and not _is_date(mode.reviewed):
            raise ReviewError(f"{place}: reviewed is {mode.reviewed!r}; it is a date such as 2026-11-23.")


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _table(mode: Mode) -> str:
    lines = [f"{name} = {_text(getattr(mode, name))}" for name in ("id", "title", "definition", "severity")]
    lines.append(f"examples = [{', '.join(map(_text, mode.examples))}]")
    if mode.reviewed:
        lines.append(f"reviewed = {mode.reviewed}")
    return "\n[[mode]]\n" + "\n".join(lines) + "\n"


def _text(text: str) -> str:
    # A string of JSON is one of TOML, but for the one control character that JSON lets stand.
    return json.dumps(plain(text), ensure_ascii=False).replace("\x7f", "\\u007f")
