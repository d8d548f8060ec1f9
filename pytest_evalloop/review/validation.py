"""Judges and checks against people: how far they agree, where they do not, and whether a judge may gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pytest_evalloop.review.counts import count
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.judgements import Progress, judgements
from pytest_evalloop.review.judges import Judge, JudgeError
from pytest_evalloop.review.looks import Look, read_looks, record
from pytest_evalloop.review.rates import Agreement, Interval, agreement
from pytest_evalloop.review.splits import Split, human, settle
from pytest_evalloop.review.traces import StoredTrace, content_id

MINIMUM: Final = 0.80
"""The least TPR and TNR with which a judge may gate."""
TARGET: Final = 0.90
FEWEST: Final = 15
"""The least labels of each kind in a test split; 20 of each is what 50 passes and 50 fails give."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A trace on which a judge or a check and people differ; `said` and `human` are True for a pass."""

    trace: str
    said: bool
    critique: str = ""
    note: str = ""

    @property
    def kind(self) -> str:
        """A false pass was judged too leniently, a false fail too strictly."""
        return "false pass" if self.said else "false fail"


@dataclass(frozen=True, slots=True)
class Validation:
    """What came of measuring a judge or a check against labels.

    `look` counts the readings of the test split with this fingerprint, and is 0 where none was read; `others` are
    readings by other versions of the judge. `unjudged` are labelled traces without a verdict.
    """

    mode: str
    agreement: Agreement
    disagreements: tuple[Disagreement, ...]
    unjudged: tuple[str, ...] = ()
    split: str = ""
    fingerprint: str = ""
    look: int = 0
    others: int = 0

    @property
    def sentence(self) -> str:
        """TPR and TNR with their bounds against target and minimum, and which look this is."""
        text = f"{self.mode}{f', {self.split} split' if self.split else ''}: {in_words(self.agreement)}."
        if self.look > 1:
            text += (
                f" This is look {self.look} at the test split with the same fingerprint ({self.fingerprint}): whatever "
                "was changed since the first look was changed with the answers in hand."
            )
        if self.look and self.others:
            text += (
                f" Other versions of this judge were tested on the split {self.others} "
                f"{'time' if self.others == 1 else 'times'} already: the more often, the less the figures prove. "
                "Label new traces."
            )
        return text


def in_words(measured: Agreement, minimum: float = MINIMUM) -> str:
    """Return TPR and TNR with their Wilson bounds, and what they should be."""
    tpr = _rate("TPR", measured.true_passes, measured.passes, measured.tpr_interval)
    tnr = _rate("TNR", measured.true_fails, measured.fails, measured.tnr_interval)
    return f"{tpr}, {tnr}; target {TARGET:.2f}, minimum {minimum:.2f}"


def _rate(name: str, hits: int, n: int, interval: Interval) -> str:
    if n == 0:
        return f"{name} unknown (no labels)"
    return f"{name} {hits / n:.2f} ({hits} of {n}, 95 % bounds {interval.low:.3f} to {interval.high:.3f})"


def validate_verdicts(said: Mapping[str, bool], labels: Mapping[str, Label], mode: str) -> Validation:
    """Measure the verdicts of a check, by trace id (True is a pass), against the labels of a failure mode."""
    return _compared(mode, said, human(labels.values(), mode), labels, {})


