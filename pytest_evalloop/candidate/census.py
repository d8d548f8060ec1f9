"""What can be seen of a tree of processes from outside: its members, and the disk that it fills.

The warden is a script and loads this file by its place, so the imports are few: they stand between a command
and its start. `psutil` is needed only where there is no `/proc`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

TYPE_CHECKING = False  # importing typing would cost every command its milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEEPEST = 100
"""How far folders may be nested; what removes and copies them calls itself once a level."""


class Member:
    """One process of a tree: its place in it, and what it used so far in seconds, bytes and page faults.

    `cpu` and `faults` are what the process itself used, those with `reaped` what the children it waited for had
    used. Only Linux tells what was reaped, and faults. `busy` of its threads may have been at work when it was
    looked at.
    """

    __slots__ = (
        "busy",
        "cpu",
        "faults",
        "group",
        "parent",
        "pid",
        "reaped",
        "reaped_faults",
        "rss",
        "started",
    )

    def __init__(self, pid: int, parent: int, group: int, started: float) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group
        self.started = started
        self.cpu = self.reaped = 0.0
        self.faults = self.reaped_faults = self.rss = 0
        self.busy = 1


if sys.platform == "linux":
    SECOND, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

    def member(pid: int) -> Member | None:
        """Look at one process; None if there is none."""
        try:
            descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        except OSError:
            return None  # it ended meanwhile
        try:
            # The name in parentheses may itself hold spaces and parentheses. See proc_pid_stat(5).
            fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
        except OSError:
            return None
        finally:
            os.close(descriptor)
        found = Member(pid, int(fields[1]), int(fields[2]), int(fields[19]) / SECOND)
        found.faults, found.reaped_faults = int(fields[7]), int(fields[8])
        found.cpu = (int(fields[11]) + int(fields[12])) / SECOND
        found.reaped = (int(fields[13]) + int(fields[14])) / SECOND
        found.busy = int(fields[17]) - (fields[0] != b"R")  # the state is that of its first thread
        found.rss = int(fields[21]) * PAGE
        return found

    def census() -> Iterator[Member]:
        """Yield every process that can be seen, in the order of pids: parents mostly before children."""
        for name in os.listdir("/proc"):  # noqa: PTH208 - scandir is lazy, and a listing has to be of one moment
            if name.isdecimal() and (found := member(int(name))) is not None:
                yield found

    def waited_for(pid: int) -> tuple[float, int] | None:
        """Return CPU seconds and page faults of the children that a process waited for; None if it is gone."""
        found = member(pid)
        return None if found is None else (found.reaped, found.reaped_faults)

else:

    def census() -> Iterator[Member]:
        """Yield every process that can be seen; memory and time only of those that may be looked into."""
        import psutil

        for process in psutil.process_iter():
            try:
                with process.oneshot():
                    if process.status() == psutil.STATUS_ZOMBIE:
                        continue
                    group, started = os.getpgid(process.pid), process.create_time()
                    member = Member(process.pid, process.ppid(), group, started)
                    with contextlib.suppress(psutil.AccessDenied):
                        times = process.cpu_times()
                        member.cpu, member.rss = times.user + times.system, process.memory_info().rss
            except (psutil.Error, OSError):
                continue
            yield member

    def waited_for(pid: int) -> tuple[float, int] | None:
        """Return CPU seconds of the children that a process waited for, and no faults; None if it is gone."""
        import psutil

        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            return None
        return times.children_user + times.children_system, 0


def descendants(root: int, group: int) -> list[Member]:
    """List the processes below `root`; elsewhere than on Linux also orphans that stayed in `group`.

    On Linux nobody is in it who had ended when an ancestor was looked at, so what a member used is not at the same
    time in an ancestor's account.
    """
    children: dict[int, list[Member]] = {}
    found: list[Member] = []
    for member in census():
        if sys.platform != "linux" and member.group == group:
            found.append(member)
        else:
            children.setdefault(member.parent, []).append(member)
    parents = [(root, root), *((member.pid, member.pid) for member in found)]
    for parent, latest in parents:  # grows while it is walked
        for below in children.pop(parent, ()):
            # Pids begin anew at their end, and then a child may have been looked at before its parent.
            if below.pid < latest and sys.platform == "linux" and not os.path.exists(f"/proc/{below.pid}"):  # noqa: PTH110 - pathlib takes milliseconds
                continue
            found.append(below)
            parents.append((below.pid, max(latest, below.pid)))
    return found


def disk_use(paths: Iterable[str], enough: float) -> tuple[int, int]:
    """Return how many bytes of disk lie below `paths`, and how deep; stops at `enough` bytes or beyond DEEPEST.

    No link is followed. An empty file counts for a block, since there is an end to their number as well.
    """
    total = deepest = 0
    waiting = [(path, 0) for path in paths]
    while waiting and total <= enough and deepest <= DEEPEST:
        path, depth = waiting.pop()
        deepest = max(deepest, depth)
        try:
            status = os.lstat(path)
            total += max(4096, status.st_blocks * 512)
            if not stat.S_ISDIR(status.st_mode):
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if total > enough:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
                    else:
                        total += max(4096, entry.stat(follow_symlinks=False).st_blocks * 512)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # long names nest beyond what any path can say
                deepest = DEEPEST + 1
    return total, deepest
