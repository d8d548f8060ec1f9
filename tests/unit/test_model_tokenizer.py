"""What the tokenizer learns and how it is stored."""

from pathlib import Path

from model.tokenizer import BPETokenizer

TEXT = b"**HAMLET**  \nTo be, or not to be: that is the question.\n" * 20


def test_the_vocabulary_has_the_size_that_was_asked_for() -> None:
    tokenizer = BPETokenizer.train([TEXT], 280)
    vocabulary = tokenizer.token_bytes()
    assert len(vocabulary) == len(set(vocabulary)) == 280
    assert vocabulary[tokenizer.bos] == b""
    assert vocabulary[:256] == [bytes([value]) for value in range(256)]


def test_frequent_words_become_short() -> None:
    tokenizer = BPETokenizer.train([TEXT], 400)
    assert len(tokenizer.encode(b"**HAMLET**  \n")) <= 4


def test_training_is_deterministic() -> None:
    assert BPETokenizer.train([TEXT], 300).merges == BPETokenizer.train([TEXT], 300).merges


def test_it_can_be_stored(tmp_path: Path) -> None:
    tokenizer = BPETokenizer.train([TEXT + "é".encode() * 9 + b"\xff\xfe" * 9], 280)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = BPETokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.token_bytes() == tokenizer.token_bytes()
    assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
