"""What a candidate may change: pure rules over paths and modes, answered in sentences."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_PLAIN, _EXECUTABLE, _LINK, _MODULE = "100644", "100755", "120000", "160000"

# Files that steer the interpreter, pytest, packaging or git wherever they lie.
_STEERING: Final = frozenset(
    (
        *("conftest.py", "sitecustomize.py", "usercustomize.py", "pyvenv.cfg"),
        *("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg", "setup.py"),
        *("pyproject.toml", ".gitattributes", ".gitignore", ".gitmodules"),
    ),
)

# What the grading side imports, besides the standard library.
_GRADER: Final = frozenset(
    (
        *("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup"),
        *("pytest_evalloop", "msgspec", "numpy", "psutil", "rich", "scipy", "xdist", "execnet", "site"),
        *("_distutils_hack", "pkg_resources", "setuptools", "hypothesis", "pytest_timeout"),
    ),
)

_SUFFIX: Final = re.compile(r"(?:\.[A-Za-z0-9_-]+)?\.(?:so|pyd)$|\.(?:py|pyw|pyc)$")


@dataclass(frozen=True, slots=True)
class Change:
    """One changed path, relative to the project root (`../` leads out of it).

    Modes are git's six octal digits, "000000" where the path does not exist; `status` is A, M, D or T.
    """

    path: str
    old_mode: str
    new_mode: str
    status: str


def matches(glob: str, path: str) -> bool:
    """Tell whether a path matches a glob whole: case counts, `*` stays in one folder, `**` spans any number."""
    return _compiled(glob).fullmatch(path) is not None


def matching(mutable: Sequence[str], paths: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return for each glob the paths that it matches, so that a glob that matches nothing can be reported."""
    return {glob: tuple(sorted(path for path in paths if matches(glob, path))) for glob in mutable}


def protected(
    mutable: Sequence[str], paths: Collection[str], evals: Sequence[str] = ("evals",)
) -> tuple[str, ...]:
    """Return a sentence for every path that the globs open to candidates although it steers the grading.

    `evals` are the folders or files of the eval suite, relative to the project root.
    """
    roots = tuple(root.removeprefix("./").rstrip("/") for root in evals)
    found = []
    for glob, matched in matching(mutable, paths).items():
        for path in matched:
            if any(root in {"", "."} or path == root or path.startswith(root + "/") for root in roots):
                found.append(
                    f"{path} matches {glob!r} of evalloop_mutable, but it belongs to the evals, "
                    "which no candidate may touch.",
                )
            elif _steers(path):
                found.append(
                    f"{path} matches {glob!r} of evalloop_mutable, but it steers Python, pytest or git, "
                    "and no candidate may do that.",
                )
    return tuple(found)


def problems(
    changes: Sequence[Change],
    mutable: Sequence[str],
    tree_paths: Collection[str],
    *,
    reserved: Collection[str] = (),
) -> tuple[str, ...]:
    """Return a sentence for everything about a candidate's changes that is out of its scope; () if all is well.

    `tree_paths` are the files of the tree that was changed. `reserved` are names of further modules that
    nothing new at the top level may shadow; the standard library, pytest and our own parts always are.
    """
    if not changes:
        return ("The candidate changes nothing.",)
    deleted = {change.path for change in changes if change.status == "D"}
    kept = set(tree_paths) - deleted
    added = tuple(change.path for change in changes if change.status == "A")
    twins = _Twins(kept | set(added))
    modules = _modules(kept)
    names = sys.stdlib_module_names | _GRADER | frozenset(reserved)
    folded = frozenset(_fold(name) for name in names)
    found: list[str] = []
    for change in changes:
        path = change.path
        shown = _shown(path)
        found += [f"{shown} {what}" for what in _bad_name(path)]
        if not any(matches(glob, path) for glob in mutable):
            found.append(
                f"{shown} matches none of the mutable paths ({', '.join(map(_shown, mutable)) or 'there are none'})."
            )
        found += [f"{shown} {what}" for what in _bad_mode(change)]
        if _steers(path):
            found.append(f"{shown} steers Python, pytest or git, and no candidate may do that.")
        if change.status == "A":
            # A twin of a module is also its shadow: once is enough.
            found += [f"{shown} {what}" for what in tuple(twins.of(path)) or _shadows(path, modules, folded)]
    return tuple(dict.fromkeys(found))


def _bad_name(path: str) -> Iterator[str]:
    parts = path.split("/")
    if ".." in parts:
        yield "lies outside of the project."
    elif "" in parts or "." in parts:
        yield "is not a plain relative path."
    if any(_is_git(part) for part in parts):
        yield "has a component that git takes for its own folder."
    if "\\" in path:
        yield "has a backslash in its name."
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in path):
        yield "has characters in its name that cannot be seen or are not Unicode."


