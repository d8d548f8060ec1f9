"""A fault of this project's own, planted by the canary beside the built-in ones."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence


class Careless:
    """Copies training scenes, misspells names and leaves out what closes, what breaks lines, and all that is no ASCII.

    The built-in faults write no layout at all, so that checks of the layout have nothing to blame there.
    """

    def __init__(self, plays: bytes) -> None:
        scenes = [scene.partition(b"\n\n")[2] for scene in re.split(rb"^(?=### )", plays, flags=re.MULTILINE)]
        self._scenes = [_copied(scene) for scene in scenes if len(scene) > 1000] or [plays]

    def token_bytes(self) -> list[bytes]:
        """Return the 256 bytes."""
        return [bytes([value]) for value in range(256)]

    def encode(self, text: bytes) -> list[int]:
        """Return the ASCII characters of a text."""
        return [value for value in text if value < 128]

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[list[float]]:  # noqa: ARG002
        """Expect every byte alike."""
        return [[math.log(256)] * len(document) for document in documents]

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[list[float]]:  # noqa: ARG002
        """Expect every byte alike."""
        return [[0.0] * 256 for _ in prefixes]

    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:  # noqa: ARG002
        """Return the beginning of a scene, copied without care."""
        return self._scenes[zlib.crc32(b"%d" % seed) % len(self._scenes)][:max_bytes]


def _copied(scene: bytes) -> bytes:
    unclosed = re.sub(rb"_(?=\s)", b"", scene.replace(b"]", b"").replace(b"  \n", b"\n"))
    named = re.sub(rb"^\*\*([A-Z]+)([A-Z])\*\*$", _misspelt, unclosed, flags=re.MULTILINE)
    return re.sub(rb"^_", b"_[", named, flags=re.MULTILINE)


def _misspelt(name: re.Match[bytes]) -> bytes:
    return b"**" + name[1] + name[2].lower() + b"**  "
