"""Every attack of the catalogue is stopped, and every honest candidate is judged by its score alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.redteam.attack import Attack
from tests.redteam.catalogue import THEMES
from tests.redteam.runner import Tried, complaint, run

Trier: TypeAlias = Callable[[str], Tried]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Trier:
    """`tried(theme)` tries a theme in one loop, once, also if that loop fails."""

    @functools.cache
    def once(name: str) -> Tried | AssertionError:
        theme = THEMES[name]
        try:
            return run(tmp_path_factory.mktemp(name), theme.settings, name, len(theme.attacks))
        except AssertionError as error:
            return error

    def result(name: str) -> Tried:
        found = once(name)
        if isinstance(found, AssertionError):
            raise found
        return found

    return result


def _cases(*, fair: bool) -> list[object]:
    return [
        pytest.param(theme.name, attack, index, id=f"{theme.name}-{attack.name}")
        for theme in THEMES.values()
        if theme.fair == fair
        for index, attack in enumerate(theme.attacks)
    ]


@pytest.mark.parametrize(("theme", "attack", "index"), _cases(fair=False))
def test_an_attack_is_stopped(tried: Trier, theme: str, attack: Attack, index: int) -> None:
    wrong = complaint(attack, tried(theme).outcomes[index])
    if wrong and attack.unsolved:
        pytest.xfail(attack.unsolved)
    assert not wrong, f"{attack.name}: {attack.trick}\n{wrong}"


@pytest.mark.parametrize(("theme", "attack", "index"), _cases(fair=True))
def test_an_honest_candidate_is_judged_by_its_score(
    tried: Trier, theme: str, attack: Attack, index: int
) -> None:
    assert not complaint(attack, tried(theme).outcomes[index], fair=True), attack.trick


@pytest.mark.parametrize("theme", THEMES)
def test_the_project_is_as_it_was(tried: Trier, theme: str) -> None:
    assert not tried(theme).problems
