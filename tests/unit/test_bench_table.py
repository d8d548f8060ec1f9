"""The recorded table: read back as it was written, whatever a kill tore, and never guessed from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.curves import MORE_SEEDS, SEEDS, SHAPES, SPACE, append, mend, plan
from bench.table import Architecture, Header, Length, Point, Recorded, Table, describe, load, parse
from pytest_evalloop.mutators.space import read
from pytest_evalloop.records import DocumentScore

HEADER = Header(
    space={"activation": ("relu2", "gelu"), "lr": (0.01, 0.02)},
    default={"activation": "relu2", "lr": 0.01},
    base={"activation": "relu2", "lr": 0.01, "width": 8},
    architectures=(
        Architecture({"activation": "relu2"}, 1.0, 12),
        Architecture({"activation": "gelu"}, 1.2, 10),
    ),
    every=5,
    primer="To be, or not",
    val=(Length("a", 100), Length("b", 300)),
    vault=(Length("c", 50),),
    made={"machine": "none"},
)
RUN = Recorded(
    config={"activation": "relu2", "lr": 0.02},
    seed=1,
    steps=12,
    train_seconds=8.125,
    score_seconds=3.5,
    curve=(Point(5, 5 / 12, 5.0), Point(10, 10 / 12, 4.5), Point(12, 1.0, 4.25)),
    val=(DocumentScore("a", 200.25, 100), DocumentScore("b", 700.75, 300)),
    vault=(DocumentScore("c", 110.5, 50),),
)
ROOT = Path(__file__).parents[2]


def written(path: Path, *runs: Recorded) -> bytes:
    with path.open("wb") as file:
        for line in (HEADER.line(), *(run.line() for run in runs)):
            append(file, line)
    return path.read_bytes()


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    other = replace(RUN, seed=2)
    written(tmp_path / "table", RUN, other)
    assert load(tmp_path / "table") == Table(HEADER, {(("relu2", 0.02), 1): RUN, (("relu2", 0.02), 2): other})


def test_bits_per_byte_weigh_documents_by_their_bytes() -> None:
    assert RUN.val_bpb == 901 / 400
    assert RUN.vault_bpb == 110.5 / 50


def test_a_curve_is_read_at_the_last_point_up_to_a_share() -> None:
    assert [RUN.train_bpb(share) for share in (5 / 12, 0.5, 10 / 12, 1.0)] == [5.0, 5.0, 4.5, 4.25]


@pytest.mark.parametrize("kept", [1, 40, 0.5, -2])
def test_a_torn_last_line_is_not_read_and_is_written_over(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "table"
    whole, line = written(path, RUN), replace(RUN, seed=2).line().encode() + b"\n"
    torn = line[: int(kept) if abs(kept) >= 1 else round(kept * len(line))]
    path.write_bytes(whole + torn)
    assert load(path).runs.keys() == {(("relu2", 0.02), 1)}
    with path.open("r+b") as file:
        assert parse(mend(file)) == parse(whole.decode().splitlines())
        append(file, replace(RUN, seed=3).line())
    assert [run.seed for run in load(path).runs.values()] == [1, 3]
    assert path.read_bytes().startswith(whole)


def test_a_line_that_lacks_only_its_end_is_torn_as_well(tmp_path: Path) -> None:
    path = tmp_path / "table"
    whole = written(path, RUN)
    path.write_bytes(whole[:-1])
    assert load(path).runs == {}
    with path.open("r+b") as file:
        assert mend(file) == [HEADER.line()]
    assert path.read_bytes() == HEADER.line().encode() + b"\n"


def test_a_table_whose_header_was_torn_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(HEADER.line()[:50])
    with pytest.raises(FileNotFoundError, match="--record"):
        load(path)
    with path.open("r+b") as file:
        assert mend(file) == []
    assert path.read_bytes() == b""


def test_no_table_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.curves --record"):
        load(tmp_path / "none")


def test_a_run_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "table", RUN, replace(RUN, seed=2), RUN)
    with pytest.raises(ValueError, match=r"line 4: .* under seed 1 stands there twice"):
        load(tmp_path / "table")


def test_a_line_with_too_few_documents_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "table", replace(RUN, val=RUN.val[:1]))
    with pytest.raises(ValueError, match="zip"):
        load(tmp_path / "table")


def test_a_configuration_is_found_by_what_differs_from_the_default() -> None:
    table = parse([HEADER.line(), RUN.line(), replace(RUN, seed=7).line()])
    assert table.find({"lr": 0.02}, 1) == table.find({"lr": 0.02, "activation": "relu2"}, 1) == RUN
    assert table.seeds({"lr": 0.02}) == (1, 7)
    assert table.seeds({}) == ()
    assert table.by_seed(1) == (RUN,)


@pytest.mark.parametrize(
    ("choice", "seed", "said"),
    [
        ({}, 1, "is not recorded"),
        ({"lr": 0.02}, 3, "under seed 3 is not recorded"),
        ({"lr": 0.015}, 1, "lr=0.015 is not in the table"),
        ({"width": 8}, 1, "does not vary width"),
    ],
)
def test_what_is_not_in_the_table_is_not_guessed(choice: dict[str, float], seed: int, said: str) -> None:
    with pytest.raises(LookupError, match=said):
        parse([HEADER.line(), RUN.line()]).find(choice, seed)


def test_an_architecture_has_the_steps_that_its_cost_leaves() -> None:
    assert HEADER.steps({}) == 12
    assert HEADER.steps({"activation": "gelu", "lr": 0.02}) == 10


def test_runs_are_planned_seed_by_seed_and_none_twice() -> None:
    runs = [(HEADER.key(choice), seed) for choice, seed in plan(HEADER)]
    assert len(set(runs)) == len(runs) == 4 * SEEDS + len(MORE_SEEDS)
    assert runs == [(HEADER.key(choice), seed) for choice, seed in plan(HEADER)]
    default = HEADER.key({})
    assert [seed for _, seed in runs[:4]] == [0] * 4
    assert runs[0] == (default, 0)
    assert runs[4 : 4 + len(MORE_SEEDS)] == [(default, seed) for seed in MORE_SEEDS]


def test_the_grid_is_part_of_the_search_space_and_holds_the_default() -> None:
    space = {parameter.name: parameter for parameter in read((ROOT / "model/config.py").read_bytes())}
    for name, values in SPACE.items():
        assert all(space[name].contains(value) for value in values)
        assert space[name].value in values
    assert set(SHAPES) <= SPACE.keys()


def test_a_table_is_described_from_its_first_line_on() -> None:
    assert describe(parse([HEADER.line()]), planned=21)[0] == "0 of 21 runs; machine none"
    runs = [
        replace(
            RUN,
            config=choice,
            seed=seed,
            curve=tuple(point._replace(train_bpb=point.train_bpb + index) for point in RUN.curve),
            val=(DocumentScore("a", 200.0 + 20 * index + seed, 100), RUN.val[1]),
            vault=tuple(replace(score, bits=score.bits + index) for score in RUN.vault),
        )
        for index, choice in enumerate(HEADER.choices())
        for seed in range(2)
        if choice["activation"] == "relu2" or seed == 0
    ]
    said = "\n".join(describe(parse([HEADER.line(), *(run.line() for run in runs)]), planned=21))
    assert "default, val: 2.2531 bpb, sd 0.0018 over 2 seeds" in said
    assert "4 configurations under seed 0" in said


def test_reading_the_table_loads_nothing_heavy() -> None:
    code = "import bench.table, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "scipy", "model"}.isdisjoint(done.stdout.split())
