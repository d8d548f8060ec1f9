"""Honest candidates of many kinds: nothing but their bits per byte may count against them."""

from __future__ import annotations

import textwrap

from tests.redteam.attack import Attack, Edit, append, improved, model, together, training, write

BPB = r"^bpb \d"

CORPUS = (
    "(artifacts / 'corpus').write_bytes(b'\\n'.join(path.read_bytes() for path in sorted(data.iterdir())))"
)

BASE = '''
import numpy as np


class Tokens:
    """Bigrams of tokens, smoothed; subclasses say which tokens there are and how a text becomes tokens."""

    def __init__(self, corpus):
        self.corpus = corpus
        self.alphabet = [bytes([value]) for value in range(256)] + self.more()
        self.prepare()

    def more(self):
        return []

    def prepare(self):
        tokens, size = self.encode(self.corpus), len(self.alphabet)
        self.single = (np.bincount(tokens, minlength=size) + 0.1) / (len(tokens) + 0.1 * size)
        self.pairs = np.zeros((size, size))
        np.add.at(self.pairs, (tokens[:-1], tokens[1:]), 1.0)
        self.table = (self.pairs + 8 * self.single) / (self.pairs.sum(axis=1, keepdims=True) + 8)

    def token_bytes(self):
        return self.alphabet

    def encode(self, text):
        found, at = [], 0
        longest = max(map(len, self.alphabet))
        ids = {piece: number for number, piece in reversed(list(enumerate(self.alphabet)))}
        while at < len(text):
            size = next(size for size in range(longest, 0, -1) if text[at : at + size] in ids)
            found.append(ids[text[at : at + size]])
            at += size
        return found

    def row(self, prefix):
        return np.log(self.table[prefix[-1]] if len(prefix) else self.single)

    def nll(self, documents, *, primer=()):
        return [
            [-self.row([*primer, *document[:at]])[token] for at, token in enumerate(document)]
            for document in documents
        ]

    def logits(self, prefixes, *, primer=()):
        return [self.row([*primer, *prefix]) for prefix in prefixes]

    def generate(self, prompt, *, max_bytes, seed, temperature):
        chance = random.Random(f"{seed} {prompt!r}")
        tokens, text = list(self.encode(prompt)), b""
        while len(text) < max_bytes:
            row = np.asarray(self.row(tokens), dtype=np.float64) / temperature
            weights = np.exp(row - row.max())
            tokens += chance.choices(range(len(weights)), weights.tolist())
            text += self.alphabet[tokens[-1]]
        return text[:max_bytes]
'''


def candidate(code: str) -> Edit:
    """Return the edit of a candidate whose class Mine, from `code`, is made from the training text."""
    load = "def load(artifacts):\n    return Mine((artifacts / 'corpus').read_bytes())"
    return together(
        training(CORPUS), append("model/adapter.py", f"{BASE}\n\n{textwrap.dedent(code)}\n\n{load}")
    )


PIECES = """
class Mine(Tokens):
    def more(self):
        pairs = [self.corpus[at : at + 2] for at in range(len(self.corpus) - 1)]
        return sorted({pair for pair in pairs if pairs.count(pair) > 150})
"""

WORDS = """
class Mine(Tokens):
    def more(self):
        words = [word + b" " for word in self.corpus.split()]
        return sorted({word for word in words if words.count(word) > 12})
"""

CONTROL = """
class Mine(Tokens):
    def more(self):
        return [b"", b""]

    def encode(self, text):
        return [256, *text]  # the beginning of a text; 257 is never used
"""

TWO_IDS = """
class Mine(Tokens):
    def more(self):
        return [bytes([value]) for value in range(256)]

    def encode(self, text):
        return [byte + 256 * (at > 0 and text[at - 1] in b" \\n") for at, byte in enumerate(text)]
"""

WINDOW = """
class Mine(Tokens):
    def row(self, prefix):
        window = list(prefix)[-6:]
        rows = [self.table[token] for token in window[-1:]] + [self.single]
        seen = np.bincount(window, minlength=256) + 0.01
        return np.log(0.9 * np.mean(rows, axis=0) + 0.1 * seen / seen.sum())
"""

ADAPTIVE = """
class Mine(Tokens):
    def row(self, prefix):
        seen = np.bincount(np.asarray(prefix, dtype=int), minlength=256) + 4 * self.single
        first = self.table[prefix[-1]] if len(prefix) else self.single
        return np.log(0.8 * first + 0.2 * seen / seen.sum())
"""

RECURRENT = """
class Mine(Tokens):
    def prepare(self):
        super().prepare()
        chance = np.random.default_rng(7)
        self.inner = chance.normal(0, 0.2, (16, 16))
        self.outer = chance.normal(0, 0.05, (16, 256))
        self.embedding = chance.normal(0, 1, (256, 16))

    def row(self, prefix):
        state = np.zeros(16)
        for token in list(prefix)[-24:]:
            state = np.tanh(state @ self.inner + self.embedding[token])
        values = np.log(self.single) + state @ self.outer
        return values - np.log(np.exp(values).sum())
"""

ROUNDED = """
class Mine(Tokens):
    def rounded(self, prefix):
        values = np.log(self.table[prefix[-1]] if len(prefix) else self.single)
        return ROUNDING

    def row(self, prefix):
        values = self.rounded(prefix).astype(np.float64)
        return values - np.log(np.exp(values - values.max()).sum()) - values.max()

    def logits(self, prefixes, *, primer=()):
        return [self.rounded([*primer, *prefix]) for prefix in prefixes]
"""

BFLOAT16 = "(values.astype('f4').view('u4') & 0xFFFF0000).view('f4')"

