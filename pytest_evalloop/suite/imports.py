"""Finds evals that import what a candidate may change: they would silently grade the wrong code.

Seen are import statements, `importorskip` and `import_module` of a name that is written out, and `pytest_plugins`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

from pytest_evalloop.store.scope import matches


def mutable_imports(root: Path, files: Iterable[Path], mutable: Sequence[str]) -> list[str]:
    """Return one sentence for every import that leads from `files`, also through others, to a mutable path."""
    problems: list[str] = []
    queue, seen = list(files), set[Path]()
    while queue:
        file = queue.pop(0)
        if file in seen:
            continue
        seen.add(file)
        for line, target in _imports(root, file):
            path = target.relative_to(root).as_posix()
            if any(matches(glob, path) for glob in mutable):
                problems.append(
                    f"{file.relative_to(root).as_posix()}:{line} imports {path}, which candidates may change. "
                    "It would grade the trusted copy and not the candidate: ask the candidate fixture instead."
                )
            else:
                queue.append(target)
    return problems


def eval_files(root: Path, evals: Sequence[str]) -> list[Path]:
    """Return every Python file of the suite and every conftest.py that pytest loads with it."""
    files: set[Path] = set()
    for folder in evals:
        place = root / folder
        files.update(place.rglob("*.py") if place.is_dir() else [place])
        files.update(
            parent / "conftest.py" for parent in [place, *place.parents] if root in (parent, *parent.parents)
        )
    return sorted(file for file in files if file.is_file())


def _imports(root: Path, file: Path) -> Iterable[tuple[int, Path]]:
    """Yield line and target of every import of `file` that resolves to a file of the project."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # pytest reports it better
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            bases = [root, root / "src", file.parent]
        elif isinstance(node, (ast.Call, ast.Assign)):
            names = _spelled(node)
            bases = [root, root / "src", file.parent]
        elif isinstance(node, ast.ImportFrom):
            stem = node.module or ""
            names = [stem] + [f"{stem}.{alias.name}".lstrip(".") for alias in node.names]
            above = slice(node.level - 1, node.level)  # nothing, where there are fewer folders than dots
            bases = list(file.parents[above]) if node.level else [root, root / "src", file.parent]
        else:
            continue
        for target in sorted({path for name in names for base in bases for path in _resolve(base, name)}):
            if root in target.parents:
                yield node.lineno, target


def _spelled(node: ast.Call | ast.Assign) -> list[str]:
    """Return the modules that a call or an assignment has imported by names written out as strings."""
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        values = node.args[:1] if function in ("importorskip", "import_module", "__import__") else []
    else:
        plugins = any(
            isinstance(target, ast.Name) and target.id == "pytest_plugins" for target in node.targets
        )
        values = [node.value] if plugins else []
    constants = [part for value in values for part in ast.walk(value) if isinstance(part, ast.Constant)]
    return [part.value for part in constants if isinstance(part.value, str)]


def _resolve(base: Path, name: str) -> Iterable[Path]:
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        stem = base.joinpath(*parts[:depth])
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if name and path.is_file():
                yield path
