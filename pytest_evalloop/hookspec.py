"""The hooks that a project or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_evalloop.protocols import MutatorFactory


@pytest.hookspec
def pytest_evalloop_mutators() -> Mapping[str, MutatorFactory]:  # type: ignore[empty-body]
    r"""Return mutators by the name under which `--evalloop-mutator` finds them.

    A factory gets the settings of the run and returns an object with `propose`. In a `conftest.py`::

        class Comment:
            def propose(self, brief):
                path = Path(brief.worktree, "model/gpt.py")
                path.write_text(f"# {brief.number}\n" + path.read_text())
                return Proposal(f"comment number {brief.number}")

        def pytest_evalloop_mutators():
            return {"comment": lambda settings: Comment()}

    A name that two plugins give, or that is built in, is a usage error.
    """
