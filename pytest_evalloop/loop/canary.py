"""The canary and the control: plants faults in the baseline's place, and human text, and grades them all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

import msgspec

from pytest_evalloop.loop.assigning import Asked
from pytest_evalloop.loop.crew import Crew
from pytest_evalloop.loop.findings import Canary, judge, refusals, remarks, unnoticed
from pytest_evalloop.loop.observer import Observer
from pytest_evalloop.loop.passing import first_line, suite_problems
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate, DocumentScore, Grade, Status, Training
from pytest_evalloop.store.home import disk, write_atomically
from pytest_evalloop.suite.faults import HUMAN, UNTRAINED
from pytest_evalloop.suite.project import SEED

_MOST_AT_ONCE = 4


def check(
    workshop: Workshop, baseline: Candidate, training: Training, grade: Grade, observer: Observer
) -> Canary:
    """Tell whether the suite that the baseline passed with `grade` can fail; what is known is not done again.

    Raises `CannotGate` when it cannot, or when a check is over its allowance of false alarms.
    """
    canary = find(workshop, baseline, training) or plant(workshop, baseline, training, grade, observer)
    for sentence in (*map(unnoticed, canary.faults), *remarks(canary)):
        if sentence:
            observer.note(f"canary: {sentence}")
    if refused := refusals(canary):
        listed = "\n".join(f"  {sentence}" for sentence in refused)
        raise CannotGate(f"The eval suite passes on the baseline, and yet it cannot gate:\n{listed}")
    return canary


def rehearse(workshop: Workshop, baseline: Candidate, observer: Observer) -> Canary:
    """Train and grade the baseline as far as that was not done, and return what the canary says.

    Raises `CannotGate` when the baseline cannot be trained or does not pass.
    """
    training = workshop.find(baseline, SEED)
    if training is None:
        observer.stage(0, "training", baseline.description)
        with workshop.place(baseline) as place:
            training = workshop.train(
                baseline, SEED, lambda progress: observer.progress(0, progress), place=place
            )
    if training.status is not Status.COMPLETED:
        raise CannotGate(f"The baseline cannot be trained: {training.status}, {training.detail}")
    known = find(workshop, baseline, training)
    if known is not None:
        observer.note("canary: nothing has changed since it was last run")
        return known
    observer.stage(0, "grading", baseline.description)
    grade = workshop.grade(baseline, training)
    if problems := suite_problems(grade, None):
        listed = "\n".join(f"  {problem}" for problem in problems[:20])
        raise CannotGate(f"The baseline does not pass its own evals, which says nothing of faults:\n{listed}")
    workshop.limit(training, grade)
    return plant(workshop, baseline, training, grade, observer)


def find(workshop: Workshop, baseline: Candidate, training: Training) -> Canary | None:
    """Return the canary of this very content, None if it was never run to its end."""
    try:
        return msgspec.json.decode(workshop.canary(baseline, training).read_bytes(), type=Canary)
    except (OSError, msgspec.DecodeError):
        return None


def plant(
    workshop: Workshop, baseline: Candidate, training: Training, grade: Grade, observer: Observer
) -> Canary:
    """Grade every fault and the control, some side by side, and keep what they say if all could be graded."""
    started = time.monotonic()
    names = (HUMAN, *workshop.faults())
    observer.note(f"canary: planting {len(names) - 1} faults, and human text as the control")
    graded = _grade_all(workshop, baseline, training, names, grade.scores, observer)
    control = graded.pop(HUMAN)
    faults = {name: graded[name] for name in workshop.faults()}
    canary = judge(grade, faults, control, time.monotonic() - started)
    if not canary.trouble and not any(fault.trouble for fault in canary.faults):
        _keep(workshop.canary(baseline, training), canary)
    return canary


def _grade_all(
    workshop: Workshop,
    baseline: Candidate,
    training: Training,
    names: Sequence[str],
    scores: tuple[DocumentScore, ...],
    observer: Observer,
) -> dict[str, Grade | str]:
    """Return the grade of every stand-in, or why there is none; none goes on when one of them raises."""

    def one(name: str) -> Grade | str:
        if name != UNTRAINED:
            return workshop.grade(baseline, training, Asked(stand_in=name, scores=scores))
        least = workshop.train_least(baseline, training.seed)
        if least.status is not Status.COMPLETED:
            return f"its training {least.status.replace('_', ' ')}: {first_line(least.detail)}"
        return workshop.grade(baseline, least, Asked(stand_in=name))

    with Crew[Grade | str](min(workshop.places, _MOST_AT_ONCE)) as crew:
        waiting = {crew.submit(partial(one, name)): name for name in names}
        graded: dict[str, Grade | str] = {}
        for future in as_completed(waiting):
            name = waiting[future]
            if future.exception() is not None:
                crew.finish()  # of several that end with it, it raises what went wrong
            graded[name] = future.result()
            observer.note(f"canary: {name} is graded, {len(graded)} of {len(names)}")
    return graded


def _keep(path: Path, canary: Canary) -> None:
    with disk(f"the canary {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(canary))
