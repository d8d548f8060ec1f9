"""The `search` mutator: moves a few parameters away from the incumbent's values, or draws from the whole space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_evalloop.mutators import space
from pytest_evalloop.mutators.base import generator, locate
from pytest_evalloop.mutators.history import Trial, recall
from pytest_evalloop.mutators.space import Choice, Parameter, Range, Value, identity
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Proposal

if TYPE_CHECKING:
    import random

# How many parameters a candidate changes: mostly one, so that the history says what helped.
COUNTS, COUNT_WEIGHTS = (1, 2, 3), (6, 3, 1)
# A first move on a logarithmic scale is by these factors, on a linear one by these shares of the range:
# large enough to stand out of the noise between seeds, small enough to keep a working model working.
FACTORS, SHARES = (1.3, 3.0), (0.08, 0.35)
# Once both directions were tried, finer and wider moves are worth a candidate too.
LATER_FACTORS, LATER_SHARES = (1.1, 5.0), (0.04, 0.6)
DRAWS = 24
# Every second candidate comes from the whole space: near the incumbent alone the search is slow where the best
# values lie far away. On the recorded table the search so reaches 80 % of the way with two thirds of the compute
# (121 -> 79 CPU-s); beginning with it later gains nothing.
EVERY = 2

Key: TypeAlias = frozenset[tuple[str, tuple[bool, Value]]]
Evidence: TypeAlias = Sequence[tuple[Mapping[str, Value], float | None]]


class SearchMutator:
    """Changes values of the search space, guided by Optuna's TPE over the candidates so far."""

    writes_code = False

    def propose(self, brief: Brief) -> Proposal:
        """Set parameters to values that no candidate had together before: one to three, or as many as it takes.

        Raises `MutatorError` when the file declares no search space or every combination was tried.
        """
        if brief.space is None:
            raise MutatorError("evalloop_space is not set, so there is nothing to search.")
        path = locate(brief, brief.space)
        try:
            source = path.read_bytes()
            parameters = {parameter.name: parameter for parameter in space.read(source)}
        except (OSError, space.SpaceError) as error:
            raise MutatorError(f"The search space {brief.space} of the incumbent: {error}.") from error
        if not parameters:
            raise MutatorError(f"The incumbent's {brief.space} declares no search space any more.")
        changes = _draw(brief, parameters)
        try:
            path.write_bytes(space.write(source, changes))
        except space.SpaceError as error:
            raise MutatorError(f"The search space {brief.space}: {error}.") from error
        values = {name: parameter.value for name, parameter in parameters.items()}
        return Proposal(
            ", ".join(f"{name} {_show(values[name])} -> {_show(new)}" for name, new in changes.items()),
            {
                "changed": {name: [values[name], new] for name, new in changes.items()},
                "values": {**values, **changes},
            },
        )


def _draw(brief: Brief, parameters: Mapping[str, Parameter]) -> dict[str, Value]:
    """Return new values of some parameters that give a combination not seen before."""
    numbers = generator(brief, "search")
    trials, gained = recall(brief.history)
    values = {name: parameter.value for name, parameter in parameters.items()}
    seen = {_key(values)}
    for trial in trials:
        # What a candidate was made from was once an incumbent, so it has been measured as well.
        seen.add(_key(trial.values))
        seen.add(_key({**trial.values, **trial.old}))
    known = brief.incumbent_bpb + gained if math.isfinite(brief.incumbent_bpb) else None
    evidence = [
        *((trial.values, trial.bpb) for trial in trials if trial.decided or trial.bpb is not None),
        (values, known),
    ]
    if len(trials) % EVERY == EVERY - 1 and not _again(parameters, trials):
        changes = _anywhere(parameters, evidence, numbers)
        if changes and _key({**values, **changes}) not in seen:
            return changes
    for draw in range(DRAWS):
        directions = _again(parameters, trials) if draw == 0 else {}
        names = list(directions) or _pick(parameters, trials, numbers)
        changes = {}
        for name in names:
            new = _move(parameters[name], trials, evidence, directions.get(name, 0), numbers)
            if identity(new) != identity(values[name]):
                changes[name] = new
        if changes and _key({**values, **changes}) not in seen:
            return changes
    for changes in _every(parameters, numbers):
        if _key({**values, **changes}) not in seen:
            return changes
    raise MutatorError(
        f"The search space {brief.space} is exhausted: every combination within three changes of the "
        "incumbent was tried. Widen a bound, add a choice, or go on with another mutator."
    )


