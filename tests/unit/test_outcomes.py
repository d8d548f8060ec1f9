"""Outcome lines: written by one process, folded by another, whatever arrived."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import CaseOutcome, DocumentScore, Rate
from pytest_evalloop.suite.outcomes import (
    Collected,
    Finished,
    HostStarted,
    Judged,
    Line,
    Measured,
    Phase,
    Writer,
    cases,
    decode,
)

NODE = "evals/test_a.py::test_a[ü-\n]"
LINES: list[Line] = [
    Collected((NODE, "b"), objective=True),
    Phase(NODE, "setup", "passed", 0.5),
    Phase(NODE, "call", "failed", 1.5, "E   assert '\u2028' == \"\n\""),
    HostStarted(0.25),
    Measured((DocumentScore("a", 12.5, 7), DocumentScore("b", 0.1, 1))),
    Judged(Rate("FM-01", "never ends", 1, 40, 0.11, 0.2, passed=True)),
    Finished(1, "first\nsecond"),
]


def encoded(*lines: Line) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def phases(*outcomes: tuple[str, str]) -> list[Line]:
    """Return the phases of one test, a second each, that say in their message when they were."""
    return [Phase("a", when, outcome, 1.0, f"in {when}") for when, outcome in outcomes]


def test_what_is_written_is_what_is_read() -> None:
    with tempfile.TemporaryFile() as file:
        writer = Writer(file.fileno())
        for line in LINES:
            writer.write(line)
        file.seek(0)
        data = file.read()
    assert decode(data) == LINES
    assert data.count(b"\n") == len(LINES)


def test_the_descriptor_is_not_handed_on_to_what_an_eval_starts(tmp_path: Path) -> None:
    with (tmp_path / "outcomes").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        Writer(file.fileno())
        assert not os.get_inheritable(file.fileno())


def test_a_reader_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        Writer(write).write(LINES[0])
    finally:
        os.close(write)


def test_a_descriptor_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "outcomes").touch()
    with (tmp_path / "outcomes").open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        Writer(file.fileno()).write(LINES[0])


def test_a_torn_last_line_is_left_out_wherever_it_tore() -> None:
    data = encoded(*LINES)
    whole = len(encoded(*LINES[:-1]))
    for length in range(whole, len(data)):
        assert decode(data[:length]) == LINES[:-1]
    assert decode(b"") == []


def test_empty_lines_say_nothing() -> None:
    assert decode(b"\n" + encoded(LINES[0]) + b"\n\n" + encoded(LINES[3])) == [LINES[0], LINES[3]]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"type": "Nonsense"}',
        b'{"type": "Finished"}',
        b'{"type": "Finished", "exit_status": "0"}',
        b'{"type": "Phase", "nodeid": "a", "when": "call", "outcome": "passed", "seconds": null}',
        b'{"type": "Measured", "scores": [{"id": "a", "bits": NaN, "bytes": 1}]}',
        b'{"type": "Finished", "exit_status": 0} {"type": "Finished", "exit_status": 0}',
        encoded(LINES[0])[:-5],
        b'{"type": "Finished", "exit_status": 0, "x": ' + b"[" * 100_000 + b"}",
    ],
    ids=[
        "words",
        "no Unicode",
        "a list",
        "no type",
        "an unknown type",
        "a missing field",
        "another type of field",
        "null for a number",
        "NaN",
        "two on one line",
        "torn in the middle",
        "nested beyond reason",
    ],
)
def test_a_line_that_is_no_outcome_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match="the eval process wrote a line that is no outcome"):
        decode(encoded(LINES[0]) + line + b"\n" + encoded(LINES[-1]))


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_any_bytes_are_lines_or_an_error(data: bytes) -> None:
    try:
        lines = decode(data)
    except ValueError as error:
        assert "no outcome" in str(error)
    else:
        assert lines == []


@pytest.mark.parametrize(
    ("given_phases", "outcome", "message"),
    [
        (phases(("setup", "passed"), ("call", "passed"), ("teardown", "passed")), "passed", "in setup"),
        (phases(("setup", "passed"), ("call", "failed"), ("teardown", "passed")), "failed", "in call"),
        (phases(("setup", "failed"), ("teardown", "passed")), "error", "in setup"),
        (phases(("setup", "skipped"), ("teardown", "passed")), "skipped", "in setup"),
        (phases(("setup", "passed"), ("call", "skipped"), ("teardown", "passed")), "skipped", "in call"),
        (phases(("setup", "passed"), ("call", "xfailed"), ("teardown", "passed")), "xfailed", "in call"),
        (phases(("setup", "passed"), ("call", "passed"), ("teardown", "failed")), "error", "in teardown"),
        (phases(("setup", "passed"), ("call", "failed"), ("teardown", "failed")), "failed", "in call"),
        (phases(("call", "failed")), "failed", "in call"),
        (phases(("call", "passed")), "passed", "in call"),
    ],
    ids=[
        "passed",
        "failed",
        "error in setup",
        "skipped by a mark",
        "skipped in the test",
        "failed as expected",
        "error in teardown",
        "failed twice",
        "a rate that failed",
        "a rate that passed",
    ],
)
def test_the_first_phase_that_did_not_pass_decides(
    given_phases: list[Line], outcome: str, message: str
) -> None:
    assert cases(given_phases) == (CaseOutcome("a", outcome, float(len(given_phases)), message),)


def test_tests_are_kept_apart_and_in_order_even_if_workers_interleave() -> None:
    lines: list[Line] = [
        Phase("b", "setup", "passed", 1.0),
        Phase("a", "setup", "passed", 2.0),
        LINES[4],
        Phase("a", "call", "failed", 4.0, "boom"),
        Phase("b", "call", "passed", 8.0),
        Finished(1),
    ]
    assert cases(lines) == (CaseOutcome("b", "passed", 9.0), CaseOutcome("a", "failed", 6.0, "boom"))
    assert cases([]) == ()
