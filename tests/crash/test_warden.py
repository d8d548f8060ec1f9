"""No process outlives its launcher, whoever is killed and however it hides.

Every process of a tree inherits the write end of a pipe and writes a byte once it stands where the test
wants it. The read end is at its end only when nobody of the tree is left.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalloop.candidate.process import Limits, clean_environment, launch
from pytest_evalloop.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_evalloop.candidate.process import Process

    Start = Callable[..., Process]
    Launcher = Callable[[str], subprocess.Popen[bytes]]

PATIENCE = 20.0
TREE = """
import os, time
def ready(): os.write({alive}, b".")
if os.fork() == 0:          # a child like any other
    ready(); time.sleep(60); os._exit(0)
if os.fork() == 0:          # one in a session of its own
    os.setsid(); ready(); time.sleep(60); os._exit(0)
daemon = os.fork()
if daemon == 0:             # one by the book: twice forked, its parent gone
    os.setsid()
    if os.fork(): os._exit(0)
    while os.getppid() == os.getpgid(0): time.sleep(0.001)
    ready(); time.sleep(60); os._exit(0)
os.waitpid(daemon, 0)
"""
LAUNCHER = """
import os, sys
from pathlib import Path
from pytest_evalloop.candidate.process import clean_environment, launch
def start():
    return launch([sys.executable, "-c", {code!r}], cwd=Path("."), env=clean_environment(),
                  log=Path("inner.log"), pass_fds=[{alive}])
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hands orphans to a subreaper")


