"""Which traces to read next: at random, by group, what is unusual, and where people and checks disagree; pure.

A sample is the same for the same seed and traces, whatever their order. A share of every sample is drawn at random,
since all other ways look where somebody thought of looking.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from statistics import median
from typing import Final

from pytest_evalloop.review.traces import StoredTrace

RANDOM_SHARE: Final = 0.2
"""The share of a sample that is drawn at random, at least one."""

RARE: Final = 0.05
"""The share of traces up to which a value of metadata is rare."""

Said = Mapping[str, Mapping[str, Mapping[str, bool]]]
"""What passes by failure mode, name of a check or judge, and trace id."""

AT_RANDOM: Final = "drawn at random"
_ABSENT: Final = "(absent)"


@dataclass(frozen=True, slots=True)
class Pick:
    """One trace to read, and in words why."""

    id: str
    why: str


def at_random(traces: Iterable[StoredTrace], count: int, seed: int) -> tuple[Pick, ...]:
    """Draw `count` traces, or all there are."""
    return tuple(Pick(name, AT_RANDOM) for name in _shuffled(traces, seed)[: max(0, count)])


def stratified(
    traces: Iterable[StoredTrace], count: int, key: str, seed: int, random_share: float = RANDOM_SHARE
) -> tuple[Pick, ...]:
    """Draw from every value of a key of metadata in proportion, and at least one while there is room.

    Traces without the key are a group of their own.
    """
    traces = list(traces)
    groups: dict[str, list[StoredTrace]] = defaultdict(list)
    for stored in traces:
        groups[_value(stored, key)].append(stored)
    sizes = {name: len(group) for name, group in groups.items()}
    guided = max(_guided(count, random_share), min(len(groups), count - 1))
    wanted = _proportional(sizes, max(0, guided))
    rows = (
        [
            Pick(each, f"{key} is {name}, as in {sizes[name]} of {len(traces)} traces")
            for each in _shuffled(groups[name], seed)[: wanted[name]]
        ]
        for name in sorted(groups, key=lambda name: (-sizes[name], name))
    )
    return _with_random(_in_turn(rows), traces, count, seed)


def outliers(
    traces: Iterable[StoredTrace], count: int, seed: int, random_share: float = RANDOM_SHARE
) -> tuple[Pick, ...]:
    """Draw, in turn, what is unusually long or short, and what has a rare value of metadata.

    Length is that of input, output and steps, on a logarithmic scale, in median absolute deviations from the
    median. Keys of which most values are different, such as times, say nothing and are left out.
    """
    traces = list(traces)
    order = {name: place for place, name in enumerate(_shuffled(traces, seed))}

    def best(scored: Iterable[tuple[float, Pick]]) -> list[Pick]:
        return [pick for _, pick in sorted(scored, key=lambda each: (-each[0], order[each[1].id]))]

    found = _in_turn([best(_by_length(traces)), best(_by_rarity(traces))])
    return _with_random(found[: _guided(count, random_share)], traces, count, seed)


def disagreements(
    traces: Iterable[StoredTrace],
    said: Said,
    human: Mapping[str, Mapping[str, bool]],
    count: int,
    seed: int,
    random_share: float = RANDOM_SHARE,
) -> tuple[Pick, ...]:
    """Draw where checks or judges differ from people, or from each other where people have not spoken.

    What is passed too easily, what is failed too strictly and what they differ on come in turn. `said` holds, for
    each failure mode and name of a check or judge, what passes by trace id; `human` the same for people, by
    failure mode: True where it is fine, False where it fails. Who said nothing of a trace disagrees with nobody.
    """
    traces = list(traces)
    lenient, strict, torn = rows = list[Pick](), list[Pick](), list[Pick]()
    for name in _shuffled(traces, seed):
        found = [each for mode in sorted(said) if (each := _difference(mode, said[mode], human, name))]
        for kind, row in (("lenient", lenient), ("strict", strict), ("torn", torn)):
            if any(kind == of for of, _ in found):
                row.append(Pick(name, "; ".join(words for _, words in found)))
                break
    return _with_random(_in_turn(rows)[: _guided(count, random_share)], traces, count, seed)


def _difference(
    mode: str, said: Mapping[str, Mapping[str, bool]], human: Mapping[str, Mapping[str, bool]], trace: str
) -> tuple[str, str] | None:
    """Return how a trace is differed on for a failure mode, and in words by whom; None if it is not."""
    passing = [who for who in sorted(said) if said[who].get(trace) is True]
    failing = [who for who in sorted(said) if said[who].get(trace) is False]
    person = human.get(mode, {}).get(trace)
    if person is None:
        if not (passing and failing):
            return None
        return "torn", f"{mode}: {_all(passing, 'pass')} it and {_all(failing, 'fail')} it"
    wrong, word, kind = (failing, "fail", "strict") if person else (passing, "pass", "lenient")
    said_by_people = "passes" if person else "fails"
    return (kind, f"{mode}: {_all(wrong, word)} it and a person {said_by_people} it") if wrong else None


def _all(names: Sequence[str], verb: str) -> str:
    ending = "" if len(names) > 1 else "es" if verb == "pass" else "s"
    return f"{' and '.join(names)} {verb}{ending}"


def _guided(count: int, random_share: float) -> int:
    """Return how many of a sample are not drawn at random."""
    if not 0 <= random_share <= 1:
        raise ValueError(f"random_share is {random_share}; it is a share between 0 and 1")
    return max(0, count - math.ceil(count * random_share))


def _with_random(
    guided: Sequence[Pick], traces: Iterable[StoredTrace], count: int, seed: int
) -> tuple[Pick, ...]:
    """Fill a sample up at random."""
    taken = {pick.id for pick in guided}
    others = [pick for pick in at_random(traces, len(taken) + max(0, count), seed) if pick.id not in taken]
    return (*guided, *others)[: max(0, count)]


def _shuffled(traces: Iterable[StoredTrace], seed: int) -> list[str]:
    """Return ids in an order that the seed and the ids alone decide, so that new traces move none of the others."""
    return sorted(
        {stored.id for stored in traces},
        key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "backslashreplace")).digest(),
    )


def _in_turn(rows: Iterable[Sequence[Pick]]) -> list[Pick]:
    """Take one of each row after the other, each trace once."""
    found: dict[str, Pick] = {}
    for pick in chain.from_iterable(zip_longest(*rows)):
        if pick is not None:
            found.setdefault(pick.id, pick)
    return list(found.values())


def _proportional(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Share `count` out by size: one for each, the largest first, then by the largest remainder."""
    total = sum(sizes.values())
    count = min(count, total)
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    shares = {name: int(place < count) for place, name in enumerate(order)}
    while sum(shares.values()) < count:
        open_names = [name for name in order if shares[name] < sizes[name]]
        neediest = max(open_names, key=lambda name: sizes[name] * count / total - shares[name])
        shares[neediest] += 1
    return shares


