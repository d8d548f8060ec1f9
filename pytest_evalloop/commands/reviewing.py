"""`pytest-evalloop review`: logs in, the page, spreadsheets out and back, and the beginning of an eval."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_evalloop.commands.project import Place, settings
from pytest_evalloop.commands.words import say
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import read_modes
from pytest_evalloop.review.server import Sample, labeller
from pytest_evalloop.review.traces import Library, ReviewError
from pytest_evalloop.store.home import Home


def page(place: Place, port: int | None, sample: Sample | None, by: str | None, *, browser: bool) -> int:
    """Show the review page until it is interrupted; raises ReviewError if what it needs is not installed."""
    from pytest_evalloop.review import server

    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise ReviewError(
            "The review page needs starlette and uvicorn. Install them with: pip install 'pytest-evalloop[review]'."
        )
    return server.main(place.root, port, browser, labels=place.labels, by=by, sample=sample)


def imported(place: Place, files: Sequence[Path]) -> int:
    """Add the traces of logs; status 1 if something in them could not be read."""
    from pytest_evalloop.review.importing import import_file

    status = 0
    for file in files:
        if file.is_file():
            Home.open(place.root)  # with what keeps git from committing the traces
        found = import_file(file, place.home.traces, place.labels, time.time())
        say(f"{file}: {count(len(found.traces), 'new trace')} ({found.kind})")
        for problem in found.problems:
            say(f"  {problem}")
        status = 1 if found.problems else status
    return status


def exported(place: Place, file: Path) -> int:
    """Write traces and labels as a spreadsheet."""
    from pytest_evalloop.review.sheets import export

    library = Library.load(place.home.traces, place.labels)
    with Labels.open(place.labels) as labels:
        rows = export(file, library.traces.values(), labels, read_modes(place.labels))
    say(f"{file}: {count(rows, 'trace')}")
    return 0


def applied(place: Place, file: Path, by: str | None, *, dry: bool) -> int:
    """Take over what was edited in a spreadsheet, or say what would change; status 1 if a person has to decide."""
    from pytest_evalloop.review.sheets import apply, compare

    library = Library.load(place.home.traces, place.labels)
    with Labels.open(place.labels, write=not dry) as labels:
        report = compare(file, labels, library.traces, read_modes(place.labels))
        for line in report.lines():
            say(line)
        if dry:
            return 1 if report.conflicts or report.problems else 0
        late = apply(report, labels, library.traces, by or labeller(place.root), time.time())
        for edit in late:
            say(f"changed by somebody else meanwhile, and left alone: {edit}")
    return 1 if report.conflicts or report.problems or late else 0


def scaffolded(place: Place, identity: str) -> int:
    """Write the beginning of an eval for a failure mode."""
    from pytest_evalloop.review.scaffold import scaffold

    modes = {mode.id: mode for mode in read_modes(place.labels)}
    if identity not in modes:
        known = ", ".join(sorted(modes)) or "none is named yet"
        raise ReviewError(f"There is no failure mode {identity} in {place.labels / 'modes.toml'} ({known}).")
    said, library = settings(place.root), Library.load(place.home.traces, place.labels)
    folder = place.root / said.evals[0]
    path = scaffold(modes[identity], library.traces, folder, place.labels, model=bool(said.load))
    blanks = "its check" if said.load else "its check and how to ask your system"
    name = _from_here(path, place.root)
    say(f"{name} is written. Fill in {blanks}, and run: pytest {name}")
    return 0


def _from_here(path: Path, root: Path) -> Path:
    """Return a path as it can be typed where the command runs, from the root if that is elsewhere."""
    with contextlib.suppress(OSError):
        if Path.cwd().is_relative_to(root):
            return Path(os.path.relpath(path))
    return path.relative_to(root)
