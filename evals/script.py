"""How the plays are laid out, and a scene read by that layout; what the checks here share.

A scene is paragraphs with empty lines between them: its heading, stage directions in underscores, and
speeches. A speech is the speaker's name in bold, and its lines. All lines but the last end in two spaces,
which is Markdown for "begin a new line here".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

SEEDS = range(40)  # each is one sample; all failure modes look at the same ones
SIZE = 500  # bytes of a sample, its prompt included
PROMPT = b"### SCENE II. A street.\n\n"

LABEL = re.compile(r"\*\*([^*\s](?:[^*\n]*[^*\s])?)\*\*  ")


@dataclass(frozen=True)
class Scene:
    """The beginning of a scene, cut off somewhere."""

    text: str

    @classmethod
    def read(cls, text: bytes) -> Scene:
        """Read at most `SIZE` bytes; what is no UTF-8 becomes the replacement character."""
        return cls(text[:SIZE].decode("utf-8", "replace"))

    @classmethod
    def below_a_heading(cls, output: str) -> Scene:
        """Read what was written below some heading, as a trace holds it."""
        return cls.read(f"### SCENE\n\n{output}".encode())

    @property
    def heading(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]

    @property
    def paragraphs(self) -> list[str]:
        """All paragraphs but the last, which was cut off and may not be held against its writer."""
        paragraphs = [part for part in re.split(r"\n\s*\n", self.text.strip("\n")) if part.strip()]
        return paragraphs[:-1] or paragraphs

    @property
    def lines(self) -> list[str]:
        """All lines but the one that was cut off."""
        return self.text.split("\n")[:-1]

    @property
    def speeches(self) -> list[str]:
        """The paragraphs that begin like a speech."""
        return [paragraph for paragraph in self.paragraphs if paragraph.startswith("**")]

    @property
    def speakers(self) -> list[str]:
        """The names above the speeches, in order."""
        return LABEL.findall(self.text)

    @property
    def spoken(self) -> str:
        """What is neither heading nor direction nor a name."""
        return "\n".join(line for line in self.text.split("\n") if not line.startswith(("#", "_", "*")))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case; "o'er" and "half-way" are one word each."""
    return re.findall(r"[a-z]+(?:['-][a-z]+)*", text.lower())


Check: TypeAlias = Callable[[Scene], list[str]]
"""Returns what is wrong in a scene, each fault quoted; an empty list when all is well."""
Sample: TypeAlias = Callable[[int], Scene]
"""Returns the scene that the candidate writes from a seed."""
FalseAlarms: TypeAlias = Callable[[Check], float]
"""Returns the share of real scenes in which a check finds something wrong."""
