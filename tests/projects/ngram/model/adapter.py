import json
import math
import random
from pathlib import Path


class NGram:
    def __init__(self, counts, order, strength):
        self.order, self.strength = order, strength
        self.counts = {bytes.fromhex(key): {int(k): n for k, n in row.items()} for key, row in counts.items()}
        self.totals = {context: sum(row.values()) for context, row in self.counts.items()}

    def token_bytes(self):
        return [bytes([value]) for value in range(256)]

    def encode(self, text):
        return list(text)

    def probability(self, history, byte):
        value = 1 / 256
        for order in range(self.order + 1):
            context = history[len(history) - order :] if order else b""
            if len(context) < order or context not in self.counts:
                break
            row = self.counts[context]
            value = (row.get(byte, 0) + self.strength * value) / (self.totals[context] + self.strength)
        return value

    def nll(self, documents, *, primer=()):
        answers = []
        for document in documents:
            text, start = bytes(primer) + bytes(document), len(primer)
            histories = [text[max(0, at - self.order) : at] for at in range(start, len(text))]
            answers.append(
                [-math.log(self.probability(h, b)) for h, b in zip(histories, document, strict=True)]
            )
        return answers

    def logits(self, prefixes, *, primer=()):
        histories = [(bytes(primer) + bytes(prefix))[-max(1, self.order) :] for prefix in prefixes]
        return [[math.log(self.probability(h, byte)) for byte in range(256)] for h in histories]

    def generate(self, prompt, *, max_bytes, seed, temperature):
        chance = random.Random(f"{seed} {prompt!r}")
        text = bytearray(prompt)
        for _ in range(max_bytes):
            history = bytes(text[-max(1, self.order) :])
            weights = [self.probability(history, byte) ** (1 / temperature) for byte in range(256)]
            text += bytes(chance.choices(range(256), weights))
        return bytes(text[len(prompt) :])


def load(artifacts: Path):
    config = json.loads((artifacts / "config.json").read_text())
    return NGram(json.loads((artifacts / "counts.json").read_text()), config["order"], config["strength"])
