"""The grader's side of the wall: a `LanguageModel` whose every answer comes from another process."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_evalloop.candidate import wire
from pytest_evalloop.candidate.process import Limits, Process
from pytest_evalloop.candidate.sandbox import Jail

_REPLY_LIMIT = 2**31
_FAREWELL_SECONDS = 10.0


class CandidateError(Exception):
    """The candidate failed to answer as `LanguageModel` says; the message is the reason of a rejection."""


class Client:
    """The candidate as the evals see it: the methods of `LanguageModel`, with `id`, `commit` and `primer`.

    The primer, encoded on its own, stands before every document and every prompt; it is context and is
    never scored. A client is of use once it has loaded the candidate; its host imports meanwhile.
    """

    def __init__(
        self,
        host: Process,
        sock: socket.socket,
        log: Path,
        *,
        answer_seconds: float,
        identity: tuple[str, str],
        load: str,
    ) -> None:
        self._host = host
        self._sock = sock
        self._log = log
        self._answer_seconds = answer_seconds
        self._tokens: tuple[bytes, ...] = ()
        self._what = f"load {load}"
        self.id, self.commit = identity
        self.primer = b""
        self.primer_tokens: tuple[int, ...] = ()

    def load(self, artifacts: Path, primer: bytes) -> None:
        """Have the host load the candidate once it was imported; raises `CandidateError` when it cannot."""
        self._hear(wire.Imported, self._what)
        reply, payload = self._ask(wire.Load(str(artifacts)), b"", wire.Ready, self._what)
        self._tokens = tuple(self._checked(lambda: wire.split(payload, reply.lengths), "token_bytes"))
        self.primer = primer
        if primer:
            (tokens,) = self.encode_all([primer])
            self.primer_tokens = tuple(tokens)

    def token_bytes(self) -> Sequence[bytes]:
        """Return the bytes of every token id, as the candidate stated them when it was loaded."""
        return self._tokens

    def encode(self, text: bytes) -> Sequence[int]:
        """Return the candidate's token ids for `text`."""
        (tokens,) = self.encode_all([text])
        return tokens

    def encode_all(self, texts: Sequence[bytes]) -> list[list[int]]:
        """Return token ids for several texts in one exchange."""
        request = wire.Encode([len(text) for text in texts])
        arrays = self._arrays(request, b"".join(texts), len(texts), "<i4", "encode")
        return [array.tolist() for array in arrays]

    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Any]:
        """Return float64 arrays of nats per token, one array a document."""
        lengths, payload = wire.join_arrays([_ids(primer), *map(_ids, documents)], "<i4")
        arrays = self._arrays(wire.Nll(lengths[0], lengths[1:]), payload, len(documents), "<f8", "nll")
        for document, array in zip(documents, arrays, strict=True):
            if len(array) != len(document):
                raise CandidateError(
                    f"nll answered {len(array)} costs for a document of {len(document)} tokens"
                )
        return arrays

    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Any:  # noqa: ANN401
        """Return a float64 array of shape (prefixes, vocabulary)."""
        import numpy as np

        lengths, payload = wire.join_arrays([_ids(primer), *map(_ids, prefixes)], "<i4")
        rows = self._arrays(wire.Logits(lengths[0], lengths[1:]), payload, len(prefixes), "<f8", "logits")
        if any(len(row) != len(self._tokens) for row in rows):
            raise CandidateError(
                f"logits answered rows that are not one number for {len(self._tokens)} tokens"
            )
        return np.stack(rows) if rows else np.empty((0, len(self._tokens)))

    def generate(
        self, prompt: bytes, *, max_bytes: int = 256, seed: int = 0, temperature: float = 0.8
    ) -> bytes:
        """Return what the candidate writes after the primer and `prompt`, at most `max_bytes`."""
        request = wire.Generate(max_bytes, seed, temperature)
        _, payload = self._ask(request, self.primer + prompt, wire.Text, "generate")
        if len(payload) > max_bytes:
            raise CandidateError(
                f"generate answered {len(payload)} bytes, where at most {max_bytes} were asked for"
            )
        return bytes(payload)

    def _arrays(self, request: wire.Request, payload: bytes, count: int, dtype: str, what: str) -> list[Any]:
        reply, answer = self._ask(request, payload, wire.Arrays, what)
        arrays = self._checked(lambda: wire.split_array(answer, reply.lengths, dtype), what)
        if len(arrays) != count:
            raise CandidateError(f"{what} answered {len(arrays)} sequences for {count} that were asked for")
        return list(arrays)

    def _ask(self, request: wire.Request, payload: bytes, kind: type, what: str) -> tuple[Any, bytearray]:
        with self._heard(what):
            self._sock.settimeout(self._answer_seconds)
            wire.send(self._sock, request, payload)
        return self._hear(kind, what)

    def _hear(self, kind: type, what: str) -> tuple[Any, bytearray]:
        with self._heard(what):
            reply, answer = wire.receive(
                self._sock, wire.Reply, limit=_REPLY_LIMIT, seconds=self._answer_seconds
            )
        if isinstance(reply, wire.Failure):
            raise CandidateError(f"{what} raised {reply.message}\n{reply.traceback}")
        if not isinstance(reply, kind):
            self._host.kill()
            raise CandidateError(f"the candidate answered {what} with a {type(reply).__name__} message")
        return reply, answer

    @contextlib.contextmanager
    def _heard(self, what: str) -> Iterator[None]:
        """Say what became of a candidate that does not take part in the exchange as it should."""
        try:
            yield
        except TimeoutError as error:
            self._host.kill()
            raise CandidateError(f"the candidate did not answer {what} in time ({self._log})") from error
        except (EOFError, OSError) as error:
            raise CandidateError(f"{self._farewell(what)}\n{tail(self._log)}".rstrip()) from error
        except wire.WireError as error:
            self._host.kill()
            raise CandidateError(f"the candidate answered {what} with {error}") from error

    def _farewell(self, what: str) -> str:
        """Say how the host ended, and end one that closed its connection but lives on."""
        try:
            result = self._host.wait(_FAREWELL_SECONDS)
        except TimeoutError:
            self._host.kill()
            return f"the candidate closed its connection during {what}, and its process was ended"
        return f"the candidate's process ended during {what}: {result.detail or 'exited with status 0'}"

    def _checked(self, read: Any, what: str) -> Any:  # noqa: ANN401
        try:
            return read()
        except wire.WireError as error:
            self._host.kill()
            raise CandidateError(f"the candidate answered {what} with {error}") from error


@contextlib.contextmanager
def begin(
    *,
    tree: Path,
    artifacts: Path,
    load: str,
    log: Path,
    limits: Limits,
    answer_seconds: float,
    identity: tuple[str, str] = ("working tree", ""),
    sandbox: Jail | None = None,
) -> Iterator[Client]:
    """Start a fresh host that imports the candidate's code, and yield its client, which has yet to load.

    The host's tree is killed on leaving. It may read `artifacts`, a folder that a training may still fill.
    Without a `sandbox` only the limits stand between the candidate and the machine.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-P", "-m", "pytest_evalloop.candidate.host", str(theirs.fileno())]
            host = (sandbox or Jail()).launch(
                command,
                tree=tree,
                log=log,
                limits=limits,
                readable=[artifacts],
                host=True,
                pass_fds=[theirs.fileno()],
            )
        with host:
            with contextlib.suppress(OSError):  # who is gone already is asked how it ended when it is to load
                wire.send(ours, wire.Import(str(tree), load))
            yield Client(host, ours, log, answer_seconds=answer_seconds, identity=identity, load=load)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for a message; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _ids(tokens: Sequence[int]) -> Any:  # noqa: ANN401
    import numpy as np

    return np.asarray(tokens, dtype="<i4")
