"""Searches over a recorded table: what they see, what they pay, and when they are there."""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import pytest

from bench.ours import Loop, Propose, Tried, mutator, ours, source, tpe
from bench.peers import (
    Mutation,
    Optuna,
    RayASHA,
    distributions,
    neighbours,
    peers,
)
from bench.replay import Handover, Meter, Replay, Search, shared_seeds, target, true_quality
from bench.search_compute import compare, floor, median_interval, times_less
from bench.table import Architecture, Choice, Header, Length, Point, Recorded, Table
from pytest_evalloop.loop.acceptance import Rule
from pytest_evalloop.metric.statistics import SeedNoise
from pytest_evalloop.mutators.space import read
from pytest_evalloop.records import DocumentScore

HEADER = Header(
    space={"activation": ("relu2", "gelu"), "lr": (0.01, 0.02, 0.04), "layers": (3, 4), "decay": (0.1, 0.5)},
    default={"activation": "relu2", "lr": 0.01, "layers": 4, "decay": 0.1},
    base={"activation": "relu2", "lr": 0.01, "layers": 4, "decay": 0.1},
    architectures=(Architecture({}, 1.0, 40),),
    every=1,
    primer="",
    val=(Length("a", 1000), Length("b", 3000)),
    vault=(Length("c", 1000),),
    made={"machine": "none"},
)
SECONDS, SCORING = 8.0, 2.0
LIMIT = 24 * (SECONDS + SCORING)  # the whole grid
BEST: Choice = {"activation": "gelu", "lr": 0.04, "layers": 3, "decay": 0.5}


def quality(choice: Choice) -> float:
    """Bits per byte of a configuration without noise: every parameter helps on its own, so `BEST` is best."""
    return 3.0 - sum(
        gain
        for name, gain in (("activation", 0.2), ("lr", 0.1), ("layers", 0.05), ("decay", 0.02))
        if choice[name] == BEST[name]
    )


def recorded(choice: Choice, seed: int, noise: float) -> Recorded:
    bpb = quality(choice) + noise
    return Recorded(
        config=dict(choice),
        seed=seed,
        steps=40,
        train_seconds=SECONDS,
        score_seconds=SCORING,
        curve=tuple(Point(step, step / 40, bpb + 1 - step / 40) for step in range(1, 41)),
        val=(DocumentScore("a", 1000 * bpb, 1000), DocumentScore("b", 3000 * bpb, 3000)),
        vault=(DocumentScore("c", 1000 * bpb, 1000),),
    )


def grid(seeds: int = 3, sd: float = 0.0) -> Table:
    numbers = random.Random(0)
    return Table(
        HEADER,
        {
            (HEADER.key(choice), seed): recorded(choice, seed, numbers.gauss(0, sd))
            for choice in HEADER.choices()
            for seed in range(seeds)
        },
    )


EXACT, NOISY = grid(), grid(sd=0.02)


def test_repeats_meet_all_orders() -> None:
    assert len({Replay.shuffled(NOISY, repeat).seeds for repeat in range(50)}) == 6


def test_seeds_that_some_configurations_lack_are_not_met() -> None:
    more = {(HEADER.key({}), 7): recorded(HEADER.default, 7, 0.0)}
    assert shared_seeds(replace(EXACT, runs={**EXACT.runs, **more})) == (0, 1, 2)
    runs = {place: run for place, run in EXACT.runs.items() if place != (HEADER.key(BEST), 1)}
    assert shared_seeds(replace(EXACT, runs=runs)) == (0, 2)


def test_a_table_that_is_not_whole_is_refused() -> None:
    runs = {place: run for place, run in EXACT.runs.items() if place[0] != HEADER.key(BEST)}
    with pytest.raises(
        LookupError, match=r"no seed has all 24 configurations, the fullest has 23; .*--record"
    ):
        Replay.shuffled(replace(EXACT, runs=runs), 0)


@pytest.mark.parametrize("place", [-1, 3])
def test_a_seed_that_is_not_recorded_is_not_guessed(place: int) -> None:
    with pytest.raises(LookupError, match=f"no seed at place {place}: 3 are recorded"):
        Meter(Replay(EXACT, (0, 1, 2))).look({}, 0.5, place)


