"""The pytest session of a loop: it collects nothing and reports every candidate as a test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_evalloop.loop.merging import MERGE
from pytest_evalloop.loop.opening import Opened, open_loop
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.protocols import MutatorFactory
from pytest_evalloop.records import Candidate, Verdict
from pytest_evalloop.report.summary import chances, costs, gain, nulls, table
from pytest_evalloop.settings import Settings
from pytest_evalloop.shell.session import read_settings, say, usage_errors
from pytest_evalloop.shell.terminal import InTurn, LiveLine, PlainLines


class Controller:
    """Replaces collection and test loop by the loop over candidates; never imports a candidate's code."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._opened: Opened | None = None
        self._stack = contextlib.ExitStack()
        self._started = time.monotonic()
        self._reason = ""
        self._refused = ""

    @classmethod
    def from_config(
        cls, config: pytest.Config, flags: Mapping[str, object], ini: Mapping[str, object]
    ) -> Controller:
        """Read the settings; raises `pytest.UsageError` for a value or a flag that cannot be used."""
        return cls(config, read_settings(config, flags, ini))

    def pytest_report_header(self) -> list[str]:
        """Say what this loop will do, and when it will stop."""
        settings = self._settings
        limits = [
            f"{settings.candidates} candidates" if settings.candidates else "",
            f"{settings.seconds:.0f} seconds" if settings.seconds else "",
            f"{settings.target:g} bpb" if settings.target else "",
            f"{settings.patience} rejections in a row" if settings.patience else "",
        ]
        until = " or ".join(limit for limit in limits if limit) or "Ctrl-C"
        run, mutators = settings.run or "main", ", ".join(settings.mutators)
        return [f"evalloop: run {run}, budget {settings.budget}, mutators {mutators}, until {until}"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Check everything that can be checked without training; there are no tests to collect."""
        session.items = []
        session.testscollected = 1
        try:
            with usage_errors():
                self._opened = self._stack.enter_context(
                    open_loop(self._settings, self._config.inipath, self._factories(), self._say)
                )
        except CannotGate as error:
            self._refused = str(error)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the loop; a failing baseline fails the session, everything else is a finding."""
        opened = self._opened
        if opened is None:
            self._fail(session, self._refused)
            return True
        observer = self._observer(opened)
        try:
            with observer.live(), usage_errors():
                self._reason = opened.engine(observer).run().reason
        except CannotGate as error:
            self._fail(session, str(error))
        except KeyboardInterrupt:
            self._reason = "it was interrupted; everything is on record, and the same command goes on"
            raise
        return True

    def pytest_unconfigure(self) -> None:
        """Let the run go, so that another process may take it up."""
        self._stack.close()

    @pytest.hookimpl
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:  # noqa: ANN401
        """Count candidates by their verdict; the line about each was printed already."""
        verdict = getattr(report, "evalloop_verdict", None)
        return None if verdict is None else (verdict, "", "")

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table of candidates, the gain, and what the loop cost."""
        opened = self._opened
        if opened is None:
            return
        candidates = opened.candidates()
        if candidates[0].decision is None:
            return
        terminalreporter.section(f"evalloop: run {opened.name}")
        for line in table(candidates):
            terminalreporter.write_line(line)
        terminalreporter.write_line("")
        for line in opened.vault_lines():
            terminalreporter.write_line(line, red=line.startswith("CONTAMINATION"))
        terminalreporter.write_line(gain(candidates, opened.incumbent()))
        terminalreporter.write_line(
            (nulls if self._settings.aa else chances)(candidates, self._settings.level)
        )
        for line in opened.racing_lines():
            terminalreporter.write_line(line)
        terminalreporter.write_line(costs(candidates, opened.compute_seconds()))
        terminalreporter.write_line(f"accepted commits: git log evalloop/{opened.name}")
        terminalreporter.write_line(f"all candidates: {opened.results}")
        if self._reason:
            terminalreporter.write_line(f"the loop stopped: {self._reason}")

    # -- what it is made of

    def _factories(self) -> dict[str, MutatorFactory]:
        from pytest_evalloop.mutators.builtin import builtin

        factories = dict(builtin())
        for given in self._config.hook.pytest_evalloop_mutators():
            for name, factory in given.items():
                if name in factories or name == MERGE:
                    raise pytest.UsageError(
                        f"a mutator named {name!r} is there already. Rename yours in pytest_evalloop_mutators."
                    )
                factories[name] = factory
        return factories

    def _observer(self, opened: Opened) -> InTurn:
        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        file = getattr(getattr(terminal, "_tw", None), "_file", None)
        if file is not None and file.isatty():
            return InTurn(LiveLine(file, self._report, opened.incumbent_bpb, lambda: self._left(opened)))
        return InTurn(PlainLines(self._say, self._report))

    def _left(self, opened: Opened) -> float | None:
        """Estimate the seconds until a limit on candidates or time is reached."""
        elapsed = time.monotonic() - self._started
        tried = len([item for item in opened.candidates()[1:] if item.decision is not None])
        estimates = []
        if self._settings.seconds is not None:
            estimates.append(self._settings.seconds - elapsed)
        if self._settings.candidates is not None and tried:
            estimates.append(elapsed / tried * (self._settings.candidates - tried))
        return max(0.0, min(estimates)) if estimates else None

    def _say(self, text: str) -> None:
        say(self._config, text)

    def _report(self, candidate: Candidate) -> None:
        """Yield one test report a candidate, so that junitxml and the last line count verdicts."""
        decision = candidate.decision
        assert decision is not None
        accepted = decision.verdict is Verdict.ACCEPTED
        nodeid = f"evalloop/{candidate.run}/{candidate.number}"
        longrepr = None if accepted else ("evalloop", candidate.number, f"Skipped: {decision.reason}")
        report = pytest.TestReport(
            nodeid,
            ("evalloop", candidate.number, f"{candidate.mutator}: {candidate.description}"),
            {},
            "passed" if accepted else "skipped",
            longrepr,
            "call",
            duration=candidate.train_seconds + candidate.check_seconds + candidate.overhead_seconds,
            evalloop_verdict="baseline" if candidate.number == 0 else decision.verdict.value,
        )
        self._config.hook.pytest_runtest_logreport(report=report)

    def _fail(self, session: pytest.Session, message: str) -> None:
        """Report that the baseline or the suite cannot gate, which is what exit status 1 says."""
        nodeid = f"evalloop/{self._settings.run or 'main'}/0"
        report = pytest.TestReport(nodeid, ("evalloop", 0, "baseline"), {}, "failed", message, "call")
        self._config.hook.pytest_runtest_logreport(report=report)
        session.testsfailed = 1