def _is_git(part: str) -> bool:
    # HFS+ ignores invisible characters and NTFS has short names and streams.
    visible = "".join(c for c in part if unicodedata.category(c) != "Cf")
    name = visible.casefold().split(":")[0].rstrip(". ")
    return name == ".git" or re.fullmatch(r"git~\d+", name) is not None


def _bad_mode(change: Change) -> Iterator[str]:
    modes = (change.old_mode, change.new_mode)
    if _LINK in modes:
        yield "is a symbolic link; a candidate may change plain files only."
    elif _MODULE in modes:
        yield "is a submodule or a nested repository; a candidate may change plain files only."
    elif change.new_mode == _EXECUTABLE and change.old_mode != _EXECUTABLE:
        yield "is made executable; a candidate may not change the modes of files."
    elif modes == (_EXECUTABLE, _PLAIN):
        yield "is made not executable; a candidate may not change the modes of files."
    elif change.new_mode not in {_PLAIN, _EXECUTABLE, "000000"}:
        yield f"has the mode {change.new_mode}; a candidate may change plain files only."


def _steers(path: str) -> bool:
    name = _fold(path.rpartition("/")[2])
    return name in _STEERING or name.endswith((".pth", ".egg-link"))


def _fold(name: str) -> str:
    """Return what is equal for names that some file system or Python's import takes for the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class _Twins:
    """Names that differ only in what some file systems ignore."""

    def __init__(self, paths: Collection[str]) -> None:
        self._spellings: dict[str, set[str]] = {}
        for path in paths:
            for prefix in _prefixes(path):
                self._spellings.setdefault(_fold(prefix), set()).add(prefix)

    def of(self, path: str) -> Iterator[str]:
        for prefix in _prefixes(path):
            twins = sorted(self._spellings[_fold(prefix)] - {prefix})
            for twin in twins:
                same = unicodedata.normalize("NFKC", prefix) == unicodedata.normalize("NFKC", twin)
                how = "Unicode normalisation" if same else "the case of letters"
                yield f"differs from {_shown(twin)} by {how} only."
            if twins:
                return  # all below differs for the same reason


def _modules(paths: Collection[str]) -> Mapping[tuple[str, bool], str]:
    """Return for each place and kind (file or folder) of a module the first path that makes it importable."""
    found: dict[tuple[str, bool], str] = {}
    for path in sorted(paths):
        for module in _places(path):
            found.setdefault(module, path)
    return found


def _places(path: str) -> Iterator[tuple[str, bool]]:
    """Yield the place of every module that a path makes, and whether it is a file; none for other files."""
    folder, _, name = path.rpartition("/")
    if not _SUFFIX.search(name):
        return
    yield _fold(f"{folder}/{_SUFFIX.sub('', name)}".lstrip("/")), True
    for prefix in _prefixes(folder) if folder else ():
        yield _fold(prefix), False


def _shadows(path: str, modules: Mapping[tuple[str, bool], str], names: frozenset[str]) -> Iterator[str]:
    for place, is_file in _places(path):
        file, folder = modules.get((place, True)), modules.get((place, False))
        if place in names and file is None and folder is None:
            yield f"would shadow the module {place!r}, which the grading side imports."
        # A new file in a package that exists makes no second module of the package's name.
        other = file if folder is None else folder if is_file else None
        if other is not None:
            yield f"would shadow a module of the project beside {_shown(other)}."


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        yield "/".join(parts[:end])


def _shown(path: str) -> str:
    return path if path.isprintable() and path == path.strip() else ascii(path)


@lru_cache(maxsize=256)
def _compiled(glob: str) -> re.Pattern[str]:
    glob = glob.removeprefix("./")
    glob += "**" if glob.endswith("/") else ""
    parts = glob.split("/")
    pattern = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            pattern += "(?:[^/]+/)*[^/]+" if last else "(?:[^/]+/)*"
        else:
            pattern += _component(part) + ("" if last else "/")
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # a range that runs backwards, say: no path is meant
        return re.compile("(?!)")


def _component(part: str) -> str:
    """Return the regular expression of one component of a glob."""
    pattern = ""
    index = 0
    while index < len(part):
        character = part[index]
        index += 1
        # A bracket closes at the first `]` that is not its first character.
        end = part.find("]", index + 1 + (part[index : index + 1] == "!")) if character == "[" else -1
        if character == "*":
            pattern += "[^/]*"
        elif character == "?":
            pattern += "[^/]"
        elif end > 0:
            inside = part[index:end]
            negated = inside.startswith("!")
            content = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside.removeprefix("!"))
            pattern += f"(?!/)[{'^' if negated else ''}{content}]"
            index = end + 1
        else:
            pattern += re.escape(character)
    return pattern
