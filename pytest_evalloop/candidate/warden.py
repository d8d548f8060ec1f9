"""The process between the launcher and a command: it measures the command's tree and ends it.

The launcher runs this file as a script, `python -I warden.py LIFELINE REPORT SETTINGS COMMAND...`. LIFELINE
is a descriptor whose other end only the launcher holds: end-of-file or any byte on it means that the tree
must go. REPORT takes one JSON line with the fields of `ProcessResult`. What stands between a command and
its start is this file's imports, so they are few.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing would cost every command its milliseconds
if TYPE_CHECKING:
    from typing import Any

    from pytest_evalloop.candidate.account import Account
    from pytest_evalloop.candidate.census import DEEPEST, descendants, disk_use
else:  # the package around it would be far more than this program needs
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120 - pathlib takes milliseconds
    from account import Account
    from census import DEEPEST, descendants, disk_use

    del sys.path[0]


def amounts(used: int, what: str, allowed: int) -> str:
    """Say two amounts of memory or disk in one unit."""
    unit, size = ("GB", 1e9) if allowed >= 1e9 else ("MB", 1e6)
    return f"{used / size:.1f} {unit} of {what}, allowed {allowed / size:.1f} {unit}"


def exit_words(returncode: int) -> str:
    """Say how a process ended, by a signal if `returncode` is negative.

    A shell, and bubblewrap, reports the signal that ended a child as a status of 128 and more.
    """
    if returncode >= 0:
        words = f"exited with status {returncode}"
        with contextlib.suppress(ValueError):
            words += f", as after {signal.Signals(returncode - 128).name}"
        return words
    try:
        return f"died of {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal has no name
        return f"died of signal {-returncode}"


def waited_for() -> tuple[float, int]:
    """Return the CPU seconds and the page faults of all children that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime, usage.ru_minflt


