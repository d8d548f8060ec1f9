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

from tests.redteam.catalogue import THEMES, Theme
from tests.redteam.cheating import cheats
from tests.redteam.export import export
from tests.redteam.runner import Tried, complaint, run

_AT_A_TIME = 2
_CHEATING_SEED = 1


def main(arguments: list[str]) -> int:
    """Return 0 if every attack was stopped and every honest candidate judged fairly."""
    if arguments[:1] == ["export"] and len(arguments) == 2:
        _say(f"{export(Path(arguments[1]))} attacks and controls in {arguments[1]}")
        return 0
    cheating = Theme("cheating", "A mutator that does nothing but cheat.", cheats(_CHEATING_SEED))
    themes = {cheating.name: cheating, **THEMES}  # the longest first
    if unknown := set(arguments) - set(themes):
        _say(f"no theme: {', '.join(sorted(unknown))}; there are {', '.join(themes)}")
        return 2
    chosen = [theme for theme in themes.values() if not arguments or theme.name in arguments]
    started = time.monotonic()
    wrong = caught = tried = fair = honest = 0
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        jobs = {pool.submit(_try, theme): theme for theme in chosen}
        for job in as_completed(jobs):
            theme, (found, seconds) = jobs[job], job.result()
            good, lines = _judge(theme, found)
            word = "passed" if theme.fair else "caught"
            head = f"{theme.name:14} {good:3}/{len(theme.attacks):3} {word} {seconds:5.0f} s"
            _say("\n    ".join([head, *lines]))
            wrong += bool(lines)
            if theme.fair:
                honest, fair = honest + good, fair + len(theme.attacks)
            else:
                caught, tried = caught + good, tried + len(theme.attacks)
    seconds = time.monotonic() - started
    _say(f"attacks caught {caught}/{tried}, honest passed {honest}/{fair}, {seconds:.0f} seconds")
    return 1 if wrong else 0


def _try(theme: Theme) -> tuple[Tried | None, float]:
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"redteam-run-{theme.name}-"))
    what = f"cheat {_CHEATING_SEED}" if theme.name == "cheating" else theme.name
    try:
        return run(folder, theme.settings, what, len(theme.attacks)), time.monotonic() - started
    except Exception:  # noqa: BLE001 - one theme that cannot be tried must not hide the others
        traceback.print_exc()
        return None, time.monotonic() - started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judge(theme: Theme, found: Tried | None) -> tuple[int, list[str]]:
    """Return how many went well, and a line for everything else."""
    if found is None:
        return 0, ["it could not be tried"]
    lines, good = list(found.problems), 0
    for attack, outcome in zip(theme.attacks, found.outcomes, strict=True):
        problem = complaint(attack, outcome, fair=theme.fair)
        good += not problem
        if problem:
            lines.append(
                f"{attack.name}: {problem}{f' (known: {attack.unsolved})' if attack.unsolved else ''}"
            )
    return good, lines


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - it is a program


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
