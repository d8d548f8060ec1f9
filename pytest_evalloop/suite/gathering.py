"""Brings together what the requirements document says: from labels, tests, checks, judges and last results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pytest_evalloop.review.endpoint import is_local
from pytest_evalloop.review.events import Label
from pytest_evalloop.review.judges import BASE_URL, JudgeError, judge_files, read_judge
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.looks import read_looks
from pytest_evalloop.review.modes import Mode, read_modes
from pytest_evalloop.review.rates import mode_rates, saturation
from pytest_evalloop.review.traces import StoredTrace, read
from pytest_evalloop.review.validation import gate_problem, validate_verdicts
from pytest_evalloop.suite.catalogue import Catalogue, Test
from pytest_evalloop.suite.dossier import Judging, Quoted, Requirement, Requirements, Stated, Validated
from pytest_evalloop.suite.results import Results

# A judge's verdicts do not depend on where it answers, so the document may not depend on the environment.
_ENVIRONMENT: Final = {BASE_URL: "http://localhost"}
assert is_local(_ENVIRONMENT[BASE_URL])


@dataclass(frozen=True, slots=True)
class People:
    """What people said and kept: their failure modes, their labels, and the traces that these are about."""

    folder: Path
    modes: tuple[Mode, ...]
    labels: Mapping[str, Label]
    traces: Mapping[str, StoredTrace]
    problems: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> People:
        """Read a folder of labels; raises ReviewError if a file in it cannot be used."""
        traces, problems = read(folder / "traces.jsonl")
        with Labels.open(folder) as labels:
            return cls(
                folder,
                read_modes(folder),
                labels.all(),
                {stored.id: stored for stored in reversed(traces)},
                tuple(problems),
            )

    def labelled(self, mode: str) -> Iterable[StoredTrace]:
        """Return the kept traces that are labelled for a failure mode."""
        for trace, label in self.labels.items():
            if mode in label.modes and trace in self.traces:
                yield self.traces[trace]


def requirements(people: People, catalogue: Catalogue, results: Results, command: str) -> Requirements:
    """Return all that the document says; raises ReviewError if the judges' looks cannot be read."""
    named = {mode.id: mode for mode in people.modes}
    marked = catalogue.modes
    checked = {each.mode for each in catalogue.verdicts}
    all_modes = [
        named.get(identity) or Mode(identity, marked[identity].title if identity in marked else identity)
        for identity in sorted({*named, *marked, *checked})
    ]
    plain = [test for test in catalogue.tests if test.mode is None]
    rates = {rate.id: rate for rate in mode_rates(people.labels.values(), all_modes)}
    judges = judge_files(people.folder)
    return Requirements(
        modes=tuple(
            Requirement(
                id=mode.id,
                title=mode.title,
                severity=_severity(mode.id, named, catalogue.of(mode.id)),
                definition=mode.definition,
                reviewed=mode.reviewed,
                named=mode.id in named,
                rate=rates[mode.id],
                cited=(cited := _cited(mode, catalogue.of(mode.id))),
                quoted=tuple(_quoted(people, trace) for trace in cited if trace in people.traces),
                called=_called(mode, catalogue.of(mode.id)),
                tests=tuple(Stated(test.nodeid, test.statement) for test in catalogue.of(mode.id)),
                tolerate=marked[mode.id].tolerate if mode.id in marked else None,
                checks=tuple(_validated(people, catalogue, mode.id)),
                judge=_judging(people, judges[mode.id]) if mode.id in judges else None,
                result=results.modes.get(mode.id),
            )
            for mode in all_modes
        ),
        thresholds=tuple(_stated(test, results) for test in plain if test.objective),
        others=tuple(_stated(test, results) for test in plain if not test.objective),
        latest=results.latest,
        search=saturation(people.labels.values()).sentence,
        command=command,
    )


def _stated(test: Test, results: Results) -> Stated:
    return Stated(test.nodeid, test.statement, results.tests.get(test.nodeid))


def _severity(mode: str, named: Mapping[str, Mode], tests: Iterable[Test]) -> str:
    """Return what people say, and what a marker says where they do not."""
    if mode in named:
        return named[mode].severity
    return next((test.mode.severity for test in tests if test.mode and test.mode.severity), "")


def _cited(mode: Mode, tests: Iterable[Test]) -> tuple[str, ...]:
    marked = [trace for test in tests if test.mode is not None for trace in test.mode.traces]
    return tuple(dict.fromkeys([*mode.examples, *marked]))


def _quoted(people: People, trace: str) -> Quoted:
    kept, label = people.traces[trace].trace, people.labels.get(trace)
    return Quoted(trace, kept.input, kept.output, label.note if label is not None else "")


def _called(mode: Mode, tests: Iterable[Test]) -> tuple[str, ...]:
    titles = {test.mode.title for test in tests if test.mode is not None}
    return tuple(sorted(titles - {mode.title}))


def _validated(people: People, catalogue: Catalogue, mode: str) -> Iterable[Validated]:
    for verdicts in catalogue.verdicts:
        if verdicts.mode == mode:
            found = validate_verdicts(verdicts.said, people.labels, mode)
            yield Validated(verdicts.check, found.agreement, found.disagreements, verdicts.problem)


def _judging(people: People, path: Path) -> Judging:
    """Return what is known of a judge; one that cannot be used is known by its trouble alone."""
    try:
        judge = read_judge(path, people.traces, people.labels, _ENVIRONMENT)
    except JudgeError as error:
        # The same words on every machine.
        return Judging("unusable", problem=str(error).replace(f"{people.folder}/", ""))
    looks = read_looks(people.folder)
    last = [look for look in looks if look.mode == judge.mode and look.fingerprint == judge.fingerprint]
    problem = gate_problem(judge, looks)
    if not last:
        return Judging(judge.fingerprint, problem=problem)
    looked = datetime.fromtimestamp(last[-1].at, UTC).date().isoformat()
    return Judging(judge.fingerprint, last[-1].agreement, looked, problem)