class Warden:
    """Starts one command, watches its tree, and leaves nothing of it behind."""

    def __init__(self, settings: dict[str, Any], lifeline: int) -> None:
        self.settings = settings
        self.lifeline = lifeline
        self.first = 0
        self.nice = os.getpriority(os.PRIO_PROCESS, 0)
        self.returncode: int | None = None
        self.childless = False
        self.peak = 0
        self.account = Account(os.cpu_count() or 1, time.monotonic())
        self.printed = -1  # what the command prints, where it may not hold its log
        self.disk_before = disk_use(settings["disk_paths"], math.inf)[0]
        self.disk_due = 0.0
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.waker, self.woken = os.pipe()
        os.set_blocking(self.waker, False)
        os.set_blocking(self.woken, False)
        self.poller = select.poll()
        self.poller.register(self.waker, select.POLLIN)
        self.poller.register(lifeline, select.POLLIN)

    def prepare(self) -> None:
        """Become the parent of every orphan below, and hear of signals and of the launcher's end."""
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(
            OSError
        ):  # where it is allowed: a thousand processes must not starve this one
            os.setpriority(os.PRIO_PROCESS, 0, self.nice - 10)
        if sys.platform == "linux":
            self.libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
            # A fork of the launcher that never executes anything holds the lifeline open beyond the
            # launcher's end. PR_SET_PDEATHSIG is no remedy: it fires when the thread ends that launched.
            with contextlib.suppress(OSError):
                self.poller.register(os.pidfd_open(self.settings["launcher"]), select.POLLIN)

    def start(self, command: list[str]) -> str:
        """Start the command in a session of its own; return why that failed, or an empty string."""
        warden = os.getpid()
        errors, failed = os.pipe()
        printing = -1
        if self.settings["piped"]:
            self.printed, printing = os.pipe()
            os.set_blocking(self.printed, False)
            self.poller.register(self.printed, select.POLLIN)
        self.first = os.fork()
        if self.first == 0:
            what = repr(command[0])
            try:
                os.setsid()
                if printing >= 0:
                    os.dup2(printing, 1)
                    os.dup2(printing, 2)
                self.limit()
                os.setpriority(os.PRIO_PROCESS, 0, self.nice)
                if sys.platform == "linux":
                    self.libc.prctl(
                        1, signal.SIGKILL, 0, 0, 0
                    )  # PR_SET_PDEATHSIG, should the warden be killed
                    if os.getppid() != warden:
                        os._exit(1)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that is inherited
                    signal.signal(number, signal.SIG_DFL)
                what = "in directory " + repr(self.settings["cwd"])
                os.chdir(self.settings["cwd"])
                what = repr(command[0])
                os.execvp(command[0], command)  # noqa: S606 - the point of this program
            except OSError as error:
                os.write(failed, f"could not start {what}: {error.strerror}".encode())
            finally:
                os._exit(127)
        os.close(failed)
        if printing >= 0:
            os.close(printing)
        # The copies here would hide from the launcher that the command has closed its own.
        for descriptor in self.settings["pass_fds"]:
            os.close(descriptor)
        with open(errors, "rb") as stream:  # noqa: PTH123 - it is a descriptor
            return stream.read().decode()

    def limit(self) -> None:
        """Have the kernel hold what it can hold: no file beyond the disk that is allowed, and no core."""
        wanted = [(resource.RLIMIT_CORE, 0)]
        if (disk := self.settings["disk_bytes"]) is not None:
            wanted.append((resource.RLIMIT_FSIZE, disk))
        for kind, value in wanted:
            hard = resource.getrlimit(kind)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (least, least))

    def reap(self) -> None:
        """Wait for everybody who has ended; note the first process's status."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.first:
                    self.returncode = os.waitstatus_to_exitcode(status)
        self.childless = True

    def breach(self, elapsed: float) -> tuple[str, str] | None:
        """Take a sample; return status and detail if it is over a limit."""
        living = descendants(os.getpid(), self.first)
        used = self.account.sample(living, time.monotonic(), *waited_for())
        memory = sum(member.rss for member in living)
        self.peak = max(self.peak, memory)
        limits = self.settings
        if (cpu := limits["cpu_seconds"]) is not None and used > cpu:
            return "timed_out", f"used {used:.1f} CPU seconds, allowed {cpu:.1f}"
        if (wall := limits["wall_seconds"]) is not None and elapsed >= wall:
            return "timed_out", f"ran for {elapsed:.1f} seconds, allowed {wall:.1f}"
        if (allowed := limits["memory_bytes"]) is not None and memory > allowed:
            return "killed", "used " + amounts(memory, "memory", allowed)
        if (most := limits["processes"]) is not None and len(living) > most:
            return "killed", f"ran {len(living)} processes at once, allowed {most}"
        return self.disk_breach(elapsed) if elapsed >= self.disk_due else None

    def disk_breach(self, elapsed: float) -> tuple[str, str] | None:
        """Return status and detail if the tree wrote more than it may; put off the next look."""
        allowed, now = self.settings["disk_bytes"], time.monotonic()
        if allowed is None:
            return None
        total, deepest = disk_use(self.settings["disk_paths"], self.disk_before + 10 * allowed)
        # Many files take long to count: that may use 2 % of a core.
        self.disk_due = elapsed + min(max(0.5, 50 * (time.monotonic() - now)), 10.0)
        if (used := total - self.disk_before) > allowed:
            return "killed", "wrote " + amounts(used, "disk", allowed)
        return ("killed", f"nested its folders more than {DEEPEST} deep") if deepest > DEEPEST else None

    def watch(self, begun: float) -> tuple[str, str]:
        """Wait until the first process ends, a limit is passed or the launcher wants an end."""
        wall = self.settings["wall_seconds"]
        due = begun + 0.1 * os.urandom(1)[0] / 255
        while True:
            self.reap()
            if self.returncode is not None:
                return self.ending(self.returncode)
            now = time.monotonic()
            if now >= due or (wall is not None and now - begun >= wall):
                before = time.process_time()
                if found := self.breach(now - begun):
                    return found
                # On a machine with thousands of processes a sample takes long: it may use 2 % of a core. Who
                # could tell when it comes would have no children at that moment.
                cost = time.process_time() - before
                interval = min(max(0.1, 50 * cost), 0.5) * (0.5 + os.urandom(1)[0] / 255)
                due = time.monotonic() + interval
            until = due if wall is None else min(due, begun + wall)
            if ended := self.listen(until - time.monotonic()):
                return ended

    def ending(self, returncode: int) -> tuple[str, str]:
        """Return status and detail of a first process that ended by itself."""
        words, disk = exit_words(returncode), self.settings["disk_bytes"]
        if disk is not None and words.endswith(" SIGXFSZ"):
            return "killed", f"{words}: no file may be larger than {disk / 1e9:g} GB (evalloop_disk)"
        return ("crashed", words) if returncode else ("completed", "")

    def copy_output(self) -> bool:
        """Append to the log one piece of what the command printed; return whether there was any."""
        try:
            chunk = os.read(self.printed, 65536)
        except BlockingIOError:
            return False
        with contextlib.suppress(OSError):  # a full disk is no reason to hang
            os.write(1, chunk)
        if not chunk:  # nobody can write any more
            self.poller.unregister(self.printed)
            os.close(self.printed)
            self.printed = -1
        return bool(chunk)

    def listen(self, seconds: float) -> tuple[str, str] | None:
        """Sleep until something happens; return status and detail if somebody wants the tree gone."""
        for descriptor, _ in self.poller.poll(max(0.0, seconds) * 1000):
            if descriptor == self.printed:
                self.copy_output()
                continue
            if descriptor != self.waker:
                return "killed", "killed by its launcher"
            if set(os.read(self.waker, 4096)) - {signal.SIGCHLD}:
                return "killed", "its warden was told to stop"
        return None

    def kill(self, patience: float) -> int:
        """Kill every descendant and what they start meanwhile; return how many outlast `patience` seconds.

        Patience may be infinite. Only a process of another user or one stuck in the kernel resists.
        """
        own, deadline, pause = os.getpgid(0), time.monotonic() + patience, 0.001
        if self.first and self.returncode is None:
            # Not waited for yet, so its id is its own. A group dies as one, also while its members fork, and
            # a tree that grows fast is mostly one group: it must not grow on while it is listed.
            with contextlib.suppress(OSError):
                os.killpg(self.first, signal.SIGKILL)
        while True:
            self.reap()
            # Orphans come to the nearest subreaper, so on Linux whoever has no child has no descendant.
            if self.childless and sys.platform == "linux":
                return 0
            living = descendants(os.getpid(), self.first)
            if (self.childless and not living) or time.monotonic() >= deadline:
                return len(living)
            # The newest first: whoever forks and ends faster than it can be listed is caught there or never.
            groups = {own}
            for member in sorted(living, key=lambda member: member.started, reverse=True):
                if member.group not in groups:
                    groups.add(member.group)
                    with contextlib.suppress(OSError):
                        os.killpg(member.group, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.kill(member.pid, signal.SIGKILL)
            if select.select([self.waker], [], [], pause)[0]:
                os.read(self.waker, 4096)
            pause = min(2 * pause, 0.1)


def main() -> None:
    """Run one command as `sys.argv` says and report how it ended."""
    lifeline, report = int(sys.argv[1]), int(sys.argv[2])
    settings, command = json.loads(sys.argv[3]), sys.argv[4:]
    os.set_inheritable(lifeline, False)
    os.set_inheritable(report, False)
    warden = Warden(settings, lifeline)
    warden.prepare()
    begun = time.monotonic()
    try:
        status, detail = "crashed", warden.start(command)
        started = not detail
        if started:
            # For the launcher, should it outlive the warden: a group that it can still find.
            with contextlib.suppress(OSError):
                os.write(lifeline, str(warden.first).encode())
            status, detail = warden.watch(begun)
    finally:
        left = warden.kill(30.0)
    while warden.printed >= 0 and warden.copy_output():
        pass
    if left:
        detail = "; ".join(filter(None, [detail, f"{left} of its processes resist being killed"]))
    now, allowed = time.monotonic(), settings["cpu_seconds"]
    elapsed, used = now - begun, warden.account.close(now, *waited_for())
    if status == "completed" and allowed is not None and used > allowed:
        # Whether a sample came in time must not decide about a verdict.
        status, detail = "timed_out", f"used {used:.1f} CPU seconds, allowed {allowed:.1f}"
    if status == "completed" and (found := warden.disk_breach(elapsed)):
        status, detail = found
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (
        1024 if sys.platform == "linux" else 1
    )
    result = {
        "status": status,
        "returncode": warden.returncode if started else None,
        "wall_seconds": elapsed,
        "cpu_seconds": used,
        "peak_bytes": max(warden.peak, largest),  # what lived between two samples is in the second
        "detail": detail,
    }
    with contextlib.suppress(OSError):
        os.write(report, json.dumps(result).encode() + b"\n")
    os.close(report)
    warden.kill(float("inf"))
    os._exit(0)  # the launcher waits for it, and there is nothing to tidy up


if __name__ == "__main__":
    main()
