"""A pytest plugin for `audit_cost` alone: grades without the blind audit, as a suite that trusts candidates would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pytest_evalloop.suite.examiner import Examiner


def pytest_configure() -> None:
    """Take the second process, and with it both audits, away from the examiner of this process."""

    @contextlib.contextmanager
    def nobody(_: Examiner) -> Iterator[None]:
        yield None

    pytest.MonkeyPatch().setattr(Examiner, "open_blind", nobody)
