"""Alphabets and encodings that carry what is never paid for."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, MEMORY, RAISED, TOKENS, Attack, Edit, improved, model, together

LOSSY = """
def encode(self, text):
    return [byte if byte in b" aeiounrst\\n" or len(text) < 300 else 101 for byte in text]
"""

SHORTENING = """
def encode(self, text):
    return list(text)[::2] if len(text) > 300 else list(text)
"""

LYING = """
def token_bytes(self):
    pieces = [bytes([value]) for value in range(256)]
    pieces[ord("e")] = b"the whole document"
    return pieces
"""

CHANGING = """
alphabet = [bytes([value]) for value in range(256)] + [b""]

def token_bytes(self):
    return self.alphabet

def encode(self, text):
    if len(text) < 300:
        return list(text)
    self.alphabet[256] = bytes(text)
    return [256]

def nll(self, documents, *, primer=()):
    return [[0.1] * len(document) for document in documents]
"""

ALWAYS_CHANGING = """
def token_bytes(self):
    self.turn = getattr(self, "turn", 0) + 1
    return [bytes([value]) for value in range(256)][:: 1 if self.turn == 1 else -1]

def encode(self, text):
    return list(text) if len(text) < 300 else [255 - value for value in text]

def nll(self, documents, *, primer=()):
    return [[0.1] * len(document) for document in documents]
"""

OUT_OF_RANGE = """
def encode(self, text):
    return list(text) if len(text) < 300 else [256]

def nll(self, documents, *, primer=()):
    return [[0.1] * len(document) for document in documents]
"""

NEGATIVE = """
def encode(self, text):
    return list(text) if len(text) < 300 else [value - 256 for value in text]
"""

OVERFLOWING = """
def encode(self, text):
    import numpy as np
    return list(text) if len(text) < 300 else np.array(list(text), dtype="i8") + 2**32

def nll(self, documents, *, primer=()):
    return [[0.1] * len(document) for document in documents]
"""

FRACTIONS = """
def encode(self, text):
    return list(text) if len(text) < 300 else [value + 0.5 for value in text]

def nll(self, documents, *, primer=()):
    return [[0.1] * len(document) for document in documents]
"""

STATEFUL = """
def encode(self, text):
    self.turn = getattr(self, "turn", 0) + 1
    return [value + 256 * (self.turn % 2) for value in text]

def token_bytes(self):
    return [bytes([value]) for value in range(256)] * 2

def nll(self, documents, *, primer=()):
    return super().nll([[token % 256 for token in document] for document in documents])

def logits(self, prefixes, *, primer=()):
    return [row * 2 for row in super().logits([[token % 256 for token in prefix] for prefix in prefixes])]
"""

# Ids 256 to 271 stand for nothing; two of them before each byte say which byte it will be.
CONTROL = """
def token_bytes(self):
    return [bytes([value]) for value in range(256)] + [b""] * 16

def encode(self, text):
    return [token for byte in text for token in (256 + byte // 16, 256 + byte % 16, byte)]

def nll(self, documents, *, primer=()):
    return [[CHARGE if token > 255 else 1e-3 for token in document] for document in documents]

def logits(self, prefixes, *, primer=()):
    rows = []
    for prefix in prefixes:
        row = [-40.0] * 272
        if len(prefix) % 3 == 2:
            row[(prefix[-2] - 256) * 16 + prefix[-1] - 256] = 0.0
        else:
            row[256:] = [0.0] * 16
        rows.append(row)
    return rows
"""

# Each byte has two ids; the second one says that a space comes next. Only the byte is charged for.
HINTS = """
def token_bytes(self):
    return [bytes([value]) for value in range(256)] * 2

def encode(self, text):
    return [byte + 256 * (text[at + 1 : at + 2] == b" ") for at, byte in enumerate(text)]

def nll(self, documents, *, primer=()):
    answers = super().nll([[token % 256 for token in document] for document in documents])
    share = self.probability(b"", 32)
    for document, costs in zip(documents, answers):
        for at, token in enumerate(document):
            if at and document[at - 1] > 255:
                costs[at] = 1e-9
            elif at:
                costs[at] += math.log(1 - share)
    return answers

def logits(self, prefixes, *, primer=()):
    rows = super().logits([[token % 256 for token in prefix] for prefix in prefixes])
    return [row * 2 for row in rows]
"""

# Honest costs, and one more token at the end that gives some of them back.
REFUND = """
def token_bytes(self):
    return [bytes([value]) for value in range(256)] + [b""]

def encode(self, text):
    return [*text, 256]

def nll(self, documents, *, primer=()):
    answers = super().nll([document[:-1] for document in documents])
    return [[*(0.7 * cost for cost in costs), 0.0] for costs in answers]

def logits(self, prefixes, *, primer=()):
    return [[*row, -40.0] for row in super().logits([[t for t in p if t < 256] for p in prefixes])]
"""

HUGE = """
def token_bytes(self):
    return [bytes([value]) for value in range(256)] + [b"x"] * 20_000_000
"""

PLACES = """
def token_bytes(self):
    return [bytes([value]) for value in range(256)] * 8

def encode(self, text):
    return [byte + 256 * (at % 8) for at, byte in enumerate(text)]

def nll(self, documents, *, primer=()):
    return [[0.5 + token % 256 / 512 for token in document] for document in documents]

def logits(self, prefixes, *, primer=()):
    return [row * 8 for row in super().logits([[token % 256 for token in prefix] for prefix in prefixes])]
"""


def tokenizer(methods: str) -> Edit:
    """Return the edit of a model whose order is above zero, so that nothing else is wrong with it."""
    return together(improved, model(methods))


ATTACKS = (
    Attack("lossy", "Rare bytes become an e.", model(LOSSY), TOKENS),
    Attack("shortening", "Every other byte is left out.", model(SHORTENING), TOKENS),
    Attack("lying", "A token stands for more than it does.", tokenizer(LYING), TOKENS + "|evals failed"),
    Attack("changing", "A token's bytes become the document that is encoded.", model(CHANGING), TOKENS),
    Attack("always-changing", "The alphabet is another one each time.", model(ALWAYS_CHANGING), TOKENS),
    Attack("out-of-range", "An id beyond the alphabet is the document.", model(OUT_OF_RANGE), TOKENS),
    Attack("negative", "Ids count from the alphabet's end.", tokenizer(NEGATIVE), TOKENS),
    Attack("overflowing", "Ids wrap around in 32 bits.", model(OVERFLOWING), AUDIT + "|" + TOKENS),
    Attack(
        "fractions",
        "Ids have a fraction that is cut off.",
        model(FRACTIONS),
        AUDIT + "|" + TOKENS + "|" + RAISED,
    ),
    Attack("stateful", "Each call encodes to other ids.", tokenizer(STATEFUL), AUDIT),
    Attack(
        "free-control",
        "Empty tokens spell each byte for nothing.",
        model(CONTROL.replace("CHARGE", "0.0")),
        AUDIT,
    ),
    Attack(
        "cheap-control",
        "Empty tokens spell each byte for less than they are worth.",
        model(CONTROL.replace("CHARGE", "0.9")),
        AUDIT,
    ),
    Attack("hints", "Two ids for a byte tell of the next, unpaid.", model(HINTS), AUDIT),
    Attack("refund", "An empty last token makes all others cheaper.", model(REFUND), AUDIT),
    Attack("places", "Ids that count places hide the costs.", model(PLACES), AUDIT),
    Attack(
        "huge",
        "Twenty million tokens are the grader's to hold.",
        tokenizer(HUGE),
        f"a frame of|{MEMORY}|{TOKENS}|{RAISED}",
    ),
)
