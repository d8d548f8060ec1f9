"""What the review page costs the person who labels: start of its server, and a key to the next trace.

python -m bench.review  # needs Playwright's Python package and a chromium

The page has 10,000 synthetic traces of about 3 kB with steps. Start is from the start of the process to the first
whole page; a key is from the browser's time stamp of the key press to the frame after the next trace was laid out.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.figure import Figure, show
from pytest_evalloop.records import Trace
from pytest_evalloop.review.traces import StoredTrace, append

if TYPE_CHECKING:
    from playwright.sync_api import Page

TRACES, STARTS, KEYS = 10_000, 9, 100
START_AT_MOST, KEY_AT_MOST = 1.0, 50.0  # seconds; milliseconds
WORDS: Final = (
    "the",
    "king",
    "shall",
    "come",
    "tonight",
    "and",
    "speak",
    "no",
    "more",
    "of",
    "love",
    "nor",
    "death",
)
SERVER: Final = (
    "import sys; from pathlib import Path; from pytest_evalloop.review.server import main; "
    "sys.exit(main(Path(sys.argv[1]), 0, False, by='bench'))"
)
# Runs in the page: the time of each key press until the next trace is in view and painted.
STOPWATCH: Final = """
window.took = [];
document.addEventListener("keydown", (event) => {
  const trace = document.getElementById("trace");
  const before = trace.dataset.id;
  const look = () => {
    if (trace.dataset.id === undefined || trace.dataset.id === before) return;
    observer.disconnect();
    requestAnimationFrame(() => {
      const painted = new MessageChannel();
      painted.port1.onmessage = () => window.took.push(performance.now() - event.timeStamp);
      painted.port2.postMessage(null);
    });
  };
  const observer = new MutationObserver(look);
  observer.observe(trace, { attributes: true });
}, { capture: true });
"""


def text(chance: random.Random, lines: int) -> str:
    """Return lines of verse, more or less."""
    return "\n".join(" ".join(chance.choices(WORDS, k=chance.randint(5, 12))) for _ in range(lines))


def synthetic(count: int) -> Iterator[StoredTrace]:
    """Yield traces with prompts, tool calls, metadata and outputs of different lengths."""
    chance = random.Random("review")
    for number in range(count):
        steps: tuple[dict[str, object], ...] = ()
        if number % 2:
            arguments = {"words": chance.choices(WORDS, k=4), "limit": number}
            steps = (
                {"role": "system", "content": text(chance, 6)},
                {"role": "tool", "name": "search", "arguments": arguments, "result": text(chance, 8)},
                {"role": "assistant", "content": text(chance, 3)},
            )
        metadata = {
            "model": f"model-{number % 3}",
            "seed": number,
            "user": {"plan": ("free", "pro")[number % 2]},
        }
        trace = Trace(text(chance, 3), text(chance, chance.randint(5, 60)), steps, metadata)
        yield StoredTrace(f"t-{number:05d}", "import:bench.jsonl", 1.8e9 + number, trace)


@contextlib.contextmanager
def server(root: Path) -> Iterator[tuple[str, float]]:
    """Run a server on a project; gives its address and the seconds until the page was answered."""
    started = time.perf_counter()
    command = [sys.executable, "-c", SERVER, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().rpartition(" ")[2].strip()
            # As a browser does: the address hands a cookie out, with which the page is fetched.
            jar = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            for each in (address, urllib.parse.urljoin(address, "/")):
                with jar.open(each) as answer:
                    text = answer.read()
            assert b'id="trace"' in text
            yield address, time.perf_counter() - started
        finally:
            process.kill()


@contextlib.contextmanager
def browser(address: str) -> Iterator[Page]:
    """Open the page in a real browser."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the other scripts do without it
    except ImportError:
        raise SystemExit("bench.review needs Playwright: pip install playwright, and a chromium") from None
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise SystemExit("bench.review needs a chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        page.evaluate(STOPWATCH)
        yield page
        chromium.close()


def pressed(page: Page, press: Callable[[int], None]) -> list[float]:
    """Press keys one after the other, each when the trace before is in view; returns milliseconds."""
    page.evaluate("window.took.length = 0")
    for number in range(KEYS):
        press(number)
        page.wait_for_function("count => window.took.length === count", arg=number + 1)
    found: list[float] = page.evaluate("window.took")
    return found


def seconds(found: list[float]) -> str:
    """Show the median of some seconds and the worst."""
    return f"{statistics.median(found):.2f} s, worst {max(found):.2f} s of {len(found)}"


def milliseconds(found: list[float]) -> str:
    """Show the median of some milliseconds and the worst."""
    return f"{statistics.median(found):.1f} ms, worst {max(found):.1f} ms of {len(found)}"


def figures() -> list[Figure]:
    """Measure starts and keys."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        append(root / ".evalloop/traces/bench.jsonl", synthetic(TRACES))
        starts = []
        for _ in range(STARTS):
            with server(root) as (_, took):
                starts.append(took)
        with server(root) as (address, _), browser(address) as page:
            opened = page.evaluate("performance.now()") / 1000
            keys = {
                "right arrow": pressed(page, lambda _: page.keyboard.press("ArrowRight")),
                "pass, which is saved on the way": pressed(page, lambda _: page.keyboard.press("1")),
                "left arrow": pressed(page, lambda _: page.keyboard.press("ArrowLeft")),
            }
    within, quick = f"≤ {START_AT_MOST:.0f} s", f"≤ {KEY_AT_MOST:.0f} ms"
    return [
        Figure(
            f"start to an answered page, {TRACES:,} traces",
            seconds(starts),
            within,
            max(starts) <= START_AT_MOST,
        ),
        Figure("… and in the browser until the first trace is in view", f"{opened:.2f} s", "", None),
        *(
            Figure(f"key to the next trace: {name}", milliseconds(each), quick, max(each) <= KEY_AT_MOST)
            for name, each in keys.items()
        ),
    ]


if __name__ == "__main__":
    show(figures())
