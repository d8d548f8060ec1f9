"""The beginning of an eval: it is Python whatever stands in a trace, and fails until somebody writes the check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import Mode
from pytest_evalloop.review.scaffold import quoted, scaffold, slug
from pytest_evalloop.review.traces import ReviewError, StoredTrace, plain_stored, read
from tests.conftest import Project

MODE = Mode("FM-07", "lets nobody speak", 'A "scene"\nin which \\ nobody speaks.', "major", ("t-1", "t-2"))
TRACES = {
    "t-1": StoredTrace("t-1", "x", 1.0, Trace("the ", "zz\nzz \x1b[31m\u202e\n")),
    "t-2": StoredTrace("t-2", "x", 1.0, Trace("a ", 'z"""\\' + "z" * 5000)),
}


def examples(source: str) -> tuple[str, ...]:
    tree = ast.parse(source)
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES"
    )
    found: tuple[str, ...] = ast.literal_eval(value)
    return found


def kept(labels: Path) -> dict[str, Trace]:
    return {stored.id: stored.trace for stored in read(labels / "traces.jsonl")[0]}


def test_the_file_holds_what_is_known_and_the_examples_are_kept_whole(tmp_path: Path) -> None:
    path = scaffold(MODE, TRACES, tmp_path / "evals", tmp_path / "labels")
    assert path == tmp_path / "evals/test_lets_nobody_speak.py"
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)) == "FM-07: lets nobody speak."
    assert 'A \\"scene\\" in which \\\\ nobody speaks.' in source
    assert 'traces=["t-1", "t-2"]' in source
    assert source.replace("\n", "").isprintable()
    assert examples(source) == ("t-1", "t-2")
    assert '# "the", answered with "zz zz \\x1b[31m\\u202e"\n    "t-1",' in source
    assert 'answered with "z\\"\\"\\"\\\\zzz' in source
    assert 'zzz…"\n    "t-2",' in source
    assert kept(tmp_path / "labels") == {name: stored.trace for name, stored in TRACES.items()}
    assert max(map(len, source.splitlines())) <= 120
    assert list(path.parent.iterdir()) == [path]


def test_what_was_labelled_is_kept_already(tmp_path: Path) -> None:
    with Labels.open(tmp_path, write=True) as labels:
        labels.change(TRACES["t-2"], "Ada", 1.0, passed=False)
    scaffold(MODE, TRACES, tmp_path / "evals", tmp_path)
    assert [stored.id for stored in read(tmp_path / "traces.jsonl")[0]] == ["t-2", "t-1"]


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    path = scaffold(MODE, TRACES, tmp_path, tmp_path / "labels")
    path.write_text("mine")
    (tmp_path / "labels/traces.jsonl").unlink()
    with pytest.raises(ReviewError, match="is there already, and nothing was written"):
        scaffold(MODE, TRACES, tmp_path, tmp_path / "labels")
    assert path.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "labels", path]
    assert not list((tmp_path / "labels").iterdir())


@pytest.mark.parametrize(
    ("shown", "why"),
    [((), "it has no examples"), (("t-9", "t-8"), r"its examples \(t-9, t-8\) are not among the traces")],
)
def test_without_an_example_there_is_no_eval(tmp_path: Path, shown: tuple[str, ...], why: str) -> None:
    with pytest.raises(ReviewError, match=f"FM-07 cannot become an eval: {why}. Add the id of a trace"):
        scaffold(Mode("FM-07", "x", examples=shown), TRACES, tmp_path / "evals", tmp_path / "labels")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("lets nobody speak", "lets_nobody_speak"),
        ("Says “yes”, & more!", "says_yes_more"),
        (
            "a title that is so very long that no file should be called so",
            "a_title_that_is_so_very_long_that_no",
        ),
        ("x" * 60, "x" * 40),
        ("好", "fm_07"),
        ("3 in a row", "fm_07"),
        ("class", "class_"),
        ("trace", "trace_"),
        ("kept trace", "kept_trace_"),
        ("answer", "answer_"),
        ("list", "list_"),
        ("tests nothing", "mode_tests_nothing"),
    ],
)
def test_it_is_named_after_its_title(title: str, name: str) -> None:
    assert slug(Mode("FM-07", title)) == name
    assert slug(Mode("7", "好")) == "mode_7"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(), min_size=1),
    st.text(st.characters()),
    st.text(st.characters(), max_size=3000),
    st.booleans(),
)
def test_whatever_people_and_models_write_it_is_python(
    tmp_path: Path, title: str, definition: str, output: str, model: bool
) -> None:
    trace = StoredTrace("t'\"\\", "x", 1.0, Trace(definition, output))
    mode = Mode("FM-01", title, definition, "major", (trace.id,))
    path = scaffold(mode, {trace.id: trace}, tmp_path, tmp_path / "labels", model=model)
    source = path.read_text()
    path.unlink()
    compile(source, "test_x.py", "exec")
    assert examples(source) == (trace.id,)
    assert kept(tmp_path / "labels") == {trace.id: plain_stored(trace).trace}
    (tmp_path / "labels/traces.jsonl").unlink()


@given(st.text(st.characters()))
def test_a_literal_is_the_text_and_shows_all_of_it(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()


def test_it_fails_until_the_check_is_written(project: Project) -> None:
    path = scaffold(MODE, TRACES, project.path / "evals", project.path / "evals/labels")
    status, output = project.run("evals", "-k", "nobody", "-x")
    assert status == 1
    assert "FM-07 has no check yet: let lets_nobody_speak() in test_lets_nobody_speak.py return" in output
    source = path.read_text()
    start, end = source.index("    raise NotImplementedError("), source.index("@pytest.mark.parametrize")
    path.write_text(source[:start] + '    return ["zz"] if "zz" in text else []\n\n\n' + source[end:])
    status, output = project.run("evals", "-k", "nobody")
    assert status == 0, output
    assert "PASS FM-07 (lets nobody speak): 0 of 80 cases failed" in output
    assert "never validated against labels" in output


def test_an_application_is_asked_by_a_function_of_its_own(pytester: pytest.Pytester) -> None:
    path = scaffold(MODE, TRACES, pytester.path / "evals", pytester.path / "evals/labels", model=False)
    source = path.read_text()
    assert max(map(len, source.splitlines())) <= 120
    assert "generate" not in source
    said = "FM-07 asks no system yet: let answer() in test_lets_nobody_speak.py return"
    pytester.runpytest_subprocess("evals").stdout.fnmatch_lines([f"*{said}*"])
    written = 'return ["zz"] if "zz" in text else []'
    for body in ("return question + str(seed)", written):
        start = source.index("    raise NotImplementedError(")
        source = source[:start] + f"    {body}\n" + source[source.index("    )\n", start) + len("    )\n") :]
    path.write_text(source)
    result = pytester.runpytest_subprocess("evals")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["PASS FM-07 (lets nobody speak): 0 of 80 cases failed*"])
