"""Whatever a file holds, screening it neither raises nor takes structure for a constant."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pytest_evalloop.loop.screening import broken, constants_only

ROOT = Path(__file__).parents[2]
SOURCES = [path.read_text() for path in sorted((ROOT / "pytest_evalloop/metric").glob("*.py"))]
PIECES = [
    "if",
    "def",
    "f",
    "(",
    ")",
    ":",
    "\n",
    "    ",
    "'",
    "1",
    "=",
    "\\",
    "#",
    "coding:",
    "lambda",
    "\t",
    "@",
    "{",
]
numbers = st.integers(min_value=0) | st.floats(
    min_value=0, allow_infinity=False
)  # a sign might bind otherwise
moderate = settings(max_examples=60, deadline=None)


class Vary(ast.NodeTransformer):
    """Puts the next of some numbers in place of every number of a tree."""

    def __init__(self, values: list[int | float]) -> None:
        self.values = values
        self.count = 0

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            return node
        self.count += 1
        return ast.Constant(self.values[self.count % len(self.values)])


class Rename(ast.NodeTransformer):
    """Gives the name at one place, and no other, a name that stood nowhere."""

    def __init__(self, place: int) -> None:
        self.place = place

    def visit_Name(self, node: ast.Name) -> ast.Name:
        self.place -= 1
        return ast.Name("unheard_of", node.ctx) if self.place == -1 else node


def is_constant_change(old: str, new: str) -> bool:
    return constants_only({"a.py": old.encode()}, {"a.py": new.encode()})


@moderate
@given(st.binary(max_size=80) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join).map(str.encode))
@example(b"# coding: utf-7\nx = 1")
@example(b"# coding: punycode\n")
@example(b"\x1a")
def test_no_content_makes_screening_raise(source: bytes) -> None:
    sentences = broken({"a.py": source})
    assert all(sentence.startswith("a.py") and "\n" not in sentence for sentence in sentences)
    assert constants_only({"a.py": source}, {"a.py": source}) or sentences


@moderate
@given(st.sampled_from(SOURCES), st.lists(numbers, min_size=1, max_size=5))
def test_numbers_may_become_any_numbers(source: str, values: list[int | float]) -> None:
    varied = ast.unparse(ast.fix_missing_locations(Vary(values).visit(ast.parse(source))))
    assert is_constant_change(source, varied)
    assert is_constant_change(varied, source)


@moderate
@given(st.sampled_from(SOURCES), st.integers(0, 200))
def test_a_single_changed_name_is_structure(source: str, place: int) -> None:
    tree = ast.parse(source)
    assume(place < sum(isinstance(node, ast.Name) for node in ast.walk(tree)))
    assert not is_constant_change(source, ast.unparse(Rename(place).visit(tree)))


@moderate
@given(st.sampled_from(SOURCES), st.integers(0, 60))
def test_a_missing_statement_is_structure(source: str, place: int) -> None:
    tree = ast.parse(source)
    assume(place < len(tree.body))
    del tree.body[place]
    assert not is_constant_change(source, ast.unparse(tree))
