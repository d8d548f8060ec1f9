"""`pytest-evalloop judge`: judges are listed, measured against labels, and used for an estimate."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_evalloop.commands.project import Place
from pytest_evalloop.commands.words import Progress, remark, say
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.judges import Judge, JudgeError, judge_files, read_judge
from pytest_evalloop.review.labels import Label, Labels
from pytest_evalloop.review.looks import read_looks
from pytest_evalloop.review.traces import Library, ReviewError, StoredTrace
from pytest_evalloop.review.validation import gate_problem
from pytest_evalloop.store.home import Home

if TYPE_CHECKING:
    from pytest_evalloop.review.judgements import Judgement


@dataclass(frozen=True, slots=True)
class Material:
    """What judges are asked about: all traces, and what people say of them."""

    place: Place
    library: Library
    labels: Mapping[str, Label]

    @classmethod
    def read(cls, place: Place) -> Material:
        """Read the traces and the labels of a project; raises ReviewError if a file cannot be used."""
        library = Library.load(place.home.traces, place.labels)
        with Labels.open(place.labels) as labels:
            return cls(place, library, labels.all())

    def judge(self, mode: str) -> Judge:
        """Return the judge of a failure mode; raises JudgeError if there is none or its file is of no use."""
        files = judge_files(self.place.labels)
        if mode not in files:
            known = ", ".join(sorted(files)) or "there are none"
            raise JudgeError(f"There is no judge of {mode} in {self.place.labels / 'judges'} ({known}).")
        return read_judge(files[mode], self.library.traces, self.labels, os.environ)


def listed(place: Place) -> int:
    """Say of every judge whether it may gate, and of every file that is of no use why; status 2 if there is one."""
    material, looks = Material.read(place), read_looks(place.labels)
    files, broken = judge_files(place.labels), 0
    for mode in sorted(files):
        try:
            problem = gate_problem(material.judge(mode), looks)
        except JudgeError as error:
            problem, broken = f"cannot be used. {error}", broken + 1
        say(f"{mode}: {problem or 'validated; it may gate'}")
    if not files:
        say(f"There are no judges in {place.labels / 'judges'}.")
    if broken:
        remark(f"{count(broken, 'judge')} of {len(files)} cannot be used.")
    return 2 if broken else 0


def measured(place: Place, mode: str, *, test: bool) -> int:
    """Measure a judge on its dev split, or with `test` on its test split, and say whether it may gate."""
    from pytest_evalloop.review.splits import Split
    from pytest_evalloop.review.validation import validate

    material = Material.read(place)
    judge = material.judge(mode)
    Home.open(place.root)
    with Progress(f"{mode}: traces judged by {judge.model}") as progress:
        found = validate(
            judge,
            material.labels,
            material.library.traces,
            Split.TEST if test else Split.DEV,
            folder=place.labels,
            cache=place.judgements,
            at=time.time(),
            progress=progress,
        )
    say(found.sentence)
    for disagreement in found.disagreements:
        say(f"  {disagreement.trace}: {disagreement.kind}: {disagreement.critique}")
    problem = gate_problem(judge, read_looks(place.labels))
    say(problem or "It may gate.")
    return 1 if test and problem else 0


def estimated(place: Place, mode: str) -> int:
    """Judge the traces that nobody labelled, and say what share of them passes once the judge's errors are counted."""
    from pytest_evalloop.review.judgements import judgements
    from pytest_evalloop.review.rates import corrected

    material, looks = Material.read(place), read_looks(place.labels)
    judge = material.judge(mode)
    if problem := gate_problem(judge, looks):
        raise ReviewError(problem)
    unlabelled = _unlabelled(material, mode)
    if not unlabelled:
        raise ReviewError("Every trace is labelled for this mode, so there is nothing to estimate.")
    Home.open(place.root)
    with Progress(f"{mode}: traces judged by {judge.model}") as progress:
        found: Mapping[str, Judgement] = judgements(judge, unlabelled, place.judgements, progress=progress)
    passes = sum(judgement.passed for judgement in found.values())
    agreement = next(look for look in reversed(looks) if look.fingerprint == judge.fingerprint).agreement
    rate = corrected(passes, len(found), agreement)
    assert rate is not None  # a judge that may gate is better than chance
    say(
        f"{mode}: the judge passes {passes} of {count(len(found), 'trace')} that nobody labelled "
        f"({passes / len(found):.3f})."
    )
    say(
        f"Corrected for its errors on the test split: {rate.rate:.3f}, 95 % interval {rate.interval.low:.3f} to "
        f"{rate.interval.high:.3f}."
    )
    return 0


def _unlabelled(material: Material, mode: str) -> list[StoredTrace]:
    labels = material.labels
    traces = material.library.traces.values()
    return [trace for trace in traces if trace.id not in labels or mode not in labels[trace.id].modes]
