"""The house: floors held against the real imports, no long files, and a door that opens at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_evalloop.candidate.process import clean_environment
from pytest_evalloop.suite.imports import eval_files, mutable_imports

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_evalloop"
LINES = 350
HEAVY = (
    "numpy",
    "torch",
    "scipy",
    "optuna",
    "msgspec",
    "rich",
    "libcst",
    "psutil",
    "openai",
    "pydantic",
    "starlette",
    "openpyxl",
)

# Floor by floor, from the ground up: a room may use what stands on a lower floor, and itself.
FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "records",
        "settings",
        "metric protocols",
        "store executors",
        "review",  # it writes as carefully as the store does
        "candidate hookspec",
        "mutators suite",
        "loop",
        "report",  # shares its floor with the shell, which shows what it says
        "shell commands",
        "plugin cli",
    )
)
# `import pytest_evalloop` reaches what users name in their evals, and nothing else.
FRONT = frozenset({"records", "protocols"})


def floor(room: str) -> int:
    return next(index for index, rooms in enumerate(FLOORS) if room in rooms)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package, "" for its own `__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def resolved(name: str) -> str:
    """Return the module of the package that a dotted name leads to, also one inside of it."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def imports(nodes: Iterator[ast.AST], here: str) -> Iterator[tuple[int, str]]:
    """Yield line and target of every import of our own, whether named by a statement or by a string."""
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = f"{PACKAGE.name}.{here}".rstrip(".").split(".")
            is_package = MODULES.get(here, Path()).name == "__init__.py"
            above = package[: len(package) - node.level + is_package] if node.level else []
            stem = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = re.findall(rf"^{PACKAGE.name}(?:\.\w+)+$", node.value)
        for name in names:
            head, _, rest = name.partition(".")
            if head == PACKAGE.name:
                yield node.lineno, resolved(rest)  # type: ignore[attr-defined]


def eager(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: neither functions nor what is for type checkers alone."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize(
    ("code", "target"),
    [
        ("import pytest_evalloop.loop.engine as e", "loop.engine"),
        ("from pytest_evalloop.loop import engine", "loop.engine"),
        ("from pytest_evalloop.loop.engine import Engine", "loop.engine"),
        ("from pytest_evalloop import plugin", "plugin"),
        ("from pytest_evalloop import Document", ""),
        ("from ..loop import engine", "loop.engine"),
        ("from .. import plugin", "plugin"),
        ("from . import outcomes", "suite.outcomes"),
        ("from .outcomes import Phase", "suite.outcomes"),
        ("def f():\n    import pytest_evalloop.plugin", "plugin"),
        ("if TYPE_CHECKING:\n    import pytest_evalloop.plugin", "plugin"),
        ("import_module('pytest_evalloop.shell.controller')", "shell.controller"),
    ],
)
def test_every_way_to_import_is_seen(code: str, target: str) -> None:
    assert [found for _, found in imports(ast.walk(ast.parse(code)), "suite.session")] == [target]


def test_every_room_stands_on_one_floor() -> None:
    rooms = {name.partition(".")[0] for name in MODULES if name}
    assert rooms <= frozenset().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(frozenset().union(*FLOORS))
    assert {"records", "metric", "store", "candidate", "suite", "loop", "shell", "plugin"} <= rooms


@pytest.mark.parametrize("name", sorted(MODULES), ids=lambda name: name or "pytest_evalloop")
def test_a_module_uses_only_what_stands_below_its_room(name: str) -> None:
    room = name.partition(".")[0]
    for line, target in imports(ast.walk(parsed(MODULES[name])), name):
        other = target.partition(".")[0]
        where = f"{MODULES[name].relative_to(ROOT)}:{line} uses {target or 'the package itself'}"
        if not name:
            assert other in FRONT, where
        elif other != room:
            assert other, f"{where}: name the room that is meant"
            assert floor(other) < floor(room), f"{where}, which does not stand below {room}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    below = {
        name: {target for _, target in imports(ast.walk(parsed(path)), name) if target != name}
        for name, path in MODULES.items()
    }
    while leaves := [name for name, targets in below.items() if not targets & below.keys()]:
        for name in leaves:
            del below[name]
    assert not below, f"a circle runs through {sorted(below)}"


def test_the_door_imports_pytest_and_the_standard_library_only() -> None:
    names = set()
    for node in eager(parsed(PACKAGE / "plugin.py")):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert names - sys.stdlib_module_names == {"pytest"}


@pytest.mark.parametrize("folder", ["model", "tests/projects/ngram/model"])
def test_a_model_never_uses_the_plugin(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        assert list(imports(ast.walk(parsed(file)), "")) == [], file


@pytest.mark.parametrize("project", [".", "tests/projects/ngram"])
def test_evals_import_nothing_that_candidates_may_change(project: str) -> None:
    root = (ROOT / project).resolve()
    options = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["pytest"]
    files = eval_files(root, options["evalloop_evals"])
    assert any(file.name.startswith("test_") for file in files)
    assert mutable_imports(root, files, options["evalloop_mutable"]) == []


@pytest.mark.parametrize("folder", ["pytest_evalloop", "model", "evals"])
def test_a_file_can_be_read_in_one_sitting(folder: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > LINES} == {}


def loaded(command: list[str], folder: Path) -> set[str]:
    """Run Python and return the names of the modules that it printed in its last line."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(folder / "spy")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_loading_the_plugin_loads_nothing_heavy(tmp_path: Path) -> None:
    names = loaded(["-c", "import pytest_evalloop.plugin, sys; print(*sys.modules)"], tmp_path)
    assert "pytest_evalloop.plugin" in names
    assert names.isdisjoint(HEAVY)


def test_using_the_public_names_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "from pytest_evalloop import *; Document('a', b''); import sys; print(*sys.modules)"
    names = loaded(["-c", code], tmp_path)
    assert "pytest_evalloop.protocols" in names
    assert names.isdisjoint(HEAVY)


def test_pytest_in_a_project_without_evals_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "spy").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "spy/spy.py").write_text(
        "import sys\ndef pytest_unconfigure(): print(*sys.modules, file=sys.__stdout__)\n"
    )
    names = loaded(["-m", "pytest", "-q", "-p", "spy", "--collect-only", "empty"], tmp_path)
    assert {"pytest_evalloop.plugin", "pytest_evalloop.suite.session"} <= names
    assert names.isdisjoint(HEAVY)
