"""Searches that others use, on the space, budget and seeds of the recorded table.

All train each configuration under one seed, the first, start from the default, and hand over the
configuration with the lowest validation bpb so far. Two things are easier for them than in life: a
configuration that is proposed again costs nothing, and a training that was stopped can go on.
"""

from __future__ import annotations

import contextlib
import importlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from bench.replay import Handover, Meter, Replay, Search
from bench.table import Choice, Header, Value

ASKS = 300  # proposals after which a search ends even if its last ones were free, being known


@dataclass(slots=True)
class Best:
    """The lowest validation bpb that a search has seen, and where."""

    choice: Choice
    bpb: float = float("inf")

    def take(self, choice: Choice, bpb: float) -> bool:
        """Keep a configuration if it is better, and tell whether it is."""
        if better := bpb < self.bpb:
            self.choice, self.bpb = choice, bpb
        return better


@dataclass(frozen=True, slots=True)
class Mutation:
    """Changes one parameter of the incumbent, and keeps what costs fewer bits: no margin, one seed."""

    name: str = "one random mutation, kept if lower"

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        """Search as `Search.run` says; ends where no neighbour is better."""
        meter, best, numbers = Meter(replay), Best({}), random.Random(seed)
        header = replay.table.header
        best.take(header.default, meter.measure({}).val_bpb)
        yield Handover(meter.spent, best.choice)
        while meter.spent < limit:
            fresh = [choice for choice in neighbours(header, best.choice) if not meter.measured(choice)]
            if not fresh:
                return
            choice = numbers.choice(fresh)
            if best.take(choice, meter.measure(choice).val_bpb):
                yield Handover(meter.spent, best.choice)


@dataclass(frozen=True, slots=True)
class Optuna:
    """Asks an Optuna sampler, and lets an Optuna pruner stop trainings by their train bpb.

    `looks` is how often a whole training is looked at; 1 is only at its end, when no pruner is asked.
    `sampler` takes a seed and `pruner` nothing; what they return is as Optuna has it by default.
    """

    name: str
    sampler: Callable[[int], Any]
    pruner: Callable[[], Any]
    looks: int = 1

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        """Search as `Search.run` says."""
        import optuna  # noqa: PLC0415 - a reader of tables does not need it

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Hyperband draws the bracket from the name, which would be random.
        study = optuna.create_study(
            study_name=f"{seed}", direction="minimize", sampler=self.sampler(seed), pruner=self.pruner()
        )
        meter, best, header = Meter(replay), Best({}), replay.table.header
        space = distributions(header)
        study.enqueue_trial(encode(header, header.default))
        for _ in range(ASKS):
            if meter.spent >= limit:
                return
            asked = study.ask(space)
            choice = decode(header, asked.params)
            if self._stopped(asked, meter, choice):
                study.tell(asked, state=optuna.trial.TrialState.PRUNED)
                continue
            bpb = meter.measure(choice).val_bpb
            study.tell(asked, bpb)
            if best.take(choice, bpb):
                yield Handover(meter.spent, best.choice)

    def _stopped(self, asked: Any, meter: Meter, choice: Choice) -> bool:  # noqa: ANN401 - Optuna's
        """Train until the pruner stops it, or one look before the end."""
        for look in range(1, self.looks):
            asked.report(meter.look(choice, look / self.looks), look)
            if asked.should_prune():
                return True
        return False


@dataclass(frozen=True, slots=True)
class RayASHA:
    """Random configurations under the ASHA scheduler of Ray Tune, one training at a time.

    The scheduler is Ray's own, asked directly: no process of Ray runs, so that a replay takes seconds.
    """

    name: str = "Ray Tune ASHA, random configurations"
    looks: int = 16
    factor: int = 4  # as Ray has it by default: a quarter goes on, after 1/16 and 1/4 of the budget

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        """Search as `Search.run` says."""
        scheduler: Any = importlib.import_module("ray.tune.schedulers").ASHAScheduler(
            metric="train_bpb", mode="min", max_t=self.looks, grace_period=1, reduction_factor=self.factor
        )
        meter, best, numbers = Meter(replay), Best({}), random.Random(seed)
        header = replay.table.header
        for number in range(ASKS):
            if meter.spent >= limit:
                return
            choice = header.default if number == 0 else anywhere(header, numbers)
            trial = SimpleNamespace(trial_id=str(number))
            scheduler.on_trial_add(None, trial)
            for look in range(1, self.looks):
                bpb = meter.look(choice, look / self.looks)
                told = scheduler.on_trial_result(None, trial, {"training_iteration": look, "train_bpb": bpb})
                if told == "STOP":
                    break
            else:
                if best.take(choice, meter.measure(choice).val_bpb):
                    yield Handover(meter.spent, best.choice)


def peers() -> tuple[Search, ...]:
    """Return every peer that can run here: Ray's is left out where `ray[tune]` is not installed."""
    rays: list[Search] = []
    with contextlib.suppress(ImportError):
        importlib.import_module("ray.tune")
        rays.append(RayASHA())
    return (
        Mutation(),
        Optuna("Optuna TPE", _tpe, _never),
        Optuna("Optuna TPE, Hyperband", _tpe, _hyperband, looks=9),
        Optuna("Optuna random, successive halving (ASHA's rule)", _random, _halving, looks=16),
        *rays,
    )


def neighbours(header: Header, choice: Choice) -> Iterator[dict[str, Value]]:
    """Yield every configuration that differs from `choice` in one parameter."""
    for name, values in header.space.items():
        for value in values:
            if value != choice[name]:
                yield {**choice, name: value}


def anywhere(header: Header, numbers: random.Random) -> dict[str, Value]:
    """Draw a configuration, every value of every parameter being as likely."""
    return {name: numbers.choice(values) for name, values in header.space.items()}


def distributions(header: Header) -> dict[str, Any]:
    """Describe the grid to Optuna: numbers by their rank, so that it knows their order; words as they are."""
    from optuna.distributions import CategoricalDistribution, IntDistribution  # noqa: PLC0415

    return {
        name: IntDistribution(0, len(values) - 1) if _ordered(values) else CategoricalDistribution(values)
        for name, values in header.space.items()
    }


def encode(header: Header, choice: Choice) -> dict[str, Value]:
    """Write a configuration as Optuna's parameters."""
    return {
        name: values.index(choice[name]) if _ordered(values) else choice[name]
        for name, values in header.space.items()
    }


def decode(header: Header, params: dict[str, Any]) -> dict[str, Value]:
    """Read what `encode` wrote."""
    return {
        name: values[params[name]] if _ordered(values) else params[name]
        for name, values in header.space.items()
    }


def _ordered(values: tuple[Value, ...]) -> bool:
    return list(values) == sorted(value for value in values if not isinstance(value, str))


def _tpe(seed: int) -> Any:  # noqa: ANN401 - Optuna's, whose modules are imported where they are used
    import optuna  # noqa: PLC0415

    return optuna.samplers.TPESampler(seed=seed)


def _random(seed: int) -> Any:  # noqa: ANN401
    import optuna  # noqa: PLC0415

    return optuna.samplers.RandomSampler(seed=seed)


def _never() -> Any:  # noqa: ANN401
    import optuna  # noqa: PLC0415

    return optuna.pruners.NopPruner()


def _hyperband() -> Any:  # noqa: ANN401
    import optuna  # noqa: PLC0415

    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)


def _halving() -> Any:  # noqa: ANN401
    import optuna  # noqa: PLC0415

    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)
