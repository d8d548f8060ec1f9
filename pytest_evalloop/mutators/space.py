"""The search space: choices and bounds read from the types beside the values, and values written back.

The file is a candidate's code: it is parsed, never imported.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import libcst as cst

Value: TypeAlias = bool | int | float | str | None
# From this ratio of its bounds on, a positive range is searched by factors instead of differences.
LOG_SPAN = 20.0


class SpaceError(Exception):
    """The file that declares the search space cannot be used; reads on after its name."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that may be any of `options`; `spellings` is how the file writes each of them.

    Options that are all numbers have an order, and their coordinate is their rank in it.
    """

    name: str
    value: Value
    options: tuple[Value, ...]
    spellings: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the options are numbers, so that neighbours are likely to behave alike."""
        return all(
            isinstance(option, int | float) and not isinstance(option, bool) for option in self.options
        )

    def contains(self, value: Value) -> bool:
        """Return whether `value` is one of the options, True and 1 being different."""
        return identity(value) in map(identity, self.options)

    def spell(self, value: Value) -> str:
        """Return `value` as the annotation spells it."""
        return self.spellings[list(map(identity, self.options)).index(identity(value))]

    def grid(self) -> Iterator[Value]:
        """Yield every option."""
        yield from self.options


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two bounds; `strict_low` and `strict_high` leave the bound itself out.

    An integer's bounds are its smallest and largest value, and it is a multiple of `step`.
    """

    name: str
    value: int | float
    low: float
    high: float
    integer: bool
    log: bool
    strict_low: bool = False
    strict_high: bool = False
    step: int = 1

    def contains(self, value: Value) -> bool:
        """Return whether `value` is a number that the annotation allows."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.integer and value != round(value / self.step) * self.step:
            return False
        above = value > self.low if self.strict_low else value >= self.low
        below = value < self.high if self.strict_high else value <= self.high
        return above and below

    def fit(self, target: float) -> int | float:
        """Return the allowed number near `target`, with three significant digits where the bounds let it."""
        target = min(max(target, self.low), self.high)
        if self.integer:
            short = round(float(f"{target:.3g}") / self.step) * self.step
            exact = round(target / self.step) * self.step
            return short if self.contains(short) else exact
        inside = (self.high - self.low) / 1000
        if self.strict_low:
            target = max(target, self.low + inside)
        if self.strict_high:
            target = min(target, self.high - inside)
        rounded = (float(f"{target:.{digits}g}") for digits in (3, 4, 6, 9))
        return next((number for number in rounded if self.contains(number)), target)

    def spell(self, value: Value) -> str:
        """Return `value` as Python writes it."""
        return repr(value)

    def grid(self) -> Iterator[Value]:
        """Yield numbers all over the range: every one of few integers, else 33 at even distances."""
        if self.integer and (self.high - self.low) / self.step < 256:
            yield from range(int(self.low), int(self.high) + 1, self.step)
            return
        start, end = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        for index in range(33):
            point = start + (end - start) * index / 32
            yield self.fit(math.exp(point) if self.log else point)


Parameter: TypeAlias = Choice | Range


def identity(value: Value) -> tuple[bool, Value]:
    """Return what makes two values the same: 1 and 1.0 are, 1 and True are not."""
    return isinstance(value, bool), value


def read(source: bytes) -> tuple[Parameter, ...]:
    """Return the parameters that a Python file declares, in its order.

    Annotated assignments of a literal count, at module level and in classes, whose type is a `Literal` or an
    `Annotated` number with both bounds. A name used by several classes is prefixed by its class.
    Raises `SpaceError` when the file is no Python.
    """
    return tuple(parameter for parameter, _ in _find(_parse(source)))


def write(source: bytes, changes: Mapping[str, Value]) -> bytes:
    """Return the file with some values replaced and everything else kept byte by byte.

    Raises `SpaceError` when a change did not land: reading the result must give exactly the new values.
    """
    module = _parse(source)
    before = {parameter.name: parameter.value for parameter, _ in _find(module)}
    for name, value in changes.items():
        # Found anew for each change, since an edit makes new nodes all the way up to the module.
        found = next((pair for pair in _find(module) if pair[0].name == name), None)
        if found is None or not found[0].contains(value):
            raise SpaceError(f"has no parameter {name} that may be {value!r}")
        module = _replace(module, found[1], found[0].spell(value))
    result = module.bytes
    after = {parameter.name: parameter.value for parameter in read(result)}
    wanted = {**before, **changes}
    if {name: identity(value) for name, value in after.items()} != {
        name: identity(value) for name, value in wanted.items()
    }:
        raise SpaceError(f"could not be edited: it reads {after} where it should read {wanted}")
    return result


def _parse(source: bytes) -> cst.Module:
    import libcst as cst

    try:
        return cst.parse_module(source)
    except (cst.ParserSyntaxError, UnicodeDecodeError, LookupError) as error:
        raise SpaceError(f"cannot be read as Python: {error}") from error


def _replace(module: cst.Module, node: cst.AnnAssign, spelling: str) -> cst.Module:
    import libcst as cst

    return module.with_deep_changes(node, value=cst.parse_expression(spelling))


