"""Changes nothing: a comment, so that the loop can be tried on candidates that must not be accepted."""

from __future__ import annotations

from pathlib import Path

from pytest_evalloop.mutators.base import generator, locate
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Proposal
from pytest_evalloop.store.scope import matching

_COMMENTED = frozenset({".py", ".toml", ".yaml", ".yml", ".cfg", ".sh", ".jl", ".r"})  # by a number sign


class NullMutator:
    """Adds one comment to a mutable file; the harness gives every such candidate seeds of its own."""

    writes_code = False

    def propose(self, brief: Brief) -> Proposal:
        """Append a comment; raises `MutatorError` when no mutable file takes one."""
        tree = Path(brief.worktree)
        paths = [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]
        found = {path for paths in matching(brief.mutable, paths).values() for path in paths}
        takes = sorted(path for path in found if Path(path).suffix.lower() in _COMMENTED)
        if not takes:
            kinds = ", ".join(sorted(_COMMENTED))
            raise MutatorError(f"no file of evalloop_mutable takes a comment: it looks for {kinds}.")
        file = generator(brief, "null").choice(takes)
        with locate(brief, file).open("ab") as stream:
            stream.write(f"# null candidate {brief.number}: a comment and seeds of its own\n".encode())
        return Proposal(f"nothing: a comment in {file}, and seeds of its own")
