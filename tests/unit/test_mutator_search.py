"""The search space is read from types and written back; proposals are small, new and replayable."""

import os
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.mutators import builtin, space
from pytest_evalloop.mutators.history import recall
from pytest_evalloop.protocols import Mutator, MutatorError
from pytest_evalloop.records import Brief, Budget, Candidate, Decision, Proposal, Status, Verdict
from pytest_evalloop.settings import Settings, SettingsError

CONFIG = '''\
"""What a candidate may turn."""

import os
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval, Le, Lt

os.environ["THE_SPACE_WAS_EXECUTED"] = "yes"  # reading must never run this

SCALE: Annotated[float, Ge(0.5), Le(2)] = 1.0


@dataclass(frozen=True)
class Config:
    """The model."""

    muon_lr: Annotated[float, Interval(ge=1e-3, le=0.2)] = 1e-2  # for the matrices
    n_head:   Literal[1, 2, 4]=2   # spaced by hand
    activation: Literal["relu2", 'gelu'] = "gelu"
    layers: Annotated[int, Interval(ge=1, lt=9)] = 4
    tie: Literal[True, False] = True
    name: str = "small"
    free: Annotated[float, Interval(ge=0)] = 0.1  # one bound is no space
    computed: Annotated[int, Interval(ge=1, le=4)] = 1 + 1
'''


def settings(root: Path, **values: Any) -> Settings:
    return Settings(
        root=root, train=("true",), load="m:load", budget=Budget(450, "steps"), mutable=("*",), **values
    )


def make_brief(worktree: Path, number: int = 1, history: tuple[Candidate, ...] = (), **values: Any) -> Brief:
    defaults: dict[str, Any] = {
        "run": "r",
        "seed": 7,
        "incumbent": "c0",
        "incumbent_bpb": 2.3,
        "mutable": ("*.py",),
    }
    defaults |= {"budget": Budget(450, "steps"), "train_data": str(worktree), "prompt": None}
    defaults |= {"space": "config.py", "log": str(worktree / "log")}
    return Brief(number=number, worktree=str(worktree), history=history, **{**defaults, **values})


def candidate(
    number: int,
    proposal: Proposal | None,
    delta: float | None,
    *,
    accepted: bool = False,
    mutator: str = "search",
) -> Candidate:
    decision = Decision(Verdict.ACCEPTED if accepted else Verdict.REJECTED, "", delta)
    bpb = None if delta is None else 2.3 - delta
    status = Status.CRASHED if delta is None else Status.COMPLETED
    parameters = proposal.parameters if proposal else {}
    return Candidate(
        "r", number, "c0", f"c{number}", mutator, "", parameters, status, decision, bpb, passed=True
    )


def details(proposal: Proposal | Candidate) -> dict[str, Any]:
    return dict(proposal.parameters)


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def search(worktree: Path) -> Mutator:
    return builtin.builtin()["search"](settings(worktree, space="config.py"))


def test_parameters_are_read_from_types_without_running_the_file(
    worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("THE_SPACE_WAS_EXECUTED", raising=False)
    found = {parameter.name: parameter for parameter in space.read((worktree / "config.py").read_bytes())}
    assert list(found) == ["SCALE", "muon_lr", "n_head", "activation", "layers", "tie"]
    assert "THE_SPACE_WAS_EXECUTED" not in os.environ
    assert found["muon_lr"] == space.Range("muon_lr", 0.01, 0.001, 0.2, integer=False, log=True)
    assert found["SCALE"] == space.Range("SCALE", 1.0, 0.5, 2, integer=False, log=False)
    assert found["layers"] == space.Range("layers", 4, 1, 8, integer=True, log=False)
    assert found["activation"].spell("gelu") == "'gelu'"
    assert not found["tie"].contains(1)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("Annotated[float, Interval(gt=0, le=1)]", (0, 1, False, True, False)),
        ("Annotated[float, Interval(ge=0.1, le=1), 'log']", (0.1, 1, True, False, False)),
        ("Annotated[float, Interval(ge=0.001, le=1), 'linear']", (0.001, 1, False, False, False)),
        ("typing.Annotated[float, at.Gt(0.0), at.Lt(lt=1)]", (0, 1, False, True, True)),
        ("Final[Annotated[int, Interval(ge=1, le=20)]]", (1, 20, True, False, False)),
        ("Annotated[int, Interval(ge=10, le=100), MultipleOf(16)]", (16, 96, False, False, False)),
        ("Annotated[int, Interval(gt=0.5, lt=3)]", (1, 2, False, False, False)),
        ("Annotated[float, Interval(ge=-1, le=1)]", (-1, 1, False, False, False)),
        ("Annotated[float, Interval(ge=0.1, le=LIMIT)]", None),
        ("Annotated[float, Interval(ge=1, le=0)]", None),
        ("Annotated[int, Interval(ge=1, le=1)]", None),
        ("Annotated[str, 'log']", None),
        ("Literal['one']", None),
        ("float", None),
    ],
)
def test_bounds_of_an_annotation(
    annotation: str, expected: tuple[float, float, bool, bool, bool] | None
) -> None:
    found = space.read(f"value: {annotation} = 16\n".encode())
    if expected is None:
        assert found == ()
    else:
        (one,) = found
        assert isinstance(one, space.Range)
        assert (one.low, one.high, one.log, one.strict_low, one.strict_high) == expected


