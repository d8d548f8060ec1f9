"""The loop of this project as a search over the recorded table: propose, race, measure again, accept or not.

What it hands over is its incumbent, so only what the acceptance rule let through. The table has three seeds of
most configurations, so that nothing is measured under more: an incumbent has no seeds that are fresher than
those it was accepted by, and a close candidate is rejected sooner than in a real loop.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from bench.peers import decode, distributions, encode, neighbours
from bench.replay import Handover, Meter, Replay, Search
from bench.table import Choice, Header, Key, Recorded, Table
from pytest_evalloop.loop import leading
from pytest_evalloop.loop.acceptance import Measurement, Rule, judge, promising
from pytest_evalloop.loop.racing import (
    BOUND,
    LOOKS,
    Curve,
    Lesson,
    Race,
    hopeless,
    lessons,
    outlook,
    spared,
    standing,
)
from pytest_evalloop.loop.references import enough, least, next_look
from pytest_evalloop.metric.statistics import SeedNoise, seed_noise
from pytest_evalloop.records import Brief, Budget, Candidate, Decision, Status, Verdict

SEEDS = 3
BELIEVED = 0.01  # sd between seeds in bits per byte, until it was measured


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate: what it was made from, what it came to (validation bpb), and whether it was accepted.

    `bpb` of one that was stopped is what was expected of it then; one that waits for its verdict has None.
    """

    choice: Choice
    parent: Choice
    bpb: float
    accepted: bool | None


class Propose(Protocol):
    """Proposes the next candidate, never one that was tried; None when there is none left."""

    def __call__(
        self, header: Header, incumbent: Choice, bpb: float, tried: Sequence[Tried], seed: int
    ) -> Choice | None:
        """Return values of all parameters; `bpb` is the incumbent's, `seed` that of the whole loop."""


@dataclass(slots=True)
class State:
    """What a loop knows: results seed by seed, what races taught, its incumbent, and what was tried.

    `believed` is a spread between seeds that was known before.
    """

    meter: Meter
    incumbent: Choice
    results: dict[Key, list[Measurement]] = field(default_factory=dict)
    believed: SeedNoise | None = None
    taught: dict[float, list[Lesson]] = field(default_factory=lambda: {look: [] for look in LOOKS})
    tried: list[Tried] = field(default_factory=list)

    def key(self, choice: Choice) -> Key:
        """Return where a configuration stands in the grid."""
        return self.meter.replay.table.header.key(choice)

    def known(self, choice: Choice) -> tuple[Measurement, ...]:
        """Return what a configuration was measured to cost, seed by seed."""
        return tuple(self.results.get(self.key(choice), ()))

    def measure(self, choice: Choice) -> None:
        """Train and score a configuration under its next seed."""
        found = self.results.setdefault(self.key(choice), [])
        run = self.meter.measure(choice, len(found))
        found.append(Measurement(f"{self.key(choice)}:{run.seed}", run.seed, run.val))

    def bpb(self, choice: Choice) -> float:
        """Return the validation bpb of a configuration under the first seed."""
        return self.meter.measure(choice).val_bpb

    def history(self) -> tuple[Candidate, ...]:
        """Return what was tried as the ledger has it."""
        return tuple(candidate(number, each) for number, each in enumerate(self.tried, start=1))

    def rival(self) -> Choice:
        """Return whom the next candidate races against: who leads, or the incumbent."""
        standing = Tried(self.incumbent, self.incumbent, self.bpb(self.incumbent), accepted=True)
        following = replace(standing, accepted=None)
        found = leading.rival(
            candidate(len(self.tried) + 1, following), self.history(), candidate(0, standing)
        )
        return self.tried[found.number - 1].choice if found.number else self.incumbent

    @property
    def noise(self) -> SeedNoise | None:
        """The spread between seeds over all that has more than one, or what was known before if that is more."""
        runs, default = self.meter.replay.table.runs, self.key({})
        found = seed_noise(
            [
                [runs[key, run.seed].val_bpb for run in (each if key == default else each[1:])]
                for key, each in self.results.items()
            ]
        )
        known = [noise for noise in (self.believed, found) if noise is not None]
        return max(known, key=lambda noise: noise.freedom, default=None)

    def curve(self, choice: Choice, fraction: float) -> Curve:
        """Train under the first seed up to a fraction, and return the learning curve up to there."""
        self.meter.look(choice, fraction)
        points = self.meter.replay.find(choice).curve
        return Curve.of(
            (point.fraction, point.train_bpb) for point in points if point.fraction <= fraction + 1e-9
        )


