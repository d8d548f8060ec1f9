"""All attacks and all honest controls, by theme; themes that need the same settings share a loop."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from types import ModuleType

from tests.redteam import cheating, honest
from tests.redteam.attack import Attack
from tests.redteam.attacks import (
    bombs,
    channels,
    contamination,
    detection,
    files,
    generation,
    lookahead,
    losses,
    normalisation,
    processes,
    scope,
    stalling,
    state,
    theft,
    tokenizers,
)

_MOST = 56
"""How many candidates one loop has at most: two at a time, the last one should not be alone for long."""


@dataclass(frozen=True)
class Theme:
    """Attacks that a loop tries in order, with ini values besides those of every red-team project."""

    name: str
    about: str
    attacks: tuple[Attack, ...]
    settings: dict[str, str] = field(default_factory=dict)
    fair: bool = False


def _theme(module: ModuleType, **settings: str) -> Theme:
    name = module.__name__.rpartition(".")[2]
    return Theme(name, str(module.__doc__).splitlines()[0], module.ATTACKS, settings)


THEMES = {
    theme.name: theme
    for theme in (
        _theme(stalling, evalloop_train_limit="8s", evalloop_grade_limit="15s"),
        _theme(losses),
        _theme(lookahead),
        _theme(state),
        _theme(channels),
        _theme(detection),
        _theme(normalisation),
        _theme(tokenizers),
        _theme(generation),
        _theme(contamination),
        _theme(theft),
        _theme(files),
        _theme(scope),
        _theme(processes),
        _theme(bombs, evalloop_memory="700MB", evalloop_processes="40", evalloop_disk="50MB"),
        _theme(cheating),
        Theme("honest", str(honest.__doc__).splitlines()[0], honest.CONTROLS, fair=True),
    )
}


def loops(chosen: Collection[str] = ()) -> list[tuple[Theme, ...]]:
    """Return the themes, or those that are named, put together into loops, the slowest first.

    A loop has a baseline and a canary of its own, so fewer loops are less work. Honest candidates are kept apart:
    one that is accepted moves the incumbent.
    """
    found: list[list[Theme]] = []
    for theme in THEMES.values():
        if chosen and theme.name not in chosen:
            continue
        for loop in found:
            alike = (loop[0].settings, loop[0].fair) == (theme.settings, theme.fair)
            if alike and _candidates((*loop, theme)) <= _MOST:
                loop.append(theme)
                break
        else:
            found.append([theme])
    # Those with settings of their own wait for limits to pass, so they begin first.
    return sorted(map(tuple, found), key=lambda loop: (not loop[0].settings, -_candidates(loop)))


def _candidates(loop: Iterable[Theme]) -> int:
    return sum(len(theme.attacks) for theme in loop)
