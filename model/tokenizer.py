"""Byte-level byte-pair encoding that is lossless on any bytes, valid UTF-8 or not.

Token ids: 0-255 are the bytes themselves, then the merges in the order they were learnt, and last the
control token BOS, which stands for no byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

# Merges stay inside of a word with the space before it, a number, a run of marks or a run of white space.
# Every byte is matched by exactly one of the four, so joining the pieces gives the text back.
WORD = r" ?[A-Za-z']+| ?[0-9]+| ?[^\sA-Za-z'0-9]+|\s+"

# The library works on characters. Latin-1 maps each byte to the character of the same number and back.
BYTES = [bytes([value]) for value in range(256)]


class BPETokenizer:
    """Encodes bytes as token ids by the given merges, and decodes them."""

    def __init__(self, merges: Sequence[tuple[bytes, bytes]]) -> None:
        self.merges = list(merges)
        self.vocabulary = [*BYTES, *(left + right for left, right in self.merges), b""]
        self.bos = len(self.vocabulary) - 1
        ids = {token.decode("latin-1"): index for index, token in enumerate(self.vocabulary[: self.bos])}
        pairs = [(left.decode("latin-1"), right.decode("latin-1")) for left, right in self.merges]
        self._bpe = models.BPE(ids, pairs)
        self._split = re.compile(WORD.encode()).findall
        # A text has few distinct words: the default corpus is encoded in one second with this cache.
        self._encode_word = lru_cache(maxsize=100_000)(self._merge)

    @classmethod
    def train(cls, texts: Iterable[bytes], vocab_size: int) -> BPETokenizer:
        """Learn a vocabulary of `vocab_size` tokens, the bytes and BOS included; of a small text fewer."""
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
        alphabet = [byte.decode("latin-1") for byte in BYTES]
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator((text.decode("latin-1") for text in texts), trainer)
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        return cls([(left.encode("latin-1"), right.encode("latin-1")) for left, right in merges])

    def encode(self, text: bytes) -> list[int]:
        """Return the token ids of `text`; their bytes, joined, give it back."""
        return [token for word in self._split(text) for token in self._encode_word(word)]

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes that the token ids stand for; BOS adds none."""
        return b"".join(self.vocabulary[token] for token in tokens)

    def token_bytes(self) -> list[bytes]:
        """Return the bytes of every token by its id, `b""` for BOS."""
        return list(self.vocabulary)

    def save(self, path: Path) -> None:
        """Write the merges as JSON."""
        merges = [[left.decode("latin-1"), right.decode("latin-1")] for left, right in self.merges]
        path.write_text(json.dumps({"merges": merges}), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> BPETokenizer:
        """Read what `save` wrote."""
        merges = json.loads(path.read_text(encoding="utf-8"))["merges"]
        return cls([(left.encode("latin-1"), right.encode("latin-1")) for left, right in merges])

    def _merge(self, word: bytes) -> tuple[int, ...]:
        """Encode one word."""
        return tuple(token.id for token in self._bpe.tokenize(word.decode("latin-1")))