@dataclass(frozen=True, slots=True)
class Loop:
    """Our loop.

    A candidate races against who leads, at a `bound` of 0 to the end in any case. It is judged by `rule` against the
    incumbent, or without one accepted if it is lower. Who may be better waits, and who leads gets its seeds and its
    verdict after `defer` more candidates. `references` is under how many seeds the default is measured, `ahead` says
    that it is before a promising candidate is looked at, and not as a verdict asks for it.
    `noise` is the spread between seeds where an earlier loop has measured it.
    """

    name: str
    propose: Propose
    rule: Rule | None = field(default_factory=lambda: Rule(most_seeds=SEEDS))
    bound: float = BOUND
    defer: int = 3
    references: int = 8
    ahead: bool = False
    noise: SeedNoise | None = None

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        """Search as `Search.run` says; ends when nothing is left to propose."""
        default = replay.table.header.default
        yield from self.follow(State(Meter(replay), default, believed=self.noise), seed, limit)

    def follow(self, state: State, seed: int, limit: float) -> Iterator[Handover]:
        """Search on from a state of which nothing is measured yet; what is known in the end stays in it."""
        header = state.meter.replay.table.header
        state.measure(state.incumbent)
        yield Handover(state.meter.spent, state.incumbent)
        while state.meter.spent < limit:
            parent = state.incumbent
            choice = self.propose(header, parent, state.bpb(parent), state.tried, seed)
            if choice is not None:
                rival = state.rival()
                behind = self._race(state, choice, rival, seed)
                bpb = state.bpb(choice) if behind is None else state.bpb(rival) + behind
                verdict = self._verdict(state, choice) if behind is None else False
                if self.rule is not None and verdict:
                    verdict = None  # who is better waits, however clear it is
                state.tried.append(Tried(choice, parent, bpb, verdict))
                if verdict:
                    state.incumbent = choice
                    yield Handover(state.meter.spent, choice)
            leader = self._settle(state, final=choice is None)
            if leader is not None and leader.accepted:
                state.incumbent = leader.choice
                yield Handover(state.meter.spent, leader.choice)
            if choice is None and leader is None:
                return

    def _settle(self, state: State, *, final: bool) -> Tried | None:
        """Reject who was overtaken while it waited, and decide about who leads when it is due; returns that one."""
        for other in leading.standing(state.history()).behind:
            state.tried[other.number - 1] = replace(state.tried[other.number - 1], accepted=False)
        found = leading.standing(state.history())
        if found.leader is None or not (final or leading.due(found, self.defer)):
            return None
        leader = state.tried[found.leader.number - 1]
        while (verdict := self._verdict(state, leader.choice)) is None:
            self._measure_again(state, leader.choice)
        state.tried[found.leader.number - 1] = decided = replace(leader, accepted=verdict)
        return decided

    def _race(self, state: State, choice: Choice, rival: Choice, seed: int) -> float | None:
        """Train a candidate; return by how much it was expected to end behind if it was stopped on the way."""
        noise, theirs = state.noise, state.curve(rival, 1.0)
        sd = noise.sd if noise is not None else BELIEVED
        let = self.bound == 0 or spared(seed, len(state.tried) + 1)  # the loop counts from 1
        for look in () if let else LOOKS:
            known = standing(state.curve(choice, look), theirs, look)
            if known is not None:
                chances = outlook(known.gap, look, state.taught[look], sd)
                if hopeless(chances, self.bound):
                    return chances.expected
        state.measure(choice)
        race = Race(state.curve(choice, 1.0), theirs, state.bpb(choice) - state.bpb(rival))
        for look, taught in state.taught.items():
            taught.extend(lessons([race], look))
        return None

    def _verdict(self, state: State, choice: Choice) -> bool | None:
        """Judge a candidate by what is known; None when that takes more seeds of it or of the incumbent."""
        if self.rule is None:
            return state.bpb(choice) < state.bpb(state.incumbent)
        known, measured, noise = state.known(state.incumbent), state.known(choice), state.noise
        if not promising(known, measured, noise):
            return False
        decision = None if noise is None else judge(known, measured, (), noise, self.rule)
        clear = decision is not None and decision.verdict is Verdict.ACCEPTED
        if len(known) < self._enough(state):
            return True if clear and not self.ahead and len(known) >= self._least(state) else None
        return None if decision is None else clear

    def _enough(self, state: State) -> int:
        """Return how many seeds the incumbent gets, of those that are recorded."""
        return min(enough(state.noise, self.references), len(state.meter.replay.order(state.incumbent)))

    def _least(self, state: State) -> int:
        """Return how many seeds the incumbent has at the first look at a promising candidate."""
        return least(self._enough(state), baseline=state.key(state.incumbent) == state.key({}))

    def _measure_again(self, state: State, choice: Choice) -> None:
        """Measure a candidate under one more seed, and the incumbent unless it has more; or what it is short of."""
        known, wanted = len(state.known(state.incumbent)), self._enough(state)
        if known < wanted:
            default = state.key(state.incumbent) == state.key({})
            look = wanted if self.ahead else next_look(known, wanted, baseline=default)
            for _ in range(look - known):
                state.measure(state.incumbent)
            return
        state.measure(choice)
        if known < len(state.known(choice)):
            state.measure(state.incumbent)


