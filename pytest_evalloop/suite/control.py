"""The control: what people wrote after the end of a prompt, on which a check that fails raises a false alarm."""

from __future__ import annotations

import random
from collections.abc import Sequence

PLACES = 8
"""An end of a prompt is too long to be looked for if it stands at fewer places: all samples would be one."""


class HumanText:
    """Goes on where people went on after the longest end of a prompt that they wrote, too."""

    def __init__(self, documents: Sequence[bytes]) -> None:
        """Take documents; raises `ValueError` when there is no text in them."""
        self._documents = [document for document in documents if document]
        if not self._documents:
            raise ValueError("there is no human text to go on from")
        self._known: dict[tuple[bytes, int], list[tuple[bytes, int]]] = {}

    def write(self, prompt: bytes, max_bytes: int, seed: int) -> bytes:
        """Return at most `max_bytes` of human text; seeds that follow each other choose different places."""
        found = self._known.setdefault((prompt, max_bytes), [])
        if not found:
            found += self._places(prompt, max_bytes)
            random.Random(prompt).shuffle(found)  # noqa: S311 - repeatable, not secret
        document, start = found[seed % len(found)]
        return document[start : start + max_bytes]

    def _places(self, prompt: bytes, max_bytes: int) -> list[tuple[bytes, int]]:
        """Return documents and where in them the text goes on, with room for the answer wherever there is any.

        The whole prompt counts wherever it stands; a part of it only if it stands at several places.
        """
        longest = max(map(len, self._documents))
        room = min(max_bytes, longest // 2)
        if prompt and (places := self._after(prompt, room)):
            return places
        most, least = len(prompt), 0  # the longest end lies between the two; the empty one is always there
        while most - least > 1:
            middle = (most + least) // 2
            if len(self._after(prompt[-middle:], room)) >= PLACES:
                least = middle
            else:
                most = middle
        if least:
            return self._after(prompt[-least:], room)
        return [(document, 0) for document in self._documents if len(document) >= room]

    def _after(self, end: bytes, room: int) -> list[tuple[bytes, int]]:
        """Return every place after `end` that `room` bytes follow."""
        places = []
        for document in self._documents:
            at = document.find(end)
            while 0 <= at <= len(document) - len(end) - room:
                places.append((document, at + len(end)))
                at = document.find(end, at + 1)
        return places
