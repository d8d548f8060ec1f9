"""The ledger against real SQLite, and the table that is written from it."""

from __future__ import annotations

import errno
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_evalloop.records import (
    Candidate,
    CaseOutcome,
    Decision,
    DocumentScore,
    Grade,
    Rate,
    Run,
    Status,
    Training,
    Verdict,
)
from pytest_evalloop.store.home import StoreError
from pytest_evalloop.store.ledger import Ledger
from pytest_evalloop.store.results import write_results

RUN = Run("r", 1.5, "a" * 40, "b" * 40, {"budget": "450steps", "mutable": ["model/*.py"]})
TRAINING = Training("k" * 64, 3, Status.COMPLETED, "/a", 43.25, 50.5, 2**33)
GRADE = Grade(
    Status.COMPLETED,
    0,
    (CaseOutcome("evals/test_a.py::test", "passed", 0.5), CaseOutcome("b", "tolerated", 0.1, "why\n")),
    (Rate("FM-03", "leaves a direction open", 3, 32, 0.24, 0.3, passed=True),),
    (DocumentScore("macbeth/1/1", 812.25, 400), DocumentScore("macbeth/1/2", 100.5, 50)),
    1.5,
    2.5,
    0.25,
)


def candidate(number: int, run: str = "r") -> Candidate:
    return Candidate(run, number, "p" * 40, "c" * 40, "search", f"change {number}", {"lr": 0.1})


