"""Properties of the store: records come back as they were, keys and scopes hold for any input."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
from pytest_evalloop.store.cache import training_key
from pytest_evalloop.store.ledger import Ledger
from pytest_evalloop.store.results import write_results
from pytest_evalloop.store.scope import Change, matches, problems

Files = dict[str, tuple[str, str]]

TEXT = st.text()  # NUL and all of Unicode but lone surrogates
# SQLite keeps a negative zero as zero; the two are equal.
NUMBER = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
INTEGER = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | NUMBER | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(TEXT, JSON, max_size=4)
STATUS = st.sampled_from(Status)

DECISIONS = st.builds(Decision, st.sampled_from(Verdict), TEXT, st.none() | NUMBER, st.none() | NUMBER)
CANDIDATES = st.builds(
    Candidate,
    run=st.just("r"),
    number=st.just(0),
    parent=TEXT,
    commit=TEXT,
    mutator=TEXT,
    description=TEXT,
    parameters=PARAMETERS,
    status=st.none() | STATUS,
    decision=st.none() | DECISIONS,
    bpb=st.none() | NUMBER,
    passed=st.none() | st.booleans(),
    peak_bytes=st.none() | INTEGER,
    accepted_commit=st.none() | TEXT,
    train_seconds=NUMBER,
    check_seconds=NUMBER,
    overhead_seconds=NUMBER,
    detail=TEXT,
)
TRAININGS = st.builds(Training, TEXT, INTEGER, STATUS, TEXT, NUMBER, NUMBER, INTEGER, TEXT, st.booleans())
GRADES = st.builds(
    Grade,
    STATUS,
    st.none() | INTEGER,
    st.lists(st.builds(CaseOutcome, TEXT, TEXT, NUMBER, TEXT), max_size=3).map(tuple),
    st.lists(st.builds(Rate, TEXT, TEXT, INTEGER, INTEGER, NUMBER, NUMBER, st.booleans()), max_size=2).map(
        tuple
    ),
    st.lists(st.builds(DocumentScore, TEXT, st.floats(0, 1e9), st.integers(0, 2**40)), max_size=3).map(tuple),
    NUMBER,
    NUMBER,
    NUMBER,
    TEXT,
)

PART = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=6)
PATH = st.lists(PART | st.sampled_from([".git", "..", "model", "pytest.py"]), min_size=1, max_size=4).map(
    "/".join
)
FILES = st.dictionaries(PATH, st.tuples(st.sampled_from(["100644", "100755"]), st.sampled_from("abcdef")))


def bare(records: Callable[[Ledger], object]) -> object:
    """Return what comes back from a ledger of its own, closed and opened between writing and reading."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        with Ledger.open(path) as ledger:
            ledger._connection.execute("PRAGMA synchronous = OFF")
            ledger.create_run(Run("r", 0.0, "", "", {}))
            records(ledger)
        with Ledger.open(path) as ledger:
            return ledger.runs(), ledger.candidates("r"), ledger.trainings("r", 0), ledger.grades("r", 0)


@settings(max_examples=40, deadline=None)
@given(CANDIDATES, TRAININGS, GRADES, INTEGER)
def test_records_come_back_as_they_were(
    candidate: Candidate, training: Training, grade: Grade, seed: int
) -> None:
    def write(ledger: Ledger) -> None:
        ledger.add_candidate(replace(candidate, decision=None))
        ledger.add_training("r", 0, seed, training)
        ledger.add_grade("r", 0, seed, grade)
        (ledger.update if candidate.decision is None else ledger.decide)(candidate)

    found = bare(write)
    assert found == ((Run("r", 0.0, "", "", {}),), (candidate,), (training,), {seed: grade})
    # Equal is not enough: 1 == 1.0 == True.
    assert repr(found) == repr(((Run("r", 0.0, "", "", {}),), (candidate,), (training,), {seed: grade}))


