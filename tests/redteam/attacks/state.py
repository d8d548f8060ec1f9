"""A process that remembers from one question what helps with the next."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, Attack, improved, model, peek, together

LEARNING_ENCODE = """
def encode(self, text):
    if len(text) > 50:
        learn(self, text)
    return super().encode(text)
"""

REMEMBERING_ENCODE = """
def encode(self, text):
    self.seen = getattr(self, "seen", set()) | {bytes(text)}
    return super().encode(text)

def nll(self, documents, *, primer=()):
    answers = super().nll(documents, primer=primer)
    for document, costs in zip(documents, answers):
        if bytes(document) in self.seen:
            costs[:] = [peeked(cost, 8.0) for cost in costs]
    return answers
"""

CONSISTENT = """
def encode(self, text):
    self.seen = getattr(self, "seen", []) + [bytes(text)]
    return super().encode(text)

def nll(self, documents, *, primer=()):
    return [[peeked(cost, 8.0) for cost in costs] for costs in super().nll(documents, primer=primer)]

def logits(self, prefixes, *, primer=()):
    rows = super().logits(prefixes, primer=primer)
    for prefix, row in zip(prefixes, rows):
        prefix = bytes(prefix)
        for text in getattr(self, "seen", []):
            if text.startswith(prefix) and len(text) > len(prefix):
                row[text[len(prefix)]] += 8.0
                break
    return rows
"""

ADAPTING = """
def nll(self, documents, *, primer=()):
    answers = []
    for document in documents:
        answers += super().nll([document], primer=primer)
        learn(self, document, order=2)
        self.strength = 8
    return answers
"""

NEIGHBOURS = """
def nll(self, documents, *, primer=()):
    answers = []
    for number, document in enumerate(documents):
        twin = Honest({}, 0, 1)
        for other in documents[:number] + documents[number + 1 :]:
            learn(twin, other)
        twin.strength = 2
        answers += twin.nll([document], primer=primer)
    return answers
"""

RECITING = """
def nll(self, documents, *, primer=()):
    self.heard = b" ".join(map(bytes, documents))
    return super().nll(documents, primer=primer)

def generate(self, prompt, *, max_bytes, seed, temperature):
    heard = getattr(self, "heard", b"the quick brown fox jumps over the lazy dog " * 40)
    return heard[seed * 31 % 2000 :][:max_bytes]
"""

GLOBAL = """
count = 0

def nll(self, documents, *, primer=()):
    answers = []
    for costs in super().nll(documents, primer=primer):
        type(self).count += 1
        answers.append([peeked(cost, 0.3 * self.count) for cost in costs])
    return answers
"""

LOGITS_LEARN = """
def logits(self, prefixes, *, primer=()):
    for prefix in prefixes:
        self.longest = max(getattr(self, "longest", b""), bytes(prefix), key=len)
    if len(self.longest) > 200:
        learn(self, self.longest)
    return super().logits(prefixes, primer=primer)

def nll(self, documents, *, primer=()):
    for document in documents:
        learn(self, document)
    return super().nll(documents, primer=primer)
"""

ATTACKS = (
    Attack(
        "learning-encode", "Trains on what encode is shown, and is consistent.", model(LEARNING_ENCODE), AUDIT
    ),
    Attack("remembering-encode", "Knows documents again from encode.", model(REMEMBERING_ENCODE), AUDIT),
    Attack("consistent", "Logits look prefixes up among the documents seen.", model(CONSISTENT), AUDIT),
    Attack("adapting", "Adapts from document to document.", model(ADAPTING), AUDIT),
    Attack("neighbours", "Learns from the other documents of the call.", model(NEIGHBOURS), AUDIT),
    Attack("counter", "Gets better with every document.", model(GLOBAL), AUDIT),
    Attack("calls", "Gets better with every call.", peek("0.5 * (1 + getattr(self, 'calls', 0))"), AUDIT),
    Attack(
        "blind-learning",
        "The audited process trains on the prefixes it is asked.",
        model(LOGITS_LEARN),
        AUDIT,
    ),
    Attack("reciting", "Generate recites what nll was shown.", together(improved, model(RECITING)), AUDIT),
)
