"""The factories of the mutators that come with the plugin: what they need, and what to do where it is missing."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from types import MappingProxyType

from pytest_evalloop.protocols import Mutator, MutatorFactory
from pytest_evalloop.settings import Settings, SettingsError


def builtin() -> Mapping[str, MutatorFactory]:
    """Return the factories of `search`, `prompt` and `agent` by name; nothing heavy is imported here."""
    return MappingProxyType({"search": _search, "prompt": _prompt, "agent": _agent, "null": _null})


def _null(settings: Settings) -> Mutator:  # noqa: ARG001 - it works in every project
    """Make the `null` mutator, which changes nothing."""
    from pytest_evalloop.mutators.null import NullMutator

    return NullMutator()


def _search(settings: Settings) -> Mutator:
    """Make the `search` mutator; raises `SettingsError` without a readable search space."""
    if settings.space is None:
        raise SettingsError(
            "evalloop_space is not set, so the mutator 'search' has nothing to search. "
            'Name the file that declares the search space: evalloop_space = "model/config.py".'
        )
    for module in ("libcst", "optuna"):
        if importlib.util.find_spec(module) is None:
            raise SettingsError(
                f"The mutator 'search' needs the package {module}, which is not installed. "
                "Run: pip install 'pytest-evalloop[search]'"
            )
    from pytest_evalloop.mutators import space
    from pytest_evalloop.mutators.search import SearchMutator

    path = settings.root / settings.space
    if not path.is_file():
        raise SettingsError(
            f"evalloop_space is {settings.space!r}, but {path} is no file. "
            "Name the file that declares the search space, or leave the mutator 'search' out."
        )
    try:
        found = space.read(path.read_bytes())
    except space.SpaceError as error:
        raise SettingsError(f"evalloop_space is {settings.space!r}, which {error}.") from error
    if not found:
        raise SettingsError(
            f"evalloop_space is {settings.space!r}, which declares no search space. Annotate values with "
            "bounds or choices: lr: Annotated[float, Interval(ge=1e-4, le=1)] = 0.1, heads: Literal[1, 2] = 2."
        )
    return SearchMutator()


def _prompt(settings: Settings) -> Mutator:
    """Make the `prompt` mutator; raises `SettingsError` without a prompt file."""
    if settings.prompt is None:
        raise SettingsError(
            "evalloop_prompt is not set, so the mutator 'prompt' has nothing to edit. "
            'Name the file that holds the primer: evalloop_prompt = "model/prompt.md".'
        )
    path = settings.root / settings.prompt
    if not path.is_file():
        raise SettingsError(
            f"evalloop_prompt is {settings.prompt!r}, but {path} is no file. "
            "Create it (it may be empty), or leave the mutator 'prompt' out."
        )
    from pytest_evalloop.mutators.prompt import PromptMutator

    return PromptMutator()


def _agent(settings: Settings) -> Mutator:
    """Make the `agent` mutator; raises `SettingsError` when its command cannot be run."""
    if not settings.agent:
        raise SettingsError(
            "evalloop_agent is not set, so the mutator 'agent' has nobody to ask. Set it to a command that "
            'reads its task from standard input: evalloop_agent = "claude -p --permission-mode acceptEdits".'
        )
    # A path with a slash is the user's own file: the worktree need not have a copy of it.
    program = settings.agent[0]
    command = str(settings.root / program) if "/" in program else program
    if shutil.which(command) is None:
        raise SettingsError(
            f"evalloop_agent is {' '.join(settings.agent)!r}, but {program!r} is no command on the PATH. "
            "Install it, or give its full path."
        )
    from pytest_evalloop.mutators.agent import AgentMutator

    return AgentMutator(
        (command, *settings.agent[1:]),
        seconds=settings.agent_seconds,
        evals=settings.evals,
        hidden=settings.hidden,
    )