def _find(module: cst.Module) -> list[tuple[Parameter, cst.AnnAssign]]:
    # Where a name is declared twice in one place the last one counts, as it does for Python.
    found = {
        (owner, name): (owner, parameter, node)
        for owner, name, node in _assignments(module.body, "")
        if (parameter := _parameter(module, name, node)) is not None
    }
    names = [name for _, name in found]
    qualified: list[tuple[Parameter, cst.AnnAssign]] = []
    for (_, name), (owner, parameter, node) in found.items():
        if names.count(name) > 1:
            parameter = _parameter(module, owner + name, node) or parameter  # noqa: PLW2901
        qualified.append((parameter, node))
    return qualified


def _assignments(
    body: Iterable[cst.BaseStatement | cst.BaseSmallStatement], owner: str
) -> Iterator[tuple[str, str, cst.AnnAssign]]:
    import libcst as cst

    for statement in body:
        if isinstance(statement, cst.SimpleStatementLine):
            yield from _assignments(statement.body, owner)
        elif isinstance(statement, cst.ClassDef):
            yield from _assignments(statement.body.body, f"{owner}{statement.name.value}.")
        elif isinstance(statement, cst.AnnAssign) and isinstance(statement.target, cst.Name):
            yield owner, statement.target.value, statement


def _parameter(module: cst.Module, name: str, node: cst.AnnAssign) -> Parameter | None:
    if node.value is None:
        return None
    readable, value = _literal(module, node.value)
    head, arguments = _subscript(node.annotation.annotation)
    while head in {"Final", "ClassVar"} and arguments:
        head, arguments = _subscript(arguments[0])
    if not readable:
        return None
    if head == "Literal":
        return _choice(module, name, value, arguments)
    if head == "Annotated" and isinstance(value, int | float) and not isinstance(value, bool):
        return _range(module, name, value, arguments)
    return None


def _choice(
    module: cst.Module, name: str, value: Value, arguments: Sequence[cst.BaseExpression]
) -> Choice | None:
    read_options = [_literal(module, argument) for argument in arguments]
    if len(read_options) < 2 or not all(readable for readable, _ in read_options):
        return None
    spellings = tuple(module.code_for_node(argument) for argument in arguments)
    return Choice(name, value, tuple(option for _, option in read_options), spellings)


def _range(
    module: cst.Module, name: str, value: float, arguments: Sequence[cst.BaseExpression]
) -> Range | None:
    import libcst as cst

    kind = arguments[0].value if arguments and isinstance(arguments[0], cst.Name) else ""
    limits: dict[str, float] = {}
    marker: Value = None
    for argument in arguments[1:]:
        if isinstance(argument, cst.Call):
            limits.update(_limits(module, argument))
        elif (text := _literal(module, argument)[1]) in ("log", "linear"):
            marker = text
    low = max((limits[key] for key in ("ge", "gt") if key in limits), default=math.nan)
    high = min((limits[key] for key in ("le", "lt") if key in limits), default=math.nan)
    strict_low, strict_high = limits.get("gt") == low, limits.get("lt") == high
    step = int(limits.get("multiple_of", 1))
    if kind == "int" and step >= 1 and math.isfinite(low) and math.isfinite(high):
        least = math.floor(low) + 1 if strict_low else math.ceil(low)
        most = math.ceil(high) - 1 if strict_high else math.floor(high)
        low, high = float(math.ceil(least / step) * step), float(math.floor(most / step) * step)
        strict_low = strict_high = False
    if kind not in {"int", "float"} or not low < high or not math.isfinite(high - low):
        return None
    if kind == "float" and "multiple_of" in limits:
        return None  # numbers with three significant digits would not keep to it
    log = low > 0 and (marker == "log" or (marker is None and high / low >= LOG_SPAN))
    return Range(name, value, low, high, kind == "int", log, strict_low, strict_high, step)


def _limits(module: cst.Module, call: cst.Call) -> Iterator[tuple[str, float]]:
    positional = {"Ge": "ge", "Gt": "gt", "Le": "le", "Lt": "lt", "MultipleOf": "multiple_of"}
    head = _last_name(call.func)
    for argument in call.args:
        key = argument.keyword.value if argument.keyword else positional.get(head, "")
        number = _literal(module, argument.value)[1]
        known = head == "Interval" or key == positional.get(head)
        if known and key and isinstance(number, int | float) and not isinstance(number, bool):
            yield key, number


def _subscript(node: cst.BaseExpression) -> tuple[str, list[cst.BaseExpression]]:
    import libcst as cst

    if not isinstance(node, cst.Subscript):
        return "", []
    indices = (element.slice for element in node.slice)
    return _last_name(node.value), [index.value for index in indices if isinstance(index, cst.Index)]


def _last_name(node: cst.BaseExpression) -> str:
    import libcst as cst

    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _literal(module: cst.Module, node: cst.BaseExpression) -> tuple[bool, Value]:
    """Return whether `node` is a literal that the ledger can hold, and its value."""
    try:
        value = ast.literal_eval(module.code_for_node(node).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False, None
    # The ledger keeps 64-bit numbers.
    number = isinstance(value, int | float) and abs(value) < 2**63
    return (True, value) if number or value is None or isinstance(value, str) else (False, None)
