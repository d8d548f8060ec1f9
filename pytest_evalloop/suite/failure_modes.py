"""Failure modes: what the marker says, and the rate over all cases of one mode."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalloop.review.counts import count

if TYPE_CHECKING:
    import pytest

    from pytest_evalloop.records import Rate

CONFIDENCE = 0.95
FALSE_ALARMS = 0.05
"""The share of human texts on which a check may fail unless its marker says otherwise."""


@dataclass(frozen=True)
class FailureMode:
    """What `@pytest.mark.failure_mode(...)` says about a test."""

    id: str
    title: str
    severity: str | None
    traces: tuple[str, ...]
    tolerate: float
    false_alarms: float = FALSE_ALARMS


class MarkerError(ValueError):
    """A failure_mode marker that cannot be used; the message says what is wrong with it."""


def from_marker(mark: pytest.Mark) -> FailureMode:
    """Read a marker; raises `MarkerError` when a value of it makes no sense."""
    values = {**dict(zip(("id", "title"), mark.args, strict=False)), **mark.kwargs}
    unknown = set(values) - {"id", "title", "severity", "traces", "tolerate", "false_alarms"}
    if len(mark.args) > 2 or unknown:
        raise MarkerError(
            "failure_mode takes an id and a title, then severity=, traces=, tolerate= and false_alarms= by name"
            + (f"; it does not know {', '.join(sorted(unknown))}" if unknown else "")
        )
    identity, title = values.get("id"), values.get("title")
    if not (isinstance(identity, str) and identity and isinstance(title, str) and title):
        raise MarkerError('failure_mode needs an id and a title, such as ("FM-01", "speeches never end")')
    tolerate = _share(values.get("tolerate", 0.0), "tolerate", "failures")
    false_alarms = _share(values.get("false_alarms", FALSE_ALARMS), "false_alarms", "failures on human text")
    severity, traces = values.get("severity"), values.get("traces", ())
    if not isinstance(traces, (list, tuple)):
        raise MarkerError(f"traces is {traces!r}; it is a list of trace ids")
    ids = tuple(str(trace) for trace in traces)
    level = None if severity is None else str(severity)
    return FailureMode(identity, title, level, ids, tolerate, false_alarms)


def _share(value: object, name: str, of: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise MarkerError(f"{name} is {value!r}; it is a rate of {of}, at least 0 and below 1")
    return float(value)


def rate(
    mode: FailureMode, failed: Iterable[bool], *, tests: Collection[str] = (), generates: bool = False
) -> Rate:
    """Judge one mode over all its cases.

    With `tolerate` 0 every case has to pass. Otherwise the one-sided 95 % upper bound of the failure
    rate (Clopper and Pearson) has to be at most `tolerate`, so too few cases never pass.
    """
    from pytest_evalloop.metric.statistics import upper_bound
    from pytest_evalloop.records import Rate

    results = list(failed)
    failures = sum(results)
    upper = upper_bound(failures, len(results), CONFIDENCE) if results else 1.0
    passed = bool(results) and (upper <= mode.tolerate if mode.tolerate > 0 else failures == 0)
    return Rate(
        mode.id,
        mode.title,
        failures,
        len(results),
        upper,
        mode.tolerate,
        passed,
        mode.false_alarms,
        generates,
        tuple(tests),
    )


def base(nodeid: str) -> str:
    """Return the node id of a test without its parameters."""
    file, colons, name = nodeid.partition("::")
    return file + colons + name.partition("[")[0]


def cases_needed(tolerate: float) -> int:
    """Return how many cases without a failure bring the upper bound down to `tolerate`."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-tolerate))


def sentence(rate: Rate) -> str:
    """Say in words what a rate found and how it was judged."""
    found = f"{rate.id} ({rate.title}): {rate.failures} of {count(rate.cases, 'case')} failed"
    if rate.tolerate == 0:
        return f"{found}; none is tolerated"
    relation = "at most" if rate.upper <= rate.tolerate else "above"
    upper, tolerated = f"{100 * rate.upper:.3g}%", f"{100 * rate.tolerate:.3g}%"
    text = f"{found}, so up to {upper} fail (95 % bound), {relation} the tolerated {tolerated}"
    needed = cases_needed(rate.tolerate)
    if rate.upper <= rate.tolerate or rate.cases >= needed:
        return text
    return f"{text}; {count(rate.cases, 'case')} cannot show it, {needed} can"