def decided(of: Candidate, verdict: Verdict = Verdict.REJECTED) -> Candidate:
    return replace(of, decision=Decision(verdict, "since it is so", 0.01, 0.02), bpb=2.25, passed=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a place" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger.open(path) as ledger:
        ledger.create_run(RUN)
        yield ledger


def test_runs_come_back(ledger: Ledger) -> None:
    ledger.create_run(replace(RUN, name="earlier", created=1.0))
    assert ledger.run("r") == RUN
    assert ledger.run("none") is None
    assert [run.name for run in ledger.runs()] == ["earlier", "r"]
    with pytest.raises(StoreError, match=r"'r' exists .*another --evalloop-run"):
        ledger.create_run(RUN)


def test_candidates_come_back_in_order(ledger: Ledger) -> None:
    for number in range(12):
        ledger.add_candidate(candidate(number))
    assert ledger.candidates("r") == tuple(candidate(number) for number in range(12))
    assert ledger.open_candidates("r") == ledger.candidates("r")
    assert ledger.candidates("other") == ()


def test_numbers_have_no_gaps_and_no_doubles(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="the next is 0 and 1 cannot"):
        ledger.add_candidate(candidate(1))
    ledger.add_candidate(candidate(0))
    for number in (0, 2):
        with pytest.raises(StoreError, match=f"the next is 1 and {number} cannot"):
            ledger.add_candidate(candidate(number))
    with pytest.raises(StoreError, match="'none' is not in"):
        ledger.add_candidate(candidate(0, "none"))
    assert len(ledger.candidates("r")) == 1


def test_a_candidate_is_updated_until_it_is_decided_once(ledger: Ledger) -> None:
    first = candidate(0)
    ledger.add_candidate(first)
    first = replace(first, status=Status.TIMED_OUT, peak_bytes=5, detail="slow", train_seconds=1.5)
    ledger.update(first)
    assert ledger.candidates("r") == (first,)
    with pytest.raises(StoreError, match=r"decide\(\)"):
        ledger.update(decided(first))
    with pytest.raises(StoreError, match="no verdict"):
        ledger.decide(first)
    ledger.decide(decided(first))
    assert ledger.candidates("r") == (decided(first),)
    assert ledger.open_candidates("r") == ()
    for late in (ledger.update, ledger.decide):
        with pytest.raises(StoreError, match="decided already"):
            late(first if late == ledger.update else decided(first, Verdict.ACCEPTED))
    with pytest.raises(StoreError, match="Add the candidate first"):
        ledger.update(candidate(7))
    assert ledger.candidates("r") == (decided(first),)


def test_the_incumbent_is_what_was_accepted_last(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="no baseline"):
        ledger.incumbent("r")
    for number in range(5):
        ledger.add_candidate(candidate(number))
    assert ledger.incumbent("r").number == 0
    ledger.decide(decided(candidate(0)))
    assert ledger.incumbent("r").number == 0
    # In parallel, a later number may be decided first.
    for number, verdict, incumbent in (
        (3, "accepted", 3),
        (1, "accepted", 1),
        (4, "rejected", 1),
        (2, "rejected", 1),
    ):
        ledger.decide(decided(candidate(number), Verdict(verdict)))
        assert ledger.incumbent("r").number == incumbent


def test_an_incumbent_can_be_revoked_and_nobody_else(ledger: Ledger) -> None:
    for number in range(3):
        ledger.add_candidate(candidate(number))
        ledger.decide(replace(decided(candidate(number), Verdict.ACCEPTED), accepted_commit=f"{number}" * 40))
    for wrong in (0, 1, 7):
        with pytest.raises(StoreError, match=rf"Candidate {wrong} of run 'r' is no incumbent"):
            ledger.revoke("r", wrong, "it fell back", "d" * 40)
    ledger.revoke("r", 2, "it fell back", "d" * 40)
    fallen = ledger.candidates("r")[2]
    assert (fallen.revoked, fallen.revoked_commit, fallen.stands) == ("it fell back", "d" * 40, False)
    assert fallen.decision == decided(candidate(2), Verdict.ACCEPTED).decision
    assert ledger.incumbent("r").number == 1
    with pytest.raises(StoreError, match="is no incumbent"):
        ledger.revoke("r", 2, "again", "e" * 40)
    ledger.revoke("r", 1, "it fell back as well", "e" * 40)
    ledger.add_candidate(candidate(3))
    ledger.decide(replace(decided(candidate(3), Verdict.ACCEPTED), accepted_commit="3" * 40))
    stood = [commit[0] for _, commit in ledger.stations("r")]
    assert stood == ["0", "1", "2", "d", "e", "3"]


def test_trainings_and_grades_come_back(ledger: Ledger) -> None:
    ledger.add_candidate(candidate(0))
    again = replace(TRAINING, seed=1, status=Status.KILLED, detail="stop", reused=True)
    ledger.add_training("r", 0, 1, TRAINING)
    ledger.add_training("r", 0, 0, TRAINING)
    ledger.add_training("r", 0, 0, again)
    assert ledger.trainings("r", 0) == (TRAINING, TRAINING, again)
    crashed = Grade(Status.CRASHED, None, (), (), (), 0.0, 0.5, detail="no report")
    ledger.add_grade("r", 0, 3, GRADE)
    ledger.add_grade("r", 0, 1, crashed)
    assert list(ledger.grades("r", 0).items()) == [(3, GRADE), (1, crashed)]
    assert ledger.trainings("r", 1) == ()
    with pytest.raises(StoreError, match=r"attempt 1 to train under seed 3 .* already"):
        ledger.add_training("r", 0, 1, TRAINING)
    with pytest.raises(StoreError, match=r"a grade under seed 3 .* already"):
        ledger.add_grade("r", 0, 3, crashed)
    with pytest.raises(StoreError, match=r"Candidate 5 .*Add the candidate first"):
        ledger.add_grade("r", 5, 0, GRADE)


def test_totals_can_be_asked_for_in_sql(ledger: Ledger, path: Path) -> None:
    ledger.add_candidate(candidate(0))
    ledger.add_grade("r", 0, 3, GRADE)
    with sqlite3.connect(path) as reader:
        row = reader.execute(
            "SELECT bits / bytes, tests, tests_passed, rates ->> '$[0].upper' FROM grades"
        ).fetchone()
    reader.close()
    assert row == (912.75 / 450, 2, 1, 0.24)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(ledger: Ledger, number: float) -> None:
    ledger.add_candidate(candidate(0))
    with pytest.raises(StoreError, match=r"candidate\.bpb = (nan|-?inf)"):
        ledger.update(replace(candidate(0), bpb=number))
    with pytest.raises(StoreError, match=r"decision\.margin"):
        ledger.decide(replace(candidate(0), decision=Decision(Verdict.REJECTED, "", 0.0, number)))
    with pytest.raises(StoreError, match=r"candidate\.parameters\['a'\]\[1\]"):
        ledger.update(replace(candidate(0), parameters={"a": [1, number]}))
    with pytest.raises(StoreError, match=r"grade\.scores\[0\]\.bits"):
        ledger.add_grade("r", 0, 0, replace(GRADE, scores=(DocumentScore("d", number, 1),)))
    assert ledger.candidates("r") == (candidate(0),)
    assert ledger.grades("r", 0) == {}


def test_what_json_cannot_say_is_refused(ledger: Ledger) -> None:
    ledger.add_candidate(candidate(0))
    for value in (b"x", {1: 2}, object()):
        with pytest.raises(StoreError, match=r"candidate\.parameters\['a'\]"):
            ledger.update(replace(candidate(0), parameters={"a": value}))
    with pytest.raises(StoreError, match="64 bits"):
        ledger.update(replace(candidate(0), peak_bytes=2**63))


def test_strange_text_and_numbers_of_numpy(ledger: Ledger) -> None:
    import numpy as np

    ledger.add_candidate(replace(candidate(0), description="a\0b\n\ud800ü", bpb=np.float64(2.5)))
    ledger.update(replace(candidate(0), parameters={"\udc80": np.int64(3), "b": (np.float32(0.5), True)}))
    assert ledger.candidates("r")[0].parameters == {"\\udc80": 3, "b": [0.5, True]}
    ledger.update(replace(candidate(0), description="a\0b\n\ud800ü"))
    assert ledger.candidates("r")[0].description == "a\0b\n\\ud800ü"


def test_settings_are_durable(ledger: Ledger) -> None:
    pragma = ledger._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert pragma("PRAGMA synchronous").fetchone()[0] == 2
    assert pragma("PRAGMA foreign_keys").fetchone()[0] == 1


def test_a_reader_in_another_process_works_meanwhile(ledger: Ledger, path: Path) -> None:
    ledger.add_candidate(candidate(0))
    code = (
        "import sys, pathlib; from pytest_evalloop.store.ledger import Ledger\n"
        "with Ledger.open(pathlib.Path(sys.argv[1])) as ledger: print(len(ledger.candidates('r')))"
    )
    with ledger._transaction():
        ledger._insert("runs", {"name": "x", "created": 0.0, "head": "", "snapshot": "", "settings": "{}"})
        done = subprocess.run((sys.executable, "-c", code, path), capture_output=True, check=True, text=True)
    assert done.stdout == "1\n"


def test_threads_and_openers_do_not_get_in_each_others_way(path: Path) -> None:
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with Ledger.open(path) as ledger:
                ledger.create_run(replace(RUN, name=name))
                for number in range(10):
                    ledger.add_candidate(candidate(number, name))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"r{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Ledger.open(path) as ledger:
        assert [len(ledger.candidates(run.name)) for run in ledger.runs()] == [10] * 6


def test_a_newer_schema_is_left_alone(ledger: Ledger, path: Path) -> None:
    ledger._connection.execute("PRAGMA user_version = 9")
    ledger.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"schema 9.*schema 5.*Upgrade"):
        Ledger.open(path)
    assert path.read_bytes() == before


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="something else"):
        Ledger.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["head", "text", "middle", "cut"])
