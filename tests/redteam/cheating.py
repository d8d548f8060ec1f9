"""A mutator that does nothing but cheat: adapter attacks, combined and varied by seed."""

from __future__ import annotations

import random

from tests.redteam.attack import AUDIT, COST, ENDED, PROTOCOL, RAISED, SHAPE, TOKENS, Attack, peek, together
from tests.redteam.attacks import detection, lookahead, losses, normalisation, state

ANY = f"{AUDIT}|{COST}|{SHAPE}|{TOKENS}|{RAISED}|{ENDED}|{PROTOCOL}"
CANDIDATES = 30

_CONDITIONS = (
    "at > {0}",
    "len(document) > {0}",
    "at % {1} == {2}",
    "number % 3 == {2} % 3",
    "cost > {3}",
    "at > {2} and document[at - 1] == 32",
    "len(documents) > 1 and at > 20",
    "sum(document[:at]) % {1} == 0",
)


def cheats(seed: int) -> tuple[Attack, ...]:
    """Return attacks of which none should ever be accepted, other ones for each seed."""
    chance = random.Random(f"cheats {seed}")
    taken: set[str] = set()
    return tuple(_cheat(chance, number, taken) for number in range(CANDIDATES))


def _cheat(chance: random.Random, number: int, taken: set[str]) -> Attack:
    """Return one attack, whose name is added to those that are `taken`: nothing is tried twice."""
    known = [
        attack for module in (lookahead, state, detection, normalisation, losses) for attack in module.ATTACKS
    ]
    if number % 3 == 0:
        attack = chance.choice(known)
        while attack.name in taken:
            attack = known[(known.index(attack) + 1) % len(known)]
        taken.add(attack.name)
        return Attack(f"{number}-{attack.name}", attack.trick, attack.edit, ANY)
    bonus = round(chance.choice((0.02, 0.1, 0.5, 2.0, 8.0)) * chance.uniform(0.5, 1.5), 3)
    period = chance.randint(3, 40)
    values = (chance.randint(20, 900), period, chance.randrange(period), round(chance.uniform(3.0, 5.0), 2))
    condition = chance.choice(_CONDITIONS).format(*values)
    edit = peek(bonus, condition)
    if number % 3 == 2:
        other = chance.choice([attack for module in (state, normalisation) for attack in module.ATTACKS])
        return Attack(
            f"{number}-{other.name}-and-peek",
            f"{other.trick} And {bonus} if {condition}.",
            together(other.edit, edit),
            ANY,
        )
    return Attack(f"{number}-peek", f"Adds {bonus} to the true logit if {condition}.", edit, ANY)


ATTACKS = cheats(1)