def _again(parameters: Mapping[str, Parameter], trials: Sequence[Trial]) -> dict[str, int]:
    """Return the directions of the last move if it was accepted: what helped may help once more."""
    last = next((trial for trial in reversed(trials) if trial.decided), None)
    if last is None or not last.accepted:
        return {}
    directions: dict[str, int] = {}
    for name, old in last.old.items():
        parameter = parameters.get(name)
        if parameter is None or not _movable(parameter) or not parameter.contains(old):
            continue
        step = _coordinate(parameter, parameter.value) - _coordinate(parameter, old)
        side = 1 if step > 0 else -1
        here = identity(last.values[name]) == identity(parameter.value)
        if here and step and _window(parameter, side, later=False):
            directions[name] = side
    return directions


def _pick(parameters: Mapping[str, Parameter], trials: Sequence[Trial], numbers: random.Random) -> list[str]:
    """Return the names to change, preferring those least tried since the last acceptance.

    Among those, numbers come before choices and logarithmic scales before linear ones: a rate is seldom right
    at the first guess, and a move of it seldom breaks a model as a change of its shape does.
    """
    count = min(numbers.choices(COUNTS, COUNT_WEIGHTS)[0], len(parameters))
    tries = {name: sum(trial.recent and name in trial.old for trial in trials) for name in parameters}
    # Efraimidis and Spirakis' weighted sample without replacement.
    ranks = {
        name: math.log(1.0 - numbers.random()) * 4.0 ** min(tries[name], 99) / _prior(parameter)
        for name, parameter in parameters.items()
    }
    chosen = sorted(parameters, key=lambda name: ranks[name], reverse=True)[:count]
    return [name for name in parameters if name in chosen]


def _prior(parameter: Parameter) -> float:
    if isinstance(parameter, Choice):
        return 1.0
    return 4.0 if parameter.log else 2.0


def _move(
    parameter: Parameter,
    trials: Sequence[Trial],
    evidence: Evidence,
    direction: int,
    numbers: random.Random,
) -> Value:
    """Return a new value of one parameter, or its present one where no move is possible.

    `direction` is 1 to go up, -1 to go down, 0 to decide here: where only one side was tried from the present
    value the other one is next.
    """
    tried = [value for value in _neighbours(parameter, trials) if parameter.contains(value)]
    seed = numbers.getrandbits(32)
    if not _movable(parameter):
        others = [value for value in parameter.grid() if identity(value) != identity(parameter.value)]
        fresh = [value for value in others if identity(value) not in map(identity, tried)] or others
        option: Value = _ask(parameter, evidence, None, seed)
        return option if identity(option) in map(identity, fresh) else numbers.choice(fresh)
    here = _coordinate(parameter, parameter.value)
    sides = {1 if _coordinate(parameter, value) > here else -1 for value in tried}
    up, down = (_window(parameter, side, later=len(sides) == 2) for side in (1, -1))
    if direction == 0 and len(sides) == 1:
        direction = -next(iter(sides))
    if up and down and direction:
        up, down = (up, None) if direction > 0 else (None, down)
    if not up and not down:
        return parameter.value
    at = _ask(parameter, evidence, (down[0] if down else here, up[1] if up else here), seed)
    # Around the present value lie moves too small to matter: such a one is taken outwards.
    if up and (at >= here or not down):
        at = max(at, up[0])
    elif down:
        at = min(at, down[1])
    return _value(parameter, at)


def _neighbours(parameter: Parameter, trials: Sequence[Trial]) -> Iterator[Value]:
    """Yield the values that were compared with the present one: moves away from it, and what it came from."""
    for trial in trials:
        if parameter.name not in trial.old:
            continue
        old, new = trial.old[parameter.name], trial.values[parameter.name]
        if identity(old) == identity(parameter.value):
            yield new
        elif trial.accepted and identity(new) == identity(parameter.value):
            yield old


def _movable(parameter: Parameter) -> bool:
    """Whether the parameter has a direction: a number, or a choice of numbers."""
    return isinstance(parameter, Range) or (parameter.ordered and parameter.contains(parameter.value))


def _coordinate(parameter: Parameter, value: Value) -> float:
    """Return where `value` stands on the line that moves are made on: its logarithm, itself, or its rank."""
    if isinstance(parameter, Choice):
        return float(_ranked(parameter).index(value))
    number = min(max(float(value or 0), parameter.low), parameter.high)
    return math.log(number) if parameter.log else number


def _value(parameter: Parameter, at: float) -> Value:
    if isinstance(parameter, Choice):
        return _ranked(parameter)[round(at)]
    return parameter.fit(math.exp(at) if parameter.log else at)