def test_a_name_of_two_classes_is_told_apart() -> None:
    source = textwrap.dedent("""\
        class A:
            lr: Literal[1, 2] = 1
        class B:
            lr: Literal[1, 2] = 1; size: Literal[3, 4] = 3
    """)
    assert [parameter.name for parameter in space.read(source.encode())] == ["A.lr", "B.lr", "size"]
    edited = space.write(source.encode(), {"B.lr": 2, "size": 4}).decode()
    assert edited == source.replace(
        "lr: Literal[1, 2] = 1; size: Literal[3, 4] = 3", "lr: Literal[1, 2] = 2; size: Literal[3, 4] = 4"
    )


def test_an_edit_keeps_every_other_byte() -> None:
    source = b"\xef\xbb\xbf# \xc3\xa9\r\nlr : Annotated[float, Interval(ge=0, le=1)] = ( 0.5 )  # keep\r\n\r\n\r\nx=1"
    edited = space.write(source, {"lr": 0.25})
    assert edited == source.replace(b"( 0.5 )", b"0.25")


def test_an_edit_that_does_not_land_is_an_error() -> None:
    with pytest.raises(space.SpaceError, match="no parameter gone"):
        space.write(b"lr: Literal[1, 2] = 1\n", {"gone": 1})
    with pytest.raises(space.SpaceError, match="may be 3"):
        space.write(b"lr: Literal[1, 2] = 1\n", {"lr": 3})
    with pytest.raises(space.SpaceError, match="Python"):
        space.read(b"lr: = (\n")


def test_a_proposal_changes_the_file_and_says_so(search: Mutator, worktree: Path) -> None:
    proposal = search.propose(make_brief(worktree))
    after = {p.name: p.value for p in space.read((worktree / "config.py").read_bytes())}
    assert after == details(proposal)["values"]
    for name, (old, new) in details(proposal)["changed"].items():
        assert after[name] == new != old
        assert f"{name} " in proposal.description
        assert f" -> {new}" in proposal.description
    changed_lines = [
        line
        for line, before in zip(
            (worktree / "config.py").read_text().splitlines(), CONFIG.splitlines(), strict=True
        )
        if line != before
    ]
    assert len(changed_lines) == len(details(proposal)["changed"])


def test_the_same_brief_gives_the_same_proposal(search: Mutator, worktree: Path) -> None:
    def propose(number: int, seed: int) -> Proposal:
        (worktree / "config.py").write_text(CONFIG, encoding="utf-8")
        return search.propose(make_brief(worktree, number, seed=seed))

    assert propose(3, 7) == propose(3, 7)
    assert len({propose(number, seed).description for number in range(5) for seed in (1, 2)}) > 5


def test_after_one_side_lost_the_other_is_tried(search: Mutator, worktree: Path) -> None:
    (worktree / "config.py").write_text(
        "lr: Annotated[float, Interval(ge=1e-4, le=1)] = 0.01\n", encoding="utf-8"
    )
    brief = make_brief(worktree)
    first = details(search.propose(brief))["values"]["lr"]
    assert 1.25 < max(first / 0.01, 0.01 / first) < 3.1
    (worktree / "config.py").write_text(
        "lr: Annotated[float, Interval(ge=1e-4, le=1)] = 0.01\n", encoding="utf-8"
    )
    lost = candidate(1, search.propose(brief), -0.05)
    (worktree / "config.py").write_text(
        "lr: Annotated[float, Interval(ge=1e-4, le=1)] = 0.01\n", encoding="utf-8"
    )
    second = details(search.propose(make_brief(worktree, 2, (lost,))))["values"]["lr"]
    assert (first > 0.01) != (second > 0.01)


def test_an_accepted_move_is_continued(search: Mutator, worktree: Path) -> None:
    (worktree / "config.py").write_text(
        "lr: Annotated[float, Interval(ge=1e-4, le=1)] = 0.01\n", encoding="utf-8"
    )
    proposal = search.propose(make_brief(worktree))
    new = details(proposal)["values"]["lr"]
    again = search.propose(make_brief(worktree, 2, (candidate(1, proposal, 0.05, accepted=True),)))
    assert (details(again)["values"]["lr"] > new) == (new > 0.01)