class Pipe:
    """A pipe whose write end is given to a tree."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def hear(self, count: int) -> None:
        """Wait until `count` processes are ready."""
        deadline = time.monotonic() + PATIENCE
        while count > 0:
            assert select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))[0], "not ready"
            received = len(os.read(self.read, count))
            assert received, "the tree ended early"
            count -= received

    def let_go(self) -> None:
        os.close(self.write)
        self.write = -1

    def is_abandoned(self) -> bool:
        """Wait until no process holds the write end any more; say whether that came to be."""
        deadline = time.monotonic() + PATIENCE
        while select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not os.read(self.read, 4096):
                return True
        return False


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.read, pipe.write):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@pytest.fixture
def start(tmp_path: Path, pipe: Pipe) -> Start:
    """Launch Python code as part of the tree that the pipe watches."""

    def start(code: str, **options: Any) -> Process:
        argv = [sys.executable, "-c", textwrap.dedent(code)]
        log, env = tmp_path / "log", clean_environment()
        process = launch(argv, cwd=tmp_path, env=env, log=log, pass_fds=[pipe.write], **options)
        pipe.let_go()
        return process

    return start


def tree(pipe: Pipe, ending: str) -> str:
    """A command with four processes, of which the first does `ending`."""
    return TREE.format(alive=pipe.write) + ending


def test_nothing_survives_the_first_process(start: Start, pipe: Pipe) -> None:
    # It leaves once all others are in place: they tell it through a second pipe.
    code = "import os\nread, write = os.pipe()" + tree(
        pipe, "left = 3\nwhile left: left -= len(os.read(read, 3))"
    )
    with start(code.replace(f"os.write({pipe.write}", "os.write(write")) as process:
        assert process.wait(PATIENCE).status is Status.COMPLETED
        assert pipe.is_abandoned()


def test_killing_reaches_every_daemon(start: Start, pipe: Pipe) -> None:
    with start(tree(pipe, "ready(); time.sleep(60)")) as process:
        pipe.hear(4)
        assert process.kill().status is Status.KILLED
        assert pipe.is_abandoned()


def test_a_limit_reaches_every_daemon(start: Start, pipe: Pipe) -> None:
    with start(tree(pipe, "ready(); time.sleep(60)"), limits=Limits(wall_seconds=0.5)) as process:
        assert process.wait(PATIENCE).status is Status.TIMED_OUT
        assert pipe.is_abandoned()


@pytest.mark.parametrize("evade", ["pass", "os.setsid()"], ids=["same group", "new sessions"])
def test_a_tree_that_forks_without_end_is_killed(start: Start, pipe: Pipe, evade: str) -> None:
    # Each process lives for less than a listing of all processes takes.
    code = f"""
        import os, time
        if os.fork(): time.sleep(60)
        os.write({pipe.write}, b".")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if os.fork(): os._exit(0)
            {evade}
    """
    with start(code) as process:
        pipe.hear(1)
        assert process.kill().status is Status.KILLED
        assert pipe.is_abandoned()


@pytest.mark.parametrize("growth", ["os.fork() or time.sleep(60)", "os.fork()"], ids=["linear", "doubling"])
def test_a_tree_that_only_grows_is_killed(start: Start, pipe: Pipe, growth: str) -> None:
    generations = 9 if growth == "os.fork()" else 500  # an end, for the sake of the machine
    code = f"import os, time\nfor _ in range({generations}): {growth}\ntime.sleep(60)"
    with start(code, limits=Limits(processes=40)) as process:
        assert process.wait(PATIENCE).detail.endswith("allowed 40")
        assert pipe.is_abandoned()


@pytest.fixture
def launcher(tmp_path: Path, pipe: Pipe) -> Iterator[Launcher]:
    """Start a launcher that is a process of its own; its command is the tree."""
    with contextlib.ExitStack() as stack:

        def launcher(ending: str) -> subprocess.Popen[bytes]:
            code = LAUNCHER.format(code=tree(pipe, "ready(); time.sleep(60)"), alive=pipe.write)
            process = subprocess.Popen(
                [sys.executable, "-c", code + textwrap.dedent(ending)],
                cwd=tmp_path,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                pass_fds=[pipe.write],
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            pipe.let_go()
            return process

        yield launcher


def test_nothing_survives_a_killed_launcher(launcher: Launcher, pipe: Pipe) -> None:
    process = launcher("start().wait()")
    pipe.hear(4)
    process.kill()
    assert pipe.is_abandoned()


def test_nothing_survives_a_killed_launcher_whose_fork_lives_on(launcher: Launcher, pipe: Pipe) -> None:
    # The fork holds the launcher's end of the lifeline until the test closes its standard input.
    process = launcher(f"""
        process = start()
        if os.fork() == 0:
            os.close({pipe.write})
            os.read(0, 1)
            os._exit(0)
        process.wait()
    """)
    pipe.hear(4)
    process.kill()
    assert pipe.is_abandoned()


def test_nothing_survives_a_launcher_that_forgets(launcher: Launcher, pipe: Pipe) -> None:
    process = launcher("process = start(); os.read(0, 1); os._exit(0)")
    pipe.hear(4)
    assert process.stdin is not None
    process.stdin.close()
    assert pipe.is_abandoned()


def test_a_launch_outlives_the_thread_that_made_it(start: Start, pipe: Pipe) -> None:
    made = []
    thread = threading.Thread(
        target=lambda: made.append(start(f"import os; os.write({pipe.write}, b'.'); os.read(0, 1)"))
    )
    thread.start()
    thread.join(PATIENCE)
    with made[0] as process:
        assert process.wait(PATIENCE).status is Status.COMPLETED


def test_a_launcher_inside_of_a_killed_tree_leaves_nothing(start: Start, pipe: Pipe) -> None:
    code = LAUNCHER.format(code=tree(pipe, "ready(); time.sleep(60)"), alive=pipe.write) + "start().wait()"
    with start(code) as process:
        pipe.hear(4)
        assert process.kill().status is Status.KILLED
        assert pipe.is_abandoned()


def test_nothing_survives_a_killed_warden(start: Start, pipe: Pipe) -> None:
    with start(tree(pipe, "ready(); time.sleep(60)")) as process:
        pipe.hear(4)
        os.kill(process.pid, signal.SIGKILL)
        result = process.wait(PATIENCE)
        assert (result.status, result.returncode) == (Status.KILLED, None)
        assert f"warden (process {process.pid}) ended with status -9" in result.detail
        assert pipe.is_abandoned()


def test_a_killed_warden_is_noticed_while_a_fork_holds_its_report(start: Start, pipe: Pipe) -> None:
    # Between a launch and its closing of the warden's ends another thread can fork; such a fork keeps them.
    with start(tree(pipe, "ready(); time.sleep(60)")) as process:
        pipe.hear(4)
        process._warden.send_signal(signal.SIGSTOP)
        held = os.open(f"/proc/{process.pid}/fd/{report_descriptor(process.pid)}", os.O_WRONLY)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE).status is Status.KILLED
        os.close(held)
        assert pipe.is_abandoned()


def report_descriptor(pid: int) -> int:
    """Return the warden's descriptor of the report, as its command line has it."""
    return int(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[5])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_warden_that_is_told_to_stop_takes_its_tree_along(start: Start, pipe: Pipe, number: int) -> None:
    with start(tree(pipe, "ready(); time.sleep(60)")) as process:
        pipe.hear(4)
        os.kill(process.pid, number)
        result = process.wait(PATIENCE)
        assert (result.status, result.detail) == (Status.KILLED, "its warden was told to stop")
        assert pipe.is_abandoned()


def test_a_stopped_warden_still_kills(start: Start, pipe: Pipe) -> None:
    with start(tree(pipe, "ready(); time.sleep(60)")) as process:
        pipe.hear(4)
        os.kill(process.pid, signal.SIGSTOP)
        assert process.kill().status is Status.KILLED
        assert pipe.is_abandoned()