def _ranked(parameter: Choice) -> list[Value]:
    return sorted(parameter.options, key=lambda value: float(value or 0))


def _window(parameter: Parameter, side: int, *, later: bool) -> tuple[float, float] | None:
    """Return the two coordinates between which a move to one side may end; None if there is no room."""
    here = _coordinate(parameter, parameter.value)
    if isinstance(parameter, Choice):
        edge = float(len(parameter.options) - 1) if side > 0 else 0.0
        least, near, far = 1.0, 1.0, 2.0 if later else 1.0
    else:
        edge = parameter.high if side > 0 else parameter.low
        if parameter.log:
            edge = math.log(edge)
            (near, far), least = (
                map(math.log, LATER_FACTORS if later else FACTORS),
                math.log(LATER_FACTORS[0]),
            )
            step = abs(math.log(max(1 + side * parameter.step / math.exp(here), 1e-9)))
        else:
            shares = LATER_SHARES if later else SHARES
            near, far, least = ((parameter.high - parameter.low) * s for s in (*shares, LATER_SHARES[0]))
            step = float(parameter.step)
        if parameter.integer:
            least, near, far = max(least, step), max(near, step), max(far, step)
    room = abs(edge - here)
    if room < least * (1 - 1e-9):
        return None
    ends = here + side * min(near, room), here + side * min(far, room)
    return min(ends), max(ends)


def _every(parameters: Mapping[str, Parameter], numbers: random.Random) -> Iterator[dict[str, Value]]:
    """Yield every combination of up to three changes, so that a small space is used up to the last one."""
    grids = {
        name: [value for value in parameter.grid() if identity(value) != identity(parameter.value)]
        for name, parameter in parameters.items()
    }
    names = list(parameters)
    numbers.shuffle(names)
    for count in COUNTS:
        for chosen in itertools.combinations(names, count):
            for values in itertools.product(*(grids[name] for name in chosen)):
                yield dict(zip(chosen, values, strict=True))


def _key(values: Mapping[str, Value]) -> Key:
    return frozenset((name, identity(value)) for name, value in values.items())


def _show(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _anywhere(
    parameters: Mapping[str, Parameter], evidence: Evidence, numbers: random.Random
) -> dict[str, Value]:
    """Return what is to change for the values that TPE suggests from the whole space."""
    windows = {name: _whole(parameter) for name, parameter in parameters.items()}
    found: dict[str, Value] = {}
    for name, parameter in parameters.items():
        suggested = _ask(parameter, evidence, windows[name], numbers.getrandbits(32))
        value = suggested if windows[name] is None else _value(parameter, _inside(parameter, suggested))
        if identity(value) != identity(parameter.value):
            found[name] = value
    return found


def _inside(parameter: Parameter, at: float) -> float:
    return min(max(at, 0.0), len(parameter.options) - 1.0) if isinstance(parameter, Choice) else at


def _whole(parameter: Parameter) -> tuple[float, float] | None:
    """Return the coordinates between which a number lies, None for a choice without a direction."""
    if not _movable(parameter):
        return None
    if isinstance(parameter, Choice):
        # Half a rank beyond both ends, so that these are drawn as often as what lies between.
        return -0.5, len(parameter.options) - 0.5
    ends = parameter.low, parameter.high
    return (math.log(ends[0]), math.log(ends[1])) if parameter.log else ends


def _ask(parameter: Parameter, evidence: Evidence, window: tuple[float, float] | None, seed: int) -> Any:  # noqa: ANN401 - a float or an option
    """Return what Optuna's TPE suggests: a coordinate in `window`, or without one an option of a choice.

    The study lives for one question: TPE looks at one parameter at a time, and what was measured outside of
    the window is told at its edge, since its densities are not made for points beyond.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study it makes
    try:
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=4, multivariate=False)
        study = optuna.create_study(direction="minimize", sampler=sampler)
    finally:
        optuna.logging.set_verbosity(level)
    name = parameter.name
    one: BaseDistribution = (
        FloatDistribution(*window) if window else CategoricalDistribution(list(parameter.grid()))
    )
    for values, bpb in evidence:
        given: dict[str, Any] = {}
        if name in values and parameter.contains(values[name]):
            at = (
                min(max(_coordinate(parameter, values[name]), window[0]), window[1])
                if window
                else values[name]
            )
            given = {name: at}
        state = optuna.trial.TrialState.FAIL if bpb is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                state=state, value=bpb, params=given, distributions=dict.fromkeys(given, one)
            )
        )
    return study.ask({name: one}).params[name]