@settings(max_examples=40, deadline=None)
@given(st.builds(Run, TEXT, NUMBER, TEXT, TEXT, PARAMETERS))
def test_runs_come_back_as_they_were(run: Run) -> None:
    run = replace(run, name=run.name + "x")
    found = bare(lambda ledger: ledger.create_run(run) if run.name != "r" else None)
    assert isinstance(found, tuple)
    assert run.name == "r" or run in found[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(CANDIDATES, max_size=4))
def test_a_result_is_one_line_of_as_many_cells_whatever_it_says(candidates: list[Candidate]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.tsv")
        write_results(path, candidates)
        lines = path.read_bytes().decode().splitlines()
    assert len(lines) == 1 + sum(candidate.decision is not None for candidate in candidates)
    assert {line.count("\t") for line in lines} == {17}


@settings(deadline=None)
@given(FILES, st.randoms(use_true_random=False), st.data())
def test_training_key_is_that_of_the_content(files: Files, random: Random, data: st.DataObject) -> None:
    def key(of: Files, exclude: list[str]) -> str:
        return training_key(of, exclude=exclude, budget="1steps", seed=0, command="", environment={})

    items = list(files.items())
    random.shuffle(items)
    base = key(files, ["model/**"])
    assert key(dict(items), ["model/**"]) == base
    path = data.draw(PATH)
    entry = data.draw(st.tuples(st.sampled_from(["100644", "100755"]), st.sampled_from("abcdefg")))
    other = key({**files, path: entry}, ["model/**"])
    assert (other == base) == (matches("model/**", path) or files.get(path) == entry)


@settings(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=3), st.lists(st.tuples(TEXT, TEXT), max_size=3))
@example([("a", "b")], [("ab", "")])
@example([("a", "1:b")], [("a1", ":b")])
def test_no_two_environments_share_a_key(one: list[tuple[str, str]], two: list[tuple[str, str]]) -> None:
    keys = {
        training_key({}, exclude=[], budget="", seed=0, command="", environment=dict(each))
        for each in (one, two)
    }
    assert len(keys) == len({tuple(sorted(dict(each).items())) for each in (one, two)})


CHANGES = st.builds(
    Change,
    PATH,
    st.sampled_from(["000000", "100644", "100755", "120000", "160000"]),
    st.sampled_from(["000000", "100644", "100755", "120000", "160000"]),
    st.sampled_from("AMDT"),
)


@settings(deadline=None)
@given(st.lists(CHANGES, max_size=4), st.lists(PATH, max_size=4), st.lists(PATH, max_size=2))
def test_scope_never_lets_anything_odd_through(
    changes: list[Change], tree: list[str], mutable: list[str]
) -> None:
    found = problems(changes, [*mutable, "model/**"], tree)
    assert found == problems(changes, [*mutable, "model/**"], list(reversed(tree)))
    assert all(sentence.isprintable() for sentence in found)
    odd = not changes or any(
        {change.old_mode, change.new_mode} & {"120000", "160000"}
        or {"..", ".git", "conftest.py"} & set(change.path.split("/"))
        or not (change.path.startswith("model/") or any(matches(glob, change.path) for glob in mutable))
        for change in changes
    )
    assert found or not odd


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd")), min_size=1, unique=True))
def test_scope_lets_plain_edits_of_existing_files_through(names: list[tuple[str, str]]) -> None:
    tree = [f"model/{first}{second}.py" for first, second in names]
    assert problems([Change(path, "100644", "100644", "M") for path in tree], ["model/*.py"], tree) == ()


@settings(deadline=None)
@given(PATH)
def test_a_path_without_wildcards_matches_itself_only(path: str) -> None:
    plain = "".join(character for character in path if character not in "*?[./") or "x"
    assert matches(plain, plain)
    assert not matches(plain, plain + "x")
    assert not matches(plain, "x/" + plain)
    assert matches("**", plain)
    with pytest.raises(TypeError):
        matches(plain, None)  # type: ignore[arg-type]