def test_a_damaged_file_is_named_and_kept(ledger: Ledger, path: Path, how: str) -> None:
    for number in range(12):
        ledger.add_candidate(replace(candidate(number), detail="x" * 5000))
    ledger.close()
    data = bytearray(path.read_bytes())
    assert len(data) > 8 * 4096
    if how == "text":
        data = bytearray(b"what is this\n" * 1000)
    elif how == "cut":
        del data[5 * 4096 + 100 :]
    else:
        start = 0 if how == "head" else 4096
        data[start : start + 6 * 4096] = os.urandom(6 * 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged.*Nothing was deleted.*mv .*ledger\.db\*"):
        Ledger.open(path)
    assert path.read_bytes() == data


def test_a_folder_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StoreError, match=r"could not be used.*unable to open"):
        Ledger.open(tmp_path / "ledger.db")


def test_a_full_disk_is_said_and_the_ledger_is_intact(ledger: Ledger) -> None:
    ledger.add_candidate(candidate(0))
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    grade = replace(GRADE, detail="x" * 100_000)
    with pytest.raises(StoreError, match=r"disk is full.*ledger is intact.*run the same command again"):
        ledger.add_grade("r", 0, 0, grade)
    ledger._connection.execute("PRAGMA max_page_count = 100000")
    ledger.add_grade("r", 0, 0, grade)
    assert ledger.grades("r", 0) == {0: grade}


