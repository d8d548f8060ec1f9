"""Any text can be given to the model, and none of it is lost on the way in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pieces = (
    st.binary() | st.text().map(str.encode) | st.sampled_from([b"**HAMLET**  \n", b"_Exeunt_", b"\xff\xfe"])
)


@pytest.mark.failure_mode("FM-11", "loses or changes text that it is given", severity="critical")
@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(pieces).map(b"".join))
def test_every_byte_is_encoded(candidate: Any, text: bytes) -> None:
    """The bytes of the tokens, joined, are the text: for plays, for other languages and for noise."""
    alphabet = candidate.token_bytes()
    assert b"".join(alphabet[token] for token in candidate.encode(text)) == text
