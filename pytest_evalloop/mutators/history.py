"""What the history tells a mutator: a table for those who read, and trials for those who count."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_evalloop.mutators.space import Value
from pytest_evalloop.records import Candidate, Status

_TRAINING = "training "  # how the reason begins of who broke in its training
_LAST_LINES, _LONGEST = 20, 300
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")


@dataclass(frozen=True, slots=True)
class Trial:
    """An earlier candidate of this mutator: all values, the old ones of those it changed, and its outcome.

    `bpb` is None for a candidate that failed, and a prediction for one whose training was stopped as hopeless;
    it is corrected for what other mutators had gained by then. One that is not `decided` is being tried just now, or
    has a `bpb` and waits for further seeds.
    """

    values: Mapping[str, Value]
    old: Mapping[str, Value]
    bpb: float | None
    accepted: bool
    recent: bool
    decided: bool = True


def plain(text: str, limit: int) -> str:
    """Return `text` as one line without control characters or terminal escapes, cut to `limit` characters."""
    # Category C also holds invisible format characters that reorder or hide what stands beside them.
    visible = (
        " " if unicodedata.category(sign).startswith(("C", "Z")) else sign for sign in _ESCAPE.sub("", text)
    )
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def table(history: Sequence[Candidate], *, recent: int = 40, best: int = 5) -> str:
    """Return a Markdown table of the last `recent` candidates and of the `best` accepted ones before them.

    The baseline always stands first. Everything in it is data: it cannot begin a new row or cell.
    """
    earlier = sorted(
        (candidate for candidate in history[:-recent] if candidate.number > 0 and accepted(candidate)),
        key=lambda candidate: -(candidate.decision.delta or 0.0) if candidate.decision else 0.0,
    )
    baseline = [candidate for candidate in history[:-recent] if candidate.number == 0]
    kept = sorted([*baseline, *earlier[:best]], key=lambda candidate: candidate.number)
    lines = ["| # | by | idea | verdict | improvement | val_bpb | reason |", "|--:|---|---|---|--:|--:|---|"]
    lines += [_row(candidate) for candidate in [*kept, *history[-recent:]]]
    left_out = len(history) - len(lines) + 2
    if left_out:
        lines.append(f"\n{left_out} earlier candidates are left out.")
    return "\n".join(lines)


def last_words(history: Sequence[Candidate], *, recent: int = 3) -> str:
    """Return what broken trainings among the last candidates ended with, as Markdown; empty where there are none.

    Of trainings alone: they have seen no document that is scored, which a message from the host may quote.
    Every line is indented, so that nothing in it is markup.
    """
    found = []
    for candidate in history[-recent:]:
        reason = candidate.decision.reason if candidate.decision else ""
        if candidate.status in (None, Status.COMPLETED) or not reason.startswith(_TRAINING):
            continue
        lines = (_ESCAPE.sub("", line) for line in candidate.detail.splitlines()[-_LAST_LINES:])
        # What is left of control characters could still move the cursor of who prints it.
        shown = ("".join(sign if sign.isprintable() else " " for sign in line)[:_LONGEST] for line in lines)
        found.append(f"Candidate {candidate.number}:\n\n" + "\n".join(f"    {line}" for line in shown))
    return "\n\n".join(found)


def _row(candidate: Candidate) -> str:
    decision = candidate.decision
    status = candidate.status
    broken = status is not None and status is not Status.COMPLETED
    cells = (
        str(candidate.number),
        candidate.mutator,
        candidate.description,
        _verdict(candidate),
        "" if decision is None or decision.delta is None else f"{decision.delta:+.4f}",
        "" if candidate.bpb is None else f"{candidate.bpb:.4f}",
        ": ".join(
            part
            for part in (
                str(status) if broken else "",
                candidate.revoked or (decision.reason if decision else ""),
            )
            if part
        ),
    )
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _verdict(candidate: Candidate) -> str:
    if candidate.number == 0:
        return "baseline"
    return "revoked" if candidate.revoked else str(candidate.decision.verdict) if candidate.decision else ""


def _cell(text: str) -> str:
    # A backslash of its own could take the one off that guards a pipe.
    return plain(text, 160).replace("\\", "\\\\").replace("|", "\\|")


def recall(history: Sequence[Candidate]) -> tuple[list[Trial], float]:
    """Return the earlier candidates of this mutator, and what all others have gained (bits per byte).

    What a new prompt or an agent's patch gained says nothing about the parameters, so it is added back to
    the bpb of every candidate that came after it.
    """
    trials: list[Trial] = []
    gained, standing = 0.0, math.nan
    last = max((n for n, candidate in enumerate(history) if accepted(candidate)), default=-1)
    for index, candidate in enumerate(history):
        before, standing = standing, _standing(candidate, standing)
        changed, values = candidate.parameters.get("changed"), candidate.parameters.get("values")
        if (
            candidate.mutator != "search"
            or not isinstance(changed, Mapping)
            or not isinstance(values, Mapping)
        ):
            # A merge brings together what was measured of its parts.
            if accepted(candidate) and candidate.decision is not None and candidate.mutator != "merge":
                gained += candidate.decision.delta or 0.0
            continue
        completed = candidate.status is Status.COMPLETED and candidate.passed is not False
        bpb = candidate.bpb if completed else _predicted(candidate, before)
        trials.append(
            Trial(
                values=values,
                old={name: pair[0] for name, pair in changed.items()},
                bpb=bpb + gained if bpb is not None and math.isfinite(bpb) else None,
                accepted=accepted(candidate),
                recent=index > last,
                decided=candidate.decision is not None,
            )
        )
    return trials, gained


def _standing(candidate: Candidate, before: float) -> float:
    """Return the incumbent's bits per byte after a candidate."""
    return candidate.bpb if candidate.stands and candidate.bpb is not None else before


def _predicted(candidate: Candidate, incumbent: float) -> float | None:
    """Return what a training that was stopped would have come to, None if it failed."""
    decision = candidate.decision
    if candidate.status is None and decision is not None and decision.delta is not None:
        return incumbent - decision.delta
    return None


def accepted(candidate: Candidate) -> bool:
    """Return whether the candidate became an incumbent; the baseline was none of the accepted."""
    return candidate.number > 0 and candidate.stands
