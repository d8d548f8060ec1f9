"""The plugin object of a session that runs evals: rates, outcomes, summary, and the candidate's client."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from pytest_evalloop.suite.assignment import ASSIGNMENT, OUTCOMES, wait_at_gate
from pytest_evalloop.suite.failure_modes import MarkerError
from pytest_evalloop.suite.tally import Judgement, Tally

if TYPE_CHECKING:
    from pytest_evalloop.metric.audit import Surprise
    from pytest_evalloop.protocols import Fault
    from pytest_evalloop.records import Rate
    from pytest_evalloop.settings import Settings
    from pytest_evalloop.suite.examiner import Examiner, Measured, Subject
    from pytest_evalloop.suite.hosts import Hosts
    from pytest_evalloop.suite.living import Living
    from pytest_evalloop.suite.outcomes import Line
    from pytest_evalloop.suite.stand_in import Documents

Values: TypeAlias = Callable[[], tuple[dict[str, object], dict[str, object]]]
"""Reads the flags and the ini values of a session; asked only when an eval needs the project's settings."""


class SuiteSession:
    """Collects what tests say about the candidate, in a plain session, an eval process or an xdist worker.

    Workers attach what they know to their reports; the main process folds reports into rates, prints
    them, and passes one line a test phase on when a loop is listening.
    """

    def __init__(self, config: pytest.Config, values: Values, requirements: Living) -> None:
        self._config = config
        self._requirements = requirements
        self._values = values
        self._main = not hasattr(config, "workerinput")
        self._note: dict[str, Any] = {}
        self._tally = Tally()
        self._rates: list[Rate] = []
        self._scores: list[list[Any]] = []
        self._audits: list[list[Any]] = []
        self._samples: list[list[Any]] = []
        self._unfit: dict[str, tuple[int, str]] = {}
        self._documents = ""
        self._trouble = ""
        self._refusal = ""
        self._session: pytest.Session | None = None
        self._hosts: Hosts | None = None
        self._writer = None
        if self._main and OUTCOMES in os.environ:
            from pytest_evalloop.suite.outcomes import Writer

            self._writer = Writer(int(os.environ[OUTCOMES]))

    # -- collection

    @pytest.hookimpl
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session, to stop it when the candidate cannot even be loaded, and start the candidate."""
        self._session = session
        asks = self._config.getoption("dist", "no") == "no" and not self._config.option.collectonly
        if ASSIGNMENT in os.environ and asks:  # the main process of xdist asks nothing itself
            from pytest_evalloop.suite.project import hosts_ahead

            self._hosts = hosts_ahead(self.settings())

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read every failure_mode marker, and keep the tests that were asked for."""
        try:
            for item in items:
                self._tally.read(item)
        except MarkerError as error:
            self._refuse(str(error))
        if ASSIGNMENT in os.environ:
            from pytest_evalloop.suite.project import select

            select(self._config, items)

    @pytest.hookimpl
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse evals that import what candidates change, and say what was collected."""
        if not session.items or not self._config.getini("evalloop_mutable"):
            return
        from pytest_evalloop.suite.project import forbidden_imports

        problems = forbidden_imports(self.settings(), session.items, self._config.rootpath)
        if problems:
            self._refuse("\n".join(problems))
        if self._writer is not None:
            from pytest_evalloop.suite.outcomes import Collected

            uses = any("val_bpb" in getattr(item, "fixturenames", ()) for item in session.items)
            given = session._fixturemanager.getfixturedefs("vault_documents", session.items[0]) or ()  # noqa: SLF001
            nodeids = tuple(item.nodeid for item in session.items)
            vault = len(given) > 1  # ours alone is no vault
            self._write(Collected(nodeids, uses, vault, tuple(self._faults())))

    def _faults(self) -> dict[str, Fault]:
        """Return the faults that can be planted, by name; raises `pytest.UsageError` for a name given twice."""
        from pytest_evalloop.suite.faults import FaultError, known

        try:
            return known(self._config.hook.pytest_evalloop_faults())
        except FaultError as error:
            raise pytest.UsageError(str(error)) from None

    def _refuse(self, reason: str) -> None:
        """End the session with a usage error; a worker cannot, so there every test fails with the reason."""
        if self._main:
            raise pytest.UsageError(reason)
        self._refusal = reason

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Run no test of a suite that was refused."""
        if self._refusal:
            raise self._stop(self._refusal)

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the first collection error, which ends the session before any test."""
        if report.failed and not self._trouble:
            self._trouble = f"{report.nodeid}: {report.longreprtext}"

    # -- one test

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, Any]:
        """Attach mode and measurements to the report; a failing case of a tolerant mode only counts."""
        report = yield
        if call.when == "call" and report.outcome != "skipped":
            self._note |= self._tally.note(item, call)
        if self._note:
            report.evalloop, self._note = self._note, {}
            if report.evalloop.get("tolerated"):
                report.outcome = "passed"
        return report

    @pytest.hookimpl
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, Any] | None:  # noqa: ANN401
        """Show a failing case that its rate may still tolerate as what it is."""
        if getattr(report, "evalloop", {}).get("tolerated"):
            return "tolerated", "t", ("TOLERATED", {"yellow": True})
        return None

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: Any) -> None:  # noqa: ANN401
        """Fold a report into the rates and pass it on."""
        if not self._main:
            return
        note = getattr(report, "evalloop", None)
        if note:
            self._fold(note)
        if self._writer is not None:
            from pytest_evalloop.suite.outcomes import Phase

            outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
            message = report.longreprtext[-4000:] if report.outcome == "failed" else ""
            self._write(Phase(report.nodeid, report.when, outcome, report.duration, message))

    def _fold(self, note: dict[str, Any]) -> None:
        self._tally.fold(note)
        if "scores" in note:
            self._scores.append(note["scores"])
            self._audits.append(note["audit"])
            self._documents = note["documents"]
        if "samples" in note:
            self._samples.append(note["samples"])
        for mode, problem in note.get("unfit", ()):
            self._unfit[mode] = (self._unfit.get(mode, (0, ""))[0] + 1, problem)
        if "host" in note and self._writer is not None:
            from pytest_evalloop.suite.outcomes import HostStarted

            self._write(HostStarted(note["host"]))

    # -- the end

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Run no test before there is something to grade; judge every rate once all its cases are in."""
        if self._main and not wait_at_gate():
            raise pytest.exit.Exception("the training did not end well, so there is nothing to grade")
        result = yield
        if self._main and not session.config.option.collectonly:
            for judgement in self._tally.judge():
                self._judged(judgement)
            if any(scores != self._scores[0] for scores in self._scores[1:]):
                message = (
                    "two workers measured different bits per byte: the candidate does not repeat its answers"
                )
                self._report(f"{self._config.args[0]}::val_bpb", message)
        return result

    def _judged(self, judgement: Judgement) -> None:
        self._rates.append(judgement.rate)
        self._requirements.judged(judgement.rate)
        if self._writer is not None:
            from pytest_evalloop.suite.outcomes import Judged

            self._write(Judged(judgement.rate))
        if judgement.rate.tolerate > 0:
            self._report(judgement.nodeid, judgement.failure)

    def _report(self, nodeid: str, failure: str | None) -> None:
        file = nodeid.partition("::")[0]
        outcome = "passed" if failure is None else "failed"
        report = pytest.TestReport(nodeid, (file, None, nodeid), {}, outcome, failure, "call")  # type: ignore[arg-type]
        if self._session is not None:
            self._session.testscollected += 1  # a rate is a result of its own, beside its cases
        self._config.hook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """End the candidate, and write the objective and the last line."""
        if self._hosts is not None:
            self._hosts.__exit__(None, None, None)
        if self._writer is None:
            return
        from pytest_evalloop.records import Audit, DocumentScore
        from pytest_evalloop.suite.outcomes import Finished, Measured

        if self._scores:
            scores = tuple(DocumentScore(*score) for score in self._scores[0])
            audit = Audit(*self._audits[0]) if self._audits[0] else None
            self._write(Measured(scores, self._documents, audit))
        self._write(Finished(int(exitstatus), self._trouble))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the objective, what the audits found, and a line for every failure mode."""
        if not (self._rates or self._scores or self._unfit):
            return
        from pytest_evalloop.suite.summary import lines

        terminalreporter.section("evals")
        measured = (self._scores[0], self._audits[0]) if self._scores else None
        samples = self._samples[0] if self._samples else None
        for line, colour in lines(measured, samples, self._rates, self._requirements.validation, self._unfit):
            terminalreporter.write_line(line, **({colour: True} if colour else {}))

    # -- what fixtures ask for

    def settings(self) -> Settings:
        """Return the project's settings; raises `pytest.UsageError` when they cannot be used."""
        from pytest_evalloop.suite.project import read_settings

        return read_settings(*self._values(), self._config.rootpath)

    def root(self) -> Path:
        """Return the project's root with its data prepared; stop the session when that fails."""
        from pytest_evalloop.suite.project import prepared_root

        try:
            return prepared_root(self.settings())
        except pytest.UsageError as error:
            raise self._stop(str(error)) from None

    @contextlib.contextmanager
    def examiner(self) -> Iterator[Examiner]:
        """Yield the examiner of what this session grades; stop the session when there is nothing to grade."""
        from pytest_evalloop.suite.examiner import Examiner
        from pytest_evalloop.suite.project import assigned, hosts_of

        with contextlib.ExitStack() as stack:
            settings = self.settings()
            try:
                assignment = stack.enter_context(assigned(settings, self.say))
                hosts = self._hosts or stack.enter_context(hosts_of(settings, assignment))
            except pytest.UsageError as error:
                raise self._stop(str(error)) from None
            yield Examiner(settings, assignment, hosts, self._faults() if assignment.stand_in else {})

    @contextlib.contextmanager
    def connect(self, examiner: Examiner, human: Documents) -> Iterator[Subject]:
        """Yield the candidate that is to be graded, or its stand-in; stop the session when it cannot be loaded."""
        from pytest_evalloop.candidate.client import CandidateError

        started = time.monotonic()
        with contextlib.ExitStack() as stack:
            try:
                client = stack.enter_context(examiner.open(human))
            except CandidateError as error:
                raise self._stop(str(error)) from None
            self._note["host"] = time.monotonic() - started
            yield client

    @contextlib.contextmanager
    def findings(self) -> Iterator[None]:
        """Turn what is wrong with a candidate's numbers into a failure without a traceback through the grader."""
        from pytest_evalloop.candidate.audit import AuditError
        from pytest_evalloop.candidate.client import CandidateError
        from pytest_evalloop.candidate.scoring import ScoringError

        try:
            yield
        except (AuditError, CandidateError, ScoringError) as error:
            raise pytest.fail.Exception(str(error).strip(), pytrace=False) from None

    def _stop(self, reason: str) -> BaseException:
        """Return the failure that ends the session after this test: without this, no other test makes sense."""
        if self._session is not None:
            self._session.shouldfail = reason.strip().splitlines()[0]
        return pytest.fail.Exception(reason.strip(), pytrace=False)

    def measured(self, value: Measured) -> None:
        """Attach the objective to the next report, so that it reaches the main process from any worker."""
        from dataclasses import astuple

        scores = [[score.id, score.bits, score.bytes] for score in value.bpb.per_document]
        self._note["scores"], self._note["documents"] = scores, value.documents
        self._note["audit"] = [] if value.audit is None else list(astuple(value.audit))

    def sampled(self, found: Surprise | None) -> None:
        """Attach what the audit of samples found to the next report."""
        if found is not None:
            self._note["samples"] = [found.excess, found.error, found.positions]

    def unfit(self, mode: str, problem: str) -> None:
        """Attach to the next report that a judge may not speak, and why."""
        self._note["unfit"] = [*self._note.get("unfit", ()), [mode, problem]]

    def say(self, text: str) -> None:
        """Print a line past the capturing of tests; a worker has no terminal and stays silent."""
        manager = self._config.pluginmanager
        terminal, capture = manager.getplugin("terminalreporter"), manager.getplugin("capturemanager")
        if terminal is None:
            return
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            terminal.ensure_newline()
            terminal.write_line(text)

    def _write(self, line: Line) -> None:
        if self._writer is not None:
            self._writer.write(line)
