"""The canary as a table and as sentences: pure functions from its record to lines of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import wrap

from pytest_evalloop.loop.findings import Canary, Mode, Planted, percent, refusals, remarks, unnoticed
from pytest_evalloop.suite.faults import describe

_WIDTH = 100
_LABEL = 52
_COLUMN = 3
_LAST = 22  # "12 of 40 (30 %) > 5 %"
_AT_ONCE = (_WIDTH - _LABEL - _LAST - 2) // _COLUMN


def matrix(canary: Canary) -> list[str]:
    """Return which test catches which fault, with the false alarms on human text, at most 100 columns wide."""
    lines = []
    faults = list(enumerate(canary.faults, 1))
    for first in range(0, len(faults), _AT_ONCE):
        lines += [*_block(canary, faults[first : first + _AT_ONCE], last=first == 0), ""]
    named = [f"{number:>2} {fault.name}  {describe(fault.name)}".rstrip() for number, fault in faults]
    legend = "x fails, . passes, ? could not be planted; false alarms are failures on human text"
    return [*lines, *(_fit(line, _WIDTH) for line in named), legend]


def findings(canary: Canary) -> list[str]:
    """Return every finding as a sentence, wrapped: FAIL fails the session, NOTE is good to know."""
    failures = [*filter(None, map(unnoticed, canary.faults)), *refusals(canary)]
    caught = sum(fault.caught for fault in canary.faults)
    sentences = [f"FAIL {text}" for text in failures] + [f"NOTE {text}" for text in remarks(canary)]
    lines = [line for text in sentences for line in wrap(text, _WIDTH, subsequent_indent="     ")]
    return [*lines, f"{caught} of {len(canary.faults)} faults caught, in {canary.seconds:.0f} seconds"]


def _block(canary: Canary, faults: Sequence[tuple[int, Planted]], *, last: bool) -> list[str]:
    heads = [str(number) for number, _ in faults]
    rows = [_row("", heads, "false alarms" if last else "")]
    for mode in canary.modes:
        marks = _marks(faults, lambda fault, name=mode.id: name in fault.modes)  # type: ignore[misc]
        rows.append(_row(f"{mode.id} {mode.title}", marks, _alarms(mode) if last else ""))
    for test in canary.tests:
        marks = _marks(faults, lambda fault, name=test: name in fault.tests)  # type: ignore[misc]
        alarm = "fails" if test in canary.blaming else ""
        label = test if len(test) <= _LABEL else f"…{test[-_LABEL + 1 :]}"
        rows.append(_row(label, marks, alarm if last else ""))
    return rows


def _marks(faults: Sequence[tuple[int, Planted]], fails: Callable[[Planted], bool]) -> list[str]:
    return ["?" if fault.trouble else "x" if fails(fault) else "." for _, fault in faults]


def _alarms(mode: Mode) -> str:
    if mode.rate is None:
        return "-"
    found = f"{mode.false_alarms} of {mode.cases} ({percent(mode.rate)})"
    return found if mode.within else f"{found} > {percent(mode.allowed)}"


def _row(label: str, cells: Sequence[str], end: str) -> str:
    columns = "".join(cell.rjust(_COLUMN) for cell in cells)
    return f"{_fit(label, _LABEL).ljust(_LABEL)}{columns}  {end}".rstrip()


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