def validate(
    judge: Judge,
    labels: Mapping[str, Label],
    traces: Mapping[str, StoredTrace],
    split: Split | str,
    *,
    folder: Path,
    cache: Path,
    at: float,
    environment: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Validation:
    """Measure a judge against the labels of its dev split, as often as need be, or of its test split.

    `folder` holds the labels, and `looks.jsonl`, where a look at the test split is on record before this returns;
    `at` is its time. `cache` holds verdicts; `progress` is that of `judgements`. Raises `JudgeError` if an example
    is not from the train split, a trace is lost or a verdict cannot be had, StoreError if something cannot be written.
    """
    split = Split(split)
    if split is Split.TRAIN:
        raise JudgeError(
            f"Judge {judge.mode} learns from its train split: measure it on dev, then once on test."
        )
    verdicts = human(labels.values(), judge.mode)
    shown = {example.trace.id: example.trace for example in judge.examples}
    splits = settle(folder, judge.mode, verdicts, shown)
    chosen = {trace: passed for trace, passed in verdicts.items() if splits[trace] is split}
    _require_train(judge, splits, shown)
    _require_traces(judge, chosen, traces, split, shown)
    asked = [traces[trace] for trace in chosen]
    given = judgements(judge, asked, cache, environment=environment, progress=progress)
    said = {trace: judgement.passed for trace, judgement in given.items()}
    critiques = {trace: judgement.critique for trace, judgement in given.items()}
    found = _compared(judge.mode, said, chosen, labels, critiques)
    look = others = 0
    if split is Split.TEST:
        taken = Look(judge.mode, judge.fingerprint, at, _digest(chosen), found.agreement, judge.parts)
        record(folder, taken)
        looks = [each for each in read_looks(folder) if each.mode == judge.mode and each.parts]
        look = sum(each.fingerprint == judge.fingerprint for each in looks)
        others = len(looks) - look
    return replace(found, split=split.value, fingerprint=judge.fingerprint, look=look, others=others)


def _compared(
    mode: str,
    said: Mapping[str, bool],
    verdicts: Mapping[str, bool],
    labels: Mapping[str, Label],
    critiques: Mapping[str, str],
) -> Validation:
    differ = (
        Disagreement(trace, said[trace], critiques.get(trace, ""), labels[trace].note)
        for trace, passed in verdicts.items()
        if trace in said and said[trace] is not passed
    )
    # False passes first: what is let through is seen by users.
    ordered = tuple(sorted(differ, key=lambda each: (not each.said, each.trace)))
    unjudged = tuple(trace for trace in verdicts if trace not in said)
    return Validation(mode, agreement(said, verdicts), ordered, unjudged)


def _require_train(judge: Judge, splits: Mapping[str, Split], shown: Mapping[str, StoredTrace]) -> None:
    for trace in shown:
        if splits.get(trace) is not Split.TRAIN:
            place = f"the {splits[trace]} split" if trace in splits else "no split, having no label"
            raise JudgeError(
                f"Judge {judge.mode} shows the trace {trace!r}, which is in {place}. Examples come from the train "
                "split alone, or the judge is tested on what it was told. Choose others: "
                f"{', '.join(sorted(each for each, split in splits.items() if split is Split.TRAIN)) or 'none yet'}."
            )


def _require_traces(
    judge: Judge,
    chosen: Mapping[str, bool],
    traces: Mapping[str, StoredTrace],
    split: Split,
    shown: Mapping[str, StoredTrace],
) -> None:
    """Raise JudgeError if the split is empty, a trace of it is lost, or an example has the same content as one."""
    if not chosen:
        raise JudgeError(
            f"No trace in the {split} split is labelled for {judge.mode}. Label about 50 traces in which it occurs "
            "and 50 in which it does not."
        )
    lost = sorted(trace for trace in chosen if trace not in traces)
    if lost:
        raise JudgeError(
            f"Labelled traces of {judge.mode} are lost: {', '.join(lost)}. Take traces.jsonl beside the labels back "
            "from version control."
        )
    contents = {content_id(stored.trace): trace for trace, stored in shown.items()}
    for trace in chosen:
        twin = contents.get(content_id(traces[trace].trace))
        if twin is not None:
            raise JudgeError(
                f"Judge {judge.mode} shows the trace {twin!r}, which says the same as {trace!r} in the {split} split. "
                "Choose another example."
            )


def _digest(verdicts: Mapping[str, bool]) -> str:
    text = json.dumps(dict(sorted(verdicts.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def gate_problem(
    judge: Judge, looks: Sequence[Look], *, minimum: float = MINIMUM, fewest: int = FEWEST
) -> str:
    """Return why a judge may not gate, in a sentence that says what to do; "" if it may.

    What counts is the last look at the test split with the judge's present fingerprint.
    """
    # The look of a check has no parts.
    of_mode = [look for look in looks if look.mode == judge.mode and look.parts]
    current = [look for look in of_mode if look.fingerprint == judge.fingerprint]
    remedy = f"Validate it on its test split: pytest-evalloop judge {judge.mode} --test."
    if not of_mode:
        return f"Judge {judge.mode} was never validated against labels, so it cannot gate. {remedy}"
    if not current:
        last = of_mode[-1].parts
        changed = [name for name, digest in judge.parts.items() if last.get(name) != digest]
        return (
            f"Judge {judge.mode} was changed since it was validated ({', '.join(changed)}), so it cannot gate. "
            + remedy
        )
    measured = current[-1].agreement
    if min(measured.passes, measured.fails) < fewest:
        return (
            f"Judge {judge.mode} was validated on {count(measured.passes, 'pass', 'passes')} and "
            f"{count(measured.fails, 'fail')}, which is too few to gate: at least {fewest} of each are needed. "
            "Label more traces, then validate it again."
        )
    if min(measured.tpr or 0.0, measured.tnr or 0.0) < minimum:
        return (
            f"Judge {judge.mode} cannot gate: {in_words(measured, minimum)}. Read where it and people disagree on "
            "the dev split, change its prompt or examples, and validate it again."
        )
    return ""
