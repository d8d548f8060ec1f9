"""The command `pytest-evalloop`: the review page, spreadsheets, scaffolds, and judges."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_evalloop.commands.words import WAYS

if TYPE_CHECKING:
    from pytest_evalloop.commands.project import Place
    from pytest_evalloop.commands.sampling import Wish


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
    common.add_argument(
        "--root", type=Path, help="the project's root (default: the one that pytest finds from this folder)"
    )
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
        "--sample", metavar="random:100", help=f"read so many traces only, drawn by {', '.join(WAYS)}"
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


def _place(given: argparse.Namespace) -> Place:
    """Return the project that is meant, and say which where that is not plain."""
    from pytest_evalloop.commands.project import place
    from pytest_evalloop.commands.words import remark

    here = Path.cwd()
    found = place(given.root, given.labels, here)
    if given.root is None and found.root != here.resolve():
        remark(f"Project: {found.root}")
    return found


def _review(given: argparse.Namespace) -> int:
    from pytest_evalloop.commands import reviewing

    wish = _wish(given)
    place = _place(given)
    if given.imports:
        return reviewing.imported(place, given.imports)
    if given.export:
        return reviewing.exported(place, given.export)
    if given.apply:
        return reviewing.applied(place, given.apply, given.by, dry=given.dry_run)
    if given.scaffold:
        return reviewing.scaffolded(place, given.scaffold)
    sample = None
    if wish is not None:
        from pytest_evalloop.commands.sampling import draw

        sample = functools.partial(draw, wish, place)
    return reviewing.page(place, given.port, sample, given.by, browser=not given.no_browser)


def _wish(given: argparse.Namespace) -> Wish | None:
    """Return the sample that is asked for; raises ReviewError if it makes no sense."""
    from pytest_evalloop.commands.sampling import Wish
    from pytest_evalloop.review.traces import ReviewError

    if given.sample:
        return Wish.parse(given.sample, given.stratify, given.seed)
    if given.stratify:
        raise ReviewError("--stratify belongs to a sample: --sample stratified:100 --stratify model.")
    return None


def _judge(given: argparse.Namespace) -> int:
    from pytest_evalloop.commands import judging

    place = _place(given)
    if given.mode is None:
        return judging.listed(place)
    if given.estimate:
        return judging.estimated(place, given.mode)
    return judging.measured(place, given.mode, test=given.test)


if __name__ == "__main__":
    sys.exit(main())