def test_every_combination_is_tried_once_and_then_it_says_so(search: Mutator, worktree: Path) -> None:
    source = "a: Literal[1, 2, 3] = 1\nb: Literal['x', 'y'] = 'x'\n"
    history: tuple[Candidate, ...] = ()
    for number in range(1, 6):
        (worktree / "config.py").write_text(source, encoding="utf-8")
        proposal = search.propose(make_brief(worktree, number, history))
        history += (candidate(number, proposal, None if number % 2 else -0.01),)
    tried = {tuple(details(entry)["values"].values()) for entry in history}
    assert tried == {(a, b) for a in (1, 2, 3) for b in "xy"} - {(1, "x")}
    (worktree / "config.py").write_text(source, encoding="utf-8")
    with pytest.raises(MutatorError, match="exhausted"):
        search.propose(make_brief(worktree, 6, history))


def test_an_incumbent_without_a_bpb_is_no_evidence(search: Mutator, worktree: Path) -> None:
    assert search.propose(make_brief(worktree, incumbent_bpb=float("nan"))).description


def test_what_others_gained_is_no_merit_of_the_parameters(search: Mutator, worktree: Path) -> None:
    first = candidate(1, search.propose(make_brief(worktree)), -0.1)
    prompt = candidate(2, None, 0.5, accepted=True, mutator="prompt")
    later = candidate(3, search.propose(make_brief(worktree, 3)), 0.4)
    crashed = candidate(4, search.propose(make_brief(worktree, 4)), None)
    trials, gained = recall((first, prompt, later, crashed))
    assert gained == 0.5
    assert [trial.bpb for trial in trials] == pytest.approx([2.4, 2.4, None])
    assert [trial.recent for trial in trials] == [False, True, True]


def test_a_training_that_was_stopped_counts_as_what_it_would_have_come_to(
    search: Mutator, worktree: Path
) -> None:
    better = candidate(1, search.propose(make_brief(worktree)), 0.1, accepted=True)
    stopped = replace(
        candidate(2, search.propose(make_brief(worktree, 2)), None),
        status=None,
        decision=Decision(Verdict.REJECTED, "stopped at 25 % of the budget", -0.3),
    )
    trials, _ = recall((better, stopped))
    assert better.bpb is not None
    assert [trial.bpb for trial in trials] == pytest.approx([better.bpb, better.bpb + 0.3])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["evalloop_space is not set", 'evalloop_space = "model/config.py"']),
        ({"space": "gone.py"}, ["evalloop_space", "'gone.py'", "no file"]),
        ({"space": "empty.py"}, ["'empty.py'", "no search space", "Interval"]),
        ({"space": "broken.py"}, ["'broken.py'", "cannot be read as Python"]),
    ],
)
def test_a_project_without_a_space_is_told_what_to_do(
    tmp_path: Path, values: dict[str, str], words: list[str]
) -> None:
    (tmp_path / "empty.py").write_text("x: int = 1\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("x: (\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        builtin.builtin()["search"](settings(tmp_path, **values))
    assert all(word in str(caught.value) for word in words)


def test_a_missing_extra_is_named(worktree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'pytest-evalloop\[search\]'"):
        builtin.builtin()["search"](settings(worktree, space="config.py"))


def test_a_link_out_of_the_worktree_is_not_followed(
    search: Mutator, worktree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "config.py"
    outside.write_text(CONFIG, encoding="utf-8")
    (worktree / "config.py").unlink()
    (worktree / "config.py").symlink_to(outside)
    with pytest.raises(MutatorError, match="leads out of the worktree"):
        search.propose(make_brief(worktree))
    assert outside.read_text(encoding="utf-8") == CONFIG


def test_an_incumbent_whose_space_is_gone_or_broken_is_reported(search: Mutator, worktree: Path) -> None:
    for text, words in (("x = 1\n", "no search space any more"), ("x: (\n", "cannot be read as Python")):
        (worktree / "config.py").write_text(text, encoding="utf-8")
        with pytest.raises(MutatorError, match=words):
            search.propose(make_brief(worktree))


def test_the_factories_import_nothing_heavy() -> None:
    import subprocess

    code = (
        "import sys; from pytest_evalloop.mutators import builtin; builtin.builtin(); "
        "print([m for m in ('optuna', 'libcst', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "write-a-mutator.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    example: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "write-a-mutator.md", "exec"), example)
    factory = example["pytest_evalloop_mutators"]()["orders"]
    with pytest.raises(SettingsError, match="Create it"):
        factory(settings(tmp_path))
    history: tuple[Candidate, ...] = ()
    (tmp_path / "model").mkdir()
    for number in range(1, 8):
        (tmp_path / "model" / "order.txt").write_text("3\n", encoding="utf-8")
        proposal = factory(settings(tmp_path)).propose(make_brief(tmp_path, number, history))
        history += (candidate(number, proposal, -0.1, mutator="orders"),)
    assert {details(entry)["order"] for entry in history} == {1, 2, 4, 5, 6, 7, 8}
    (tmp_path / "model" / "order.txt").write_text("3\n", encoding="utf-8")
    with pytest.raises(MutatorError, match="Every order"):
        factory(settings(tmp_path)).propose(make_brief(tmp_path, 8, history))
