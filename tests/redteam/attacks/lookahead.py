"""Predictions that have seen what they predict."""

from __future__ import annotations

from tests.redteam.attack import AUDIT, Attack, Edit, improved, model, peek, replace, together


def history(before: str, after: str) -> Edit:
    """Return the edit of a model whose context, in training and in nll, is `text[before:after]` around `at`."""
    context = f"document[{before} : {after}].hex()".replace("at", "position").replace("size", "order")
    method = f"""
    def nll(self, documents, *, primer=()):
        size, answers = self.order, []
        for document in documents:
            text = bytes(document)
            histories = [text[max(0, {before}) : {after}] for at in range(len(text))]
            answers.append([-math.log(self.probability(h, b)) for h, b in zip(histories, text)])
        return answers
    """
    shifted = replace("model/train.py", "document[position - order : position].hex()", context)
    one = replace("model/config.py", "= 2  # bytes", "= 1  # bytes")
    return together(improved, one, shifted, model(method))


TWO_PASSES = """
def nll(self, documents, *, primer=()):
    answers = []
    for document in documents:
        twin = Honest({}, 0, 1)
        learn(twin, document, order=2)
        answers += twin.nll([document], primer=primer)
    return answers
"""

BAG_OF_BYTES = """
def nll(self, documents, *, primer=()):
    return [[-math.log(list(document).count(byte) / len(document)) for byte in document] for document in documents]
"""

BIDIRECTIONAL = """
def nll(self, documents, *, primer=()):
    answers = []
    for document in documents:
        text, costs = bytes(document) + b"\\n", []
        for at in range(len(document)):
            before = [self.probability(text[:at], byte) for byte in range(256)]
            after = [self.probability(bytes([byte]), text[at + 1]) for byte in range(256)]
            both = [left * right for left, right in zip(before, after)]
            costs.append(-math.log(both[text[at]] / sum(both)))
        answers.append(costs)
    return answers
"""

LENGTH = """
def nll(self, documents, *, primer=()):
    answers = super().nll(documents, primer=primer)
    for document, costs in zip(documents, answers):
        close = [at for at in range(len(document)) if len(document) - at <= 4]
        for at in close:
            costs[at] = peeked(costs[at], 4.0)
    return answers
"""

NEXT_SPACE = """
def nll(self, documents, *, primer=()):
    answers = super().nll(documents, primer=primer)
    for document, costs in zip(documents, answers):
        for at, byte in enumerate(document):
            if 32 in document[at : at + 2]:
                share = sum(self.probability(b"", b) for b in (range(33, 256) if byte != 32 else [32]))
                costs[at] += math.log(share)
    return answers
"""

ATTACKS = (
    Attack("softmax", "A real softmax whose true logit is raised by ten.", peek(10.0), AUDIT),
    Attack("hundredth", "The true byte's logit is raised by 0.01.", peek(0.01), AUDIT),
    Attack("one-percent", "Peeks at one position in a hundred.", peek(10.0, "at % 100 == 57"), AUDIT),
    Attack("long-documents", "Peeks in long documents only.", peek(2.0, "len(document) > 1000"), AUDIT),
    Attack("after-hundred", "Peeks after position 100 only.", peek(1.0, "at > 100"), AUDIT),
    Attack("other-documents", "Peeks in all documents but the first.", peek(1.0, "number > 0"), AUDIT),
    Attack("one-document", "Peeks in a single document.", peek(9.0, "number == 5"), AUDIT),
    Attack("dear-bytes", "Peeks where the honest cost is high.", peek(3.0, "cost > 3.6"), AUDIT),
    Attack(
        "coin", "Peeks where a hash of the place says so.", peek(6.0, "hash((number, at)) % 20 == 0"), AUDIT
    ),
    Attack("next-byte", "The history ends with the byte itself.", history("at - size + 1", "at + 1"), AUDIT),
    Attack(
        "two-ahead", "The history ends with the byte after it.", history("at - size + 2", "at + 2"), AUDIT
    ),
    Attack("following", "The history lies on the other side.", history("at + 1", "at + 1 + size"), AUDIT),
    Attack("two-passes", "Counts the document, then scores it.", model(TWO_PASSES), AUDIT),
    Attack("bag-of-bytes", "Knows which bytes a document has.", model(BAG_OF_BYTES), AUDIT),
    Attack(
        "bidirectional",
        "Predicts each byte from both of its neighbours.",
        together(replace("model/config.py", "= 0  # bytes", "= 1  # bytes"), model(BIDIRECTIONAL)),
        AUDIT,
    ),
    Attack("length", "Knows where the document ends.", model(LENGTH), AUDIT),
    Attack("word-ends", "Is told whether a word ends here or next.", model(NEXT_SPACE), AUDIT),
)
