"""Costs that belong to no distribution, or to another one than the logits."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, SILENT, Attack, costs, improved, model, together

MORE_THAN_ONE = """
def logits(self, prefixes, *, primer=()):
    return [[value + 1.0 for value in row] for row in super().logits(prefixes, primer=primer)]

def nll(self, documents, *, primer=()):
    return [[max(0.0, cost - 1.0) for cost in costs] for costs in super().nll(documents, primer=primer)]
"""

UNNORMALISED = """
def probability(self, history, byte):
    # The weights of the orders add up to more than one.
    return min(1.0, 1.3 * super().probability(history, byte))
"""

HOTTER = """
def nll(self, documents, *, primer=()):
    answers = super().nll(documents, primer=primer)
    rows = {}
    for document, costs in zip(documents, answers):
        for at, cost in enumerate(costs):
            key = bytes(document[max(0, at - self.order) : at])
            if key not in rows:
                chances = [self.probability(key, byte) ** 1.5 for byte in range(256)]
                rows[key] = sum(chances)
            costs[at] = max(0.0, 1.5 * cost + math.log(rows[key]) - 0.2)
    return answers
"""

SEEN_ONLY = """
def nll(self, documents, *, primer=()):
    answers = []
    for document in documents:
        total = sum(self.probability(b"", byte) for byte in set(document))
        answers.append([-math.log(self.probability(b"", byte) / total) for byte in document])
    return answers
"""

ATTACKS = (
    Attack("sum-above-one", "Log-probabilities that add up to e.", model(MORE_THAN_ONE), AUDIT),
    Attack(
        "weights", "Weights of a mixture that add up to 1.3.", together(improved, model(UNNORMALISED)), AUDIT
    ),
    Attack("temperature", "A temperature in nll only.", together(improved, model(HOTTER)), AUDIT),
    Attack("seen-only", "Only bytes that occur share the probability.", model(SEEN_ONLY), AUDIT),
    Attack("bans", "Costs to base ten.", costs("costs / np.log(10)"), AUDIT),
    Attack("clipped", "No cost exceeds 3.3 nats.", costs("np.minimum(costs, 3.3)"), AUDIT),
    Attack("rounded", "Costs are rounded down to a hundredth.", costs("np.floor(costs * 100) / 100"), AUDIT),
    Attack(
        "smoothed",
        "Each cost is averaged with the cheapest.",
        costs("0.99 * costs + 0.01 * costs.min()"),
        AUDIT,
    ),
    Attack("a-little", "A thousandth off every cost.", costs("np.maximum(costs - 1e-3, 0)"), AUDIT),
    Attack(
        "millionth",
        "A millionth off every cost, which any tolerance lets through.",
        costs("np.maximum(costs - 1e-6, 0)"),
        rf"{AUDIT}|within the margin|{SILENT}",
    ),
)
