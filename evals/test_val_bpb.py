"""The model expects what Shakespeare wrote."""

from __future__ import annotations


def test_val_bpb(val_bpb: float) -> None:
    """Scenes of plays that it has never seen cost at most 2.4 bits a byte.

    For comparison: bzip2 needs 2.38, gzip 3.10, and guessing each byte by its frequency 4.8.
    """
    assert val_bpb <= 2.4
