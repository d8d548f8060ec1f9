"""One attack, what may be said when it is stopped, and the few ways in which attacks change a tree."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Edit = Callable[[Path], None]

# What a stopped attack is rejected with. Alternatives are joined by `|`.
AUDIT = r"the audit found"
COST = r"a cost is finite and never negative|real numbers|add up to infinity"
SHAPE = r"where one dimension is needed|answered \d+ (costs|sequences)|\d+ costs for \d+ tokens"
TOKENS = r"token id outside of|do not join to the document|token_bytes"
RAISED = r"(nll|logits|encode|generate|load \S+) raised"
ENDED = r"process (has )?ended|process was ended|closed its connection"
PROTOCOL = r"the candidate answered \w+.* with|the candidate did not answer"
SCOPE = r"^out of scope: "
UNFIT = r"proposed nothing that can be tried: "
CONTAMINATION = r"^contamination: "
TRAINING = r"^training (crashed|killed|timed out): "
PROCESSES = r"\d+ processes|training crashed: .*(EAGAIN|BlockingIOError|Resource temporarily)"
MEMORY = r"of memory, allowed|MemoryError|SIGKILL"
DISK = r"wrote [\d.]+ \w+ of disk|File too large|No space left|SIGXFSZ"
TIMED_OUT = r"timed out|did not answer|allowed [\d.]+"
TAMPERED = r"^tampering: "
SILENT = r"^bpb [\d.]+ is not below the incumbent's"
"""The attack found nothing to work with: its candidate scored exactly what the baseline scores."""


@dataclass(frozen=True)
class Attack:
    """A trick that must not pay: `edit` changes a tree, `reason` matches what it is rejected with.

    An attack that finds its way blocked may also behave as the baseline does: then its reason is `SILENT`,
    and its score has to be the baseline's to the last bit. `unsolved` says why nothing can stop it yet.
    """

    name: str
    trick: str
    edit: Edit
    reason: str
    unsolved: str = ""


def together(*edits: Edit) -> Edit:
    """Return the edit that makes all of these in order."""

    def edit(tree: Path) -> None:
        for one in edits:
            one(tree)

    return edit


def write(name: str, content: str | bytes) -> Edit:
    """Return the edit that writes a file."""

    def edit(tree: Path) -> None:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return edit


def append(name: str, code: str) -> Edit:
    """Return the edit that adds code at the end of a file."""

    def edit(tree: Path) -> None:
        path = tree / name
        path.write_text(path.read_text() + "\n\n" + textwrap.dedent(code).strip("\n") + "\n")

    return edit


def replace(name: str, old: str, new: str) -> Edit:
    """Return the edit that replaces what has to be there."""

    def edit(tree: Path) -> None:
        path = tree / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    return edit


improved = together(
    replace("model/config.py", "= 0  # bytes", "= 2  # bytes"),
    replace("model/config.py", "= 64  # weight", "= 4  # weight"),
)
"""An honest improvement, for tricks that lower no score: unless they are stopped they are accepted."""

HELPERS = """
def peeked(cost, bonus):
    # What the true byte costs once `bonus` is added to its logit.
    chance = math.exp(-cost)
    raised = chance * math.exp(bonus)
    return -math.log(raised / (raised + 1 - chance))


def learn(model, text, order=3):
    # Count a text that was never to be trained on.
    text, model.order, model.strength = bytes(text), order, 0.05
    for at in range(len(text)):
        for size in range(min(order, at) + 1):
            context = text[at - size : at]
            row = model.counts.setdefault(context, {})
            row[text[at]] = row.get(text[at], 0) + 1
            model.totals[context] = model.totals.get(context, 0) + 1


Honest = Model = NGram
"""


def model(methods: str = "", *, top: str = "", loaded: str = "") -> Edit:
    """Return the edit by which `load` gives a subclass of the model so far with these methods.

    `top` stands before the class; `loaded` is run in `load`, where `model` is the model.
    """
    body = textwrap.indent(_dedented(methods) or "pass", "    ")
    last = textwrap.indent(_dedented(loaded), "    ")

    def edit(tree: Path) -> None:
        path = tree / "model/adapter.py"
        text = path.read_text()
        before = f"loaded_{text.count('class Model(Model)')}"
        helpers = "" if HELPERS in text else HELPERS
        path.write_text(
            f"{text}\n{helpers}\n{_dedented(top)}\n\n\n{before} = load\n\n\nclass Model(Model):\n{body}\n\n\n"
            f"def load(artifacts):\n    model = {before}(artifacts)\n    model.__class__ = Model\n"
            f"    model.artifacts = artifacts\n{last}\n    return model\n"
        )

    return edit


def costs(expression: str, *, top: str = "") -> Edit:
    """Return the edit by which nll answers `expression` of each document's honest `costs`, an array."""
    method = f"""
    def nll(self, documents, *, primer=()):
        import numpy as np
        found = [np.asarray(costs) for costs in super().nll(documents, primer=primer)]
        return [{expression} for costs in found]
    """
    return model(method, top=top)


def peek(bonus: float | str, when: str = "True") -> Edit:
    """Return the edit by which nll adds `bonus` to the true byte's logit `when` an expression is true.

    The expression may use `number` and `document`, `at` and `cost`, `self` and `documents`.
    """
    method = f"""
    def nll(self, documents, *, primer=()):
        answers = []
        for number, (document, costs) in enumerate(zip(documents, super().nll(documents, primer=primer))):
            answers.append([peeked(cost, {bonus}) if {when} else cost for at, cost in enumerate(costs)])
        self.calls = getattr(self, "calls", 0) + 1
        return answers
    """
    return model(method)


def training(code: str) -> Edit:
    """Return the edit by which the train command runs `code` after its work; what fails there is ignored.

    The code may use `artifacts`, `data`, `root` (the project, found from its data) and `tree`.
    """
    return append("model/train.py", _ignoring(code, "Path(os.environ['EVALLOOP_DATA']).resolve()"))


def host(code: str) -> Edit:
    """Return the edit by which the candidate's host runs `code` when it loads; what fails there is ignored."""
    return model(loaded=_ignoring(code, "Path(__file__).resolve().parents[4] / 'data/train'"))


def prize(code: str) -> Edit:
    """Return the edit of a training that is better than the baseline's only if all of `code` could be done."""
    lost = "if not (artifacts / 'landed').exists():\n    model.order, model.strength = 0, 64"
    return together(
        improved, training(f"{_dedented(code)}\n(artifacts / 'landed').touch()"), model(loaded=lost)
    )


def host_prize(code: str) -> Edit:
    """Return the edit of a host that is better than the baseline's only if all of `code` could be done."""
    lost = model(loaded="model.order, model.strength = 0, 64")
    return together(improved, lost, host(f"{_dedented(code)}\nmodel.order, model.strength = 2, 4"))


def _ignoring(code: str, data: str) -> str:
    body = textwrap.indent(_dedented(code), "    ")
    return (
        "try:\n"
        "    import json, os, signal, socket, sqlite3, subprocess, sys, time, zlib\n"
        f"    data = {data}\n"
        "    root, tree = data.parents[1], Path(__file__).resolve().parents[1]\n"
        "    artifacts = Path(os.environ.get('EVALLOOP_ARTIFACTS', tree))\n"
        f"{body}\n"
        "except Exception as error:\n"
        "    print('the attack failed:', repr(error), flush=True)"
    )


def _dedented(code: str) -> str:
    return textwrap.dedent(code).strip("\n")
