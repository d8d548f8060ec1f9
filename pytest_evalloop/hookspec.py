"""The hooks that a project or another plugin may implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_evalloop.protocols import Fault, MutatorFactory


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


@pytest.hookspec
def pytest_evalloop_faults() -> Mapping[str, Fault]:  # type: ignore[empty-body]
    r"""Return faults that the canary plants, beside its own, to see whether the eval suite notices them.

    A fault is called with the materials at hand and returns a language model, which is graded in the
    candidate's place. In a `conftest.py` of the eval suite::

        class Shouting:
            def __init__(self, model):
                self.token_bytes, self.encode = model.token_bytes, model.encode
                self.nll, self.logits = model.nll, model.logits
                self.write = model.generate

            def generate(self, prompt, *, max_bytes, seed, temperature):
                return self.write(prompt, max_bytes=max_bytes, seed=seed, temperature=temperature).upper()

        def pytest_evalloop_faults():
            return {"shouting": lambda materials: Shouting(materials.baseline())}

    A name has lower-case letters, digits and hyphens. One that two plugins give, or that is built in, is a
    usage error.
    """
