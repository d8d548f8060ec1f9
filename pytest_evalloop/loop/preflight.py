"""What can be refused before anything is trained: pure checks of settings against the snapshot's files."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping

from pytest_evalloop.candidate.process import clean_environment
from pytest_evalloop.settings import Settings, SettingsError, require
from pytest_evalloop.store.scope import matches, matching, protected

RESUMED = (
    "aa",
    *("budget", "data", "evals", "level", "load", "min_effect", "most_seeds", "mutable", "prompt", "seeds"),
    "train",
)
"""The settings that a run's numbers depend on, so that they cannot change while it lasts."""


def check(settings: Settings, files: Collection[str]) -> None:
    """Raise `SettingsError` for a setting that cannot work with the `files` of the snapshot."""
    require(settings, loop=True)
    for glob, found in matching(settings.mutable, files).items():
        if not found:
            raise SettingsError(
                f"evalloop_mutable names {glob!r}, which matches no file of the snapshot. Correct the glob, "
                "or check that git does not ignore the file."
            )
    trusted = protected(settings.mutable, files, settings.evals)
    if trusted:
        raise SettingsError("\n".join((*trusted, "Narrow the globs of evalloop_mutable.")))
    for folder in settings.evals:
        if not any(path == folder or path.startswith(folder + "/") for path in files):
            raise SettingsError(f"evalloop_evals names {folder!r}, which holds no file of the snapshot.")
    for mutator, key, path in (("prompt", "prompt", settings.prompt), ("search", "space", settings.space)):
        if (
            mutator in settings.mutators
            and path
            and not any(matches(glob, path) for glob in settings.mutable)
        ):
            raise SettingsError(
                f"evalloop_{key} is {path!r}, which no glob of evalloop_mutable matches, so the mutator {mutator!r} "
                "may not change it. Add it to evalloop_mutable, or leave the mutator out."
            )
    command = settings.train[0]
    if (
        shutil.which(command, path=clean_environment()["PATH"]) is None
        and not (settings.root / command).is_file()
    ):
        raise SettingsError(
            f"evalloop_train is {' '.join(settings.train)!r}, but there is no command {command!r}. "
            "Correct the command, or install what provides it."
        )


def frozen(settings: Settings) -> dict[str, object]:
    """Return the settings that are recorded with a run."""
    return {
        "aa": settings.aa,
        "budget": str(settings.budget),
        "data": settings.data,
        "evals": list(settings.evals),
        "level": settings.level,
        "load": settings.load,
        "min_effect": settings.min_effect,
        "most_seeds": settings.most_seeds,
        "mutable": list(settings.mutable),
        "prompt": settings.prompt,
        "seeds": settings.seeds,
        "train": list(settings.train),
    }


def check_resumed(name: str, settings: Settings, recorded: Mapping[str, object]) -> None:
    """Raise `SettingsError` when a run that goes on was begun under other settings."""
    now = frozen(settings)
    for key in RESUMED:
        if key in recorded and recorded[key] != now[key]:
            raise SettingsError(
                f"run {name!r} began with evalloop_{key} = {recorded[key]!r}, now it is {now[key]!r}, and numbers "
                "from both cannot be compared. Restore the setting, or start another run with --evalloop-run NAME."
            )
