"""Pseudo-English, the same on every machine: one language for all splits, other sentences in each."""

from __future__ import annotations

import random
from functools import cache

SIZES = {
    "train": (1500,) * 12,
    "val": (60, 300, 500, 700, 900, 1100, 1300, 1600),
    "vault": (600,) * 4,
}
"""How many bytes each document of a split has."""


@cache
def texts(split: str) -> dict[str, bytes]:
    """Return the documents of a split by file name."""
    return {
        f"{split}-{index}.txt": _text(random.Random(f"{split} {index}"), size)
        for index, size in enumerate(SIZES[split])
    }


def joined(split: str) -> bytes:
    """Return the documents of a split as one text."""
    return b"\n".join(texts(split).values())


def _text(chance: random.Random, size: int) -> bytes:
    words, weights = _lexicon()
    text = ""
    while len(text) < size:
        text += " ".join(chance.choices(words, weights, k=chance.randint(5, 9))) + "\n"
    return text[: size - 1].encode() + b"\n"


@cache
def _lexicon() -> tuple[list[str], list[float]]:
    chance = random.Random("lexicon")
    heads, cores, tails = "bcdfghlmnprstwth", "aeeiou", ("", "", "n", "r", "s", "st", "rd", "l")
    words: dict[str, None] = {}
    while len(words) < 900:
        syllables = chance.choice((1, 2, 2, 3))
        word = "".join(chance.choice(heads) + chance.choice(cores) for _ in range(syllables))
        words[word + chance.choice(tails)] = None
    return list(words), [1 / (rank + 30) for rank in range(900)]
