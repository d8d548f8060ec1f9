"""Whatever is sent arrives as it was; whatever else arrives is refused in the wire's own words."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_evalloop.candidate import wire

moderate = settings(max_examples=50)
lengths = st.lists(st.integers(-(2**63), 2**64 - 1), max_size=5)
integers = st.integers(-(2**63), 2**64 - 1)
words = st.text(max_size=20)
requests = st.one_of(
    st.builds(wire.Import, words, words),
    st.builds(wire.Load, words),
    st.builds(wire.Encode, lengths),
    st.builds(wire.Nll, integers, lengths),
    st.builds(wire.Logits, integers, lengths),
    st.builds(wire.Generate, integers, integers, st.floats(allow_nan=False)),
)
replies = st.one_of(
    st.builds(wire.Imported),
    st.builds(wire.Ready, lengths),
    st.builds(wire.Arrays, lengths),
    st.builds(wire.Text),
    st.builds(wire.Failure, words, words),
)


def received(sock: socket.socket, kind: Any, limit: int) -> tuple[Any, bytes]:
    message, payload = wire.receive(sock, kind, limit=limit)
    return message, bytes(payload)


def exchange(data: bytes, kind: Any, limit: int) -> tuple[Any, bytearray]:
    """Receive what `data` holds from a side that closes behind it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return wire.receive(ours, kind, limit=limit)


@moderate
@given(st.lists(st.tuples(requests, st.binary(max_size=2000)), min_size=1, max_size=4))
def test_requests_arrive_as_they_were_sent(frames: list[tuple[wire.Request, bytes]]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for message, payload in frames:
            wire.send(ours, message, payload)
        assert [received(theirs, wire.Request, limit=2000) for _ in frames] == frames


@moderate
@given(replies, st.binary(max_size=2000))
def test_replies_arrive_as_they_were_sent_and_are_no_requests(reply: wire.Reply, payload: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, reply, payload)
        wire.send(ours, reply, payload)
        assert received(theirs, wire.Reply, limit=len(payload)) == (reply, payload)
        with pytest.raises(wire.WireError):
            wire.receive(theirs, wire.Request, limit=len(payload))


@settings(max_examples=100)
@given(st.binary(max_size=300))
@example(b"\xff" * 12)
@example(b"\x00" * 12)
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with pytest.raises((wire.WireError, EOFError)):
        exchange(data, wire.Reply, 200)


@settings(max_examples=100)
@given(replies, st.binary(max_size=50), st.data())
def test_a_frame_changed_in_one_byte_is_a_message_or_refused(
    reply: wire.Reply, payload: bytes, data: st.DataObject
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, reply, payload)
        frame = bytearray(theirs.recv(2**16))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    try:
        message, received = exchange(bytes(frame), wire.Reply, 200)
    except (wire.WireError, EOFError):
        return
    assert isinstance(message, wire.Reply)
    assert len(received) <= 200


@moderate
@given(st.lists(st.lists(st.floats(width=64), max_size=20), max_size=6))
def test_costs_survive_the_wire_bit_by_bit(arrays: list[list[float]]) -> None:
    sizes, payload = wire.join_arrays(arrays, "<f8")
    back = wire.split_array(payload, sizes, "<f8")
    assert [array.tobytes() for array in back] == [np.array(array, "<f8").tobytes() for array in arrays]


@moderate
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=20), max_size=6))
def test_token_ids_survive_the_wire(arrays: list[list[int]]) -> None:
    sizes, payload = wire.join_arrays(arrays, "<i4")
    assert [array.tolist() for array in wire.split_array(payload, sizes, "<i4")] == arrays


@moderate
@given(st.lists(st.binary(max_size=20), max_size=8))
def test_joined_bytes_are_cut_where_they_were_joined(pieces: list[bytes]) -> None:
    assert wire.split(b"".join(pieces), [len(piece) for piece in pieces]) == pieces


@moderate
@given(st.binary(max_size=40), st.lists(st.integers(-3, 20), max_size=5))
def test_lengths_cut_exactly_or_not_at_all(payload: bytes, sizes: list[int]) -> None:
    honest = min(sizes, default=0) >= 0
    if honest and sum(sizes) == len(payload):
        assert b"".join(wire.split(payload, sizes)) == payload
    else:
        with pytest.raises(wire.WireError):
            wire.split(payload, sizes)
    if honest and sum(sizes) * 4 == len(payload):
        assert [len(array) for array in wire.split_array(payload, sizes, "<i4")] == sizes
    else:
        with pytest.raises(wire.WireError):
            wire.split_array(payload, sizes, "<i4")
