"""A candidate behind the wall, honest or not: each is a real project in a real process."""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pytest_evalloop.candidate import client as client_module
from pytest_evalloop.candidate.client import CandidateError, Client, begin, tail
from pytest_evalloop.candidate.process import Limits

Connect = Callable[..., AbstractContextManager[Client]]

HONEST = """
import os, socket, stat, subprocess, sys, time
import numpy as np

class Model:
    def token_bytes(self):
        return [bytes([value]) for value in range(256)]

    def encode(self, text):
        return list(text)

    def nll(self, documents, *, primer=()):
        return [[float(len(primer) + index) for index in range(len(document))] for document in documents]

    def logits(self, prefixes, *, primer=()):
        return [[float(len(prefix) + token) for token in range(256)] for prefix in prefixes]

    def generate(self, prompt, *, max_bytes, seed, temperature):
        return f"{prompt.decode()}|{seed}|{temperature}".encode()[:max_bytes]

def load(artifacts):
    return Model()

def wires():
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass
"""
# Errors that a host survives: the text or prompt says which one is wanted.
FAULTY = """
class Faulty(Model):
    def token_bytes(self):
        return [b"ab", b"", b"c"]

    def encode(self, text):
        match text:
            case b"raise": raise RuntimeError("no such text")
            case b"surrogate": raise RuntimeError("lone \\udcff")
            case b"matrix": return [[1, 2], [3, 4]]
            case b"words": return ["one"]
            case b"number": return 3
            case b"nothing": return None
        return [0]

    def nll(self, documents, *, primer=()):
        match len(documents[0]):
            case 1: raise ZeroDivisionError("by zero")
            case 2: return []
            case 3: return [[1.0] * 3] * 2
            case 4: return [[1.0] * 3]
            case 5: return [np.ones((5, 1))]
            case 6: return 1.0
        return [[1.0] * len(document) for document in documents]

    def logits(self, prefixes, *, primer=()):
        match len(prefixes[0]):
            case 0: return np.zeros((1, 3))
            case 1: return np.zeros((1, 4))
            case 2: return np.zeros((2, 3))
            case 3: return [[0.0], [0.0, 1.0, 2.0]]
        raise KeyError("prefix")

    def generate(self, prompt, *, max_bytes, seed, temperature):
        match prompt:
            case b"long": return b"x" * (max_bytes + 1)
            case b"text": return "words"
        raise StopIteration

def load(artifacts):
    return Faulty()
"""


