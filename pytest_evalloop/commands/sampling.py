"""`pytest-evalloop review --sample`: which traces are read, and who is asked where opinions differ."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.commands.project import Place, settings
from pytest_evalloop.commands.words import WAYS, remark
from pytest_evalloop.review import sampling
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.judgements import kept
from pytest_evalloop.review.judges import JudgeError, judge_files, read_judge
from pytest_evalloop.review.splits import Split, human, read_splits
from pytest_evalloop.review.traces import Library, ReviewError

_COLLECTED: Final = {0, 5}  # pytest found tests, or none
_NAMES: Final = "random:100, outliers:50 or disagreements:50"


@dataclass(frozen=True, slots=True)
class Wish:
    """How many traces are drawn, and how: by which key of metadata for `stratified`."""

    how: str
    count: int
    key: str
    seed: int

    @classmethod
    def parse(cls, words: str, key: str, seed: int) -> Wish:
        """Read what follows `--sample` and `--stratify`; raises ReviewError if it is of no use."""
        how, _, number = words.partition(":")
        if how not in WAYS or not re.fullmatch(r"[1-9]\d{0,8}", number) or (how == "stratified") != bool(key):
            raise ReviewError(
                f"--sample is {words!r}. Write how and how many, such as {_NAMES}; "
                "stratified:100 takes a metadata key, and only that: --stratify model."
            )
        return cls(how, int(number), key, seed)


def draw(wish: Wish, place: Place, library: Library, labels: Mapping[str, Label]) -> dict[str, str]:
    """Return the traces that are drawn for reading, each with the reason why.

    Raises ReviewError where opinions are asked for and nobody has any, or all agree.
    """
    traces = list(library.traces.values())
    if wish.how == "random":
        picks = sampling.at_random(traces, wish.count, wish.seed)
    elif wish.how == "stratified":
        picks = sampling.stratified(traces, wish.count, wish.key, wish.seed)
    elif wish.how == "outliers":
        picks = sampling.outliers(traces, wish.count, wish.seed)
    else:
        picks = _disagreements(wish, place, library, labels)
    return {pick.id: pick.why for pick in picks}


def _disagreements(
    wish: Wish, place: Place, library: Library, labels: Mapping[str, Label]
) -> tuple[sampling.Pick, ...]:
    """Draw where checks, judges and people differ; a share at random, as always."""
    said = opinions(place, library, labels)
    voices = sum(len(each) for each in said.values())
    otherwise = f"Or draw otherwise: --sample random:{wish.count}."
    if not voices:
        raise ReviewError(
            f"Nobody can disagree: no function with @check in {', '.join(settings(place.root).evals)} and no judge has "
            "a verdict on these traces. Write a check (pytest-evalloop review --scaffold FM-01) or ask a judge "
            f"(pytest-evalloop judge FM-01). {otherwise}"
        )
    people = {mode: human(labels.values(), mode) for mode in said}
    traces = list(library.traces.values())
    found = sampling.disagreements(traces, said, people, len(traces), wish.seed, 0.0)
    number = sum(pick.why != sampling.AT_RANDOM for pick in found)
    if not number:
        raise ReviewError(
            f"There is no disagreement on {count(len(traces), 'trace')}, having heard "
            f"{count(voices, 'check or judge', 'checks and judges')}: wherever people labelled the failure mode they "
            f"say the same, and nowhere else do two contradict each other. {otherwise}"
        )
    picks = sampling.disagreements(traces, said, people, wish.count, wish.seed)
    remark(f"{count(number, 'trace')} on which checks, judges and people differ; some others at random.")
    return picks


def opinions(place: Place, library: Library, labels: Mapping[str, Label]) -> sampling.Said:
    """Return what checks and judges say of traces: checks are run now, judges are quoted with what they said.

    What a judge said of its test split is left out: who reads that and goes on to change the judge has no test left.
    """
    said: dict[str, dict[str, Mapping[str, bool]]] = defaultdict(dict)
    for mode, file in judge_files(place.labels).items():
        try:
            judge = read_judge(file, library.traces, labels, os.environ)
        except JudgeError as error:
            remark(f"The judge of {mode} is left out. {error}")
            continue
        sealed = {trace for trace, split in read_splits(place.labels, mode).items() if split is Split.TEST}
        open_traces = [trace for trace in library.traces.values() if trace.id not in sealed]
        judged = kept(judge, open_traces, place.judgements)
        if judged:
            said[mode]["the judge"] = {trace: each.passed for trace, each in judged.items()}
    for mode, name, verdicts in _checks(place, library):
        if verdicts:
            said[mode][name] = verdicts
    return said


def _checks(place: Place, library: Library) -> list[tuple[str, str, Mapping[str, bool]]]:
    """Return failure mode, name and verdicts of every check in the evals; pytest imports them, in its own process."""
    from pytest_evalloop.suite.polling import ERRAND, Errand, read_answer

    evals = [folder for folder in settings(place.root).evals if (place.root / folder).exists()]
    if not evals or not library.traces:
        return []
    import msgspec

    remark(f"The checks in {', '.join(evals)} are tried on {count(len(library.traces), 'trace')} …")
    with tempfile.TemporaryDirectory(prefix="evalloop-") as folder:
        answer = Path(folder) / "answer.json"
        errand = msgspec.json.encode(Errand(str(place.home.traces), str(place.labels), str(answer)))
        done = _pytest(evals, place.root, {ERRAND: errand.decode()})
        if done.returncode not in _COLLECTED:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise ReviewError(
                f"The checks could not be tried: pytest ended with status {done.returncode} when it collected "
                f"{', '.join(evals)}. Mend that and run the same command again.\n{tail}"
            )
        found = read_answer(answer) if answer.exists() else []
    for each in found:
        if each.problem:
            remark(f"{each.check} {each.problem}")
    return [(each.mode, each.check, each.said) for each in found]


def _pytest(
    evals: Sequence[str], root: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Let pytest collect the evals of a project with our errand; no document is written on the way."""
    command = [sys.executable, "-m", "pytest", *evals, "--collect-only", "-q", "--rootdir", str(root)]
    command += ["-p", "pytest_evalloop.suite.polling", "-o", "evalloop_prd="]
    return subprocess.run(
        command, cwd=root, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
