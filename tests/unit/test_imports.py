"""Evals that import what candidates may change: every way to do it is found, with its line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_evalloop.suite.imports import eval_files, mutable_imports

MUTABLE = ("model/*.py", "prompts/**")
Found = Callable[..., list[str]]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """Write a project whose eval is `code`, with more files if given, and list what is wrong with it."""

    def found(
        code: str, files: dict[str, str] | None = None, evals: tuple[str, ...] = ("evals",)
    ) -> list[str]:
        standard = {
            "model/__init__.py": "",
            "model/gpt.py": "import model.layers",
            "model/layers.py": "",
            "helpers/__init__.py": "",
            "helpers/text.py": "import re",
            "evals/test_a.py": textwrap.dedent(code),
        }
        for name, text in {**standard, **(files or {})}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return mutable_imports(tmp_path, eval_files(tmp_path, evals), MUTABLE)

    return found


@pytest.mark.parametrize(
    "code",
    [
        "import model.gpt",
        "import model.gpt as gpt",
        "import os, model.gpt",
        "from model import gpt",
        "from model import (layers, gpt)",
        "from model.gpt import GPT",
        "from model.gpt import *",
        "def test_a():\n    from model.gpt import GPT",
        "try:\n    import model.gpt\nexcept ImportError:\n    pass",
        "if False:\n    import model.gpt",
        "import pytest; gpt = pytest.importorskip('model.gpt')",
        "from importlib import import_module; import_module('model.gpt')",
        "gpt = __import__('model.gpt')",
        "pytest_plugins = ['helpers.text', 'model.gpt']",
        "pytest_plugins = 'model.gpt'",
    ],
)
def test_an_import_of_a_mutable_module_is_named_with_file_and_line(found: Found, code: str) -> None:
    problems = found(f"\n{code}")
    line = 2 + next(index for index, text in enumerate(code.splitlines()) if "model" in text)
    assert (
        f"evals/test_a.py:{line} imports model/gpt.py, which candidates may change. "
        "It would grade the trusted copy and not the candidate: ask the candidate fixture instead."
    ) in problems


@pytest.mark.parametrize("code", ["import model", "from model import VERSION", "from model.gpt import GPT"])
def test_a_package_counts_when_its_own_file_is_mutable(found: Found, code: str) -> None:
    assert any("test_a.py:1 imports model/__init__.py" in problem for problem in found(code))


@pytest.mark.parametrize(
    "code",
    [
        "",
        "import re, os.path, pytest",
        "import helpers.text",
        "from helpers import text",
        "import models, modelling.gpt",
        "from model_of_another import gpt",
        "'import model.gpt'  # from model import gpt",
        "import missing.gpt",
    ],
)
def test_importing_what_is_trusted_is_fine(found: Found, code: str) -> None:
    assert found(code) == []


def test_a_package_under_src_is_found_too(tmp_path: Path) -> None:
    for name, text in {"src/model/gpt.py": "", "evals/test_a.py": "from model import gpt"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (problem,) = mutable_imports(tmp_path, eval_files(tmp_path, ["evals"]), ["src/model/*.py"])
    assert problem.startswith("evals/test_a.py:1 imports src/model/gpt.py, which candidates may change")


def test_an_import_through_a_trusted_module_is_found_where_it_stands(found: Found) -> None:
    problems = found(
        "from helpers import text",
        {"helpers/text.py": "import helpers.deep", "helpers/deep.py": "\n\nfrom model.layers import norm"},
    )
    assert [problem.partition(",")[0] for problem in problems] == [
        "helpers/deep.py:3 imports model/__init__.py",
        "helpers/deep.py:3 imports model/layers.py",
    ]


@pytest.mark.parametrize("code", ["from . import deep", "from .deep import x", "from ..helpers import deep"])
def test_a_trusted_module_may_lead_there_through_its_neighbour(found: Found, code: str) -> None:
    files = {"helpers/text.py": code, "helpers/deep.py": "import model.layers"}
    problems = found("import helpers.text", files)
    assert any(problem.startswith("helpers/deep.py:1 imports model/layers.py") for problem in problems)


def test_modules_that_import_each_other_end(found: Found) -> None:
    files = {"helpers/a.py": "import helpers.b", "helpers/b.py": "import helpers.a\nimport model.gpt"}
    assert len(found("import helpers.a", files)) == 2


def test_each_import_is_named_once_however_often_it_is_reached(found: Found) -> None:
    files = {"helpers/text.py": "from model import gpt", "evals/test_b.py": "import helpers.text"}
    problems = found("import helpers.text\nfrom helpers.text import x", files)
    assert len(problems) == len(set(problems)) == 2


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("from . import shared", "evals/shared.py:1 imports model/gpt.py"),
        ("from .shared import x", "evals/shared.py:1 imports model/gpt.py"),
        ("import shared", "evals/shared.py:1 imports model/gpt.py"),
        ("from ..model import gpt", "evals/test_a.py:1 imports model/gpt.py"),
        ("from ..model.gpt import GPT", "evals/test_a.py:1 imports model/gpt.py"),
        ("from .. import model", "evals/test_a.py:1 imports model/__init__.py"),
    ],
)
def test_an_import_beside_or_above_is_followed(found: Found, code: str, line: str) -> None:
    files = {"evals/__init__.py": "", "evals/shared.py": "import model.gpt"}
    assert any(problem.startswith(line) for problem in found(code, files))


def test_an_import_from_above_everything_is_left_to_python(found: Found) -> None:
    assert found(f"from {'.' * 60}model import gpt") == []


def test_a_file_that_is_no_python_is_left_to_pytest(found: Found) -> None:
    assert found("def broken(:\n    import model.gpt") == []
    assert found("", {"evals/test_b.py": "\0", "evals/test_c.py": "import model.layers"}) != []


def test_a_conftest_on_the_way_to_the_evals_is_part_of_the_suite(found: Found, tmp_path: Path) -> None:
    problems = found("", {"conftest.py": "import model.gpt"})
    assert any(problem.startswith("conftest.py:1 imports model/gpt.py") for problem in problems)
    assert [path.relative_to(tmp_path).as_posix() for path in eval_files(tmp_path, ["evals"])] == [
        "conftest.py",
        "evals/test_a.py",
    ]


def test_evals_may_lie_deep_or_be_single_files(found: Found, tmp_path: Path) -> None:
    found(
        "",
        {
            "a/conftest.py": "",
            "a/b/conftest.py": "",
            "a/b/c/test_x.py": "",
            "a/other.py": "",
            "a/b/data.txt": "",
        },
    )
    files = eval_files(tmp_path, ["a/b/c", "evals/test_a.py", "nowhere"])
    assert [path.relative_to(tmp_path).as_posix() for path in files] == [
        "a/b/c/test_x.py",
        "a/b/conftest.py",
        "a/conftest.py",
        "evals/test_a.py",
    ]


def test_what_only_the_model_imports_is_no_matter_of_the_evals(found: Found) -> None:
    assert found("import helpers.text", {"model/other.py": "import model.gpt"}) == []
