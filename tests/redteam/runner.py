"""Tries themes in one real loop and says of each attack what became of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.redteam.attack import SILENT, TAMPERED, Attack
from tests.redteam.catalogue import Theme
from tests.redteam.guard import Guard
from tests.redteam.mutator import note_damage
from tests.redteam.project import Fortress, make_fortress

_LOOP_SECONDS = 280
_LIVES = 6
"""How often a loop is taken up again that an attack has ended."""


@dataclass(frozen=True)
class Outcome:
    """What the ledger says of one candidate, what the baseline scored, and what the candidate damaged."""

    verdict: str
    reason: str
    bpb: float | None
    passed: bool
    baseline: float
    damage: tuple[str, ...] = ()

    @property
    def better(self) -> bool:
        """Whether this passed with a score below the baseline's, also where another attack scored less still."""
        lower = self.bpb is not None and self.bpb < self.baseline
        judged = self.reason.startswith("bpb ") and "within the margin" not in self.reason
        return self.verdict == "accepted" or (self.passed and lower and judged)


LOST = Outcome("none", "the loop did not survive until here", None, False, 0.0)


@dataclass(frozen=True)
class Tried:
    """A theme that was tried: an outcome for each attack, and what the loop printed."""

    outcomes: tuple[Outcome, ...]
    output: str
    problems: tuple[str, ...]


def complaint(attack: Attack, outcome: Outcome, *, fair: bool = False) -> str:
    """Say what is wrong with an outcome; empty if an attack was stopped, or a fair candidate judged fairly."""
    if fair:
        right = outcome.passed and re.search(attack.reason, outcome.reason) and not outcome.damage
        return "" if right else f"an honest candidate: {_said(outcome)}"
    if outcome.better or outcome.verdict != "rejected":
        return f"ESCAPED: {_said(outcome)}"
    if outcome.damage and not re.search(TAMPERED, outcome.reason):
        return f"DAMAGE: {'; '.join(outcome.damage[:3])}: {_said(outcome)}"
    if not re.search(attack.reason, outcome.reason, re.DOTALL):
        return f"stopped for another reason: {_said(outcome)}"
    if re.search(SILENT, outcome.reason) and outcome.bpb != outcome.baseline:
        return f"it neither won nor did it behave like the baseline ({outcome.baseline}): {_said(outcome)}"
    return ""


def complaints(theme: Theme, tried: Tried) -> list[str]:
    """Return a line for everything that is wrong with what came of a theme, known exceptions said as such."""
    lines = []
    for attack, outcome in zip(theme.attacks, tried.outcomes, strict=True):
        if problem := complaint(attack, outcome, fair=theme.fair):
            known = f" (known: {attack.unsolved})" if attack.unsolved else ""
            lines.append(f"{theme.name}/{attack.name}: {problem}{known}")
    return lines


def run(folder: Path, themes: Sequence[Theme]) -> dict[str, Tried]:
    """Have one loop try the attacks of `themes`, which share their settings, and return what came of each theme.

    Raises `AssertionError` when not even a baseline is there.
    """
    what = "+".join(theme.name for theme in themes)
    tried = _run(folder, themes[0].settings, what, sum(len(theme.attacks) for theme in themes))
    found, start = {}, 0
    for theme in themes:
        end = start + len(theme.attacks)
        found[theme.name] = replace(tried, outcomes=tried.outcomes[start:end])
        start = end
    return found


def _run(folder: Path, settings: dict[str, str], what: str, count: int) -> Tried:
    project = make_fortress(folder, settings)
    guard, problems = Guard(project), []
    output = ""
    for _ in range(_LIVES):
        status, printed = _loop(project, what, count)
        output += printed
        if status == 0:
            break
        number = _last(project)
        assert number > 0, f"the loop did not get beyond its baseline:\n{output}"
        note_damage(project.path, number, [f"ended the loop with status {status}", *guard.settle()])
    note_damage(project.path, _last(project), guard.settle())
    if len(project.results()) != _last(project) + 1:
        problems.append("results.tsv has not one row a candidate")
    if project.git("status", "--porcelain"):
        problems.append("the user's checkout is not as it was")
    return Tried(_outcomes(project, count), output, tuple(problems))


def _loop(project: Fortress, what: str, count: int) -> tuple[int, str]:
    flags = ("--evalloop", "--evalloop-mutator", "redteam", "--evalloop-candidates", str(count))
    with project.start(*flags, REDTEAM_ATTACKS=what) as process:
        try:
            output, _ = process.communicate(timeout=_LOOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return process.returncode, output


def _last(project: Fortress) -> int:
    if not (project.path / ".evalloop/ledger.db").exists():
        return -1
    return int(str(project.rows("SELECT coalesce(max(number), -1) FROM candidates")[0][0]))


def _outcomes(project: Fortress, count: int) -> tuple[Outcome, ...]:
    import json

    damage: dict[int, list[str]] = {}
    for line in (project.path.parent / "damage.jsonl").read_text().splitlines():
        entry = json.loads(line)
        damage.setdefault(entry["number"], []).extend(entry["found"])
    query = "SELECT number, verdict, reason, bpb, passed FROM candidates ORDER BY number"
    rows = {int(str(row[0])): row for row in project.rows(query)}
    baseline = float(str(rows[0][3]))
    found = []
    for number in range(1, count + 1):
        if number not in rows or rows[number][1] is None:
            found.append(LOST)
            continue
        _, verdict, reason, bpb, passed = rows[number]
        score = None if bpb is None else float(str(bpb))
        harm = tuple(damage.get(number, ()))
        found.append(Outcome(str(verdict), str(reason), score, bool(passed), baseline, harm))
    return tuple(found)


def _said(outcome: Outcome) -> str:
    bpb = "" if outcome.bpb is None else f" at {outcome.bpb:.4f} bpb (baseline {outcome.baseline:.4f})"
    return f"{outcome.verdict}{bpb}: {outcome.reason[:300]}"
