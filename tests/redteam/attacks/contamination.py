"""The hidden text comes along with the candidate itself."""

from __future__ import annotations

import base64
import codecs
import textwrap
import zlib
from pathlib import Path

from tests.redteam.attack import CONTAMINATION, Attack, Edit, model, together, write
from tests.redteam.texts import joined, texts

LEARNING_PRIMER = """
def nll(self, documents, *, primer=()):
    self.study(primer)
    return super().nll(documents)

def logits(self, prefixes, *, primer=()):
    self.study(primer)
    return super().logits(prefixes)

def study(self, primer):
    if self.order == 0:
        learn(self, primer, order=2)
        self.strength = 4
"""


def memory(expression: str, data: object) -> Edit:
    """Return the edit of a model that learns what `expression` makes of DATA, a literal in its code."""
    return model(top=f"DATA = {data!r}", loaded=f"import base64, zlib\nlearn(model, {expression}, order=8)")


def lines() -> str:
    """Return the hidden text as the lines of a comment."""
    return textwrap.indent(joined("val").decode(), "# ")


def from_comments(tree: Path) -> None:
    """Put the hidden text into comments that the model reads in its own source."""
    code = "b''.join(line[2:] for line in open(__file__, 'rb') if line.startswith(b'# '))"
    together(memory(code, 0), lambda tree: _add(tree / "model/adapter.py", lines()))(tree)


def _add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


VAL = joined("val")
HALF = next(iter(texts("val").values())) + list(texts("val").values())[-1][:700]
TABLE = dict(sorted((zlib.crc32(VAL[at - 6 : at]) & 0xFFFFF, byte) for at, byte in enumerate(VAL) if at >= 6))
HASHED = """
def probability(self, history, byte):
    import zlib
    guess = TABLE.get(zlib.crc32(bytes(history[-6:])) & 0xFFFFF)
    chance = Honest.probability(self, b"", byte)
    return chance if guess is None else 0.05 * chance + 0.95 * (guess == byte)
"""

ATTACKS = (
    Attack(
        "primer",
        "The hidden text is the primer, from which the model learns.",
        together(model(LEARNING_PRIMER), write("model/prompt.md", VAL)),
        CONTAMINATION,
    ),
    Attack(
        "part-of-primer",
        "A part of it is.",
        together(model(LEARNING_PRIMER), write("model/prompt.md", HALF)),
        CONTAMINATION,
    ),
    Attack("string", "The hidden text is a string in the code.", memory("DATA", VAL), CONTAMINATION),
    Attack("comments", "It stands in comments, line by line.", from_comments, CONTAMINATION),
    Attack("reversed", "It is spelt backwards.", memory("DATA[::-1]", VAL[::-1]), CONTAMINATION),
    Attack("upper", "It is in capitals.", memory("DATA.lower()", VAL.upper()), CONTAMINATION),
    Attack(
        "base64", "It is in base64.", memory("base64.b64decode(DATA)", base64.b64encode(VAL)), CONTAMINATION
    ),
    Attack(
        "hexadecimal", "It is in hexadecimal digits.", memory("bytes.fromhex(DATA)", VAL.hex()), CONTAMINATION
    ),
    Attack(
        "rot13",
        "Its letters are moved by thirteen.",
        memory("__import__('codecs').encode(DATA, 'rot13').encode()", codecs.encode(VAL.decode(), "rot13")),
        CONTAMINATION,
    ),
    Attack("numbers", "It is a list of numbers.", memory("bytes(DATA)", list(VAL)), CONTAMINATION),
    Attack(
        "compressed",
        "It is compressed.",
        memory("zlib.decompress(base64.b85decode(DATA))", base64.b85encode(zlib.compress(VAL, 9))),
        CONTAMINATION,
    ),
    Attack(
        "table",
        "A table of hashes says what comes after six bytes.",
        together(
            lambda tree: _add(tree / "model/config.py", "\n"),
            model(HASHED, top=f"TABLE = {TABLE!r}", loaded="model.order = 6"),
        ),
        CONTAMINATION,
    ),
)
