"""Try all themes and print what escaped, or write the attacks to a folder.

python -m tests.redteam [THEME ...]
python -m tests.redteam export FOLDER
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.redteam.catalogue import THEMES, Theme, loops
from tests.redteam.export import export
from tests.redteam.runner import Tried, complaints, run

_AT_A_TIME = 2


def main(arguments: list[str]) -> int:
    """Return 0 if every attack was stopped and every honest candidate judged fairly."""
    if arguments[:1] == ["export"] and len(arguments) == 2:
        _say(f"{export(Path(arguments[1]))} attacks and controls in {arguments[1]}")
        return 0
    if unknown := set(arguments) - set(THEMES):
        _say(f"no theme: {', '.join(sorted(unknown))}; there are {', '.join(THEMES)}")
        return 2
    started = time.monotonic()
    wrong = caught = tried = fair = honest = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        jobs = {pool.submit(_try, themes): themes for themes in loops(arguments)}
        for job in as_completed(jobs):
            for theme in jobs[job]:
                good, lines = _judge(theme, job.result().get(theme.name))
                word = "passed" if theme.fair else "caught"
                _say("\n    ".join([f"{theme.name:14} {good:3}/{len(theme.attacks):3} {word}", *lines]))
                wrong += bool(lines)
                if theme.fair:
                    honest, fair = honest + good, fair + len(theme.attacks)
                else:
                    caught, tried = caught + good, tried + len(theme.attacks)
    seconds = time.monotonic() - started
    _say(f"attacks caught {caught}/{tried}, honest passed {honest}/{fair}, {seconds:.0f} seconds")
    return 1 if wrong else 0


def _try(themes: tuple[Theme, ...]) -> dict[str, Tried]:
    folder = Path(tempfile.mkdtemp(prefix="redteam-run-"))
    try:
        return run(folder, themes)
    except Exception:  # noqa: BLE001 - a loop that cannot be started must not hide the others
        traceback.print_exc()
        return {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(theme: Theme, found: Tried | None) -> tuple[int, list[str]]:
    """Return how many went well, and a line for everything else."""
    if found is None:
        return 0, ["it could not be tried"]
    lines = complaints(theme, found)
    return len(theme.attacks) - len(lines), [*found.problems, *lines]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
