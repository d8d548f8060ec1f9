"""The mutator that a red-team project brings along: candidate k is attack k."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from pytest_evalloop import Brief, Proposal
from tests.conftest import Project
from tests.redteam.attack import Attack
from tests.redteam.guard import Guard


class Attacker:
    """Applies the attacks in order, each to the baseline's tree, and notes what the one before has damaged."""

    def __init__(self, root: Path, attacks: tuple[Attack, ...]) -> None:
        self._root = root
        self._attacks = attacks
        self._guard: Guard | None = None

    def propose(self, brief: Brief) -> Proposal:
        if self._guard is None:
            self._guard = Guard(Project(self._root))
        note_damage(self._root, brief.number - 1, self._guard.settle())
        tree = Path(brief.worktree)
        # An attack that was accepted is no help to the next one.
        shutil.rmtree(tree / "model")
        shutil.copytree(self._root.parent / "pristine/model", tree / "model")
        attack = self._attacks[brief.number - 1]
        attack.edit(tree)
        return Proposal(f"{attack.name}: {attack.trick}")


def note_damage(root: Path, number: int, found: list[str]) -> None:
    """Append what a candidate has damaged to the list beside the project."""
    with (root.parent / "damage.jsonl").open("a") as file:
        file.write(json.dumps({"number": number, "found": found}) + "\n")


def from_environment() -> Attacker:
    """Return the mutator that REDTEAM_ATTACKS describes: the names of themes, with + between them."""
    from tests.redteam.catalogue import THEMES

    themes = [THEMES[name] for name in os.environ["REDTEAM_ATTACKS"].split("+")]
    return Attacker(Path.cwd(), tuple(attack for theme in themes for attack in theme.attacks))
