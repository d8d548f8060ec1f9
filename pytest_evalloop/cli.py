"""The command `pytest-evalloop`: the review page, spreadsheets, scaffolds, and judges."""

from __future__ import annotations

import argparse
import configparser
import functools
import importlib.util
import os
import shlex
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_evalloop.review.events import Label
    from pytest_evalloop.review.judges import Judge
    from pytest_evalloop.review.traces import Library
    from pytest_evalloop.settings import Settings

_JUDGEMENTS = ".evalloop/judgements"
_SAMPLES = ("random", "stratified", "outliers")
# Where pytest looks for its configuration, in its order.
_CONFIGURATIONS = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 something to look at, 2 bad input."""
    from pytest_evalloop.settings import SettingsError
    from pytest_evalloop.store.home import StoreError

    given = _parser().parse_args(arguments)
    try:
        status: int = given.run(given)
    except (SettingsError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, default=Path(), help="the project's root (default: this folder)")
    common.add_argument(
        "--labels", type=Path, help="folder of the labels (default: evalloop_labels, or evals/labels)"
    )
    parser = argparse.ArgumentParser(prog="pytest-evalloop", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    review = commands.add_parser(
        "review",
        parents=[common],
        help="read traces, label them, name failure modes",
        description="Open the review page. With --import, --export, --apply or --scaffold, do that instead.",
    )
    review.add_argument(
        "--import", dest="imports", type=Path, action="append", default=[], metavar="FILE", help="read a log"
    )
    review.add_argument(
        "--export", type=Path, metavar="FILE", help="write traces and labels as .csv or .xlsx"
    )
    review.add_argument(
        "--apply", type=Path, metavar="FILE", help="take over what was edited in a spreadsheet"
    )
    review.add_argument("--dry-run", action="store_true", help="with --apply: only say what would change")
    review.add_argument("--scaffold", metavar="FM-07", help="write an eval file for a failure mode")
    review.add_argument(
        "--sample", metavar="random:100", help=f"read so many traces only, drawn by {', '.join(_SAMPLES)}"
    )
    review.add_argument("--stratify", metavar="KEY", default="", help="metadata key of --sample stratified:N")
    review.add_argument("--seed", type=int, default=0, help="of the sample")
    review.add_argument("--by", metavar="NAME", help="who labels (default: git's user.name)")
    review.add_argument("--port", type=int, help="of the page (default: one that belongs to the project)")
    review.add_argument("--no-browser", action="store_true", help="do not open a browser")
    review.set_defaults(run=_review)
    judge = commands.add_parser(
        "judge", parents=[common], help="measure a judge against labels, before it may gate"
    )
    judge.add_argument("mode", nargs="?", help="the failure mode it judges (default: list all judges)")
    judge.add_argument("--test", action="store_true", help="on the test split, which is read once a version")
    judge.add_argument(
        "--estimate",
        action="store_true",
        help="the pass rate of what nobody labelled, corrected, with its interval",
    )
    judge.set_defaults(run=_judge)
    return parser


def _folders(given: argparse.Namespace) -> tuple[Path, Path, Path]:
    """Return root, traces and labels of the project."""
    from pytest_evalloop.review.traces import ReviewError
    from pytest_evalloop.store.home import Home

    root = given.root.resolve()
    if not root.is_dir():
        raise ReviewError(f"{root} is no folder. Give the project's root: --root ../shop.")
    labels = given.labels.resolve() if given.labels else root / _settings(root).labels
    return root, Home(root).traces, labels


def _settings(root: Path) -> Settings:
    """Return what the project says of evals and labels; raises SettingsError or ReviewError if it is of no use."""
    from pytest_evalloop.settings import read

    found = _configuration(root)
    ini = {name: found.get(f"evalloop_{name}") for name in ("labels", "load", "evals")}
    evals = ini["evals"]
    return read({}, {**ini, "evals": shlex.split(evals) if isinstance(evals, str) else evals}, root)


def _configuration(root: Path) -> Mapping[str, object]:
    """Return what pytest takes as its configuration in a project's root, nothing where there is none."""
    from pytest_evalloop.review.traces import ReviewError

    for name in _CONFIGURATIONS:
        try:
            text = (root / name).read_text(encoding="utf-8")
            found = _toml(text) if name.endswith(".toml") else _ini(text)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, configparser.Error) as error:
            raise ReviewError(f"{root / name} cannot be read: {error}. Mend it.") from error
        if found or "pytest." in name:  # pytest's own files count also when they are empty
            return found
    return {}


