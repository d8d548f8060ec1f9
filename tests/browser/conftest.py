"""A real server process and a real browser for the review page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Label, Labels
from pytest_evalloop.review.traces import StoredTrace, append

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

SERVER = (
    "import sys; from pathlib import Path; from pytest_evalloop.review.server import main; "
    "sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), False, by='Ada'))"
)
PATIENCE = 10_000  # milliseconds until an expectation fails; a shared machine can be slow


@dataclass
class Desk:
    """A project with traces, and the server that shows them."""

    root: Path
    port: int = 0
    token: str = ""
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """What the command printed: whoever comes with it is let in."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """What a browser that was let in sends along."""
        secret = (self.root / ".evalloop/review-key").read_text().strip()
        return f"evalloop-review-{self.port}={secret}"

    @property
    def labels_folder(self) -> Path:
        return self.root / "evals/labels"

    def add(self, *traces: Trace, first: str = "t-000") -> None:
        """Record traces under ids that count on."""
        stem, number = first[:-3], int(first[-3:])
        stored = [
            StoredTrace(f"{stem}{number + at:03d}", "import:log.csv", 1.8e9 + number + at, trace)
            for at, trace in enumerate(traces)
        ]
        append(self.root / ".evalloop/traces/import.jsonl", stored)

    def start(self) -> None:
        """Start the server and wait until it says where it is; the second time on the same port."""
        command = [sys.executable, "-c", SERVER, str(self.root), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.fullmatch(r"Review page: http://127\.0\.0\.1:(\d+)/\?token=([\w-]{30,})\n", said)
        assert found is not None, said + self.process.stdout.read()
        self.port, self.token = int(found[1]), found[2]

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def labels(self) -> dict[str, Label]:
        """Read the labels from the disk, as the next process would."""
        with Labels.open(self.labels_folder) as labels:
            return dict(labels.all())


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A project without traces; its server is started by the test."""
    made = Desk(tmp_path)
    yield made
    made.kill()


def plain(count: int) -> list[Trace]:
    """Return traces that a person could tell apart."""
    return [
        Trace(f"Question {number}", f"Answer {number}", metadata={"model": "ab"[number % 2], "seed": number})
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's chromium, driven by Playwright."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        pytest.skip("Playwright is not installed: pip install playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("There is no chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers do not have.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Tabs:
    """One person's browser: all its tabs share storage, and everything that they ask for is on record."""

    context: BrowserContext
    desk: Desk
    asked: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def open(self, *, ready: bool = True) -> Page:
        """Open the page in a new tab."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("dialog", self.alarm)
        page.on("pageerror", lambda error: self.alarms.append(str(error)))
        page.goto(self.desk.address)
        if ready:
            page.wait_for_selector("html[data-ready]")
        return page

    def alarm(self, dialog: Dialog) -> None:
        """Close a dialog that nothing should have opened, and remember it."""
        self.alarms.append(dialog.message)
        dialog.dismiss()

    def quiet(self) -> None:
        """Nothing outside was asked for, and nothing ran that should not."""
        hosts = {urlsplit(address).netloc for address in self.asked}
        assert hosts <= {f"127.0.0.1:{self.desk.port}"}
        assert self.alarms == []


@pytest.fixture
def tabs(chromium: Browser, desk: Desk) -> Iterator[Tabs]:
    """A browser of its own for each test."""
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        made = Tabs(context, desk)
        context.on("request", lambda request: made.asked.append(request.url))
        yield made
        made.quiet()


@pytest.fixture
def opened(desk: Desk, tabs: Tabs) -> Callable[[Sequence[Trace]], Page]:
    """Return a function that records traces, starts the server, and opens the page."""

    def open_(traces: Sequence[Trace]) -> Page:
        desk.add(*traces)
        desk.start()
        return tabs.open()

    return open_
