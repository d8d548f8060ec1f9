"""What the text of a change alone says about it, before any process is spent on it: pure functions."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping

_UNREADABLE = (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError)
_LONGEST = 200  # characters of a message: it may quote the file


def broken(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Return one sentence for every file, given as path to content, that is called .py and is no Python.

    The grammar is that of this interpreter. Files are compiled and never executed.
    """
    found = ((path, _trouble(path, source)) for path, source in sorted(files.items()) if _is_python(path))
    return tuple(f"{path}{trouble}" for path, trouble in found if trouble)


def constants_only(
    old: Mapping[str, bytes | None], new: Mapping[str, bytes | None], *, strings: bool = True
) -> bool:
    """Tell whether a change touches nothing but literal constants, comments and layout of Python files.

    Both map the path of every changed file to its content, None where there is no such file. Only constants of
    one kind (number, string, bytes, truth value) stand for each other; a sign belongs to its number. A changed
    docstring or quoted annotation is a changed string; without `strings` it is more than a constant, as is every other
    string, since it may be the name of a file or a key. A new name, call, operator, import or None is more than
    that, and so is a file that is added, removed, of another kind, or no Python.
    """
    return all(_same_outline(path, old.get(path), new.get(path), strings) for path in {**old, **new})


def _is_python(path: str) -> bool:
    return path.endswith(".py")


def _trouble(path: str, source: bytes) -> str:
    """Return what is wrong with a file, to be put behind its path, or an empty string."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape or comparison is Python nevertheless
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""  # an encoding has line 0
        return f"{line} is no Python: {_one_line(error.msg)}"
    except (MemoryError, RecursionError):
        return " is no Python: it is nested too deeply to be compiled"
    except (ValueError, OverflowError) as error:
        return f" is no Python: {_one_line(str(error))}"
    return ""


def _one_line(message: str) -> str:
    return " ".join(message.split())[:_LONGEST]


def _same_outline(path: str, old: bytes | None, new: bytes | None, strings: bool) -> bool:  # noqa: FBT001
    if old is None or new is None or not _is_python(path):
        return False
    outline = _outline(old, strings)
    return outline is not None and outline == _outline(new, strings)


def _outline(source: bytes, strings: bool) -> list[object] | None:  # noqa: FBT001
    """Return a file's syntax with the kind in place of each constant, None if it has none.

    Nodes stand before their parts and lists behind their length, so that no two trees have one outline.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            waiting: list[object] = [ast.parse(source)]
    except _UNREADABLE:
        return None
    found: list[object] = []
    while waiting:  # not by recursion: what the parser can nest would exhaust the stack of a walk
        part = waiting.pop()
        if (kind := _kind(part)) and (strings or kind not in (str, bytes)):
            found.append(kind)
        elif isinstance(part, ast.AST):
            found.append(type(part))
            waiting.extend(getattr(part, field, None) for field in part._fields)
        elif isinstance(part, list):
            found.append(len(part))
            waiting.extend(part)
        else:
            found.append(part)
    return found


def _kind(part: object) -> type | None:
    """Return the type that stands for a constant, None for all else: None and ... are no values to vary."""
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, (ast.USub, ast.UAdd)):
        kind = _kind(part.operand)
        return kind if kind is float and isinstance(part.operand, ast.Constant) else None
    if not isinstance(part, ast.Constant):
        return None
    if isinstance(part.value, (bool, str, bytes)):
        return type(part.value)
    return float if isinstance(part.value, (int, float, complex)) else None
