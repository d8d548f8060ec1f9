"""Numbers of things in words."""

from __future__ import annotations


def count(number: int, noun: str, nouns: str = "") -> str:
    """Return `1 trace` or `1,200 traces`; `nouns` is a plural that is not made with an s."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def are(number: int) -> str:
    """Return the verb that goes with a number."""
    return "is" if number == 1 else "are"