def alive(folder: Path) -> list[psutil.Process]:
    """Return every process that works below `folder`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@contextlib.contextmanager
def connection(folder: Path, code: str = "", **options: Any) -> Iterator[Client]:
    """Write a candidate of the honest code and `code` behind it, connect to it, and see that it is gone."""
    tree = folder / "tree"
    tree.mkdir()
    (tree / "candidate.py").write_text(HONEST + textwrap.dedent(code))
    defaults = {"load": "candidate:load", "limits": Limits(), "answer_seconds": 60.0}
    artifacts, primer = folder / "artifacts", options.pop("primer", b"")
    try:
        with begin(
            tree=tree, artifacts=artifacts, log=folder / "host.log", **{**defaults, **options}
        ) as client:
            client.load(artifacts, primer)
            assert alive(tree)
            yield client
    finally:
        assert alive(tree) == []


@pytest.fixture
def start(tmp_path: Path) -> Connect:
    return lambda code="", **options: connection(tmp_path, code, **options)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with connection(
        tmp_path_factory.mktemp("honest"), primer=b"Oh! ", identity=("main/3", "c0ffee")
    ) as client:
        yield client


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with connection(tmp_path_factory.mktemp("faulty"), FAULTY) as client:
        yield client


# -- an honest one


def test_the_client_says_whose_answers_they_are(honest: Client) -> None:
    assert (honest.id, honest.commit) == ("main/3", "c0ffee")


def test_tokens_and_their_bytes_come_from_the_candidate(honest: Client) -> None:
    assert list(honest.token_bytes()) == [bytes([value]) for value in range(256)]
    assert honest.encode(b"\xff\x00a") == [255, 0, 97]
    assert honest.encode(b"") == []
    assert honest.encode_all([b"ab", b"", b"c"]) == [[97, 98], [], [99]]
    assert honest.encode_all([]) == []


def test_the_primer_is_encoded_on_its_own(honest: Client) -> None:
    assert honest.primer == b"Oh! "
    assert honest.primer_tokens == tuple(b"Oh! ")


def test_costs_are_arrays_a_document(honest: Client) -> None:
    first, empty, last = honest.nll([[1, 2, 3], [], [4]], primer=[7, 7])
    assert (first.tolist(), empty.tolist(), last.tolist()) == ([2.0, 3.0, 4.0], [], [2.0])
    assert first.dtype == np.float64
    assert honest.nll([]) == []


def test_logits_are_one_row_a_prefix(honest: Client) -> None:
    rows = honest.logits([[], [1, 2]])
    assert (rows.shape, rows.dtype) == ((2, 256), np.float64)
    assert rows[:, 5].tolist() == [5.0, 7.0]
    assert honest.logits([]).shape == (0, 256)


def test_generated_text_follows_primer_and_prompt(honest: Client) -> None:
    assert honest.generate(b"He", seed=3, temperature=0.5) == b"Oh! He|3|0.5"
    assert honest.generate(b"He", max_bytes=5) == b"Oh! H"
    assert honest.generate(b"He") == b"Oh! He|0|0.8"


def test_a_candidate_may_print(start: Connect, tmp_path: Path) -> None:
    code = """
        print("imported")
        def load(artifacts):
            print("loaded", artifacts.name)
            os.write(1, b"raw\\n")
            sys.stdout.flush()
            return Model()
    """
    with start(code) as client:
        assert client.encode(b"a") == [97]
    assert (tmp_path / "host.log").read_text() == "imported\nloaded artifacts\nraw\n"


def test_a_candidate_sees_its_own_tree_and_nothing_of_the_session(
    start: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALLOOP_ASSIGNMENT", "secret")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--secret")
    monkeypatch.setenv("PYTHONPATH", "/secret")
    code = """
        class Curious(Model):
            def generate(self, prompt, **_):
                told = [name for name, value in os.environ.items() if "secret" in value]
                return f"{os.getcwd()} {sys.path[0]} {told} {len(list(wires()))}".encode()
        def load(artifacts):
            return Curious()
    """
    with start(code) as client:
        assert client.generate(b"") == f"{tmp_path}/tree {tmp_path}/tree [] 1".encode()


# -- one that answers, but wrongly


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"raise", "encode raised RuntimeError: no such text\nTraceback"),
        (b"surrogate", "encode raised RuntimeError: lone \\udcff\n"),
        (b"matrix", "encode raised ValueError: an array of shape (2, 2), where one dimension is needed"),
        (b"words", "encode raised TypeError: an array of <U3, where real numbers are needed"),
        (b"number", "encode raised ValueError: an array of shape (), where one dimension is needed"),
        (b"nothing", "encode raised TypeError: an array of object, where real numbers are needed"),
    ],
)
def test_a_wrong_encode_is_named(faulty: Client, text: bytes, message: str) -> None:
    with pytest.raises(CandidateError) as caught:
        faulty.encode(text)
    assert str(caught.value).startswith(message)
    assert faulty.encode(b"fine") == [0]  # the host goes on


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (1, "nll raised ZeroDivisionError: by zero"),
        (2, "nll answered 0 sequences for 1 that were asked for"),
        (3, "nll answered 2 sequences for 1 that were asked for"),
        (4, "nll answered 3 costs for a document of 4 tokens"),
        (5, "nll raised ValueError: an array of shape (5, 1), where one dimension is needed"),
        (6, "nll raised TypeError: 'float' object is not iterable"),
    ],
)
def test_wrong_costs_are_named(faulty: Client, tokens: int, message: str) -> None:
    with pytest.raises(CandidateError) as caught:
        faulty.nll([[0] * tokens])
    assert str(caught.value).startswith(message)
    assert len(faulty.nll([[0] * 7])[0]) == 7


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([[1]], "logits answered rows that are not one number for 3 tokens"),
        ([[1, 1]], "logits answered 2 sequences for 1 that were asked for"),
        ([[1, 1, 1], []], "logits answered rows that are not one number for 3 tokens"),
        ([[1, 1, 1, 1]], "logits raised KeyError: 'prefix'"),
    ],
)
def test_wrong_logits_are_named(faulty: Client, prefixes: list[list[int]], message: str) -> None:
    with pytest.raises(CandidateError) as caught:
        faulty.logits(prefixes)
    assert str(caught.value).startswith(message)
    assert faulty.logits([[]]).shape == (1, 3)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (b"long", "generate answered 11 bytes, where at most 10 were asked for"),
        (b"text", "generate raised TypeError: string argument without an encoding"),
        (b"stop", "generate raised StopIteration"),
    ],
)
def test_wrong_text_is_named(faulty: Client, prompt: bytes, message: str) -> None:
    with pytest.raises(CandidateError) as caught:
        faulty.generate(prompt, max_bytes=10)
    assert str(caught.value).startswith(message)


# -- one that cannot even be loaded


@pytest.mark.parametrize(
    ("code", "load", "message"),
    [
        ("", "missing:load", "load missing:load raised ModuleNotFoundError: No module named 'missing'"),
        ("", "candidate:missing", "load candidate:missing raised AttributeError: module 'candidate' has no"),
        (
            "def load(artifacts): raise OSError('no weights')",
            None,
            "load candidate:load raised OSError: no weights",
        ),
        ("def load(artifacts): sys.exit('no weights')", None, "the candidate's process ended during load"),
        (
            "def load(artifacts): os._exit(0)",
            None,
            "the candidate's process ended during load candidate:load: exited",
        ),
        ("def load(artifacts)", None, "load candidate:load raised SyntaxError"),
        (
            "def load(artifacts): return None",
            None,
            "load candidate:load raised AttributeError: 'NoneType' object",
        ),
    ],
    ids=["module", "function", "raises", "exits", "leaves quietly", "syntax", "no model"],
)
def test_a_candidate_that_cannot_be_loaded_says_why(
    start: Connect, code: str, load: str | None, message: str
) -> None:
    with pytest.raises(CandidateError) as caught, start(code, load=load or "candidate:load"):
        pytest.fail("it was loaded")
    assert str(caught.value).startswith(message)


def test_a_candidate_that_is_never_loaded_times_out(start: Connect, tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(CandidateError, match=r"did not answer load candidate:load in time \(.*host\.log\)"),
        start("time.sleep(600)", answer_seconds=0.5),
    ):
        pytest.fail("it was loaded")
    assert time.monotonic() - began < 30
    assert alive(tmp_path) == []


def test_a_primer_that_cannot_be_encoded_is_an_error(start: Connect) -> None:
    with (
        pytest.raises(CandidateError, match="encode raised RuntimeError: no such text"),
        start(FAULTY, primer=b"raise"),
    ):
        pytest.fail("it was loaded")


# -- one that breaks the connection


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("os._exit(0)", "the candidate's process ended during encode: exited with status 0\nlast words"),
        (
            "os.kill(os.getpid(), 9)",
            "the candidate's process ended during encode: died of SIGKILL\nlast words",
        ),
    ],
)
def test_a_candidate_that_ends_says_how(start: Connect, action: str, message: str) -> None:
    code = f"""
        class Broken(Model):
            def encode(self, text):
                os.write(2, b"last words\\n")
                {action}
        def load(artifacts):
            return Broken()
    """
    with start(code) as client:
        with pytest.raises(CandidateError) as caught:
            client.encode(b"a")
        assert str(caught.value).startswith(message)
        with pytest.raises(CandidateError, match="process ended during nll"):  # and it stays so
            client.nll([[1]])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("os.write(next(wires()), b'\\xff' * 64)", "answered encode with a frame of"),
        ("os.write(next(wires()), bytes(12))", "answered encode with a frame that is no valid message"),
        ("wire.send(own(), wire.Text(), b'')", "answered encode with a Text message"),
        ("wire.send(own(), wire.Ready([]), b'')", "answered encode with a Ready message"),
        (
            "wire.send(own(), wire.Arrays([-1]), b'')",
            "answered encode with -1 numbers of 4 bytes in a payload",
        ),
        ("wire.send(own(), wire.Arrays([1, 1]), bytes(8))", "encode answered 2 sequences for 1"),
    ],
)
def test_a_forged_answer_is_refused(start: Connect, action: str, message: str) -> None:
    code = f"""
        from pytest_evalloop.candidate import wire
        def own():
            return socket.socket(fileno=os.dup(next(wires())))
        class Forger(Model):
            def encode(self, text):
                {action}
                return list(text)
        def load(artifacts):
            return Forger()
    """
    with start(code) as client, pytest.raises(CandidateError, match=message):
        client.encode(b"a")


def test_token_bytes_that_are_not_what_they_claim_are_refused(start: Connect) -> None:
    code = """
        from pytest_evalloop.candidate import wire
        def load(artifacts):
            wire.send(socket.socket(fileno=os.dup(next(wires()))), wire.Ready([2, 2]), b"abc")
            return Model()
    """
    with (
        pytest.raises(CandidateError, match="answered token_bytes with lengths that add up to 4"),
        start(code),
    ):
        pytest.fail("it was loaded")


def test_a_candidate_that_closes_its_socket_and_stays_is_ended(
    start: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_FAREWELL_SECONDS", 0.2)
    code = """
        class Mute(Model):
            def encode(self, text):
                for number in wires():
                    os.close(number)
                time.sleep(600)
        def load(artifacts):
            return Mute()
    """
    with start(code) as client, pytest.raises(CandidateError, match="closed its connection during encode"):
        client.encode(b"a")


def test_a_candidate_that_never_answers_is_ended_with_all_it_started(start: Connect, tmp_path: Path) -> None:
    code = """
        class Slow(Model):
            def encode(self, text):
                subprocess.Popen(["sleep", "600"], start_new_session=True)
                time.sleep(600)
        def load(artifacts):
            return Slow()
    """
    with start(code) as client:
        client._answer_seconds = 0.5
        with pytest.raises(CandidateError, match="the candidate did not answer encode in time"):
            client.encode(b"a")
        assert alive(tmp_path) == []


def test_a_candidate_that_drips_is_as_late_as_one_that_is_silent(start: Connect) -> None:
    code = """
        class Dripping(Model):
            def encode(self, text):
                wire = socket.socket(fileno=next(wires()))
                for _ in range(600):
                    wire.send(b"\\1")
                    time.sleep(0.1)
        def load(artifacts):
            return Dripping()
    """
    with start(code) as client:
        client._answer_seconds = 0.5
        with pytest.raises(CandidateError, match="the candidate did not answer encode in time"):
            client.encode(b"a")


def test_a_candidate_over_its_memory_is_ended_and_says_so(start: Connect) -> None:
    code = """
        class Hungry(Model):
            def encode(self, text):
                self.held = np.ones(50_000_000)
                time.sleep(600)
        def load(artifacts):
            return Hungry()
    """
    with (
        start(code, limits=Limits(memory_bytes=250_000_000)) as client,
        pytest.raises(CandidateError, match=r"ended during encode: used .* MB of memory, allowed 250\.0 MB"),
    ):
        client.encode(b"a")


def test_what_a_candidate_started_goes_with_it(start: Connect, tmp_path: Path) -> None:
    code = """
        def load(artifacts):
            subprocess.Popen(["sleep", "600"], start_new_session=True)
            return Model()
    """
    with start(code):
        assert {process.name() for process in alive(tmp_path)} >= {"sleep"}
    assert alive(tmp_path) == []


# -- the end of a log


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert tail(log, 3) == "line 9997\nline 9998\nline 9999"
    assert len(tail(log).splitlines()) == 15


def test_the_tail_of_one_endless_line_is_short(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff" * 10**6)
    assert len(tail(tmp_path / "log")) == 8192


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "log") == ""
    assert tail(tmp_path) == ""
