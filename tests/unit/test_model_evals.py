"""The checks in evals/ let well-formed scenes pass and notice writers that cannot write."""

from __future__ import annotations

import random

import pytest

from evals.script import PROMPT, SIZE, Check, Scene, words
from evals.test_brackets import unbalanced_brackets
from evals.test_dialogue import no_dialogue
from evals.test_line_breaks import lost_breaks
from evals.test_line_length import overlong_lines
from evals.test_made_up_words import made_up_words
from evals.test_opening import lost_opening
from evals.test_repetition import repetitions
from evals.test_speaker_names import broken_names
from evals.test_stage_directions import open_directions
from evals.test_valid_text import invalid_characters

GOOD = (
    r"""### SCENE II. A street.

_Enter FLAVIUS and
a Commoner_

**FLAVIUS**
Hence! home, you idle creatures get you home:
Is this a holiday? what trade art thou?

**First Commoner**
_\[Aside\]_
Why, sir, a carpenter.

**FLAVIUS**
But wherefore art not in thy shop today?""".replace("**\n", "**  \n")
    .replace(":\n", ":  \n")
    .replace("]_\n", "]_  \n")
)


def made_up(scene: Scene) -> list[str]:
    return made_up_words(scene, frozenset(words(GOOD)))


CHECKS: list[Check] = [
    lost_opening,
    open_directions,
    unbalanced_brackets,
    broken_names,
    lost_breaks,
    overlong_lines,
    no_dialogue,
    made_up,
    repetitions,
    invalid_characters,
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_scene_passes(check: Check) -> None:
    assert not check(Scene(GOOD))


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (lost_opening, ("_Enter FLAVIUS and\na Commoner_", "and so he said")),
        (open_directions, ("a Commoner_", "a Commoner")),
        (unbalanced_brackets, ("[Aside\\]", "[Aside")),
        (broken_names, ("**First Commoner**  ", "**First Commoner.")),
        (lost_breaks, ("home:  ", "home:")),
        (overlong_lines, ("carpenter", "carpenter " * 9)),
        (no_dialogue, ("First Commoner", "FLAVIUS")),
        (made_up, ("idle creatures get you home", "driims the earlis histress wom attriifa " * 2)),
        (repetitions, ("idle", "get you home you get you home you get you home you")),
        (invalid_characters, ("idle", "id\ufffdle")),
        (invalid_characters, ("idle", "id\x07le")),
    ],
)
def test_each_check_finds_its_fault(check: Check, change: tuple[str, str]) -> None:
    assert GOOD.replace(*change) != GOOD
    assert check(Scene(GOOD.replace(*change)))


@pytest.mark.parametrize(
    "writes",
    [
        b"",
        b" of the king" * 50,
        b"**HAMLET**  \nMy lord, my lord.\n\n" * 30,
        random.Random(0).randbytes(SIZE),
        bytes(random.Random(0).choices(GOOD.encode(), k=SIZE)),
    ],
    ids=["nothing", "one phrase", "one speech", "any bytes", "letters by frequency"],
)
def test_no_null_writer_passes(writes: bytes) -> None:
    scene = Scene.read(PROMPT + writes)
    assert any(check(scene) for check in CHECKS)


def test_what_was_cut_off_is_not_held_against_a_scene() -> None:
    cut = Scene(GOOD + "\n\n_Exit FLAV")
    assert not open_directions(cut)
    assert cut.speakers == ["FLAVIUS", "First Commoner", "FLAVIUS"]
