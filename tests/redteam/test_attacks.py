"""Every attack of the catalogue is stopped, and every honest candidate is judged by its score alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.redteam.catalogue import THEMES, Theme, loops
from tests.redteam.runner import complaints, run


def test_there_are_many_attacks_and_a_control() -> None:
    assert sum(len(theme.attacks) for theme in THEMES.values() if not theme.fair) >= 200
    assert sum(len(theme.attacks) for theme in THEMES.values() if theme.fair) >= 12
    assert len(THEMES["cheating"].attacks) == 30
    assert sorted(theme.name for loop in loops() for theme in loop) == sorted(THEMES)


@pytest.mark.parametrize("themes", loops(), ids=lambda themes: "+".join(theme.name for theme in themes))
def test_attacks_are_stopped_and_honest_candidates_are_not(themes: tuple[Theme, ...], tmp_path: Path) -> None:
    tried = run(tmp_path, themes)
    wrong = [line for theme in themes for line in complaints(theme, tried[theme.name])]
    assert not wrong, "\n".join(wrong)
    assert not any(found.problems for found in tried.values())