def _toml(text: str) -> Mapping[str, object]:
    table = tomllib.loads(text)
    found: Mapping[str, object] = table.get("tool", table).get("pytest", {})
    inner = found.get("ini_options")
    return inner if isinstance(inner, dict) else found


def _ini(text: str) -> Mapping[str, object]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(text)
    return next((dict(parser[name]) for name in ("tool:pytest", "pytest") if name in parser), {})


def _review(given: argparse.Namespace) -> int:
    if given.imports:
        return _import(given)
    if given.export:
        return _export(given)
    if given.apply:
        return _apply(given)
    if given.scaffold:
        return _scaffold(given)
    from pytest_evalloop.review import server
    from pytest_evalloop.review.traces import ReviewError

    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise ReviewError(
            "The review page needs starlette and uvicorn. Install them with: pip install 'pytest-evalloop[review]'."
        )
    root, _, labels = _folders(given)
    sample = functools.partial(_sample, given) if given.sample else None
    return server.main(root, given.port, not given.no_browser, labels=labels, by=given.by, sample=sample)


def _sample(given: argparse.Namespace, library: Library, _: Mapping[str, Label]) -> dict[str, str]:
    """Return the traces that are drawn for reading, each with the reason why."""
    from pytest_evalloop.review import sampling
    from pytest_evalloop.review.traces import ReviewError

    how, _, number = given.sample.partition(":")
    if how not in _SAMPLES or not number.isdecimal() or (how == "stratified") != bool(given.stratify):
        raise ReviewError(
            f"--sample is {given.sample!r}. Write how and how many, such as random:100 or outliers:50; "
            "stratified:100 takes a metadata key, and only that: --stratify model."
        )
    traces, count = list(library.traces.values()), int(number)
    picks = {
        "random": lambda: sampling.at_random(traces, count, given.seed),
        "stratified": lambda: sampling.stratified(traces, count, given.stratify, given.seed),
        "outliers": lambda: sampling.outliers(traces, count, given.seed),
    }[how]()
    return {pick.id: pick.why for pick in picks}


def _import(given: argparse.Namespace) -> int:
    from pytest_evalloop.review.importing import import_file

    _, traces, labels = _folders(given)
    status = 0
    for file in given.imports:
        found = import_file(file, traces, labels, time.time())
        _say(f"{file}: {_count(len(found.traces), 'new trace')} ({found.kind})")
        for problem in found.problems:
            _say(f"  {problem}")
        status = 1 if found.problems else status
    return status


def _export(given: argparse.Namespace) -> int:
    from pytest_evalloop.review.labels import Labels
    from pytest_evalloop.review.modes import read_modes
    from pytest_evalloop.review.sheets import export
    from pytest_evalloop.review.traces import Library

    _, traces, folder = _folders(given)
    library = Library.load(traces, folder)
    with Labels.open(folder) as labels:
        rows = export(given.export, library.traces.values(), labels, read_modes(folder))
    _say(f"{given.export}: {_count(rows, 'trace')}")
    return 0


def _apply(given: argparse.Namespace) -> int:
    from pytest_evalloop.review.labels import Labels
    from pytest_evalloop.review.modes import read_modes
    from pytest_evalloop.review.server import labeller
    from pytest_evalloop.review.sheets import apply, compare
    from pytest_evalloop.review.traces import Library

    root, traces, folder = _folders(given)
    library = Library.load(traces, folder)
    with Labels.open(folder, write=not given.dry_run) as labels:
        report = compare(given.apply, labels, library.traces, read_modes(folder))
        for line in report.lines():
            _say(line)
        if given.dry_run:
            return 1 if report.conflicts or report.problems else 0
        late = apply(report, labels, library.traces, given.by or labeller(root), time.time())
        for edit in late:
            _say(f"changed by somebody else meanwhile, and left alone: {edit}")
    return 1 if report.conflicts or report.problems or late else 0


