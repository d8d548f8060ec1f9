"""What a tree used is counted exactly where everybody is waited for, whatever it does while it is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.candidate.account import Account
from pytest_evalloop.candidate.census import Member

ROOT = 1
CORES = 4
moderate = settings(max_examples=300, deadline=None)
# What happens next: which kind of thing, to which process, and how much of it.
events = st.tuples(
    st.sampled_from(["spawn", "work", "work", "end", "reap", "reap"]), st.integers(0, 50), st.integers(0, 9)
)
# Between two samples much happens, and while one is taken a little after each look at a process.
rounds = st.lists(
    st.tuples(st.lists(events, max_size=12), st.lists(st.lists(events, max_size=3), max_size=6)), max_size=12
)


class Tree:
    """Processes below a root that wait for each other, and that can be looked at one by one."""

    def __init__(self, *, waits: bool = True) -> None:
        self.waits = waits
        self.all = {ROOT: Member(ROOT, 0, 0, 0.0)}
        self.ended: set[int] = set()
        self.ticks = 0  # that all of them used, ever
        self.clock = 0

    def happen(self, kind: str, which: int, amount: int) -> None:
        """Have one thing happen; one that cannot happen does not."""
        active = [pid for pid in self.all if pid not in self.ended]
        pid = active[which % len(active)]
        self.clock += 1
        if kind == "spawn":
            child = Member(max(self.all) + which % 3 + 1, pid, 0, self.clock / 100)
            child.faults = 1 + amount
            self.all[child.pid] = child
        elif kind == "work" and pid != ROOT:
            self.all[pid].cpu += amount / 100
            self.all[pid].faults += amount
            self.ticks += amount
        elif kind == "end" and pid != ROOT:
            self.end(pid)
        elif kind == "reap" and self.ended:
            self.reap(sorted(self.ended)[which % len(self.ended)])

    def end(self, pid: int) -> None:
        self.ended.add(pid)
        for each in self.all.values():
            each.parent = ROOT if each.parent == pid else each.parent
        if not self.waits:
            self.ended.remove(pid)
            del self.all[pid]

    def reap(self, pid: int) -> None:
        self.ended.remove(pid)
        gone = self.all.pop(pid)
        parent = self.all[gone.parent]
        parent.reaped += gone.cpu + gone.reaped
        parent.reaped_faults += gone.faults + gone.reaped_faults

    def finish(self) -> None:
        """Have everybody end, and be waited for."""
        for pid in [pid for pid in self.all if pid not in self.ended | {ROOT}]:
            self.end(pid)
        for pid in sorted(self.ended):
            self.reap(pid)

    def look(self, meanwhile: list[list[tuple[str, int, int]]]) -> tuple[list[Member], float, int]:
        """List who is below the root as a census does, with what the root's account stood at before."""
        root = self.all[ROOT]
        reaped, faults = root.reaped, root.reaped_faults
        read: dict[int, list[Member]] = {}
        for place, pid in enumerate(sorted(self.all)):
            for event in meanwhile[place] if place < len(meanwhile) else ():
                self.happen(*event)
            if pid in self.all and pid != ROOT:
                seen = copied(self.all[pid])
                read.setdefault(seen.parent, []).append(seen)
        return list(below(ROOT, read)), reaped, faults


def copied(member: Member) -> Member:
    copy = Member(member.pid, member.parent, member.group, member.started)
    for name in Member.__slots__:
        setattr(copy, name, getattr(member, name))
    return copy


def below(root: int, children: dict[int, list[Member]]) -> Iterator[Member]:
    for member in children.get(root, ()):
        yield member
        yield from below(member.pid, children)


@moderate
@given(rounds)
def test_who_is_waited_for_is_charged_exactly(
    rounds: list[tuple[list[tuple[str, int, int]], list[list[tuple[str, int, int]]]]],
) -> None:
    tree, account, totals = Tree(), Account(CORES, 0.0), [0.0]
    for now, (between, meanwhile) in enumerate(rounds, start=1):
        for event in between:
            tree.happen(*event)
        living, reaped, faults = tree.look(meanwhile)
        totals.append(account.sample(living, now, reaped, faults))
        assert totals[-1] <= tree.ticks / 100 + 1e-6
    tree.finish()
    root = tree.all[ROOT]
    totals.append(account.close(len(rounds) + 1, root.reaped, root.reaped_faults))
    assert account.unwaited == 0
    assert totals[-1] == pytest.approx(tree.ticks / 100)
    assert totals == sorted(totals)


@moderate
@given(rounds)
def test_who_is_not_waited_for_is_charged_for_all_that_was_seen_and_no_more_than_a_machine_can_do(
    rounds: list[tuple[list[tuple[str, int, int]], list[list[tuple[str, int, int]]]]],
) -> None:
    tree, account, totals = Tree(waits=False), Account(CORES, 0.0), [0.0]
    seen: dict[int, float] = {}
    for now, (between, meanwhile) in enumerate(rounds, start=1):
        for event in between:
            tree.happen(*event)
        living, reaped, faults = tree.look(meanwhile)
        seen |= {member.pid: member.cpu for member in living}
        totals.append(account.sample(living, now, reaped, faults))
    totals.append(account.close(len(rounds) + 1, 0.0, 0))
    assert totals == sorted(totals)
    assert totals[-1] >= sum(seen.values()) - 1e-6
    assert totals[-1] <= sum(seen.values()) + CORES * (len(rounds) + 1) + 1e-6


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, CORES))
def test_children_that_are_replaced_all_the_time_use_all_of_the_time(
    samples: int, faults: int, lanes: int
) -> None:
    account = Account(CORES, 0.0)
    for now in range(1, samples + 1):
        living = [Member(now * CORES + lane, ROOT, 0, now) for lane in range(lanes)]
        for member in living:
            member.faults, member.cpu = faults, 0.01
        account.sample(living, now, 0.0, 0)
    assert account.close(samples + 1, 0.0, 0) == pytest.approx(samples * lanes + 0.01 * lanes)


@given(st.integers(1, 40))
def test_where_no_faults_are_told_nobody_is_charged_but_for_what_was_seen(samples: int) -> None:
    account = Account(CORES, 0.0)
    for now in range(1, samples + 1):
        member = Member(now, ROOT, 0, now)
        member.cpu = 0.5
        assert account.sample([member], now, 0.0, 0) == pytest.approx(0.5 * now)
    assert account.close(samples + 1, 0.0, 0) == pytest.approx(0.5 * samples)
