"""The review page's server: one process on loopback that holds the labels while it runs."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pytest_evalloop.review.arrivals import Arrivals
from pytest_evalloop.review.counts import count
from pytest_evalloop.review.desk import Desk
from pytest_evalloop.review.entry import KEY, TOKEN, Entry, lasting_secret
from pytest_evalloop.review.labels import Label, Labels
from pytest_evalloop.review.traces import Library
from pytest_evalloop.store.home import Home, StoreError

LOOPBACK: Final = "127.0.0.1"
LABELS: Final = "evals/labels"
_FIRST_PORT, _PORTS = 20_000, 10_000

Sample = Callable[[Library, Mapping[str, Label]], Mapping[str, str]]
"""What draws traces for reading: from all traces and labels to ids in order, each with the reason in words."""


def main(
    root: Path,
    port: int | None,
    open_browser: bool,  # noqa: FBT001 - the command line's flag
    *,
    labels: Path | None = None,
    by: str | None = None,
    sample: Sample | None = None,
) -> int:
    """Show the traces of a project for labelling until it is interrupted; return the exit status.

    Without a port it is one that belongs to the project, so that a page that is open finds a new server again.
    With a sample, only its traces are shown, in its order and each with the reason why it was drawn.
    """
    folder = root / LABELS if labels is None else labels
    try:
        with listen(port_of(root) if port is None else port, anywhere=port is None) as listener:
            home = Home.open(root)
            arrivals = Arrivals(home.traces, folder)
            library = Library.load(home.traces, folder)
            with Labels.open(folder, write=True) as opened:
                why = {} if sample is None else sample(library, opened.all())
                if sample is not None:
                    library = Library({each: library.traces[each] for each in why}, library.problems)
                entry = Entry(lasting_secret(home.path / KEY), listener.getsockname()[1])
                address = f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
                say(announcement(f"{address}?{TOKEN}={entry.token}", library, opened, folder))
                if open_browser:
                    show(f"{address}?{TOKEN}={entry.once()}")
                who = by or labeller(root)
                # A sample is what was drawn; nothing is added to it.
                run(Desk(library, opened, folder, who, why, None if sample else arrivals), entry, listener)
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def run(desk: Desk, entry: Entry, listener: socket.socket) -> None:
    """Answer requests on a socket that listens already, until the process is interrupted."""
    import uvicorn

    from pytest_evalloop.review.api import application

    app = application(desk, listener.getsockname()[1], secrets.token_urlsafe(32), entry)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def listen(port: int, *, anywhere: bool = False) -> socket.socket:
    """Return a socket that listens on loopback alone; with `anywhere`, on any port if that one is taken.

    Raises StoreError if the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A server that was killed must find its port again at once.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError:
            if not anywhere:
                raise
            listener.bind((LOOPBACK, 0))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise StoreError(
            f"Port {port} of {LOOPBACK} cannot be used: {error}. Is a review page open already? Choose another port."
        ) from error
    return listener


def port_of(root: Path) -> int:
    """Return the port that belongs to a project: the same one at every start."""
    digest = hashlib.sha256(str(root.resolve()).encode()).digest()
    return _FIRST_PORT + int.from_bytes(digest[:4], "big") % _PORTS


def labeller(root: Path) -> str:
    """Return who labels: the name that commits are made under, or the user's."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "config", "user.name"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=5)
        if done.stdout.strip():
            return done.stdout.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return "somebody"


def announcement(address: str, library: Library, labels: Labels, folder: Path) -> str:
    """Say where the page is (the address is the key to it), what is on it, and what could not be read."""
    known = labels.all()
    labelled = sum(identity in known for identity in library.traces)
    number = count(len(library.traces), "trace")
    lines = [
        f"Review page: {address}",
        f"{number}, {labelled:,} of them labelled; labels are kept in {folder}. Ctrl-C ends it.",
    ]
    if not library.traces:
        lines.append("There is nothing to read yet: run the evals, or import traces.")
    return "\n".join([*lines, *library.problems[:20]])


def say(text: str) -> None:
    """Write to the terminal at once, also through a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(address: str) -> None:
    """Open the page in the user's browser, which may take its time."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
