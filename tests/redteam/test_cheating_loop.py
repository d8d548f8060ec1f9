"""A loop whose mutator does nothing but cheat accepts nothing."""

from __future__ import annotations

from pathlib import Path

from tests.redteam.cheating import CANDIDATES, cheats
from tests.redteam.runner import complaint, run

SEED = 1


def test_a_cheating_mutator_gets_nothing_accepted(tmp_path: Path) -> None:
    tried = run(tmp_path, {}, f"cheat {SEED}", CANDIDATES)
    assert len(tried.outcomes) == CANDIDATES
    wrong = [
        f"{attack.name}: {attack.trick} {found}"
        for attack, outcome in zip(cheats(SEED), tried.outcomes, strict=True)
        if (found := complaint(attack, outcome))
    ]
    assert not wrong, "\n".join(wrong)
    assert not tried.problems
