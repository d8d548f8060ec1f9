"""What crosses the wall: small msgspec messages, each followed by the raw bytes of its arrays.

A frame is two little-endian lengths (message: 4 bytes, payload: 8 bytes), the message as MessagePack,
and the payload. Token ids travel as int32, costs and logits as float64.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

_HEADER: Final = struct.Struct("<IQ")
_MESSAGE_LIMIT: Final = 64 * 2**20


class WireError(Exception):
    """The other side broke the protocol: a torn, oversized, malformed or unexpected frame."""


class Import(msgspec.Struct, frozen=True, tag=True):
    """First request: import the module of `load` (`module:function`) from `tree`; artifacts need not exist yet."""

    tree: str
    load: str


class Load(msgspec.Struct, frozen=True, tag=True):
    """Second request: call what was imported with `artifacts`."""

    artifacts: str


class Encode(msgspec.Struct, frozen=True, tag=True):
    """Encode texts of these `lengths` in bytes; they follow joined."""

    lengths: list[int]


class Nll(msgspec.Struct, frozen=True, tag=True):
    """Score token sequences; the ids of primer and documents follow joined."""

    primer: int
    lengths: list[int]


class Logits(msgspec.Struct, frozen=True, tag=True):
    """Predict after token prefixes; the ids of primer and prefixes follow joined."""

    primer: int
    lengths: list[int]


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Continue the prompt that follows."""

    max_bytes: int
    seed: int
    temperature: float


class Imported(msgspec.Struct, frozen=True, tag=True):
    """The candidate's module is imported."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The candidate is loaded; the bytes of its tokens, of these `lengths`, follow joined."""

    lengths: list[int]


class Arrays(msgspec.Struct, frozen=True, tag=True):
    """An answer of several arrays of these `lengths`, joined in the payload."""

    lengths: list[int]


class Text(msgspec.Struct, frozen=True, tag=True):
    """An answer of plain bytes, in the payload."""


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The candidate raised: its message and traceback, as text and nothing more."""

    message: str
    traceback: str


Request = Import | Load | Encode | Nll | Logits | Generate
Reply = Imported | Ready | Arrays | Text | Failure


def send(sock: socket.socket, message: Request | Reply, payload: bytes = b"") -> None:
    """Send one frame; raises `OSError` when the other side is gone."""
    head = msgspec.msgpack.encode(message)
    sock.sendall(_HEADER.pack(len(head), len(payload)) + head)
    if payload:
        sock.sendall(payload)


def receive(
    sock: socket.socket,
    kind: Any,  # noqa: ANN401
    *,
    limit: int,
    seconds: float | None = None,
) -> tuple[Any, bytearray]:
    """Receive one frame whose message is of `kind` (a union of messages) with at most `limit` payload bytes.

    Raises `WireError` for a frame that breaks the protocol, `EOFError` when the other side closed,
    `TimeoutError` when the whole frame is not there within `seconds`.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    head_size, payload_size = _HEADER.unpack(_exactly(sock, _HEADER.size, deadline))
    if head_size > _MESSAGE_LIMIT or payload_size > limit:
        raise WireError(f"a frame of {head_size} + {payload_size} bytes, where at most {limit} are allowed")
    head = _exactly(sock, head_size, deadline)
    try:
        message = msgspec.msgpack.decode(head, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"a frame that is no valid message ({error})") from error
    return message, _exactly(sock, payload_size, deadline)


def split(payload: bytes | bytearray, lengths: Sequence[int]) -> list[bytes]:
    """Cut joined bytes into pieces of `lengths`; raises `WireError` when they do not add up."""
    if any(length < 0 for length in lengths) or sum(lengths) != len(payload):
        raise WireError(f"lengths that add up to {sum(lengths)} for a payload of {len(payload)} bytes")
    pieces, start = [], 0
    for length in lengths:
        pieces.append(bytes(payload[start : start + length]))
        start += length
    return pieces


def split_array(payload: bytes | bytearray, lengths: Sequence[int], dtype: str) -> list[Any]:
    """View joined array bytes as one-dimensional arrays of `lengths` elements of `dtype`."""
    import numpy as np

    size = np.dtype(dtype).itemsize
    if any(length < 0 for length in lengths) or sum(lengths) * size != len(payload):
        raise WireError(f"{sum(lengths)} numbers of {size} bytes in a payload of {len(payload)} bytes")
    flat = np.frombuffer(payload, dtype=dtype)
    arrays, start = [], 0
    for length in lengths:
        arrays.append(flat[start : start + length])
        start += length
    return arrays


def join_arrays(arrays: Sequence[Any], dtype: str) -> tuple[list[int], bytes]:
    """Flatten one-dimensional arrays into their lengths and their joined bytes as `dtype`.

    Raises `TypeError` for anything but real numbers, `ValueError` for more than one dimension.
    """
    import numpy as np

    flat = []
    for item in arrays:
        array = np.asarray(item)
        if array.dtype.kind not in "fiu" and array.size:
            raise TypeError(f"an array of {array.dtype}, where real numbers are needed")
        if array.ndim != 1:
            raise ValueError(f"an array of shape {array.shape}, where one dimension is needed")
        flat.append(np.ascontiguousarray(array, dtype=dtype))
    return [len(array) for array in flat], b"".join(array.tobytes() for array in flat)


def _exactly(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    buffer = bytearray(size)
    view, received = memoryview(buffer), 0
    while received < size:
        if deadline is not None:  # a socket's own time-out begins anew with every byte that drips in
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the frame was not there in time")
            sock.settimeout(left)
        count = sock.recv_into(view[received:], min(size - received, 2**20))
        if count == 0:
            raise EOFError("the other side closed the socket")
        received += count
    return buffer
