"""The pytest session of the canary: every planted fault, and the control, is reported as a test."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_evalloop.loop.canary import rehearse
from pytest_evalloop.loop.findings import Canary, refusals, unnoticed
from pytest_evalloop.loop.opening import open_canary
from pytest_evalloop.loop.refusal import CannotGate
from pytest_evalloop.loop.workshop import Workshop
from pytest_evalloop.records import Candidate
from pytest_evalloop.report.canary import findings, matrix
from pytest_evalloop.settings import Settings
from pytest_evalloop.shell.session import read_settings, say, usage_errors
from pytest_evalloop.shell.terminal import PlainLines


class CanarySession:
    """Replaces collection and test loop by the gradings of stand-ins; begins no run and tries no candidate."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._opened: tuple[Workshop, Candidate] | None = None
        self._stack = contextlib.ExitStack()
        self._refused = ""
        self._canary: Canary | None = None
        self._ended = False

    @classmethod
    def from_config(
        cls, config: pytest.Config, flags: Mapping[str, object], ini: Mapping[str, object]
    ) -> CanarySession:
        """Read the settings; raises `pytest.UsageError` for a value or a flag that cannot be used."""
        return cls(config, read_settings(config, flags, ini))

    def pytest_report_header(self) -> list[str]:
        """Say what this session will do."""
        return [f"evalloop: canary, budget {self._settings.budget}: can the suite fail?"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Check everything that can be checked without training; there are no tests to collect."""
        session.items = []
        session.testscollected = 1
        try:
            with usage_errors():
                self._opened = self._stack.enter_context(
                    open_canary(self._settings, self._config.inipath, self._say)
                )
        except CannotGate as error:
            self._refused = str(error)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Plant the faults, and fail the session unless the suite notices all and blames nobody."""
        if self._opened is not None:
            try:
                with usage_errors():
                    self._canary = rehearse(*self._opened, PlainLines(self._say, lambda _: None))
            except CannotGate as error:
                self._refused = str(error)
        if self._canary is None:
            self._report("baseline", self._refused)
        else:
            for fault in self._canary.faults:
                self._report(fault.name, unnoticed(fault))
            self._report("human", "\n".join(refusals(self._canary)))
        session.testsfailed = int(self._canary is None or not self._canary.passed)
        return True

    def pytest_unconfigure(self) -> None:
        """Remove the checkout of the suite."""
        self._stack.close()

    @pytest.hookimpl
    def pytest_report_teststatus(self, report: Any, config: pytest.Config) -> tuple[str, str, str]:  # noqa: ANN401
        """Count stand-ins as tests, without a letter for each: the matrix shows them."""
        spoken = self._ended or config.get_verbosity() > 0
        return report.outcome, "", report.outcome.upper() if spoken else ""

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print which test catches which fault, and every finding as a sentence."""
        self._ended = True
        if self._canary is None:
            return
        terminalreporter.section("evalloop: canary")
        for line in (*matrix(self._canary), *findings(self._canary)):
            terminalreporter.write_line(line)

    def _say(self, text: str) -> None:
        say(self._config, text)

    def _report(self, name: str, failure: str) -> None:
        """Yield one test report; without a failure it passed."""
        nodeid = f"evalloop/canary/{name}"
        outcome = "failed" if failure else "passed"
        report = pytest.TestReport(nodeid, ("evalloop", 0, name), {}, outcome, failure or None, "call")  # type: ignore[arg-type]
        self._config.hook.pytest_runtest_logreport(report=report)
