"""What a person sees while a loop runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_evalloop.report.summary import outcome_line

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pytest_evalloop.candidate.progress import Progress
    from pytest_evalloop.records import Candidate


class InTurn:
    """Passes on to one observer what several threads have to say, one after the other."""

    def __init__(self, observer: PlainLines | LiveLine) -> None:
        self._observer = observer
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Have the observer show what it shows while the loop runs."""
        with self._observer.live():
            yield

    def note(self, text: str) -> None:
        """Pass a sentence on."""
        with self._turn:
            self._observer.note(text)

    def stage(self, number: int, what: str, detail: str = "") -> None:
        """Pass on which candidate does what."""
        with self._turn:
            self._observer.stage(number, what, detail)

    def progress(self, number: int, progress: Progress | None) -> None:
        """Pass on how far a training is."""
        with self._turn:
            self._observer.progress(number, progress)

    def decided(self, candidate: Candidate) -> None:
        """Pass a verdict on."""
        with self._turn:
            self._observer.decided(candidate)


class PlainLines:
    """Prints a line for every stage and verdict; made for logs and CI."""

    def __init__(self, write: Callable[[str], None], decided: Callable[[Candidate], None]) -> None:
        self._write = write
        self._decided = decided
        self._started = time.monotonic()

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Do nothing around the loop: every line stands for itself."""
        yield

    def note(self, text: str) -> None:
        """Print `text`."""
        self._write(f"{self._clock()} {text}")

    def stage(self, number: int, what: str, detail: str = "") -> None:
        """Print which candidate does what."""
        self._write(f"{self._clock()} {_name(number)}: {what}{': ' + detail if detail else ''}")

    def progress(self, number: int, progress: Progress | None) -> None:
        """Print nothing: a log is not a meter."""

    def decided(self, candidate: Candidate) -> None:
        """Print the verdict with its reason."""
        self._write(f"{self._clock()} {outcome_line(candidate)}")
        self._decided(candidate)

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._started)
        return f"[{seconds // 3600:d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}]"


class LiveLine:
    """Keeps a live line for each candidate at work: its stage, training progress, incumbent, time left.

    `left` returns the estimated seconds until the loop stops, None while nobody can tell.
    """

    def __init__(
        self,
        file: Any,  # noqa: ANN401 - the terminal reporter's own stream
        decided: Callable[[Candidate], None],
        incumbent: Callable[[], float | None],
        left: Callable[[], float | None],
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._decided = decided
        self._incumbent = incumbent
        self._left = left
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[train_bpb]}", markup=False),
            TextColumn("{task.fields[incumbent]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=Console(file=file, force_terminal=True, highlight=False),
            transient=True,
        )
        self._tasks: dict[int, TaskID] = {}
        self._done: set[int] = set()

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the live line while the loop runs."""
        with self._bar:
            yield

    def note(self, text: str) -> None:
        """Print `text` above the live line."""
        self._bar.console.print(text, markup=False)

    def stage(self, number: int, what: str, detail: str = "") -> None:
        """Show which candidate does what."""
        left, incumbent = self._left(), self._incumbent()
        if number not in self._tasks:
            self._tasks[number] = self._bar.add_task("", total=None, train_bpb="", incumbent="", left="")
        self._bar.reset(
            self._tasks[number],
            total=1.0 if what == "training" else None,
            description=f"{_name(number)} {what} {detail}"[:60],
            train_bpb="",
            incumbent="" if incumbent is None else f"incumbent {incumbent:.4f}",
            left="" if left is None else f"about {_duration(left)} left",
        )

    def progress(self, number: int, progress: Progress | None) -> None:
        """Move the bar to what the training said of itself."""
        if progress is not None and number in self._tasks:
            bpb = "" if progress.train_bpb is None else f"train {progress.train_bpb:.3f} bpb"
            self._bar.update(self._tasks[number], completed=progress.fraction or 0.0, train_bpb=bpb)

    def decided(self, candidate: Candidate) -> None:
        """Print the verdict above the live lines, and take the candidate's own away."""
        self._done.add(candidate.number)
        for number in self._done & self._tasks.keys():  # incumbents that were measured again among them
            self._bar.remove_task(self._tasks.pop(number))
        accepted = candidate.decision is not None and candidate.decision.verdict == "accepted"
        self._bar.console.print(outcome_line(candidate), style="green" if accepted else None, markup=False)
        self._decided(candidate)


def _name(number: int) -> str:
    return "baseline" if number == 0 else f"candidate {number}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else f"{minutes} min"
        if minutes
        else "1 min"
    )
