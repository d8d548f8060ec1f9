"""Frames over a real socket pair: what arrives whole, and what is refused."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from pytest_evalloop.candidate import wire

Pair = tuple[socket.socket, socket.socket]
FRAME = struct.Struct("<IQ")


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two ends of one connection; neither waits for long."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        theirs.settimeout(20)
        yield ours, theirs


def frame(head: bytes, payload: bytes = b"") -> bytes:
    return FRAME.pack(len(head), len(payload)) + head + payload


def received(sock: socket.socket, limit: int) -> tuple[wire.Reply, bytes]:
    message, payload = wire.receive(sock, wire.Reply, limit=limit)
    return message, bytes(payload)


def test_messages_arrive_one_by_one_with_their_payloads(pair: Pair) -> None:
    ours, theirs = pair
    wire.send(theirs, wire.Ready([1, 0, 2]), b"abc")
    wire.send(theirs, wire.Text())
    wire.send(theirs, wire.Failure("ValueError: ü", "Traceback\n"))
    assert received(ours, limit=3) == (wire.Ready([1, 0, 2]), b"abc")
    assert received(ours, limit=0) == (wire.Text(), b"")
    assert received(ours, limit=0) == (wire.Failure("ValueError: ü", "Traceback\n"), b"")


def test_a_payload_larger_than_the_sockets_buffers_arrives_whole(pair: Pair) -> None:
    ours, theirs = pair
    array = np.random.default_rng(0).normal(size=500_000)
    lengths, payload = wire.join_arrays([array], "<f8")
    sender = threading.Thread(target=wire.send, args=(theirs, wire.Arrays(lengths), payload))
    sender.start()
    message, arrived = received(ours, limit=len(payload))
    sender.join()
    assert message == wire.Arrays([len(array)])
    assert np.array_equal(wire.split_array(arrived, lengths, "<f8")[0], array)


def test_a_frame_torn_anywhere_is_the_end_of_the_connection() -> None:
    whole = frame(msgspec.msgpack.encode(wire.Text()), b"payload")
    for length in range(len(whole)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(whole[:length])
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError, match="closed"):
                wire.receive(ours, wire.Reply, limit=100)


def test_a_payload_over_the_limit_is_refused_before_any_of_it_is_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(FRAME.pack(5, 2**62))
    with pytest.raises(wire.WireError, match=f"5 \\+ {2**62} bytes, where at most 100 are allowed"):
        wire.receive(ours, wire.Reply, limit=100)


def test_a_payload_at_the_limit_is_read(pair: Pair) -> None:
    wire.send(pair[1], wire.Text(), b"x" * 100)
    assert received(pair[0], limit=100) == (wire.Text(), b"x" * 100)


def test_a_message_that_claims_gigabytes_is_refused_before_any_of_it_is_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(FRAME.pack(2**32 - 1, 0))
    with pytest.raises(wire.WireError, match=f"a frame of {2**32 - 1} \\+ 0 bytes"):
        wire.receive(ours, wire.Reply, limit=2**40)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xc1",
        b"not a message",
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"type": "Nonsense"}),
        msgspec.msgpack.encode({"lengths": [1]}),
        msgspec.msgpack.encode({"type": "Arrays"}),
        msgspec.msgpack.encode({"type": "Arrays", "lengths": ["1"]}),
        msgspec.msgpack.encode({"type": "Arrays", "lengths": [1.5]}),
        msgspec.msgpack.encode({"type": "Failure", "message": b"\xff", "traceback": ""}),
        b"\x82\xa4type\xa7Failure\xa7message\xa1\xff",
        msgspec.msgpack.encode(wire.Arrays([1]))[:-1],
        msgspec.msgpack.encode(wire.Encode([1])),
        b"\x82\xa4type\xa4Text\xa1x" + b"\x91" * 100_000 + b"\xc0",
    ],
    ids=[
        "empty",
        "reserved byte",
        "text",
        "list",
        "unknown type",
        "no type",
        "no lengths",
        "strings for lengths",
        "fractions for lengths",
        "bytes for text",
        "text that is not Unicode",
        "cut off",
        "a request for a reply",
        "nested beyond reason",
    ],
)
def test_a_frame_that_holds_no_message_is_refused(pair: Pair, head: bytes) -> None:
    pair[1].sendall(frame(head))
    with pytest.raises(wire.WireError, match="no valid message"):
        wire.receive(pair[0], wire.Reply, limit=100)


def test_a_silent_other_side_is_a_timeout(pair: Pair) -> None:
    pair[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        wire.receive(pair[0], wire.Reply, limit=100)


def test_sending_to_a_closed_side_is_an_os_error(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(OSError, match="pipe"):
        wire.send(pair[0], wire.Text(), b"x")


@pytest.mark.parametrize("lengths", [[], [4], [6], [3, 3], [6, -1], [2**64]])
def test_lengths_that_lie_about_bytes_are_refused(lengths: list[int]) -> None:
    with pytest.raises(wire.WireError, match="for a payload of 5 bytes"):
        wire.split(b"abcde", lengths)


@pytest.mark.parametrize("lengths", [[], [1], [3], [1, 2], [3, -1], [2**61]])
def test_lengths_that_lie_about_numbers_are_refused(lengths: list[int]) -> None:
    with pytest.raises(wire.WireError, match="numbers of 8 bytes in a payload of 16 bytes"):
        wire.split_array(bytes(16), lengths, "<f8")


def test_a_payload_of_half_a_number_is_refused() -> None:
    with pytest.raises(wire.WireError, match="1 numbers of 8 bytes in a payload of 12 bytes"):
        wire.split_array(bytes(12), [1], "<f8")


@pytest.mark.parametrize("item", [["1"], [1j], [None], [b"x"], [True]], ids=repr)
def test_only_real_numbers_travel(item: list[object]) -> None:
    with pytest.raises(TypeError, match="real numbers are needed"):
        wire.join_arrays([[1.0], item], "<f8")


@pytest.mark.parametrize(
    "item", [3.0, [[1.0, 2.0]], np.ones((2, 0))], ids=["number", "matrix", "empty matrix"]
)
def test_only_one_dimension_travels(item: object) -> None:
    with pytest.raises(ValueError, match="one dimension is needed"):
        wire.join_arrays([item], "<f8")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(4, dtype=">f4"),
        np.arange(8, dtype=np.int64)[::2],
        np.arange(4, dtype=np.uint8),
        range(4),
        (0, 1, 2, 3),
    ],
    ids=["big-endian", "strided", "bytes", "range", "tuple"],
)
def test_any_kind_of_real_numbers_arrives_as_the_same_numbers(array: object) -> None:
    lengths, payload = wire.join_arrays([array, []], "<f8")
    first, second = wire.split_array(payload, lengths, "<f8")
    assert first.tolist() == [float(value) for value in array]  # type: ignore[attr-defined]
    assert second.tolist() == []
