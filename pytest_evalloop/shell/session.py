"""What the sessions that run no tests of their own have in common: settings, messages, and xdist kept out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import pytest

from pytest_evalloop.settings import Settings, SettingsError, read
from pytest_evalloop.store.home import StoreError


def read_settings(config: pytest.Config, flags: Mapping[str, object], ini: Mapping[str, object]) -> Settings:
    """Read the settings; raises `pytest.UsageError` for a value or a flag that cannot be used."""
    if config.getoption("usepdb", default=False):
        raise pytest.UsageError("--pdb cannot debug a loop: candidates run in other processes. Leave it out.")
    workers = _take_over_xdist(config)
    try:
        return read({**flags, "workers": workers}, ini, config.rootpath)
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what is wrong with settings or store into a usage error, which is exit status 4."""
    try:
        yield
    except (SettingsError, StoreError) as error:
        raise pytest.UsageError(str(error)) from None


def say(config: pytest.Config, text: str) -> None:
    """Print a line at once, where there is a terminal reporter."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        terminal.ensure_newline()
        terminal.write_line(text)
        terminal.flush()


def _take_over_xdist(config: pytest.Config) -> str | None:
    """Keep xdist out of the session and return what `-n` asked for, for the eval processes."""
    workers = getattr(config.option, "numprocesses", None)
    if not workers:
        return None
    config.option.numprocesses = None
    config.option.dist = "no"
    config.option.tx = []
    return str(workers)
