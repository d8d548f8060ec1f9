"""The plugin object that keeps the requirements document and the validation of checks up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pytest_evalloop.suite.assignment import ASSIGNMENT

if TYPE_CHECKING:
    from pytest_evalloop.records import Rate
    from pytest_evalloop.settings import Settings
    from pytest_evalloop.suite.catalogue import Catalogue
    from pytest_evalloop.suite.dossier import Requirements
    from pytest_evalloop.suite.gathering import People
    from pytest_evalloop.suite.results import Results

Values: TypeAlias = Callable[[], tuple[dict[str, object], dict[str, object]]]

_KEY = "evalloop_catalogue"
_ENDS = ("passed", "skipped", "failed", "error")  # what is worse comes later


class Living:
    """Watches a session of evals that somebody started by hand; in a loop's eval process it does nothing.

    Whoever collects, which is a worker under xdist, makes a catalogue of all tests and tries the checks on the
    labelled traces. The main process notes how tests end, and writes when all is over. A session in which neither
    labels nor a document are in play pays for a look at its markers.
    """

    def __init__(self, config: pytest.Config, values: Values) -> None:
        self._config = config
        self._values = values
        self._main = not hasattr(config, "workerinput")
        self._off = ASSIGNMENT in os.environ
        self._wanted = bool(config.getoption("evalloop_prd") or config.getini("evalloop_prd"))
        self._settings: Settings | None = None
        self._items: list[pytest.Function] = []
        self._catalogue: Catalogue | None = None
        self._gaps: list[str] = []
        self._ends: dict[str, str] = {}
        self._rates: dict[str, Rate] = {}
        self._validations: dict[str, list[str]] = {}
        self._news: list[str] = []
        self._trouble = ""

    # -- what was collected

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        """Refuse settings that cannot be used before any worker starts; a worker cannot refuse anything."""
        if self._main and self._wanted and not self._off:
            self._read_settings()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Catalogue all tests of the evals before any of them is deselected."""
        if self._off or not (self._wanted or (self._labelled() and any(map(_has_mode, items)))):
            return
        settings = self._read_settings()
        from pytest_evalloop.suite.catalogue import Catalogue, in_folders, read

        folders = [settings.root / folder for folder in settings.evals]
        self._items = in_folders(items, folders)
        if self._items:
            self._catalogue = Catalogue(read(self._items))

    def _labelled(self) -> bool:
        """Whether anybody labelled anything; a look at the disk is cheaper than one at every test."""
        folder = self._config.getini("evalloop_labels") or "evals/labels"
        return (self._config.rootpath / folder / "labels.jsonl").exists()

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected, or said that it is not to be."""
        if report.outcome != "passed":
            self._gaps.append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:  # noqa: ANN401 - xdist's
        """Take over what a worker catalogued."""
        plain = getattr(node, "workeroutput", {}).get(_KEY)
        if plain is not None:
            from pytest_evalloop.suite.catalogue import Catalogue

            self._catalogue = Catalogue.from_plain(plain)

    # -- how it ended

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: Any) -> None:  # noqa: ANN401
        """Note how a test ended; what went wrong first counts."""
        if self._off or not self._wanted:
            return
        skipped = report.skipped or hasattr(report, "wasxfail")
        case = report.when == "call" and "case" in getattr(report, "evalloop", {})
        # A check that says no is a failure of the candidate; anything else that goes wrong is an error.
        end = "skipped" if skipped else "passed" if report.passed else "failed" if case else "error"
        if end != "passed" or report.when == "call":
            self._ends[report.nodeid] = max(self._ends.get(report.nodeid, end), end, key=_ENDS.index)

    def judged(self, rate: Rate) -> None:
        """Take the rate of a failure mode over all its cases."""
        self._rates[rate.id] = rate

    def validation(self, mode: str) -> list[str]:
        """Return, in sentences, how far the checks of a failure mode agree with people."""
        return (
            []
            if self._off or self._trouble
            else self._validations.get(mode, ["never validated against labels"])
        )

    # -- the end

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Try the checks, and write what is to be written; whatever stands in the way fails the session."""
        if self._off:
            return
        if self._catalogue is None:
            if self._main and self._config.getoption("evalloop_prd"):
                self._news.append("No evals were collected, so the requirements document stays as it is.")
            return
        from pytest_evalloop.store.home import StoreError

        try:
            self._finish(self._catalogue)
        except StoreError as error:
            self._trouble = str(error)
            if self._wanted and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _finish(self, catalogue: Catalogue) -> None:
        from dataclasses import replace

        from pytest_evalloop.store.home import StoreError
        from pytest_evalloop.suite.catalogue import checks, try_out
        from pytest_evalloop.suite.gathering import People

        settings = self._read_settings()
        try:
            people = People.read(settings.root / settings.labels)
            if self._items:
                found = checks(self._items, self._config.rootpath)
                catalogue = replace(catalogue, verdicts=tuple(try_out(found, people.labelled)))
        except StoreError:
            if self._main:
                raise
            # The main process will meet the same trouble, and it can tell somebody.
        if not self._main:
            told = replace(catalogue, gaps=tuple(self._gaps))
            self._config.workeroutput[_KEY] = told.to_plain()  # type: ignore[attr-defined]
            return
        self._news += people.problems
        self._conclude(settings, people, catalogue)

    def _conclude(self, settings: Settings, people: People, catalogue: Catalogue) -> None:
        """Validate checks against labels, and bring results and document up to date where they are asked for."""
        from pytest_evalloop.suite import results as kept
        from pytest_evalloop.suite.dossier import validation
        from pytest_evalloop.suite.gathering import requirements

        prd = self._document(settings)
        known = kept.read(people.folder) if prd else kept.Results()
        partial = self._partial(settings, catalogue)
        now = known if partial or self._config.option.collectonly else self._merged(known, catalogue)
        command = f"pytest {' '.join(settings.evals)} --evalloop-prd {prd}"
        found = requirements(people, catalogue, now, command)
        self._validations = {mode.id: list(validation(mode)) for mode in found.modes}
        if prd and partial:
            self._news.append(f"{prd} stays as it is, and so do the results that it quotes: {partial}.")
        elif prd:
            if now != known:
                _write(people.folder / kept.FILE, kept.encode(now))
            self._write_document(settings.root / prd, prd, found)

    def _document(self, settings: Settings) -> str:
        """Return the path of the document, from the root where it lies below it; empty where none is wanted."""
        if settings.prd is None:
            return ""
        path = settings.root / settings.prd
        below = path.is_relative_to(settings.root)
        return path.relative_to(settings.root).as_posix() if below else str(path)

    def _partial(self, settings: Settings, catalogue: Catalogue) -> str:
        """Return why this session does not know all of the evals; empty if it does."""
        gaps = sorted({*self._gaps, *catalogue.gaps})
        if gaps:
            return f"{gaps[0]} could not be collected" + (
                f", nor could {len(gaps) - 1} more" if gaps[1:] else ""
            )
        here, option = self._config.invocation_params.dir, self._config.option
        given = {(here / argument).resolve() for argument in self._config.args if "::" not in argument}
        missing = [
            folder
            for folder in settings.evals
            if given.isdisjoint(
                {(settings.root / folder).resolve(), *(settings.root / folder).resolve().parents}
            )
        ]
        if missing:
            return f"only a part of {', '.join(missing)} was asked for"
        chosen = [name for name in ("ignore", "ignore_glob", "lf") if getattr(option, name, None)]
        return f"--{chosen[0].replace('_', '-')} leaves out a part" if chosen else ""

    def _merged(self, known: Results, catalogue: Catalogue) -> Results:
        """Return the results with those of every failure mode and test that ran whole."""
        from datetime import UTC, datetime

        from pytest_evalloop.suite.results import ModeResult, from_rate, merge

        modes, tests = {}, {}
        for identity, mode in catalogue.modes.items():
            ends = self._ended(case for test in catalogue.of(identity) for case in test.cases)
            rate = self._rates.get(identity)
            if ends and rate is not None:
                modes[identity] = from_rate(rate, passed=rate.passed and "error" not in ends)
            elif ends:
                modes[identity] = ModeResult(0, 0, 1.0, mode.tolerate, passed=False, since="", date="")
        for test in catalogue.tests:
            ends = self._ended(test.cases)
            if test.mode is None and ends:
                tests[test.nodeid] = ends == {"passed"}
        collected = {*catalogue.modes, *(test.nodeid for test in catalogue.tests if test.mode is None)}
        return merge(known, modes, tests, datetime.now(UTC).date().isoformat(), collected)

    def _ended(self, cases: Iterable[str]) -> set[str]:
        """Return how cases ended, nothing unless all of them were run."""
        ends = {self._ends.get(case, "skipped") for case in cases}
        return set() if "skipped" in ends else ends

    def _write_document(self, path: Path, name: str, found: Requirements) -> None:
        from pytest_evalloop.suite.dossier import all_flags
        from pytest_evalloop.suite.requirements import document

        count = len(found.modes) + len(found.thresholds) + len(found.others)
        flagged = len(all_flags(found))
        changed = _write(path, document(found, page=path.suffix.lower() == ".html"))
        raised = f", {flagged} flags to look at" if flagged > 1 else ", 1 flag to look at" if flagged else ""
        self._news.append(
            f"{name} {'was written' if changed else 'is current'}: {count} requirements{raised}."
        )

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what became of the document, and what stood in the way."""
        if not self._news and not self._trouble:
            return
        terminalreporter.section("requirements")
        for line in self._news:
            terminalreporter.write_line(line)
        if self._trouble:
            terminalreporter.write_line(self._trouble, red=True)

    def _read_settings(self) -> Settings:
        """Return the project's settings; raises `pytest.UsageError` when they cannot be used."""
        if self._settings is None:
            from pytest_evalloop.settings import SettingsError, read

            try:
                self._settings = read(*self._values(), self._config.rootpath)
            except SettingsError as error:
                raise pytest.UsageError(str(error)) from None
        return self._settings


def _has_mode(item: pytest.Item) -> bool:
    return item.get_closest_marker("failure_mode") is not None


def _write(path: Path, text: str) -> bool:
    """Replace a file if its content is another one, and tell whether it was; raises StoreError if that fails."""
    from pytest_evalloop.store.home import disk, write_atomically

    data = text.encode()
    with disk(f"the file {path}"):
        if path.is_file() and path.read_bytes() == data:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    return True
