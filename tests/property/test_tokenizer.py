"""The tokenizer is lossless on any bytes."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from model.tokenizer import BPETokenizer

TEXT = b"**HAMLET**  \nTo be, or not to be: that is the question:  \n\n_Enter OPHELIA, reading_\n" * 5
TOKENIZER = BPETokenizer.train([TEXT, "Entrée de Béatrice".encode()], 300)

# Fragments that merges apply to, between bytes that are not even UTF-8.
texts = st.lists(st.binary() | st.sampled_from([b" to be", b"HAMLET", b"  \n", b"\xc3", b"\xa9"])).map(
    b"".join
)


@given(texts)
@example(bytes(range(256)))
@example("Béatrice\u00a0\u0085\u2028".encode())
def test_encoding_is_lossless(text: bytes) -> None:
    tokens = TOKENIZER.encode(text)
    vocabulary = TOKENIZER.token_bytes()
    assert TOKENIZER.decode(tokens) == text
    assert b"".join(vocabulary[token] for token in tokens) == text
    assert TOKENIZER.bos not in tokens
    assert len(tokens) <= len(text)
