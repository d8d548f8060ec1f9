"""The last results that the requirements document quotes: kept beside the labels, changed by outcomes alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pytest_evalloop.records import Rate
from pytest_evalloop.review.journal import ReviewError

FILE: Final = "results.json"

_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}


@dataclass(frozen=True, slots=True)
class ModeResult:
    """How the cases of a failure mode ended.

    `since` is the date of the first pass after the last fail, empty while it fails; `date` is that of the first
    session with this result.
    """

    failures: int
    cases: int
    upper: float
    tolerate: float
    passed: bool
    since: str
    date: str


@dataclass(frozen=True, slots=True)
class TestResult:
    """How a test without a failure mode ended, with the same dates."""

    __test__ = False

    passed: bool
    since: str
    date: str


@dataclass(frozen=True, slots=True)
class Results:
    """The last results by failure mode, and by node id without parameters for tests that have none."""

    modes: Mapping[str, ModeResult] = field(default_factory=dict)
    tests: Mapping[str, TestResult] = field(default_factory=dict)

    @property
    def latest(self) -> str:
        """The last date on which anything changed; empty if there are no results."""
        dates = [each.date for each in self.modes.values()] + [each.date for each in self.tests.values()]
        return max(dates, default="")


_One = TypeVar("_One", ModeResult, TestResult)


def from_rate(rate: Rate, *, passed: bool) -> ModeResult:
    """Return a result without dates."""
    upper = round(rate.upper, 6)  # so that no other version of scipy changes the file
    return ModeResult(rate.failures, rate.cases, upper, rate.tolerate, passed, "", "")


def merge(
    known: Results,
    modes: Mapping[str, ModeResult],
    tests: Mapping[str, bool],
    today: str,
    collected: Collection[str],
) -> Results:
    """Return the results after a session that ran `modes` and `tests` whole, given without dates.

    What did not run, or ended as before, keeps its result and its dates; what is not among `collected`, the ids of
    all modes and tests that there are, is gone.
    """
    ran = {nodeid: TestResult(passed, "", "") for nodeid, passed in tests.items()}
    return Results(_merged(known.modes, modes, today, collected), _merged(known.tests, ran, today, collected))


def _merged(
    known: Mapping[str, _One], ran: Mapping[str, _One], today: str, collected: Collection[str]
) -> dict[str, _One]:
    merged = {identity: each for identity, each in known.items() if identity in collected}
    for identity, now in ran.items():
        before = merged.get(identity)
        if before is not None and replace(before, since="", date="") == now:
            continue
        passing = before is not None and before.passed and bool(before.since)
        since = "" if not now.passed else before.since if before is not None and passing else today
        merged[identity] = replace(now, since=since, date=today)
    return merged


def encode(results: Results) -> str:
    """Return the file's content: the same for the same results, and readable in a diff."""
    table = {
        "modes": {identity: asdict(each) for identity, each in sorted(results.modes.items())},
        "tests": {identity: asdict(each) for identity, each in sorted(results.tests.items())},
    }
    return json.dumps(table, indent=2) + "\n"


def read(folder: Path) -> Results:
    """Return the results in `results.json`, none if there is no file; raises ReviewError for one that is none."""
    path = folder / FILE
    try:
        table = json.loads(path.read_bytes())
        return Results(_results(table, "modes", ModeResult), _results(table, "tests", TestResult))
    except FileNotFoundError:
        return Results()
    except OSError as error:
        raise ReviewError(f"{path} cannot be read: {error.strerror or error}. Make it readable.") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ReviewError(
            f"{path} holds no results ({error}). Take it back from version control, or remove it: then what passes "
            "does so since the next session."
        ) from error


def _results(table: Mapping[str, Any], name: str, kind: type[_One]) -> dict[str, _One]:
    return {identity: _result(kind, entry) for identity, entry in table.get(name, {}).items()}


def _result(kind: type[_One], entry: Mapping[str, Any]) -> _One:
    given = kind(**entry)
    for each in fields(kind):
        value = entry[each.name]
        if not isinstance(value, _KINDS[str(each.type)]) or (isinstance(value, bool) and each.type != "bool"):
            raise TypeError(f"{each.name} is {value!r}")
    return given