def tpe(header: Header, incumbent: Choice, bpb: float, tried: Sequence[Tried], seed: int) -> Choice | None:
    """Ask Optuna's TPE, told of all candidates; of what it proposes, the first that is new.

    When it insists on what was tried, a neighbour of the incumbent is drawn, and then anything that is left.
    """
    import optuna  # noqa: PLC0415 - as in `bench.peers`

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = seed * 100_003 + len(tried)  # another one for every candidate
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)
    study, space = optuna.create_study(direction="minimize", sampler=sampler), distributions(header)
    for choice, value in [*((each.choice, each.bpb) for each in tried), (incumbent, bpb)]:
        study.add_trial(
            optuna.trial.create_trial(params=encode(header, choice), distributions=space, value=value)
        )
    seen = {header.key(choice) for each in tried for choice in (each.choice, each.parent)}
    seen.add(header.key(incumbent))
    for _ in range(4):
        choice = decode(header, study.ask(space).params)
        if header.key(choice) not in seen:
            return choice
    for left in (neighbours(header, incumbent), header.choices()):
        fresh = [choice for choice in left if header.key(choice) not in seen]
        if fresh:
            return random.Random(seed).choice(fresh)
    return None


def mutator(
    header: Header, incumbent: Choice, bpb: float, tried: Sequence[Tried], seed: int
) -> Choice | None:
    """Ask the `search` mutator of the loop itself, the grid standing as choices in a file."""
    from pytest_evalloop.mutators.search import SearchMutator  # noqa: PLC0415 - it needs the extra `search`
    from pytest_evalloop.protocols import MutatorError  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.py").write_text(source(header, incumbent), encoding="utf-8")
        brief = Brief(
            run="replay",
            number=len(tried) + 1,
            seed=seed,
            worktree=folder,
            incumbent="",
            incumbent_bpb=bpb,
            history=tuple(candidate(number, each) for number, each in enumerate(tried, start=1)),
            mutable=("config.py",),
            budget=Budget(1, "steps"),
            train_data="",
            prompt=None,
            space="config.py",
            log="",
        )
        try:
            found = SearchMutator().propose(brief).parameters["values"]
        except MutatorError:
            return None
    assert isinstance(found, Mapping)
    return dict(found)


def source(header: Header, choice: Choice) -> str:
    """Write the grid as the search mutator reads it: each parameter with its choices and its value."""
    fields = (
        f"    {name}: Literal[{', '.join(map(repr, values))}] = {choice[name]!r}\n"
        for name, values in header.space.items()
    )
    return "".join(("from typing import Literal\n\n\nclass Config:\n", *fields))


def candidate(number: int, tried: Tried) -> Candidate:
    """Describe a candidate as the ledger would, for the mutator's history and for who leads."""
    changed = {
        name: [tried.parent[name], value]
        for name, value in tried.choice.items()
        if value != tried.parent[name]
    }
    verdict = Verdict.ACCEPTED if tried.accepted else Verdict.REJECTED
    decision = None if tried.accepted is None else Decision(verdict, "")
    return Candidate(
        run="replay",
        number=number,
        parent="",
        commit="",
        mutator="search",
        description="",
        parameters={"changed": changed, "values": dict(tried.choice)},
        status=Status.COMPLETED,
        decision=decision,
        bpb=tried.bpb,
        passed=True,
    )


def ours(table: Table) -> tuple[Search, ...]:
    """Return the loop, and the loop with something about it changed.

    The noise that is known beforehand is the spread of the default over all its seeds in the table.
    """
    loop, known = Loop("ours", mutator), seed_noise([[run.val_bpb for run in _runs(table, {})]])
    return (
        loop,
        replace(loop, name="ours, proposals of TPE alone", propose=tpe),
        replace(loop, name="ours, noise known beforehand", noise=known),
        replace(loop, name="ours, no verdict waits", defer=0),
        replace(
            loop, name="ours, no verdict waits, the default under 8 seeds before any", defer=0, ahead=True
        ),
        replace(loop, name="ours, accepting what is lower on one seed", rule=None),
    )


def _runs(table: Table, choice: Choice) -> list[Recorded]:
    return [table.find(choice, seed) for seed in table.seeds(choice)]