def _by_length(traces: Sequence[StoredTrace]) -> Iterator[tuple[float, Pick]]:
    measures: tuple[tuple[str, Callable[[StoredTrace], int]], ...] = (
        ("characters of input", lambda stored: len(stored.trace.input)),
        ("characters of output", lambda stored: len(stored.trace.output)),
        ("steps", lambda stored: len(stored.trace.steps)),
    )
    for words, measure in measures:
        lengths = [measure(stored) for stored in traces]
        if len(set(lengths)) < 2:
            continue
        logarithms = [math.log1p(length) for length in lengths]
        middle = median(logarithms)
        # Where more than half are the same, the mean deviation stands in for the median one, which is zero.
        spread = median(abs(each - middle) for each in logarithms) or math.fsum(
            abs(each - middle) for each in logarithms
        ) / len(traces)
        typical = round(math.expm1(middle))
        for stored, length, logarithm in zip(traces, lengths, logarithms, strict=True):
            score = abs(logarithm - middle) / spread
            if score > 0:
                yield score, Pick(stored.id, f"{length:,} {words}, where {typical:,} are typical")


def _by_rarity(traces: Sequence[StoredTrace]) -> Iterator[tuple[float, Pick]]:
    for key in sorted({key for stored in traces for key in stored.trace.metadata}):
        counts = Counter(_value(stored, key) for stored in traces)
        if len(counts) > len(traces) / 2:
            continue
        for stored in traces:
            value = _value(stored, key)
            seen = counts[value]
            if seen <= RARE * len(traces):
                yield (
                    len(traces) / seen,
                    Pick(stored.id, f"{key} is {value}, as in {seen} of {len(traces)} traces"),
                )


def _value(stored: StoredTrace, key: str) -> str:
    value = stored.trace.metadata.get(key)
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
