"""What a bench script reports, and the paired timing that its ratios come from."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number with the bound that it is held against; `kept` is None without a bound."""

    name: str
    value: str
    bound: str
    kept: bool | None

    def line(self) -> str:
        """Return the figure as a row of a Markdown table."""
        verdict = {True: "yes", False: "**no**", None: ""}[self.kept]
        return f"| {self.name} | {self.value} | {self.bound} | {verdict} |"


@dataclass(frozen=True)
class Ratios:
    """Ratios of two commands, run in turn, A B A B."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle ratio."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        return (
            f"{self.median:.3f} ({min(self.values):.3f} to {max(self.values):.3f}, {len(self.values)} pairs)"
        )


def paired(first: Callable[[], float], second: Callable[[], float], pairs: int) -> Ratios:
    """Return first / second, measured in turn after one warm-up of each, order swapped from pair to pair."""
    first()
    second()
    ratios = []
    for index in range(pairs):
        if index % 2:
            below, above = second(), first()
        else:
            above, below = first(), second()
        ratios.append(above / below)
    return Ratios(tuple(ratios))


def cpu_seconds(command: Sequence[str], folder: Path) -> float:
    """Run a command to a good end and return the CPU seconds of its whole tree: a busy machine adds little."""
    before = os.times()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def wall_seconds(command: Sequence[str], folder: Path) -> float:
    """Run a command to a good end and return the seconds that it took."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def show(figures: Sequence[Figure]) -> None:
    """Print figures as a Markdown table."""
    print("| figure | measured | bound | kept |\n|---|---|---|---|")
    for figure in figures:
        print(figure.line())