def test_a_measurement_costs_the_rest_of_the_training_and_the_scoring_once() -> None:
    meter = Meter(Replay(NOISY, (1, 0)))
    meter.look({}, 0.25)
    assert meter.spent == 0.25 * SECONDS
    assert not meter.measured({})
    assert meter.measure({}) == meter.measure({}) == NOISY.find({}, 1)
    assert meter.spent == SECONDS + SCORING
    assert meter.measured({})
    assert not meter.measured({}, 1)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, math.nan])
def test_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="no fraction"):
        Meter(Replay(EXACT, (0,))).look({}, fraction)


def test_true_quality_is_the_mean_over_all_seeds() -> None:
    found = true_quality(NOISY)
    assert len(found) == 24
    assert found[HEADER.key(BEST)] == pytest.approx(
        statistics.fmean(NOISY.find(BEST, seed).vault_bpb for seed in range(3))
    )


@pytest.mark.parametrize(("share", "bpb"), [(0.0, 3.0), (0.5, 2.815), (0.8, 2.704), (1.0, 2.63)])
def test_a_target_is_a_share_of_the_way_to_the_best(share: float, bpb: float) -> None:
    assert target(EXACT, share) == pytest.approx(bpb)


def test_neighbours_differ_in_one_parameter() -> None:
    found = list(neighbours(HEADER, HEADER.default))
    assert len({HEADER.key(choice) for choice in found}) == len(found) == 5
    assert all(sum(choice[name] != value for name, value in HEADER.default.items()) == 1 for choice in found)


def test_optuna_knows_the_order_of_numbers_and_none_of_words() -> None:
    found = distributions(HEADER)
    assert [type(each).__name__ for each in found.values()] == [
        "CategoricalDistribution",
        *["IntDistribution"] * 3,
    ]
    assert (found["lr"].low, found["lr"].high) == (0, 2)


