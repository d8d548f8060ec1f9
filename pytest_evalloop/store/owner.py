"""Who a half-done thing on disk belongs to, so that a later process knows whether it was abandoned."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """One process: its id, and its start time in clock ticks since boot, since ids are used again."""

    pid: int
    start: int

    @classmethod
    def current(cls) -> Owner:
        """Return this process."""
        pid = os.getpid()
        return cls(pid, _start(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """Return the owner that `str()` wrote at the start of `text`, None if there is none."""
        found = re.match(r"(\d+)-(\d+)(?!\d)", text)
        return cls(int(found[1]), int(found[2])) if found else None

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        if Path("/proc/self/stat").exists():
            return _start(self.pid) == self.start
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        """Render as part of a file name."""
        return f"{self.pid}-{self.start}"


def _start(pid: int) -> int | None:
    """Return the start time of a running process, None if it is gone, a zombie or unknowable."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The command name may hold spaces and parentheses; the numbers follow its last parenthesis.
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
