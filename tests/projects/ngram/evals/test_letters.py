import pytest


@pytest.mark.failure_mode("FM-01", "writes what is no letter", tolerate=0.5)
@pytest.mark.parametrize("seed", range(12))
def test_letters(generate, seed):
    """Most of a sample is letters and spaces."""
    text = generate(b"the ", seed=seed, max_bytes=24)
    assert sum(byte in b"abcdefghijklmnopqrstuvwxyz \n" for byte in text) > 20


def test_encode(candidate):
    """The tokenizer is lossless."""
    assert bytes(candidate.encode(bytes(range(256)))) == bytes(range(256))
