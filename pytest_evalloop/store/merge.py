"""Merges two commits into a tree, also where git gives up because neighbouring lines were changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pytest_evalloop.store.git import Git


@dataclass(frozen=True, slots=True)
class _Side:
    """One stage of a file that both sides changed: 1 their common ancestor, 2 ours, 3 theirs."""

    path: bytes
    stage: int
    mode: str
    blob: str


def merge(git: Git, ours: str, theirs: str, index: Path) -> str | None:
    """Return the tree of two commits merged, None where they conflict; needs git 2.38.

    What git leaves as a conflict is merged line by line where neither side added or removed a line. `index` is
    a path at which there is no file yet.
    """
    said = git.run("merge-tree", "--write-tree", "--no-messages", "-z", ours, theirs, fine=(0, 1))
    tree, *rest = said.split(b"\0")
    sides = [_side(entry) for entry in rest if entry]
    if not sides:
        return tree.decode("ascii")
    resolved = []
    for path in dict.fromkeys(side.path for side in sides):
        stages = {side.stage: side for side in sides if side.path == path}
        if stages.keys() != {1, 2, 3} or len({side.mode for side in stages.values()}) > 1:
            return None
        base, mine, others = (git.run("cat-file", "blob", stages[stage].blob) for stage in (1, 2, 3))
        if (text := merge_lines(base, mine, others)) is None:
            return None
        blob = git.run("hash-object", "-w", "--stdin", stdin=text).decode("ascii").strip()
        resolved.append(f"{stages[2].mode} {blob}\t{os.fsdecode(path)}")
    staged = git.adding(GIT_INDEX_FILE=index)
    staged.run("read-tree", tree.decode("ascii"))
    staged.run(
        "update-index", "-z", "--index-info", stdin=os.fsencode("".join(f"{one}\0" for one in resolved))
    )
    return staged.line("write-tree")


def merge_lines(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return a text with the changed lines of both sides, None if one line was changed in two ways.

    Nor is there an answer where a side has more or fewer lines: then it is unknown which belong together.
    """
    lines = [text.split(b"\n") for text in (base, ours, theirs)]
    if len({len(side) for side in lines}) > 1:
        return None
    merged = []
    for old, mine, other in zip(*lines, strict=True):
        if old not in (mine, other) and mine != other:
            return None
        merged.append(other if mine == old else mine)
    return b"\n".join(merged)


def _side(entry: bytes) -> _Side:
    facts, _, path = entry.partition(b"\t")
    mode, blob, stage = facts.decode("ascii").split(" ")
    return _Side(path, int(stage), mode, blob)