def _scaffold(given: argparse.Namespace) -> int:
    from pytest_evalloop.review.modes import read_modes
    from pytest_evalloop.review.scaffold import scaffold
    from pytest_evalloop.review.traces import Library, ReviewError

    root, traces, folder = _folders(given)
    modes = {mode.id: mode for mode in read_modes(folder)}
    if given.scaffold not in modes:
        known = ", ".join(sorted(modes)) or "none is named yet"
        raise ReviewError(f"There is no failure mode {given.scaffold} in {folder / 'modes.toml'} ({known}).")
    settings = _settings(root)
    mode, library = modes[given.scaffold], Library.load(traces, folder)
    path = scaffold(mode, library.traces, root / settings.evals[0], model=bool(settings.load))
    name = path.relative_to(root)
    blanks = "its check" if settings.load else "its check and how to ask your system"
    _say(f"{name} is written. Fill in {blanks}, and run: pytest {name}")
    return 0


def _judge(given: argparse.Namespace) -> int:
    from pytest_evalloop.review.judges import judge_files, read_judge
    from pytest_evalloop.review.labels import Labels
    from pytest_evalloop.review.looks import read_looks
    from pytest_evalloop.review.splits import Split
    from pytest_evalloop.review.traces import Library, ReviewError
    from pytest_evalloop.review.validation import gate_problem, validate

    root, traces, folder = _folders(given)
    files = judge_files(folder)
    library = Library.load(traces, folder)
    with Labels.open(folder) as opened:
        labels = opened.all()
    if given.mode is None:
        for mode, path in sorted(files.items()):
            judge = read_judge(path, library.traces, labels, os.environ)
            _say(f"{mode}: {gate_problem(judge, read_looks(folder)) or 'validated; it may gate'}")
        if not files:
            _say(f"There are no judges in {folder / 'judges'}.")
        return 0
    if given.mode not in files:
        raise ReviewError(f"There is no judge of {given.mode} in {folder / 'judges'}.")
    judge = read_judge(files[given.mode], library.traces, labels, os.environ)
    if given.estimate:
        return _estimate(judge, library, labels, folder, root / _JUDGEMENTS)
    found = validate(
        judge,
        labels,
        library.traces,
        Split.TEST if given.test else Split.DEV,
        folder=folder,
        cache=root / _JUDGEMENTS,
        at=time.time(),
    )
    _say(found.sentence)
    for disagreement in found.disagreements:
        _say(f"  {disagreement.trace}: {disagreement.kind}: {disagreement.critique}")
    problem = gate_problem(judge, read_looks(folder))
    _say(problem or "It may gate.")
    return 1 if given.test and problem else 0


def _estimate(judge: Judge, library: Library, labels: Mapping[str, Label], folder: Path, cache: Path) -> int:
    """Judge the traces that nobody labelled, and say what share of them passes once the judge's errors are counted."""
    from pytest_evalloop.review.judgements import judgements
    from pytest_evalloop.review.looks import read_looks
    from pytest_evalloop.review.rates import corrected
    from pytest_evalloop.review.traces import ReviewError
    from pytest_evalloop.review.validation import gate_problem

    looks = read_looks(folder)
    if problem := gate_problem(judge, looks):
        raise ReviewError(problem)
    unlabelled = [
        trace
        for trace in library.traces.values()
        if trace.id not in labels or judge.mode not in labels[trace.id].modes
    ]
    if not unlabelled:
        raise ReviewError("Every trace is labelled for this mode, so there is nothing to estimate.")
    found = judgements(judge, unlabelled, cache)
    passes = sum(judgement.passed for judgement in found.values())
    measured = next(look for look in reversed(looks) if look.fingerprint == judge.fingerprint).agreement
    rate = corrected(passes, len(found), measured)
    assert rate is not None  # a judge that may gate is better than chance
    share = passes / len(found)
    _say(
        f"{judge.mode}: the judge passes {passes} of {len(found)} traces that nobody labelled ({share:.3f})."
    )
    _say(
        f"Corrected for its errors on the test split: {rate.rate:.3f}, 95 % interval {rate.interval.low:.3f} to "
        f"{rate.interval.high:.3f}."
    )
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
