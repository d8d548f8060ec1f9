"""What a session collected: every test with what it demands, and the checks that can be tried on labelled traces."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.protocols import CHECKS
from pytest_evalloop.review.traces import StoredTrace
from pytest_evalloop.suite.failure_modes import FailureMode, MarkerError, base, from_marker


@dataclass(frozen=True, slots=True)
class Test:
    """One test without its parameters, and the node ids of its cases; `objective` tells whether it uses val_bpb."""

    __test__ = False

    nodeid: str
    statement: str
    mode: FailureMode | None
    objective: bool
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What one check says of labelled traces, True for a pass; `problem` why it said nothing of some of them."""

    check: str
    mode: str
    said: Mapping[str, bool]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tests that were collected, before any was deselected; `gaps` are places that could not be collected."""

    tests: tuple[Test, ...] = ()
    gaps: tuple[str, ...] = ()
    verdicts: tuple[Verdicts, ...] = field(default=())

    @property
    def modes(self) -> Mapping[str, FailureMode]:
        """The failure modes by id, as their markers describe them."""
        return {test.mode.id: test.mode for test in self.tests if test.mode is not None}

    def of(self, mode: str) -> tuple[Test, ...]:
        """Return the tests of a failure mode."""
        return tuple(test for test in self.tests if test.mode is not None and test.mode.id == mode)

    def to_plain(self) -> dict[str, Any]:
        """Return all of it in lists, texts and numbers, as a worker hands it over."""
        import msgspec

        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Catalogue:
        """Read what `to_plain` returned."""
        import msgspec

        return msgspec.convert(plain, cls)


def in_folders(items: Iterable[pytest.Item], folders: Collection[Path]) -> list[pytest.Function]:
    """Return the tests that are written in Python and lie in the folders, or are them."""
    return [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and any(folder in (item.path, *item.path.parents) for folder in folders)
    ]


def read(items: Iterable[pytest.Function]) -> tuple[Test, ...]:
    """Return the tests of a session; a marker that makes no sense is left for others to complain about."""
    tests: dict[str, Test] = {}
    for item in items:
        nodeid = base(item.nodeid)
        known = tests.get(nodeid)
        cases = (*(known.cases if known is not None else ()), item.nodeid)
        statement = inspect.cleandoc(getattr(item.obj, "__doc__", None) or "")
        tests[nodeid] = Test(nodeid, statement, _mode(item), "val_bpb" in item.fixturenames, cases)
    return tuple(tests.values())


def _mode(item: pytest.Item) -> FailureMode | None:
    mark = item.get_closest_marker("failure_mode")
    with contextlib.suppress(MarkerError):
        return None if mark is None else from_marker(mark)
    return None


def checks(items: Iterable[pytest.Function], root: Path) -> dict[tuple[str, str], Callable[[str], object]]:
    """Return the functions that `@check` marked in the modules of tests, by failure mode and name."""
    modules = {item.module.__name__: item.module for item in items}
    found = {}
    for _, module in sorted(modules.items()):
        for value in vars(module).values():
            modes = getattr(value, "__dict__", {}).get(CHECKS)
            if isinstance(modes, tuple) and callable(value):
                found.update({(mode, _name(value, root)): value for mode in modes})
    return found


def _name(function: Any, root: Path) -> str:  # noqa: ANN401 - whatever was decorated
    name = getattr(function, "__qualname__", type(function).__qualname__)
    with contextlib.suppress(TypeError, OSError, ValueError):
        return f"{Path(inspect.getfile(inspect.unwrap(function))).relative_to(root).as_posix()}::{name}"
    return f"{getattr(function, '__module__', '')}.{name}"


def try_out(
    found: Mapping[tuple[str, str], Callable[[str], object]],
    traces: Callable[[str], Iterable[StoredTrace]],
    kind: str = "labelled traces",
) -> Iterator[Verdicts]:
    """Yield what every check says of the traces of its failure mode; `kind` is a word for these traces."""
    for (mode, name), function in sorted(found.items(), key=_by_key):
        said: dict[str, bool] = {}
        troubles: dict[str, str] = {}
        for stored in traces(mode):
            try:
                said[stored.id] = not _wrong(function(stored.trace.output))
            except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - theirs
                troubles[stored.id] = f"{type(error).__name__}: {error}".strip()
        problem = ""
        if troubles:
            first = min(troubles)
            count = f"{len(troubles)} of {len(troubles) + len(said)} {kind}"
            problem = f"gave no verdict on {count}, {first} among them ({troubles[first][:300]})."
        yield Verdicts(name, mode, said, problem)


def _by_key(entry: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return entry[0]


def _wrong(answer: object) -> list[object] | tuple[object, ...]:
    # A check that forgets to return would pass everything.
    if not isinstance(answer, (list, tuple)):
        raise TypeError(f"it returned {answer!r:.100}, and a check returns a list of what is wrong")
    return answer
