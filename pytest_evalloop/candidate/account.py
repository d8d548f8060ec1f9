"""The compute of a tree of processes, those that nobody waits for included.

The kernel adds what a process used to its parent's account when the parent waits for it, and to nobody's where
the parent ignores SIGCHLD. So who is seen in one sample and gone in the next owes what he had used, and if the
accounts of the others have not grown by as much, somebody ended unwaited for. Seconds are told too coarsely for
children of a few milliseconds. Page faults are added at the same moment, are exact, and every process has some
from its first moment on.

The warden loads this file by its place, as it does `census.py`. Nothing here asks the system for anything.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost every command its milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_evalloop.candidate.census import Member

_GRAIN = 0.005  # seconds; half of the unit in which they are told
_CARRIED = 4  # intervals at most for which a debt is carried on, or whoever owes could put off its judgement


class Interval:
    """What ended between two samples, as long as it may still be paid for: faults and seconds that are owed.

    `most` is what those who ended can have used since they were last seen. Where no faults are told, nothing is
    known of what was paid.
    """

    __slots__ = ("carried", "faults", "gone", "most", "seconds", "told")

    def __init__(self, gone: dict[tuple[int, float], Member], most: float) -> None:
        self.gone = gone
        self.most = most
        self.carried = 0
        self.faults = sum(member.faults + member.reaped_faults for member in gone.values())
        self.seconds = sum(member.cpu + member.reaped for member in gone.values())
        self.told = self.faults > 0

    def pay(self, faults: int, seconds: float) -> tuple[int, float]:
        """Take off what was paid; return what of it is left."""
        left = max(0, faults - self.faults), max(0.0, seconds - self.seconds)
        self.faults = max(0, self.faults - faults)
        self.seconds = max(0.0, self.seconds - seconds)
        return left

    def forgive(self, member: Member) -> None:
        """Take off what a process owed that has not ended."""
        self.pay(member.faults + member.reaped_faults, member.cpu + member.reaped)

    def absorb(self, earlier: Interval) -> None:
        """Take over what is still owed for an earlier interval."""
        self.gone = earlier.gone | self.gone
        self.most += earlier.most
        self.carried = earlier.carried + 1
        self.faults += earlier.faults
        self.seconds += earlier.seconds
        self.told = self.told or earlier.told

    def may_have_been_paid_by(self, later: Interval) -> bool:
        """Whether somebody who ended later is old enough to have waited for one who ended here, a few times."""
        if self.carried == _CARRIED:
            return False
        youngest = max((started for _, started in self.gone), default=-1.0)
        return any(started <= youngest for _, started in later.gone)

    @property
    def lost(self) -> float:
        """Seconds that were seen and are in nobody's account."""
        return self.seconds if self.told and self.seconds > _GRAIN else 0.0

    @property
    def unpaid(self) -> bool:
        """Whether somebody ended unwaited for."""
        return self.faults > 0 or self.lost > 0


class Account:
    """Adds up what a tree used, sample by sample; samples have to be at moments that the tree cannot foresee.

    Every sample is a list of the processes below a root, each read later than its parent, and what the root's
    own account of children stood at, read at any time between the root's two waits around the list. What a
    process pays may then show one sample late and never early, so an interval is judged one sample later.

    Where somebody ended unwaited for, the interval counts as used up by each that ended in it and was last seen
    at work, as far as `cores` go. That covers those that no sample ever sees: at a random moment as many of them
    are at work as on average.
    """

    def __init__(self, cores: int, begun: float) -> None:
        self._cores = cores
        self._last = begun
        self._living: dict[tuple[int, float], Member] = {}
        self._pending = Interval({}, 0.0)
        self._faults = 0
        self._waited_for = 0.0
        # What was seen of every process is a second account, for those whose end too many faults hide, and
        # where there are none to be seen.
        self._seen: dict[tuple[int, float], float] = {}
        self._unwaited = 0.0
        self._total = 0.0

    @property
    def unwaited(self) -> float:
        """Seconds that are charged for processes nobody waited for, which have ended for certain."""
        return self._unwaited

    def sample(self, living: Iterable[Member], now: float, waited_for: float, faults: int) -> float:
        """Return the CPU seconds of the tree up to now.

        `waited_for` and `faults` are what all children used that the root has waited for.
        """
        known, self._living = self._living, {(member.pid, member.started): member for member in living}
        for key in self._living.keys() & self._pending.gone.keys():  # a list may miss one whose parent ends
            known[key] = self._pending.gone[key]
            self._pending.forgive(known[key])
        paid = faults - self._faults, waited_for - self._waited_for
        self._faults, self._waited_for = faults, waited_for
        new = 0.0
        for key, member in self._living.items():
            self._seen[key] = member.cpu
            if (before := known.pop(key, None)) is None:
                new += member.cpu
            else:
                paid = (
                    paid[0] + member.reaped_faults - before.reaped_faults,
                    paid[1] + member.reaped - before.reaped,
                )
        # Who is new was at work where others had ended, and what it used is in its own account.
        lanes = min(self._cores, sum(member.busy for member in known.values()))
        ended = Interval(known, max(0.0, lanes * (now - self._last) - new))
        ended.pay(*self._pending.pay(*paid))
        if self._pending.unpaid and self._pending.may_have_been_paid_by(ended):
            ended.absorb(self._pending)  # who waited has ended too, and what both used may show later still
        else:
            self._judge()
        self._pending, self._last = ended, now
        return self._sum()

    def close(self, now: float, waited_for: float, faults: int) -> float:
        """Return the CPU seconds of a tree of which nothing is left and nothing is left to wait for."""
        self.sample((), now, waited_for, faults)
        self._judge()
        self._pending = Interval({}, 0.0)
        return self._sum()

    def _judge(self) -> None:
        if self._pending.unpaid:
            self._unwaited += self._pending.lost + self._pending.most

    def _sum(self) -> float:
        living = sum(member.cpu + member.reaped for member in self._living.values())
        known = self._waited_for + living + self._pending.lost + self._unwaited
        self._total = max(self._total, known, sum(self._seen.values()))
        return self._total
