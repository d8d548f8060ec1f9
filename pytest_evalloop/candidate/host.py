"""The candidate's process: loads the candidate and answers requests until the socket closes.

Started as `python -P -m pytest_evalloop.candidate.host FD`. Everything that is said from here is the
candidate's own claim; the grader checks it on the other side.
"""

from __future__ import annotations

import importlib
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from pytest_evalloop.candidate import wire


def main() -> None:
    """Serve one grader over the inherited socket descriptor given as the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        try:
            serve(sock)
        except (EOFError, OSError):
            return  # the grader is done or gone


def serve(sock: socket.socket) -> None:
    """Answer requests one by one; what the candidate raises goes back as a `Failure`."""
    load: Any = None
    model: Any = None
    while True:
        request, payload = wire.receive(sock, wire.Request, limit=2**40)
        try:
            if isinstance(request, wire.Import):
                load = _import(request)
            if isinstance(request, wire.Load):
                model = load(Path(request.artifacts))
            reply, answer = _answer(model, request, payload)
        except Exception as error:  # noqa: BLE001 - whatever a candidate raises is an answer
            message, trace = f"{type(error).__name__}: {error}", traceback.format_exc()
            reply = wire.Failure(_unicode(message)[:2000], _unicode(trace)[-20000:])
            answer = b""
        wire.send(sock, reply, answer)


def _import(request: wire.Import) -> Any:  # noqa: ANN401
    sys.path.insert(0, request.tree)
    module, _, function = request.load.partition(":")
    return getattr(importlib.import_module(module), function)


def _answer(model: Any, request: wire.Request, payload: bytearray) -> tuple[wire.Reply, bytes]:  # noqa: ANN401
    import numpy as np

    match request:
        case wire.Import():
            return wire.Imported(), b""
        case wire.Load():
            pieces = [bytes(piece) for piece in model.token_bytes()]
            return wire.Ready([len(piece) for piece in pieces]), b"".join(pieces)
        case wire.Encode():
            texts = wire.split(payload, request.lengths)
            lengths, joined = wire.join_arrays([model.encode(text) for text in texts], "<i4")
            return wire.Arrays(lengths), joined
        case wire.Nll():
            primer, *documents = wire.split_array(payload, [request.primer, *request.lengths], "<i4")
            nats = model.nll([document.tolist() for document in documents], primer=primer.tolist())
            lengths, joined = wire.join_arrays([np.asarray(values) for values in nats], "<f8")
            return wire.Arrays(lengths), joined
        case wire.Logits():
            primer, *prefixes = wire.split_array(payload, [request.primer, *request.lengths], "<i4")
            rows = model.logits([prefix.tolist() for prefix in prefixes], primer=primer.tolist())
            lengths, joined = wire.join_arrays([np.asarray(row) for row in rows], "<f8")
            return wire.Arrays(lengths), joined
        case wire.Generate():
            text = model.generate(
                bytes(payload),
                max_bytes=request.max_bytes,
                seed=request.seed,
                temperature=request.temperature,
            )
            return wire.Text(), bytes(text)


def _unicode(text: str) -> str:
    """Spell out lone surrogates, such as a file name may hold: no message can carry them."""
    return text.encode(errors="backslashreplace").decode()


if __name__ == "__main__":
    main()
