"""The planted faults: models that no eval suite should let pass, graded in the candidate's place.

Most need no model: they work over bytes, with one token a byte, and cost next to nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from pytest_evalloop.protocols import Array, Fault, LanguageModel, Materials

if TYPE_CHECKING:
    import numpy.typing as npt

UNTRAINED = "untrained"
"""The fault that is a training of its own: what is assigned to its grading are the artifacts of that training."""
HUMAN = "human"
"""The stand-in that is no fault: what people wrote, on which no check should fail."""

Write: TypeAlias = Callable[[bytes, int, int], bytes]
"""Returns what follows a prompt: `write(prompt, max_bytes, seed)`."""

_PHRASE_WORDS = 5


class FaultError(ValueError):
    """Faults that cannot be told apart; the message says which, and what to do."""


def known(given: Iterable[Mapping[str, Fault]]) -> dict[str, Fault]:
    """Return the built-in faults and those that plugins gave, by name.

    Raises `FaultError` for a name that is taken or that cannot name a file.
    """
    found = dict(BUILTIN)
    for faults in given:
        for name, fault in faults.items():
            if name in found or name == HUMAN:
                raise FaultError(
                    f"two plugins give a fault named {name!r}, or it is built in. Rename yours in "
                    "pytest_evalloop_faults."
                )
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
                raise FaultError(
                    f"pytest_evalloop_faults gives a fault named {name!r}. Name it in at most 32 lower-case "
                    "letters, digits and hyphens."
                )
            found[name] = fault
    return found


class Frequencies:
    """A model over bytes that knows how frequent each byte is, whatever stands before it."""

    def __init__(self, counts: npt.ArrayLike) -> None:
        import numpy as np

        weights = np.asarray(counts, dtype=np.float64)
        self._logs = np.log(weights / weights.sum())

    def token_bytes(self) -> list[bytes]:
        """Return the 256 bytes."""
        return [bytes([value]) for value in range(256)]

    def encode(self, text: bytes) -> list[int]:
        """Return the values of the bytes."""
        return list(text)

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Array]:  # noqa: ARG002
        """Return what each byte costs by its frequency."""
        import numpy as np

        return [-self._logs[np.asarray(document, dtype=np.intp)] for document in documents]

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Array:  # noqa: ARG002
        """Return the same row for every prefix."""
        import numpy as np

        return np.tile(self._logs, (len(prefixes), 1))

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        """Return bytes drawn by their frequency."""
        import numpy as np

        chance = np.random.default_rng([abs(seed), zlib.crc32(prompt)])
        heated = np.exp((self._logs - self._logs.max()) / max(temperature, 1e-6))
        return chance.choice(256, max_bytes, p=heated / heated.sum()).astype(np.uint8).tobytes()


class Wrapped:
    """Another model with one thing changed; here nothing is."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def token_bytes(self) -> Sequence[bytes]:
        """Return the other model's alphabet."""
        return self.model.token_bytes()

    def encode(self, text: bytes) -> Sequence[int]:
        """Return the other model's tokens."""
        return self.model.encode(text)

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Array]:
        """Return the other model's costs."""
        return self.model.nll(documents, primer=primer)

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Array:
        """Return the other model's predictions."""
        return self.model.logits(prefixes, primer=primer)

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        """Return what the other model writes."""
        return self.model.generate(prompt, max_bytes=max_bytes, seed=seed, temperature=temperature)


class Rewritten(Wrapped):
    """Expects what the other model expects, and writes something else."""

    def __init__(self, model: LanguageModel, write: Write) -> None:
        super().__init__(model)
        self._write = write

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:  # noqa: ARG002
        """Return what was put in the place of the model's own text."""
        return self._write(prompt, max_bytes, seed)[:max_bytes]


class Truncated(Wrapped):
    """Writes the beginning of what the other model would."""

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        """Return an eighth of what may be written, or of what the other model writes if that is less."""
        room = max_bytes // 8
        text = super().generate(prompt, max_bytes=room + 1, seed=seed, temperature=temperature)
        return text[: room if len(text) > room else len(text) // 8]


class Promptless(Wrapped):
    """Sees neither the primer nor the prompt."""

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Sequence[Array]:  # noqa: ARG002
        """Return the costs without a primer."""
        return super().nll(documents)

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Array:  # noqa: ARG002
        """Return the predictions without a primer."""
        return super().logits(prefixes)

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:  # noqa: ARG002
        """Return what the other model writes after nothing at all."""
        return super().generate(b"", max_bytes=max_bytes, seed=seed, temperature=temperature)


def expecting(model: LanguageModel) -> LanguageModel:
    """Return the model that a stand-in's costs come from: one below it, if only what that writes was changed."""
    while isinstance(model, Wrapped) and type(model).nll is Wrapped.nll:
        model = model.model
    return model


def uniform(materials: Materials) -> LanguageModel:  # noqa: ARG001 - it knows nothing
    """A model that expects every byte alike, and writes noise."""
    return Frequencies([1.0] * 256)


def unigram(materials: Materials) -> LanguageModel:
    """A model that only knows how frequent each byte is in the training text."""
    import numpy as np

    text = np.frombuffer(materials.training_text, dtype=np.uint8)
    return Frequencies(np.bincount(text, minlength=256) + 1.0)


def one_phrase(materials: Materials) -> LanguageModel:
    """One phrase of the training text over and over."""
    text = materials.training_text
    middle = text[len(text) // 2 :][:4096].split()[1 : _PHRASE_WORDS + 1]
    phrase = b" ".join(middle or [b"again"]) + b" "
    return Rewritten(unigram(materials), lambda _, max_bytes, __: phrase * (max_bytes // len(phrase) + 1))


def regurgitated(materials: Materials) -> LanguageModel:
    """Passages of the training text, whatever the prompt is."""
    text = materials.training_text

    def recite(_: bytes, max_bytes: int, seed: int) -> bytes:
        start = zlib.crc32(str(seed).encode()) % max(1, len(text) - max_bytes)
        return text[start : start + max_bytes]

    return Rewritten(unigram(materials), recite)


def untrained(materials: Materials) -> LanguageModel:
    """The baseline's own code after the smallest training there is."""
    return materials.baseline()


def truncated(materials: Materials) -> LanguageModel:
    """Answers that break off after an eighth."""
    return Truncated(materials.baseline())


def promptless(materials: Materials) -> LanguageModel:
    """A model that sees neither the primer nor the prompt."""
    return Promptless(materials.baseline())


# From the slowest to the fastest, which is a good order to run them in side by side.
BUILTIN: Mapping[str, Fault] = MappingProxyType(
    {
        UNTRAINED: untrained,
        "empty-prompt": promptless,
        "truncated": truncated,
        "regurgitated": regurgitated,
        "one-phrase": one_phrase,
        "unigram": unigram,
        "uniform": uniform,
    }
)


def describe(name: str) -> str:
    """Say what a built-in fault is, in one clause; empty for a project's own."""
    fault = BUILTIN.get(name)
    text = (getattr(fault, "__doc__", None) or "").partition("\n")[0].rstrip(".")
    return text[:1].lower() + text[1:]
