"""Failure modes: what the marker says, and the rate over all cases of one mode."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_evalloop.records import Rate

CONFIDENCE = 0.95


@dataclass(frozen=True)
class FailureMode:
    """What `@pytest.mark.failure_mode(...)` says about a test."""

    id: str
    title: str
    severity: str | None
    traces: tuple[str, ...]
    tolerate: float


class MarkerError(ValueError):
    """A failure_mode marker that cannot be used; the message says what is wrong with it."""


def from_marker(mark: pytest.Mark) -> FailureMode:
    """Read a marker; raises `MarkerError` when id, title or tolerate make no sense."""
    values = {**dict(zip(("id", "title"), mark.args, strict=False)), **mark.kwargs}
    unknown = set(values) - {"id", "title", "severity", "traces", "tolerate"}
    if len(mark.args) > 2 or unknown:
        raise MarkerError(
            "failure_mode takes an id and a title, then severity=, traces= and tolerate= by name"
            + (f"; it does not know {', '.join(sorted(unknown))}" if unknown else "")
        )
    identity, title = values.get("id"), values.get("title")
    if not (isinstance(identity, str) and identity and isinstance(title, str) and title):
        raise MarkerError('failure_mode needs an id and a title, such as ("FM-01", "speeches never end")')
    tolerate = values.get("tolerate", 0.0)
    if isinstance(tolerate, bool) or not isinstance(tolerate, (int, float)) or not 0.0 <= tolerate < 1.0:
        raise MarkerError(f"tolerate is {tolerate!r}; it is a rate of failures, at least 0 and below 1")
    severity, traces = values.get("severity"), values.get("traces", ())
    if not isinstance(traces, (list, tuple)):
        raise MarkerError(f"traces is {traces!r}; it is a list of trace ids")
    ids = tuple(str(trace) for trace in traces)
    return FailureMode(identity, title, None if severity is None else str(severity), ids, float(tolerate))


def rate(mode: FailureMode, failed: Iterable[bool]) -> Rate:
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
    return Rate(mode.id, mode.title, failures, len(results), upper, mode.tolerate, passed)


def cases_needed(tolerate: float) -> int:
    """Return how many cases without a failure bring the upper bound down to `tolerate`."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-tolerate))


def sentence(rate: Rate) -> str:
    """Say in words what a rate found and how it was judged."""
    found = f"{rate.id} ({rate.title}): {rate.failures} of {rate.cases} cases failed"
    if rate.tolerate == 0:
        return f"{found}; none is tolerated"
    relation = "at most" if rate.upper <= rate.tolerate else "above"
    upper, tolerated = f"{100 * rate.upper:.3g}%", f"{100 * rate.tolerate:.3g}%"
    text = f"{found}, so up to {upper} fail (95 % bound), {relation} the tolerated {tolerated}"
    needed = cases_needed(rate.tolerate)
    if rate.upper <= rate.tolerate or rate.cases >= needed:
        return text
    return f"{text}; {rate.cases} cases cannot show it, {needed} can"
