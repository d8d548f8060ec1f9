"""A change is screened by its text alone: what is no Python, and what varies nothing but constants."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from pytest_evalloop.loop.screening import broken, constants_only

CONFIG = b'''"""The choices."""
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    """One model."""

    n_layer: Literal[2, 3, 4] = 4  # layers
    rate: float = 0.02
    activation: "str" = "relu2"
    zero_init: bool = False
    primer: bytes = b"a"
    floor: float | None = None


def double(x, by=2):
    return [x * by, not x, -1, f"{x!r}"]
'''


def changed(old: str, new: str) -> bool:
    """Tell whether replacing some text of the file above changes constants only."""
    assert old.encode() in CONFIG
    after = CONFIG.replace(old.encode(), new.encode(), 1)
    return constants_only({"model/config.py": CONFIG}, {"model/config.py": after})


# -- what is no Python


def test_python_is_not_broken() -> None:
    package = Path(__file__).parents[2] / "pytest_evalloop"
    files = {path.name: path.read_bytes() for path in package.rglob("*.py")}
    assert len(files) > 50
    assert broken(files) == ()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"x = 1\ndef f(:\n    pass\n", "a.py:2 is no Python: invalid syntax"),
        (b"x = 1\n\nreturn x\n", "a.py:3 is no Python: 'return' outside function"),
        (b"if x:\npass\n", "a.py:2 is no Python: expected an indented block after 'if' statement on line 1"),
        (b"# coding: nonsense\n", "a.py is no Python: unknown encoding: nonsense"),
        (b"x = 1\0", "a.py is no Python: source code string cannot contain null bytes"),
        (b"-" * 100_000 + b"1", "a.py is no Python: it is nested too deeply to be compiled"),
        (b"a" + b".b" * 200_000, "a.py is no Python: it is nested too deeply to be compiled"),
    ],
    ids=["syntax", "outside", "indent", "encoding", "null byte", "many signs", "many dots"],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the compiler words it otherwise")
def test_what_is_no_python_is_named_with_its_line(source: bytes, sentence: str) -> None:
    assert broken({"a.py": source}) == (sentence,)


@pytest.mark.parametrize(
    "source",
    [
        b"x = '\xe4'\n",
        b"(" * 1000 + b")" * 1000,
        b"if a:\n pass\n" + b"elif a:\n pass\n" * 20_000,
        b"x = " + b"9" * 5000,
        "x = 1".encode("utf-16"),
        b"\xef\xbb\xbf# coding: latin-1\n",
        b"# coding: rot13\n",
        b"# coding: undefined\n",
        b"\xff" * 100,
        b"<<<<<<< ours\n",
    ],
    ids=lambda source: repr(source[:12]),
)
def test_nothing_that_is_no_python_raises(source: bytes) -> None:
    (sentence,) = broken({"model/a.py": source})
    assert sentence.startswith("model/a.py")
    assert " is no Python: " in sentence
    assert len(sentence) < 300
    assert "\n" not in sentence


def test_doubtful_python_neither_warns_nor_prints(capfd: pytest.CaptureFixture[str]) -> None:
    doubtful = b"x = '\\d'\nassert (x, 'always true')\nx is 1\nx()[0](1)(2)\n1()\n"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert broken({"a.py": doubtful}) == ()
        assert constants_only({"a.py": doubtful}, {"a.py": doubtful})
    assert capfd.readouterr() == ("", "")


def test_screening_executes_nothing(tmp_path: Path) -> None:
    source = f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(3)\n".encode()
    assert broken({"a.py": source}) == ()
    assert constants_only({"a.py": source}, {"a.py": source.replace(b"3", b"4")})
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="annotations are always put off")
def test_a_file_is_compiled_under_its_own_future_imports_alone() -> None:
    source = b"def outer():\n    def inner(x: (yield)): pass\n"  # no Python where annotations are put off
    assert broken({"a.py": source}) == ()
    assert broken({"a.py": b"from __future__ import annotations\n" + source})


def test_only_python_files_can_be_broken_and_each_is_named() -> None:
    files = {"b.py": b"x =", "a.py": b"y =", "notes.md": b"x =", "fine.py": b"", "py": b"x ="}
    assert [sentence.partition(":")[0] for sentence in broken(files)] == ["a.py", "b.py"]


# -- what varies constants only


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("= 4 ", "= 3 "),
        ("0.02", "2"),
        ("0.02", "-2e-3"),
        ("-1", "1"),
        ("-1", "+7"),
        ('"relu2"', "'gelu'"),
        ("False", "True"),
        ('b"a"', 'b"bc"'),
        ("[2, 3, 4]", "[2, 3, 5]"),
        ('"str"', '"object"'),
        ("by=2", "by=3"),
        ("The choices.", "Other choices."),
        ("# layers", "# of them"),
        ("    return [x * by,", "    return [\n        # a comment\n        (x * by),"),
        ("rate: float = 0.02", "rate: float = (\n        0.02\n    )"),
    ],
)
def test_constants_comments_and_layout_are_no_structure(old: str, new: str) -> None:
    assert changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate:", "speed:"),
        ("x * by", "x + by"),
        ("x * by", "by * x"),
        ("x * by", "x * by * 2"),
        ("-1", "~1"),
        ("-1", "--1"),
        ("not x", "-x"),
        ("dataclass(frozen=True)", "dataclass(order=True)"),
        ("import dataclass", "import field as dataclass"),
        ("[2, 3, 4]", "[2, 3]"),
        ("= None", "= 0.5"),
        ("= 0.02", "= None"),
        ("False", "0"),
        ("0.02", "'fast'"),
        ('b"a"', '"a"'),
        ("!r", "!s"),
        ("by=2", "by"),
        ("return [x", "return [double(x)"),
        ('    """One model."""\n', ""),
        ("def double", "async def double"),
        ("    return", "    breakpoint()\n    return"),
    ],
)
def test_everything_else_is_structure(old: str, new: str) -> None:
    assert not changed(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"a.py": None}, {"a.py": b"x = 1"}),
        ({"a.py": b"x = 1"}, {"a.py": None}),
        ({}, {"a.py": b"x = 1"}),
        ({"a.py": b"x = 1"}, {}),
        ({"prompt.md": b"1"}, {"prompt.md": b"2"}),
        ({"a.py": b"x = 1", "b.txt": b"1"}, {"a.py": b"x = 2", "b.txt": b"2"}),
        ({"a.py": b"x = 1", "b.py": b"x = 1"}, {"a.py": b"x = 2", "b.py": b"y = 1"}),
        ({"a.py": b"x = 1"}, {"a.py": b"x = "}),
        ({"a.py": b"x = "}, {"a.py": b"x = 1"}),
        ({"a.py": b"x = "}, {"a.py": b"x = "}),
        ({"a.py": b"-" * 100_000 + b"1"}, {"a.py": b"-" * 100_000 + b"2"}),
    ],
    ids=[
        *(
            "added",
            "removed",
            "new only",
            "old only",
            "no Python",
            "one of two is none",
            "one of two structure",
        ),
        *("breaks", "was broken", "stays broken", "too deep"),
    ],
)
def test_a_file_that_cannot_be_compared_is_structure(
    old: dict[str, bytes | None], new: dict[str, bytes | None]
) -> None:
    assert not constants_only(old, new)


def test_every_changed_file_may_vary_its_constants() -> None:
    old: dict[str, bytes | None] = {"a.py": b"x = 1", "b.py": b"y = 'a'"}
    assert constants_only(old, {"a.py": b"x = 2", "b.py": b"y = 'b'"})


def test_a_string_may_be_a_name_and_so_be_more_than_a_constant() -> None:
    source = b"x = load('weights', b'y', 3)\n"
    for old, new in ((b"weights", b"weight"), (b"b'y'", b"b'z'")):
        after = source.replace(old, new)
        assert constants_only({"a.py": source}, {"a.py": after})
        assert not constants_only({"a.py": source}, {"a.py": after}, strings=False)
    assert constants_only({"a.py": source}, {"a.py": source.replace(b"3", b"4")}, strings=False)


def test_where_a_block_ends_is_structure() -> None:
    both, either = b"if x:\n    y()\n    z()\n", b"if x:\n    y()\nelse:\n    z()\n"
    assert not constants_only({"a.py": both}, {"a.py": either})


def test_patterns_are_structure() -> None:
    source = b"match x:\n    case True:\n        y = 1\n"
    assert not constants_only({"a.py": source}, {"a.py": source.replace(b"True", b"None")})
    assert constants_only({"a.py": source}, {"a.py": source.replace(b"1", b"2")})


def test_deep_but_legal_code_is_walked() -> None:
    deep = b"x = " + b"1 + " * 1000 + b"1"
    assert constants_only({"a.py": deep}, {"a.py": deep.replace(b"1", b"2")})