@pytest.mark.parametrize("search", peers(), ids=lambda search: search.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_peer_begins_with_the_default_and_hands_over_ever_lower_bpb(search: Search, seed: int) -> None:
    replay = Replay.shuffled(NOISY, seed)
    steps = list(search.run(replay, seed, LIMIT))
    assert steps == list(search.run(replay, seed, LIMIT))
    assert steps[0] == (SECONDS + SCORING, HEADER.default)
    for before, after in pairwise(steps):
        assert before.spent < after.spent < LIMIT + SECONDS + SCORING
        assert replay.find(after.choice).val_bpb < replay.find(before.choice).val_bpb
    assert quality(steps[-1].choice) < 2.85


@pytest.mark.parametrize("search", peers(), ids=lambda search: search.name)
def test_a_peer_starts_nothing_once_its_compute_is_spent(search: Search) -> None:
    assert len(list(search.run(Replay.shuffled(NOISY, 0), 0, 1.0))) == 1


def test_mutation_climbs_to_the_best_and_ends_there() -> None:
    steps = list(Mutation().run(Replay(EXACT, (0,)), 3, math.inf))
    assert steps[-1].choice == BEST


def test_a_pruner_saves_compute_and_spares_the_default() -> None:
    whole, pruned = (
        next(search for search in peers() if search.name == name)
        for name in ("Optuna TPE", "Optuna TPE, Hyperband")
    )
    assert isinstance(whole, Optuna)
    assert isinstance(pruned, Optuna)
    spent = {}
    for search in (whole, pruned):
        asked = replace(search, sampler=peers_random)
        spent[search.name] = next(
            step.spent for step in asked.run(Replay(EXACT, (0,)), 1, math.inf) if step.choice == BEST
        )
    assert spent["Optuna TPE, Hyperband"] < spent["Optuna TPE"]


def peers_random(seed: int) -> object:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


@pytest.mark.parametrize("module", [None, ModuleType("ray.tune")], ids=["absent", "there"])
def test_rays_row_is_there_where_ray_tune_is(
    module: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.tune", module)
    rays = [search for search in peers() if isinstance(search, RayASHA)]
    assert len(rays) == (module is not None)


def test_rays_scheduler_is_asked_and_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Scheduler:
        """Stops every training but the first at its second look."""

        def __init__(self, **options: object) -> None:
            told.append(options)

        def on_trial_add(self, controller: None, trial: SimpleNamespace) -> None: ...

        def on_trial_result(self, _: None, trial: SimpleNamespace, result: dict[str, float]) -> str:
            stop = trial.trial_id != "0" and result["training_iteration"] == 2
            return "STOP" if stop else "CONTINUE"

    monkeypatch.setitem(sys.modules, "ray.tune.schedulers", SimpleNamespace(ASHAScheduler=Scheduler))
    steps = list(RayASHA().run(Replay(EXACT, (0,)), 0, LIMIT))
    assert [step.choice for step in steps] == [HEADER.default]
    assert told[0]["max_t"] == 16


def test_the_interval_has_the_ranks_of_the_binomial() -> None:
    # P(Bin(24, 1/2) <= 6) = 0.0113 and P(<= 7) = 0.0320: the 7th of 24 from either side.
    assert median_interval(range(1, 25)) == (7, 18)
    assert median_interval(range(1, 6)) == (1, 5)


def test_times_less_compares_medians() -> None:
    assert times_less([5, 5, 5], [10, 10, 10]) == (2, 2, 2)
    assert times_less([5, 5, 5], [math.inf] * 3)[0] == math.inf
    assert times_less([math.inf] * 3, [5, 5, 5])[0] == 0
    assert times_less([math.inf] * 3, [math.inf] * 3) == (1, 1, 1)
    times, low, high = times_less([4, 5, 6, 5, 5], [9, 10, 14, 10, 8])
    assert low < times == 2 < high


@dataclass(frozen=True, slots=True)
class Waiting:
    """Hands the best configuration over after some seconds."""

    name: str
    seconds: float

    def run(self, replay: Replay, seed: int, limit: float) -> Iterator[Handover]:
        assert limit > 0
        yield Handover(SECONDS + SCORING, replay.table.header.default)
        yield Handover(self.seconds + seed, BEST)


def test_searches_are_compared_with_the_best_peer() -> None:
    found = {
        figure.name: figure
        for figure in compare(EXACT, [Waiting("ours", 30)], [Waiting("slow", 90), Waiting("fast", 62)], 5)
    }
    assert found["CPU-s of ours"].value.startswith("80%: 32 (30 to 34), 5 of 5; 50%: 32")
    assert found["CPU-s of slow"].value.endswith("at the end 2.6300 bpb")
    ratio = found["compute to 80%, fast over ours"]
    assert (ratio.value, ratio.bound, ratio.kept) == ("2.00 times (1.94 to 2.07)", "≥ 2", True)
    assert found["compute to 50%, fast over ours"].kept is None
    targets = "true vault bpb of the default, and of the targets (configurations that reach it)"
    assert found[targets].value.startswith("3.0000; 80%: 2.7040 (4 of 24), 50%: 2.8150 (")


def test_what_is_reached_too_late_is_never_reached() -> None:
    found = {figure.name: figure for figure in compare(EXACT, [], [Waiting("late", 5000)], 5)}
    never = "never (never to never), 0 of 5"
    said = f"80%: {never}; 50%: {never}; 95%: {never}; at the end 3.0000 bpb"
    assert found["CPU-s of late"].value == said


def null(number: int) -> Table:
    """Return a grid of which no configuration is better than another."""
    numbers = random.Random(number)
    return Table(
        HEADER,
        {
            (HEADER.key(choice), seed): replace(
                recorded(HEADER.default, seed, numbers.gauss(0, 0.01)), config=choice
            )
            for choice in HEADER.choices()
            for seed in range(3)
        },
    )


def test_the_grid_is_written_as_the_search_mutator_reads_it() -> None:
    found = {parameter.name: parameter for parameter in read(source(HEADER, BEST).encode())}
    assert {name: parameter.value for name, parameter in found.items()} == BEST
    assert {name: tuple(parameter.grid()) for name, parameter in found.items()} == HEADER.space


@pytest.mark.parametrize("propose", [tpe, mutator])
def test_nothing_is_proposed_twice_until_nothing_is_left(propose: Propose) -> None:
    tried: list[Tried] = []
    while (choice := propose(HEADER, HEADER.default, 3.0, tried, len(tried))) is not None:
        tried.append(Tried(choice, HEADER.default, quality(choice), accepted=False))
    assert len({HEADER.key(each.choice) for each in tried} | {HEADER.key({})}) == len(tried) + 1 == 24


@pytest.mark.parametrize("search", ours(NOISY), ids=lambda search: search.name)
def test_our_loop_hands_over_ever_better_configurations(search: Search) -> None:
    replay = Replay.shuffled(NOISY, 4)
    steps = list(search.run(replay, 4, LIMIT))
    assert steps == list(search.run(replay, 4, LIMIT))
    assert steps[0] == (SECONDS + SCORING, HEADER.default)
    assert [step.spent for step in steps] == sorted({step.spent for step in steps})
    assert quality(steps[-1].choice) < 2.85


def test_our_loop_finds_the_best_where_there_is_no_noise() -> None:
    steps = list(Loop("exact", tpe).run(Replay(EXACT, (0, 1, 2)), 0, math.inf))
    assert steps[-1].choice == BEST


def test_racing_saves_compute() -> None:
    replay = Replay(EXACT, (0, 1, 2))
    spent = [
        [step.spent for step in Loop("", tpe, rule=None, bound=bound).run(replay, 0, math.inf)][-1]
        for bound in (0.0, 0.1)
    ]
    assert spent[1] < spent[0]


def test_noise_is_handed_over_as_progress_only_without_a_rule() -> None:
    taken = {
        rule: sum(
            len(list(Loop("", tpe, rule=rule, bound=0.0).run(Replay.shuffled(null(seed), seed), seed, LIMIT)))
            - 1
            for seed in range(6)
        )
        for rule in (None, Rule(most_seeds=3))
    }
    assert taken[None] >= 8
    assert taken[Rule(most_seeds=3)] <= 1


def test_a_leader_is_judged_once_it_has_stood() -> None:
    replay, counts = Replay.shuffled(NOISY, 0), {}
    for defer in (0, 3):
        counts[defer] = len(list(Loop("", tpe, defer=defer).run(replay, 0, math.inf)))
    assert 1 < counts[3] <= counts[0]


def test_who_is_clearly_better_waits_as_well() -> None:
    known = SeedNoise(0.02, 50)
    for defer, candidates in ((0, 1), (3, 4)):
        steps = list(
            Loop("", tpe, defer=defer, noise=known, bound=0.0).run(Replay(EXACT, (0, 1, 2)), 0, LIMIT)
        )
        assert steps[1].spent >= (1 + candidates) * (SECONDS + SCORING)
        if not defer:
            assert steps[1].spent < 5 * (SECONDS + SCORING)


def test_seeds_that_only_some_configurations_have_are_met_last() -> None:
    more = {(HEADER.key({}), 7): recorded(HEADER.default, 7, 0.0)}
    replay = Replay(replace(EXACT, runs={**EXACT.runs, **more}), (2, 0, 1))
    assert replay.order({}) == (2, 0, 1, 7)
    assert replay.find({}, 3).seed == 7
    with pytest.raises(LookupError, match="no seed at place 3: 3 are recorded"):
        replay.find(BEST, 3)


def test_the_floor_is_the_default_and_the_cheapest_that_reaches_the_goal() -> None:
    once, best = SECONDS + SCORING, quality(BEST)
    assert floor(EXACT, best) == 2 * once
    assert floor(EXACT, best - 0.01) == math.inf
    # Each side once tells nothing about the noise, so the rule asks for more.
    strict = floor(NOISY, target(NOISY, 0.8), Rule())
    assert 3 * once <= strict < math.inf
    assert strict % once == 0