TORCH = """
import torch

torch.set_num_threads(1)


class Mine(Tokens):
    def prepare(self):
        super().prepare()
        self.layer = torch.nn.Embedding.from_pretrained(torch.tensor(np.log(self.table) + 1.0, dtype=torch.float32))

    @torch.no_grad()
    def scores(self, tokens):
        return torch.log_softmax(self.layer(torch.tensor(tokens)).double(), -1)

    def row(self, prefix):
        return self.scores([prefix[-1] if len(prefix) else 10])[0].numpy()

    @torch.no_grad()
    def logits(self, prefixes, *, primer=()):
        return self.layer(torch.tensor([([10, *primer, *prefix])[-1] for prefix in prefixes]))

    def nll(self, documents, *, primer=()):
        start = [10, *primer][-1]
        rows = [self.scores([start, *document[:-1]]) for document in documents]
        return [-row[torch.arange(len(d)), torch.tensor(d)] for row, d in zip(rows, documents)]
"""

CACHED = """
class Mine(Tokens):
    def prepare(self):
        super().prepare()
        self.known = {}

    def row(self, prefix):
        key = prefix[-1] if len(prefix) else None
        if key not in self.known:
            self.known[key] = super().row(prefix)
        return self.known[key]
"""

PRIMED = """
class Mine(Tokens):
    def primed(self, rows, primer):
        seen = np.bincount(np.asarray(primer, dtype=int), minlength=256) + 50 * self.single
        return np.log(0.9 * np.exp(rows) + 0.1 * seen / seen.sum())

    def nll(self, documents, *, primer=()):
        whole = [np.stack([self.row(d[:at] or primer) for at in range(len(d))]) for d in documents]
        return [-self.primed(rows, primer)[range(len(d)), d] for rows, d in zip(whole, documents)]

    def logits(self, prefixes, *, primer=()):
        return self.primed(np.stack([self.row(prefix or primer) for prefix in prefixes]), primer)

    def generate(self, prompt, **options):
        primer = list((Path(__file__).parent / "prompt.md").read_bytes())
        plain, self.row = self.row, lambda prefix: self.primed(plain(prefix), primer)
        try:
            return super().generate(prompt, **options)
        finally:
            del self.row
"""

VECTORISED = """
class Mine(Tokens):
    def nll(self, documents, *, primer=()):
        rows = np.log(np.vstack([self.table, self.single]))
        starts = [primer[-1] if len(primer) else 256] * len(documents)
        before = np.concatenate([[start, *document[:-1]] for start, document in zip(starts, documents)])
        costs = -rows[before, np.concatenate(documents)]
        return np.split(costs, np.cumsum([len(document) for document in documents])[:-1])

    def logits(self, prefixes, *, primer=()):
        rows = np.log(np.vstack([self.table, self.single]))
        return rows[[([256, *primer, *prefix])[-1] for prefix in prefixes]] + 3.0
"""

SINGLE_PRECISION = """
class Mine(Tokens):
    def row(self, prefix):
        return super().row(prefix).astype(np.float32)

    def nll(self, documents, *, primer=()):
        return [np.asarray(costs, dtype=np.float32) for costs in super().nll(documents, primer=primer)]
"""

GUMBEL = """
class Mine(Tokens):
    def generate(self, prompt, *, max_bytes, seed, temperature):
        chance = np.random.default_rng([seed, *prompt])
        tokens = list(prompt)
        for _ in range(max_bytes):
            tokens.append(int(np.argmax(self.row(tokens) / temperature + chance.gumbel(size=256))))
        return bytes(tokens[len(prompt) :])
"""

CERTAIN = """
class Mine(Tokens):
    def row(self, prefix):
        with np.errstate(divide="ignore"):
            possible = np.isin(np.arange(256), list(set(self.corpus) | set(b"zq \\n")))
            values = np.log(np.where(possible, self.table[prefix[-1]] if len(prefix) else self.single, 0.0))
        return values - np.log(np.exp(values).sum())
"""

CONTROLS = (
    Attack("mixture", "Orders 0 to 2 mixed.", improved, BPB),
    Attack("pieces", "Bytes and frequent pairs of them.", candidate(PIECES), BPB),
    Attack("words", "Bytes and frequent words.", candidate(WORDS), BPB),
    Attack(
        "control-tokens", "A token that begins every text and stands for no byte.", candidate(CONTROL), BPB
    ),
    Attack("two-ids", "Two ids for every byte, paid for in full.", candidate(TWO_IDS), BPB),
    Attack("window", "A sliding window.", candidate(WINDOW), BPB),
    Attack("adaptive", "Adapts within a document.", candidate(ADAPTIVE), BPB),
    Attack("recurrent", "A small recurrent net.", candidate(RECURRENT), BPB),
    Attack("bfloat16", "Logits in bfloat16.", candidate(ROUNDED.replace("ROUNDING", BFLOAT16)), BPB),
    Attack(
        "float16", "Logits in float16.", candidate(ROUNDED.replace("ROUNDING", "values.astype('f2')")), BPB
    ),
    Attack("torch", "A model in PyTorch that answers tensors.", candidate(TORCH), BPB),
    Attack("cached", "Keeps results that do not change.", candidate(CACHED), BPB),
    Attack(
        "primed",
        "Uses its primer.",
        together(candidate(PRIMED), write("model/prompt.md", "a sea of sound and sun\n")),
        BPB,
    ),
    Attack("vectorised", "Scores all documents at once.", candidate(VECTORISED), BPB),
    Attack("single-precision", "Answers in float32.", candidate(SINGLE_PRECISION), BPB),
    Attack("gumbel", "Samples by another method.", candidate(GUMBEL), BPB),
    Attack("certain", "Excludes bytes that never occur.", candidate(CERTAIN), BPB),
    Attack("subclassed", "The baseline, wrapped.", model("def helper(self): pass"), BPB),
)