def test_a_full_disk_while_writing_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.tsv"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"disk is full: the table .*results\.tsv"):
        write_results(path, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.tsv"]
    assert path.read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        sys.path.insert(0, sys.argv[2])
        from test_ledger import GRADE, RUN, candidate
        from pytest_evalloop.store.home import StoreError
        from pytest_evalloop.store.ledger import Ledger
        with Ledger.open(pathlib.Path(sys.argv[1], "ledger.db")) as ledger:
            ledger.create_run(RUN)
            ledger.add_candidate(candidate(0))
            count = 0
            try:
                while True:
                    ledger.add_grade("r", 0, count, GRADE)
                    count += 1
            except StoreError as error:
                print(error)
            assert len(ledger.grades("r", 0)) == count > 10, count
        with Ledger.open(pathlib.Path(sys.argv[1], "ledger.db")) as ledger:
            assert len(ledger.grades("r", 0)) == count
    """
    script = 'mount -t tmpfs -o size=400k tmpfs "$1" && exec "$2" -c "$3" "$1" "$4"'
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run((unshare, "-m", "true"), check=False, capture_output=True).returncode
    ):
        pytest.skip("no mount namespaces here")
    here = str(Path(__file__).parent)
    command = (unshare, "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, code, here)
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "disk is full" in done.stdout


def test_results_are_a_table_of_the_decided(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    baseline = replace(
        decided(candidate(0), Verdict.ACCEPTED),
        decision=Decision(Verdict.ACCEPTED, "the baseline"),
        peak_bytes=3 * 2**29,
        accepted_commit="d" * 40,
        train_seconds=43.1234,
    )
    rejected = replace(
        decided(candidate(1)), description="a\tb\r\nc\u2028d\0e\ud800", status=Status.COMPLETED
    )
    late = Decision(Verdict.REJECTED, "slow")
    crashed = replace(candidate(2), status=Status.TIMED_OUT, decision=late)
    unheard = replace(
        decided(candidate(3)), bpb=None, decision=Decision(Verdict.REJECTED, "out of scope", -0.0)
    )
    write_results(path, [baseline, rejected, crashed, unheard, candidate(4)])
    lines = path.read_text().split("\n")
    assert lines[0].startswith(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\trun\tnumber\tverdict\treason\t"
    )
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:-1]]
    assert lines[-1] == ""
    assert [row["status"] for row in rows] == ["keep", "discard", "crash", "discard"]
    assert [row["val_bpb"] for row in rows] == ["2.250000", "2.250000", "", ""]
    assert rows[0] | {"run": "r"} == {
        "commit": "d" * 12,
        "val_bpb": "2.250000",
        "memory_gb": "1.50",
        "status": "keep",
        "run": "r",
        "description": "change 0",
        "number": "0",
        "verdict": "accepted",
        "reason": "the baseline",
        "delta": "",
        "margin": "",
        "low": "",
        "high": "",
        "seeds": "",
        "mutator": "search",
        "train_s": "43.12",
        "check_s": "",
        "overhead_s": "",
    }
    assert rows[1]["description"] == "a b  c d e\\ud800"
    assert rows[1]["commit"] == "c" * 12
    assert rows[1]["memory_gb"] == ""
    assert rows[3]["delta"] == "0.000000"
