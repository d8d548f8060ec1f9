"""Whatever the file looks like: an edit lands inside the bounds, and nothing else of the file moves."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_evalloop.mutators import history, prompt, space
from pytest_evalloop.mutators.search import SearchMutator
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Budget, Candidate, Decision, Proposal, Status, Verdict

numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.4g}"))
scalars = st.one_of(
    st.booleans(),
    st.integers(-1000, 1000),
    numbers,
    st.text(max_size=8).filter(lambda text: "\\N" not in text),
)


@st.composite
def declarations(draw: st.DrawFn) -> tuple[str, str]:
    """Return one annotated assignment; most of them belong to the search space."""
    kind = draw(st.sampled_from(["literal", "float", "int", "log", "other"]))
    if kind == "literal":
        options = draw(st.lists(scalars, min_size=2, max_size=5, unique_by=space.identity))
        return f"Literal[{', '.join(map(repr, options))}]", repr(draw(st.sampled_from(options)))
    if kind == "float":
        low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
        least, most = draw(st.sampled_from(["ge", "gt"])), draw(st.sampled_from(["le", "lt"]))
        return f"Annotated[float, Interval({least}={low!r}, {most}={high!r})]", repr((low + high) / 2)
    if kind == "int":
        low = draw(st.integers(-100, 5000))
        high = low + draw(st.integers(0, 3000))
        return f"Annotated[int, Ge({low}), Le({high})]", str(draw(st.integers(low, high)))
    if kind == "log":
        low = draw(st.sampled_from([1e-5, 1e-3, 0.5, 1]))
        high = low * draw(st.sampled_from([1.2, 5, 30, 1e4]))
        value = draw(st.floats(low, high))
        return f"Annotated[float, Interval(ge={low!r}, le={high!r}), 'log']", repr(value)
    return draw(st.sampled_from(["int", "str", "Annotated[float, Interval(ge=0)]"])), "0"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Return a Python file with declarations, comments and odd spacing."""
    lines = ["# head", draw(st.sampled_from(["", "import os"]))]
    indent = draw(st.sampled_from(["", "    "]))
    if indent:
        lines += ["class Config:", '    """Doc."""']
    for index, (annotation, value) in enumerate(draw(st.lists(declarations(), min_size=1, max_size=6))):
        comment = draw(st.sampled_from(["", "  # why", " #:"]))
        gap = draw(st.sampled_from([" = ", "=", "  =  "]))
        lines.append(f"{indent}p{index}: {annotation}{gap}{value}{comment}")
        lines += draw(st.sampled_from([[], [""], [indent + "# note"]]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join([*lines, indent + "pass"]).encode("utf-8", "backslashreplace")


def make_brief(folder: str, number: int, seed: int, past: tuple[Candidate, ...]) -> Brief:
    return Brief(
        run="r", number=number, seed=seed, worktree=folder, incumbent="c0", incumbent_bpb=2.3, history=past,
        mutable=("*",), budget=Budget(450, "steps"), train_data=str(Path(folder) / "train"),
        prompt="prompt.md", space="config.py", log="log",
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(files(), st.integers(0, 2**32), st.lists(st.floats(-0.1, 0.1) | st.none(), min_size=1, max_size=3))
def test_search_lands_inside_the_bounds_and_moves_nothing_else(
    source: bytes, seed: int, deltas: list[float | None]
) -> None:
    past: tuple[Candidate, ...] = ()
    known = {parameter.name: parameter for parameter in space.read(source)}
    seen = {repr({name: parameter.value for name, parameter in known.items()})}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.py"
        for number, delta in enumerate(deltas, 1):
            path.write_bytes(source)
            brief = make_brief(folder, number, seed, past)
            try:
                proposal = SearchMutator().propose(brief)
            except MutatorError:
                assert len(known) < 2  # everything else has more values than this test asks for
                return
            edited = path.read_bytes()
            values = {parameter.name: parameter.value for parameter in space.read(edited)}
            changed = {n for n in known if space.identity(values[n]) != space.identity(known[n].value)}
            assert set(values) == set(known)
            assert values == proposal.parameters["values"]
            assert changed == set(details(proposal)["changed"])
            assert 1 <= len(changed) <= (3 if number % 2 else len(known))  # every second one is from anywhere
            for name in changed:
                assert known[name].contains(values[name])
            for before, after in zip(source.split(b"\n"), edited.split(b"\n"), strict=True):
                declared = re.match(rb"\s*(p\d+):", before)
                if declared is None or declared[1].decode() not in changed:
                    assert before == after
            assert repr(values) not in seen
            seen.add(repr(values))
            path.write_bytes(source)
            assert SearchMutator().propose(brief) == proposal
            past += (candidate(number, "search", proposal, delta),)


def details(proposal: Proposal) -> dict[str, Any]:
    return dict(proposal.parameters)


def candidate(number: int, mutator: str, proposal: Proposal, delta: float | None) -> Candidate:
    status = Status.COMPLETED if delta is not None else Status.CRASHED
    bpb = None if delta is None else 2.3 - delta
    return Candidate(
        "r", number, "c0", f"c{number}", mutator, proposal.description, proposal.parameters, status,
        Decision(Verdict.REJECTED, "no", delta), bpb, passed=delta is not None,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_number_is_fitted_into_its_bounds(data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    strict = {"strict_low": data.draw(st.booleans()), "strict_high": data.draw(st.booleans())}
    parameter = space.Range("p", low, low, high, integer=False, log=False, **strict)
    assert parameter.contains(parameter.fit(data.draw(st.floats(-1e7, 1e7))))
    assert all(parameter.contains(value) for value in parameter.grid())
    step = data.draw(st.integers(1, 7))
    low, high = (step * data.draw(st.integers(-99, 0)), step * data.draw(st.integers(1, 99999)))
    whole = space.Range("p", low, low, high, integer=True, log=False, step=step)
    assert whole.contains(whole.fit(data.draw(st.floats(-1e7, 1e7))))
    assert all(whole.contains(value) for value in whole.grid())


@settings(max_examples=60, deadline=None)
@given(
    primer=st.binary(max_size=900) | st.lists(st.binary(max_size=20), max_size=8).map(b"\n".join),
    documents=st.lists(st.text(max_size=400).map(lambda text: text.encode("utf-8", "replace")), max_size=3),
    seed=st.integers(0, 2**32),
)
@example(primer=b"\xff\n\xfe\n", documents=[b"\x80\xe2\x80\xa8\n" * 40], seed=1)
def test_a_primer_is_new_bounded_and_the_same_again(primer: bytes, documents: list[bytes], seed: int) -> None:
    past: tuple[Candidate, ...] = ()
    seen = {primer}
    with TemporaryDirectory() as folder:
        (Path(folder) / "train").mkdir()
        for index, document in enumerate(documents):
            (Path(folder) / "train" / f"{index}.md").write_bytes(document)
        path = Path(folder) / "prompt.md"
        for number in range(1, 4):
            path.write_bytes(primer)
            brief = make_brief(folder, number, seed, past)
            try:
                proposal = prompt.PromptMutator().propose(brief)
            except MutatorError:
                return
            after = path.read_bytes()
            assert after not in seen
            assert len(after) <= max(prompt.LIMIT, len(primer))
            assert proposal.description.isprintable()
            path.write_bytes(primer)
            assert prompt.PromptMutator().propose(brief) == proposal
            seen.add(after)
            past += (candidate(number, "prompt", proposal, -0.1),)


@given(st.binary(max_size=200))
def test_lines_of_a_primer_join_to_it(primer: bytes) -> None:
    assert prompt.encode(prompt.decode(primer), like=primer) == primer


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_no_text_leaves_its_cell(texts: list[tuple[str, str]]) -> None:
    rows = history.table(
        [
            Candidate("r", number, "p", "c", "agent", idea, decision=Decision(Verdict.REJECTED, reason))
            for number, (idea, reason) in enumerate(texts, 1)
        ]
    ).split("\n")
    assert len(rows) == len(texts) + 2
    for row in rows:
        assert row.isprintable()
        # A pipe is a border unless an odd number of backslashes stands before it.
        borders = [match for match in re.finditer(r"(\\*)\|", row) if len(match[1]) % 2 == 0]
        assert len(borders) == 8
