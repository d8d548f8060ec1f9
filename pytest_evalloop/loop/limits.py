"""When a loop has gone far enough: a pure decision over its settings and its record."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_evalloop.records import Candidate
from pytest_evalloop.settings import Settings

_FRUITLESS = 5


def reached(
    settings: Settings,
    elapsed: float,
    bpb: float | None,
    proposed: Sequence[Candidate],
    decided: Sequence[Candidate],
) -> str | None:
    """Return which limit was reached, a sentence; None where the loop goes on.

    `elapsed` is seconds, `bpb` the incumbent's, `proposed` all candidates but the baseline, and `decided` those of
    them that have a verdict, in the order of the verdicts.
    """
    if settings.candidates is not None and len(proposed) >= settings.candidates:
        return f"{len(proposed)} candidates were tried (--evalloop-candidates)"
    if settings.seconds is not None and elapsed >= settings.seconds:
        return f"{elapsed:.0f} seconds have passed (--evalloop-time)"
    if settings.target is not None and bpb is not None and bpb <= settings.target:
        return f"the incumbent's {bpb:.4f} bpb reach {settings.target:g} (--evalloop-target)"
    rejected = 0
    for candidate in reversed(decided):
        if candidate.stands:
            break
        rejected += 1
    if settings.patience is not None and rejected >= settings.patience:
        return f"{rejected} candidates in a row were rejected (--evalloop-patience)"
    last = proposed[-_FRUITLESS:]
    if len(last) == _FRUITLESS and all(candidate.commit == candidate.parent for candidate in last):
        return f"the mutators proposed nothing {_FRUITLESS} times in a row"
    return None
