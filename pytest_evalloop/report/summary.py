"""Words and tables about candidates: pure functions from records to lines of text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pytest_evalloop.records import Candidate

_HEAD = ("#", "verdict", "bpb", "change", "margin", "seeds", "mutator", "what it tried")
_WIDTH = 60


def outcome_line(candidate: Candidate) -> str:
    """Say in one line what became of a candidate."""
    verdict = candidate.decision.verdict if candidate.decision is not None else "open"
    reason = candidate.decision.reason if candidate.decision is not None else ""
    who = f"{candidate.run}/{candidate.number}"
    if candidate.number == 0:
        bpb = f" at {candidate.bpb:.4f} bpb" if candidate.bpb is not None else ""
        return f"{who} baseline {verdict}{bpb}: {reason}"
    return f"{who} {verdict}: {candidate.mutator}: {candidate.description}\n    {reason}"


def table(candidates: Sequence[Candidate]) -> list[str]:
    """Return the candidates as lines of aligned columns, the baseline first."""
    rows = [_HEAD, *(_row(candidate) for candidate in candidates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    right = {0, 2, 3, 4, 5}
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(candidate: Candidate) -> tuple[str, ...]:
    decision = candidate.decision
    text = candidate.description
    return (
        str(candidate.number),
        "revoked" if candidate.revoked else decision.verdict.value if decision is not None else "open",
        _number(candidate.bpb),
        _number(
            0.0 - decision.delta if decision is not None and decision.delta is not None else None, "+.4f"
        ),
        _number(decision.margin if decision is not None else None),
        str(decision.seeds or "") if decision is not None else "",
        candidate.mutator,
        text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…",
    )


def gain(candidates: Sequence[Candidate], incumbent: Candidate) -> str:
    """Say where the incumbent stands against the baseline."""
    baseline = candidates[0]
    if baseline.bpb is None or incumbent.bpb is None:
        return "nothing was measured yet"
    if incumbent.number == 0:
        return f"incumbent: the baseline, {baseline.bpb:.4f} bpb; no candidate was accepted"
    return (
        f"incumbent: {incumbent.run}/{incumbent.number}, {incumbent.bpb:.4f} bpb, "
        f"{incumbent.bpb - baseline.bpb:+.4f} against the baseline's {baseline.bpb:.4f}"
    )


def chances(candidates: Sequence[Candidate], level: float) -> str:
    """Say how many of the acceptances so far may be luck: the level of the test, summed over all candidates."""
    judged = _judged(candidates)
    if not judged:
        return "false accepts to expect so far: none, as no candidate was compared"
    compared = f"{len(judged)} candidate{'s' if len(judged) > 1 else ''} compared"
    sure = f"each with a chance of at most {100 * level:g} % if it changes nothing"
    return f"false accepts to expect so far: at most {level * len(judged):.2g} ({compared}, {sure})"


def nulls(candidates: Sequence[Candidate], level: float) -> str:
    """Say how many candidates that change nothing were accepted, and how many keep-if-lower would have kept."""
    judged = _judged(candidates)
    accepted = sum(candidate.stands for candidate in judged)
    revoked = sum(bool(candidate.revoked) for candidate in judged)
    taken = f" and {revoked} accepted for a while" if revoked else ""
    best, kept = candidates[0].bpb, 0
    for candidate in judged:
        if best is not None and candidate.bpb is not None and candidate.bpb < best:
            best, kept = candidate.bpb, kept + 1
    return (
        f"A/A: {accepted} of {len(judged)} candidates that change nothing accepted{taken}; at most "
        f"{level * len(judged):.2g} to expect. Keep if lower would have kept {kept}"
    )


def costs(candidates: Sequence[Candidate], training: float) -> str:
    """Say what the loop cost: seconds of training, of checks, and the overhead of the loop itself."""
    graded = [candidate for candidate in candidates if candidate.bpb is not None]
    if not graded:
        return "no candidate was graded"
    checks = sum(candidate.check_seconds for candidate in graded)
    overhead = [candidate.overhead_seconds for candidate in graded]
    peak = max((candidate.peak_bytes or 0 for candidate in candidates), default=0)
    return (
        f"compute: {training:.0f} s of training, {checks:.0f} s of checks; overhead of the loop itself "
        f"{statistics.median(overhead):.1f} s per candidate (median, most {max(overhead):.1f} s); "
        f"peak memory of a training {peak / 1e6:.0f} MB"
    )


def _judged(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that came as far as a comparison."""
    return [candidate for candidate in candidates[1:] if candidate.bpb is not None and candidate.passed]


def _number(value: float | None, form: str = ".4f") -> str:
    return "" if value is None else format(value, form)
