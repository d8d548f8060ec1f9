"""The primer is edited line by line or with passages of the training documents, never with anything else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.mutators import builtin, prompt
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Budget, Candidate, Decision, Proposal, Status, Verdict
from pytest_evalloop.settings import Settings, SettingsError

PRIMER = b"### SCENE I. A street.\n\nEnter a Clown.\nCLOWN\nHo!\n"


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    for folder in ("tree", "train", "val"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        lines = [f"{line} of document {number}, and no more.\n" for line in range(200)]
        (tmp_path / "train" / f"scene-{number}.md").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "val" / "held-out.md").write_text("HIDDEN\n" * 50, encoding="utf-8")
    (tmp_path / "train" / "link.md").symlink_to(tmp_path / "val" / "held-out.md")
    (tmp_path / "train" / "folder").symlink_to(tmp_path / "val")
    (tmp_path / "tree" / "prompt.md").write_bytes(PRIMER)
    return tmp_path / "tree"


def make_brief(worktree: Path, number: int = 1, history: tuple[Candidate, ...] = (), **values: Any) -> Brief:
    defaults: dict[str, Any] = {
        "run": "r",
        "seed": 7,
        "incumbent": "c0",
        "incumbent_bpb": 2.3,
        "mutable": ("prompt.md",),
    }
    defaults |= {"budget": Budget(450, "steps"), "train_data": str(worktree.parent / "train"), "space": None}
    defaults |= {"prompt": "prompt.md", "log": str(worktree.parent / "log")}
    return Brief(number=number, worktree=str(worktree), history=history, **{**defaults, **values})


def candidate(number: int, proposal: Proposal, *, accepted: bool = False) -> Candidate:
    decision = Decision(Verdict.ACCEPTED if accepted else Verdict.REJECTED, "", 0.1)
    return Candidate(
        "r", number, "c0", f"c{number}", "prompt", proposal.description, proposal.parameters,
        Status.COMPLETED, decision, 2.2, passed=True,
    )  # fmt: skip


def propose(
    worktree: Path,
    number: int = 1,
    history: Iterable[Candidate] = (),
    *,
    primer: bytes = PRIMER,
    **values: Any,
) -> tuple[Proposal, bytes]:
    (worktree / "prompt.md").write_bytes(primer)
    proposal = prompt.PromptMutator().propose(make_brief(worktree, number, tuple(history), **values))
    return proposal, (worktree / "prompt.md").read_bytes()


def test_a_hundred_primers_are_new_and_bounded_and_hold_nothing_hidden(worktree: Path) -> None:
    history: list[Candidate] = []
    primers = {PRIMER}
    for number in range(1, 101):
        proposal, after = propose(worktree, number, history)
        assert after not in primers
        assert len(after) <= prompt.LIMIT
        assert b"HIDDEN" not in after
        assert proposal.description.startswith("primer: ")
        primers.add(after)
        history.append(candidate(number, proposal))
    operators = [entry.parameters["operator"] for entry in history]
    assert set(operators) == set(prompt.OPERATORS)
    assert sum(str(operator).endswith("passage") for operator in operators[:10]) >= 5
    assert {entry.parameters.get("place") for entry in history} >= {"start", "end", "middle"}


def test_the_same_brief_gives_the_same_primer(worktree: Path) -> None:
    assert propose(worktree, 5) == propose(worktree, 5)
    assert len({propose(worktree, number)[1] for number in range(10)}) > 5
    assert len({propose(worktree, seed=seed)[1] for seed in range(10)}) > 5


def test_a_passage_is_described_by_its_document(worktree: Path) -> None:
    found = next(
        (proposal.description, after)
        for number in range(50)
        for proposal, after in [propose(worktree, number)]
        if proposal.parameters["operator"] == "start_from_passage"
    )
    assert found[0].startswith("primer: replaced by a passage of scene-")
    count = len(found[1].splitlines())
    assert found[0].endswith(f"({count} lines)" if count > 1 else "(1 line)")
    train = b"".join(path.read_bytes() for path in sorted((worktree.parent / "train").glob("scene-*")))
    assert found[1] in train


def test_operators_are_chosen_by_what_they_earned(worktree: Path) -> None:
    history = []
    for number, (operator, accepted) in enumerate([("drop", True)] * 6 + [("append_passage", False)] * 6, 1):
        proposal = propose(worktree, number)[0]
        proposal = type(proposal)("", {**proposal.parameters, "operator": operator})
        history.append(candidate(number, proposal, accepted=accepted))
    weights = prompt.earned(history)
    assert weights["drop"] == pytest.approx(7 / 8)
    assert weights["append_passage"] == pytest.approx(4 / 8)
    assert weights["swap"] == pytest.approx(1 / 2)
    assert prompt.earned(())["start_from_passage"] == pytest.approx(6 / 2)


def test_without_training_text_lines_are_edited_until_nothing_is_left(worktree: Path) -> None:
    (worktree.parent / "tokens").mkdir()
    (worktree.parent / "tokens" / "train.bin").write_bytes(bytes(range(256)) * 20)
    history: list[Candidate] = []
    primers = set()
    tokens = str(worktree.parent / "tokens")
    for number in range(1, 7):
        proposal, after = propose(worktree, number, history, primer=b"a\nb\n", train_data=tokens)
        primers.add(after)
        history.append(candidate(number, proposal))
    assert primers == {b"b\n", b"a\n", b"b\na\n", b"a\na\nb\n", b"a\nb\nb\n", b"a b\n"}
    with pytest.raises(MutatorError, match="No new primer"):
        propose(worktree, 7, history, primer=b"a\nb\n", train_data=tokens)


def test_an_empty_or_missing_primer_starts_from_a_passage(worktree: Path) -> None:
    proposal, after = propose(worktree, primer=b"")
    assert proposal.parameters["operator"] in {"start_from_passage", "append_passage"}
    assert after.endswith(b"\n")
    (worktree / "prompt.md").unlink()
    prompt.PromptMutator().propose(make_brief(worktree))
    assert (worktree / "prompt.md").read_bytes()
    with pytest.raises(MutatorError, match="No new primer"):
        propose(worktree, primer=b"", train_data=str(worktree.parent / "nowhere"))


def test_an_earlier_incumbent_is_not_proposed_again(worktree: Path) -> None:
    nowhere = str(worktree.parent / "nowhere")
    proposal, _ = propose(worktree, primer=b"a\n", train_data=nowhere)
    drop = candidate(1, type(proposal)("", {**proposal.parameters, "previous": prompt._digest(b"")}))
    for number in range(2, 12):
        proposal, after = propose(worktree, number, [drop], primer=b"b\n", train_data=nowhere)
        assert after == b"b\nb\n"


def test_bytes_that_are_no_text_survive(worktree: Path) -> None:
    primer = b"\xff\xfe \xc3\xa9\r\n\x80\xe2\x80\xa8line\n"
    for number in range(30):
        _, after = propose(worktree, number, primer=primer, train_data=str(worktree.parent / "nowhere"))
        assert set(after) <= set(primer + b" ")


def test_a_long_line_is_cut_within_the_bound_and_stays_text(worktree: Path) -> None:
    folder = worktree.parent / "long"
    folder.mkdir()
    (folder / "one.txt").write_text("é" * 5000, encoding="utf-8")
    _, after = propose(worktree, primer=b"", train_data=str(folder))
    assert 10 < len(after) <= prompt.LIMIT
    assert set(after.decode()) <= {"é", "\n"}


def test_factory_needs_the_file(worktree: Path) -> None:
    settings = Settings(root=worktree, train=("t",), load="m:load", budget=Budget(1, "s"), mutable=("*",))
    with pytest.raises(
        SettingsError, match=r'evalloop_prompt is not set.*evalloop_prompt = "model/prompt.md"'
    ):
        builtin.builtin()["prompt"](settings)
    missing = Settings(
        root=worktree, train=("t",), load="m:load", budget=Budget(1, "s"), mutable=("*",), prompt="gone.md"
    )
    with pytest.raises(SettingsError, match=r"'gone\.md'.*Create it"):
        builtin.builtin()["prompt"](missing)
