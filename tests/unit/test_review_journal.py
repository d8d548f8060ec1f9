"""Append-only files: locked, healed after a crash, and honest about what others did to them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_evalloop.review.journal import Journal, ReviewError, read_lines, torn

HOLDER = """
import sys, pathlib
from pytest_evalloop.review.journal import Journal
with Journal.open(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_line_is_there_when_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.jsonl"
    with Journal.open(path) as journal:
        journal.append(b'{"a":1}\n')
        assert path.read_bytes() == b'{"a":1}\n'
        assert not journal.changed


def test_what_another_process_holds_is_refused_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with subprocess.Popen(
        (sys.executable, "-c", HOLDER, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        named = f"is being written by process {holder.pid}: "
        with pytest.raises(ReviewError) as caught:
            Journal.open(path)
        assert str(path) in str(caught.value)
        assert named in str(caught.value) or "another process" in str(caught.value)
        holder.communicate()
    Journal.open(path).close()


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (b'{"a":', True),
        (b'{"a":"\xc3', True),
        (b"{", True),
        (b"\0\0\0\0", True),
        (b"  ", True),
        (b'{"a":2}', False),
        (b">>>>>>> theirs", False),
    ],
)
def test_only_what_was_never_whole_is_torn(tmp_path: Path, tail: bytes, left: bool) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n' + tail)
    assert torn(tail) is left
    kept = [b'{"a":1}'] if left else [b'{"a":1}', tail]
    assert read_lines(path) == kept
    with Journal.open(path) as journal:
        assert path.read_bytes() == b'{"a":1}\n' + tail  # nothing is touched before it has to be
        journal.append(b'{"b":1}\n')
        journal.append(b'{"c":1}\n')
    assert read_lines(path) == [*kept, b'{"b":1}', b'{"c":1}']


def test_a_long_torn_line_is_found_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":"' + b"x" * 200_000)
    with Journal.open(path) as journal:
        journal.append(b"{}\n")
    assert path.read_bytes() == b'{"a":1}\n{}\n'


@settings(max_examples=100)
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_a_file_holds_nothing_whole_is_lost_and_a_new_line_is_its_own(
    data: bytes, torn: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(data + b"\n" + torn)
        before = read_lines(path)
        with Journal.open(path) as journal:
            journal.append(b"{}\n", durable=False)
        assert read_lines(path) == [*before, b"{}"]


def test_others_who_replace_or_edit_the_file_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal.open(path) as journal:
        journal.append(b"{}\n")
        (tmp_path / "new").write_bytes(b"{}\n")
        (tmp_path / "new").replace(path)
        assert journal.changed
    with Journal.open(path) as journal:
        path.write_bytes(b"{}\n{}\n")
        assert journal.changed
    with Journal.open(path) as journal:
        path.unlink()
        assert journal.changed


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    written = os.write

    def half(descriptor: int, data: memoryview) -> int:
        written(descriptor, bytes(data[: len(data) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal.open(path) as journal:
        journal.append(b'{"a":1}\n')
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(Exception, match="The disk is full"):
            journal.append(b'{"b":1}\n')
        monkeypatch.undo()
        assert path.read_bytes() == b'{"a":1}\n'
        journal.append(b'{"c":1}\n')
    assert path.read_bytes() == b'{"a":1}\n{"c":1}\n'


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="cannot be read: Is a directory"):
        read_lines(tmp_path)
    assert read_lines(tmp_path / "none.jsonl") == []
