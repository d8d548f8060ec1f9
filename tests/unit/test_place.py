"""When a grading gets ready, and which training it is given to."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_evalloop.candidate.process import launch
from pytest_evalloop.candidate.progress import Progress
from pytest_evalloop.loop.assigning import SUITE, Asked, Expected
from pytest_evalloop.loop.grading import Grading
from pytest_evalloop.loop.place import Place, ends_soon
from pytest_evalloop.loop.slots import Slot, Slots
from pytest_evalloop.records import Status, Training

SOON = Expected(Path("/artifacts/a"), 0, finished=False)
FRACTIONS = st.floats(0.001, 1)
SECONDS = st.floats(0, 1e6)


@given(st.none() | st.builds(Progress, st.none() | st.floats(), st.none()), SECONDS)
def test_nothing_gets_ready_before_half_of_the_budget_or_for_one_that_says_nothing(
    progress: Progress | None, elapsed: float
) -> None:
    if ends_soon(progress, elapsed):
        assert progress is not None
        assert progress.fraction is not None
        assert 0.5 <= progress.fraction <= 1


@given(FRACTIONS, FRACTIONS, SECONDS)
def test_who_is_ready_stays_ready_as_the_training_goes_on(one: float, other: float, whole: float) -> None:
    early, late = sorted((one, other))
    if ends_soon(Progress(early, None), early * whole):
        assert ends_soon(Progress(late, None), late * whole)


def test_a_long_training_is_not_disturbed_before_its_last_seconds() -> None:
    assert not ends_soon(Progress(0.97, None), 0.97 * 300)
    assert ends_soon(Progress(0.98, None), 0.98 * 300)
    assert ends_soon(Progress(0.5, None), 1.0)


class Desk:
    """Begins gradings that are real processes, and notes which of them are under way."""

    def __init__(self, folder: Path) -> None:
        self.slots = Slots(1)
        self.folder = folder
        self.under_way: list[Path] = []

    @contextlib.contextmanager
    def begin(self, expected: Expected, _: Slot) -> Iterator[Grading]:
        told, gate = os.pipe()
        log = self.folder / "log"
        with tempfile.TemporaryFile() as outcomes, contextlib.ExitStack() as stack:
            for end in (told, gate):
                stack.callback(os.close, end)
            waits = [sys.executable, "-S", "-c", f"import os; os.write(1, os.read({told}, 1))"]
            process = launch(waits, cwd=self.folder, env=dict(os.environ), log=log, pass_fds=[told])
            self.under_way.append(expected.artifacts)
            yield Grading(stack.enter_context(process), outcomes, gate, log)
        self.under_way.remove(expected.artifacts)

    def place(self, asked: Asked = SUITE) -> Place:
        return Place(asked, self.slots.take, self.begin)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def trained(artifacts: str = "/artifacts/a") -> Training:
    return Training("key", 0, Status.COMPLETED, artifacts, 1.0, 1.0, 1)


def test_the_slot_is_taken_once_and_given_back(desk: Desk) -> None:
    with desk.place() as place:
        assert place.slot() is place.slot()
    with desk.place() as place:
        place.slot()


def test_what_got_ready_is_released_for_its_own_training(desk: Desk) -> None:
    with desk.place() as place:
        place.get_ready(SOON)
        place.get_ready(SOON)
        assert desk.under_way == [SOON.artifacts]
        ready = place.ready(trained(), SUITE)
        assert ready is not None
        _, result, log = ready.lines()
        assert (result.status, log.read_bytes()) == (Status.COMPLETED, b"g")
        assert place.ready(trained(), SUITE) is None
    assert desk.under_way == []


@pytest.mark.parametrize(
    ("artifacts", "asked"),
    [("/artifacts/of another process", SUITE), ("/artifacts/a", Asked(split="vault"))],
    ids=["artifacts", "question"],
)
def test_for_anything_else_it_is_ended(desk: Desk, artifacts: str, asked: Asked) -> None:
    with desk.place() as place:
        place.get_ready(SOON)
        assert place.ready(trained(artifacts), asked) is None
        assert desk.under_way == []


def test_what_got_ready_in_vain_is_ended(desk: Desk) -> None:
    with desk.place() as place:
        place.get_ready(SOON)
    assert desk.under_way == []
    with desk.place() as place:  # the slot is free again
        place.slot()
