"""Start commands whose whole process tree is measured from outside and never outlives its launcher.

Every command runs under a warden (`warden.py`), a small process that kills the tree when the launcher ends,
however it ends. Importing this module is cheap.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pytest_evalloop.records import ProcessResult, Status
from pytest_evalloop.store.home import remove_tree

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables by which numeric libraries choose their number of threads; candidates get one unless told."""

_HARMLESS = ("PATH", "LANG", "LC_*", "TZ", "LD_LIBRARY_PATH", "CUDA_*", "NVIDIA_*")

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process tree may use, start-up included; None means without limit.

    CPU seconds and the number of processes are those of the whole tree; memory is the sum of the resident
    memory of its processes, so what they share counts for each. Disk is what `disk_paths` grow by; no single
    file may become larger either.
    """

    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    disk_bytes: int | None = None
    disk_paths: tuple[str, ...] = ()


class Process:
    """A command that runs under a warden; leaving it as a context manager kills its whole tree.

    Several threads of one launcher may use it. `pid` is the warden's. The folder `scratch` goes with the tree.
    """

    def __init__(
        self,
        warden: subprocess.Popen[bytes],
        lifeline: socket.socket,
        report: io.FileIO,
        marker: str,
        scratch: Path | None = None,
    ) -> None:
        self.pid = warden.pid
        self._scratch = scratch
        self._warden = warden
        self._lifeline = lifeline
        self._report = report
        self._marker = marker
        self._begun = time.monotonic()
        self._line = b""
        self._result: ProcessResult | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:  # also if the wait was interrupted: a closed lifeline is an order to kill
            self._lifeline.close()
            self._report.close()
            if self._scratch is not None:
                with contextlib.suppress(OSError, RecursionError):  # what resists is swept away later
                    remove_tree(self._scratch)

    def fileno(self) -> int:
        """Return a descriptor that is readable once the result is there, and stays so."""
        return self._report.fileno()

    def poll(self) -> ProcessResult | None:
        """Return how the tree ended, or None while any of it may be alive."""
        with self._lock:
            if self._result is None and self._ended():
                self._result = self._conclude()
            return self._result

    def wait(
        self, timeout: float | None = None, *, tick: Callable[[], None] | None = None, every: float = 0.5
    ) -> ProcessResult:
        """Wait until the tree is gone, calling `tick` every `every` seconds, or up to half as many later.

        The command goes on if `timeout` seconds pass, which raises TimeoutError, and if `tick` or a signal's
        handler raises.
        """
        now = time.monotonic()
        deadline = None if timeout is None else now + timeout
        due = now + every
        poller = select.poll()
        poller.register(self._report, select.POLLIN)
        while (result := self.poll()) is None:
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise TimeoutError(f"the command has not ended within {timeout:g} seconds")
            if now >= due:
                # Nobody is to know when the next look comes.
                due = now + every * (1 + os.urandom(1)[0] / 510)
                if tick is not None:
                    tick()
            until = due if deadline is None else min(due, deadline)
            poller.poll(max(0.0, until - time.monotonic()) * 1000)
        return result

    def kill(self) -> ProcessResult:
        """Kill the whole tree and return its result, which is an earlier one if it had ended before."""
        if (result := self.poll()) is not None:
            return result
        with contextlib.suppress(OSError):  # a warden that is gone needs no order
            self._lifeline.send(b"k")
            self._warden.send_signal(signal.SIGCONT)  # should somebody have stopped it
        return self.wait()

    def _ended(self) -> bool:
        # A fork of the launcher can hold the other end of the report open, so end-of-file alone is not
        # enough to notice that the warden died. It has to be asked before the read, lest its line be missed.
        gone = self._warden.poll() is not None
        while chunk := self._report.read(65536):
            self._line += chunk
        return gone or chunk is not None or self._line.endswith(b"\n")

    def _conclude(self) -> ProcessResult:
        if not self._line.endswith(b"\n"):
            return self._lost()
        self._warden.wait()
        values = json.loads(self._line)
        return ProcessResult(Status(values.pop("status")), **values)

    def _lost(self) -> ProcessResult:
        """Clean up after a warden that died before its report."""
        returncode = self._warden.wait()
        with contextlib.suppress(OSError, ValueError):
            self._lifeline.setblocking(False)
            os.killpg(int(self._lifeline.recv(64)), signal.SIGKILL)
        _kill_marked(self._marker)
        detail = (
            f"the command's warden (process {self.pid}) ended with status {returncode} before it could report; "
            "what was left of the tree has been killed, and what it used is unknown"
        )
        return ProcessResult(Status.KILLED, None, time.monotonic() - self._begun, 0.0, 0, detail)


def launch(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    limits: Limits = Limits(),
    stdin: bytes | None = None,
    pass_fds: Sequence[int] = (),
    scratch: Path | None = None,
    piped: bool = False,
) -> Process:
    """Start `argv` in `cwd` with `env` in a session of its own, and append what it prints to `log`.

    A relative `argv[0]` is looked up on the PATH of `env`; one with a slash starts from `cwd`. A command that
    cannot be started has a result that says so. Standard input is `stdin`, or empty. Of other descriptors
    only `pass_fds` are inherited. The environment gets one more variable, EVALLOOP_WARDEN. The folder `scratch`
    is removed when the process is left. With `piped` the command writes to a pipe and never holds the log, which
    could be read, measured and cut. Raises OSError if the log cannot be opened or no process can be made,
    ValueError if `argv` is empty.
    """
    if not argv:
        raise ValueError("a command needs at least one word")
    marker = f"{os.getpid()}-{os.urandom(8).hex()}"
    orders = {"cwd": str(cwd), "launcher": os.getpid(), "pass_fds": list(pass_fds), "piped": piped}
    settings = {**asdict(limits), **orders}
    with contextlib.ExitStack() as theirs:
        output = theirs.enter_context(log.open("ab"))
        given = theirs.enter_context(_file_of(stdin)) if stdin is not None else subprocess.DEVNULL
        with contextlib.ExitStack() as ours:
            lifeline, hers = socket.socketpair()
            ours.enter_context(lifeline)
            theirs.enter_context(hers)
            read, write = os.pipe()
            report = ours.enter_context(open(read, "rb", buffering=0))  # noqa: PTH123 - it is a descriptor
            theirs.callback(os.close, write)
            os.set_blocking(read, False)
            script = str(Path(__file__).with_name("warden.py"))
            warden = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-B",
                    script,
                    str(hers.fileno()),
                    str(write),
                    json.dumps(settings),
                    *argv,
                ],
                cwd="/",  # a warden keeps no worktree busy
                env={**env, "EVALLOOP_WARDEN": marker},
                stdin=given,
                stdout=output,
                stderr=output,
                pass_fds=(hers.fileno(), write, *pass_fds),
                start_new_session=True,  # a terminal's Ctrl-C is for the launcher alone
            )
            ours.pop_all()
    return Process(warden, lifeline, report, marker, scratch)


def clean_environment(base: Mapping[str, str] | None = None, /, **extra: str) -> dict[str, str]:
    """Return the environment for children: `base` (this process's) without what steers pytest, git or Python.

    `python` is this interpreter in it. No bytecode is written unless `extra`, which wins, has a
    PYTHONPYCACHEPREFIX.
    """
    dropped = {"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"}
    found = os.environ if base is None else base
    kept = {
        name: value
        for name, value in found.items()
        if name not in dropped and not name.startswith(("PYTEST_", "GIT_", "EVALLOOP_"))
    }
    here = str(Path(sys.executable).parent)
    path = [part for part in kept.get("PATH", os.defpath).split(os.pathsep) if part != here]
    kept["PATH"] = os.pathsep.join([here, *path])
    if "PYTHONPYCACHEPREFIX" not in extra:
        kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return kept | extra


def candidate_environment(globs: Sequence[str], temporary: Path, /, **extra: str) -> dict[str, str]:
    """Return the environment for code that nobody has read: no key and no name of a file gets into it.

    Of this process's variables it has those that every program needs and those that match one of `globs`.
    Home and temporary files are in `temporary`.
    """
    wanted = (*_HARMLESS, *globs)
    found = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, g) for g in wanted)}
    threads = {name: os.environ.get(name, "1") for name in THREADS}
    places = {"HOME": str(temporary), "TMPDIR": str(temporary)}
    log = {"PYTHONUNBUFFERED": "1"}  # what is killed has said its last words
    return clean_environment(found, **(threads | places | log | extra))


def _file_of(content: bytes) -> io.BufferedRandom:
    """Return an unnamed file at whose start `content` stands; no reader can make its writer hang."""
    if sys.platform == "linux":
        file = open(os.memfd_create("stdin"), "w+b")  # noqa: PTH123, SIM115 - a descriptor, closed by the caller
    else:
        import tempfile

        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.write(content)
    file.seek(0)
    return file


def _kill_marked(marker: str) -> None:
    """Kill every process that has `marker` in its environment, until there is none."""
    import psutil

    found = True
    while found:
        found = False
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("EVALLOOP_WARDEN") == marker:
                    process.kill()
                    found = True
