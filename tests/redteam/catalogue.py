"""All attacks and all honest controls, by theme; a theme is tried in one loop with settings of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType

from tests.redteam import honest
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


@dataclass(frozen=True)
class Theme:
    """Attacks that one loop tries in order, with ini values besides those of every red-team project."""

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
        Theme("honest", str(honest.__doc__).splitlines()[0], honest.CONTROLS, fair=True),
    )
}
