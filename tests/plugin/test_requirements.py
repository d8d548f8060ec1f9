"""Traces, validation and the requirements document, from sessions of evals as users start them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import Mode, write_modes
from pytest_evalloop.review.traces import StoredTrace, read
from tests.conftest import Project

PRD = ("--evalloop-prd", "docs/REQUIREMENTS.md")
CHECKED = '''\
import pytest

from pytest_evalloop import check


@check("FM-01")
def no_letters(text):
    """Return the signs in a text."""
    return [sign for sign in text if sign in "#+"]


'''


def label(project: Project) -> None:
    """Label 40 traces: every fourth has a sign in it, of which the check misses every second."""
    folder = project.path / "evals/labels"
    with Labels.open(folder, write=True) as labels:
        for number in range(40):
            output = ("a!c", "abc", "abc", "abc", "a#c", "abc", "abc", "abc")[number % 8]
            trace = StoredTrace(f"t-{number:02}", "x", 1.0 + number, Trace("the ", f"{output} {number}"))
            occurs = number % 4 == 0
            labels.change(trace, "me", 9.0 + number, passed=not occurs, modes={"FM-01": occurs})
    modes = [
        Mode("FM-01", "writes what is no letter", "A sign.", "minor", ("t-04",), "2026-01-01"),
        Mode("FM-02", "stops early", "Nothing comes.", "critical", ("t-77",)),
    ]
    write_modes(folder, modes)


@pytest.fixture
def labelled(project: Project) -> Project:
    label(project)
    project.replace("evals/test_letters.py", "import pytest\n", CHECKED)
    return project


def texts(project: Project) -> tuple[str, str]:
    return (
        (project.path / "docs/REQUIREMENTS.md").read_text(),
        (project.path / "evals/labels/results.json").read_text(),
    )


def test_the_document_is_written_once_and_again_without_running_anything(labelled: Project) -> None:
    status, output = labelled.run("evals", *PRD)
    assert status == 0, output
    assert "docs/REQUIREMENTS.md was written: 4 requirements" in output
    assert "     validated against 40 labels: TPR 1.00 (0.89 to 1.00), TNR 0.50 (0.24 to 0.76)\n" in output
    assert "     false pass (too lenient): t-00, t-08, t-16 and 2 more\n" in output
    before = texts(labelled)
    document = before[0]
    assert document.index("### FM-02: stops early") < document.index("### FM-01: writes what is no letter")
    for words in (
        "Most of a sample is letters and spaces.",
        "- **Seen:** in 10 of 40 labelled traces, 25.0%",
        "`evals/test_letters.py::no_letters`, validated against 40 labels: TPR 1.00",
        "[output]\na#c 4\n",
        "- **Last result:** PASS: 0 of 12 cases failed, so up to 22.1% fail (95 % bound)",
        "- **Flag:** No test checks this failure mode.",
        "- **Flag:** It cites traces that are not among the kept ones: t-77.",
        "- **Flag:** No trace was labelled for it.",
        "- **Flag:** It was never reviewed.",
        "- **Flag:** It is stale: reviewed last on 2026-01-01",
        "its TNR is 0.50, below 0.80.",
        "Unseen text costs at most five bits a byte.",
        "The tokenizer is lossless.",
    ):
        assert words in document
    labelled.git("add", "--all")
    labelled.git("commit", "--quiet", "--message", "requirements")
    (labelled.path / "docs/REQUIREMENTS.md").write_text("old")
    status, output = labelled.run("evals", "--collect-only", *PRD)
    assert status == 0
    assert "training" not in output
    assert texts(labelled) == before
    status, output = labelled.run("evals", "-n", "2", *PRD)
    assert status == 0, output
    assert "docs/REQUIREMENTS.md is current" in output
    assert "validated against 40 labels: TPR 1.00" in output
    assert labelled.git("status", "--porcelain") == ""


def test_what_did_not_run_keeps_its_results(labelled: Project) -> None:
    labelled.run("evals", *PRD)
    before = texts(labelled)
    labelled.replace("evals/test_letters.py", "> 20", "> 24")
    status, output = labelled.run("evals", "-k", "test_letters[3]", *PRD)
    assert status == 1, output
    assert texts(labelled) == before
    status, output = labelled.run("evals/test_letters.py", *PRD)
    assert (
        "stays as it is, and so do the results that it quotes: only a part of evals was asked for" in output
    )
    labelled.write("evals/test_broken.py", "import nothing_of_this_name\n")
    status, output = labelled.run("evals", "--continue-on-collection-errors", *PRD)
    assert status == 1
    assert "stays as it is, and so do the results that it quotes: evals/test_broken.py" in output
    assert texts(labelled) == before
    (labelled.path / "evals/test_broken.py").unlink()
    status, output = labelled.run("evals", "-k", "letters", *PRD)
    assert status == 1
    document, results = texts(labelled)
    old, new = json.loads(before[1]), json.loads(results)
    assert new["tests"] == old["tests"]
    assert (new["modes"]["FM-01"]["passed"], new["modes"]["FM-01"]["since"]) == (False, "")
    assert re.search(r"\*\*Last result:\*\* FAIL: \d+ of 12 cases failed", document)


MORE = '''
import pytest

def test_more():
    """More <b>is</b> more."""

@pytest.mark.failure_mode("FM-07", "is skipped now and then")
@pytest.mark.parametrize("number", range(2))
def test_more_is_skipped(number):
    if number:
        pytest.skip("not today")

@pytest.mark.failure_mode("FM-08", "passes")
def test_more_passes():
    pass

@pytest.mark.failure_mode("FM-09", "is an error", tolerate=0.9)
@pytest.mark.parametrize("number", range(9))
def test_more_errs(number):
    assert 9 / (number - 3)
'''


def test_a_project_without_labels_has_a_document_that_asks_for_them(project: Project) -> None:
    project.write("evals/test_more.py", MORE)
    status, output = project.run("evals", "--evalloop-prd", "requirements.html", "-k", "more")
    assert status == 1, output
    results = json.loads((project.path / "evals/labels/results.json").read_text())
    assert {mode: each["passed"] for mode, each in results["modes"].items()} == {
        "FM-08": True,
        "FM-09": False,
    }
    page = (project.path / "requirements.html").read_text()
    assert "<h3>FM-01: writes what is no letter</h3>" in page
    assert "Nobody named this failure mode" in page
    assert "<p>More &lt;b&gt;is&lt;/b&gt; more.</p>" in page
    assert "never validated against labels" in page
    assert not list((project.path / "evals/labels").glob("*.jsonl"))


def test_damaged_labels_are_said_and_nothing_is_lost(labelled: Project) -> None:
    modes = labelled.path / "evals/labels/modes.toml"
    modes.write_text(modes.read_text() + "[[mode]\n")
    status, output = labelled.run("evals", "--collect-only", *PRD)
    assert status == 1
    assert "modes.toml is no TOML" in output
    assert not (labelled.path / "docs").exists()
    status, output = labelled.run("evals", "-k", "encode")
    assert status == 0
    assert "modes.toml is no TOML" in output
    status, output = labelled.run("evals", "--evalloop-prd", "docs/REQUIREMENTS.pdf")
    assert status == 4
    assert "--evalloop-prd is 'docs/REQUIREMENTS.pdf', which names no document. Give a file that" in output
    status, output = labelled.loop(*PRD)
    assert status == 4
    assert "Run it on its own: pytest evals --evalloop-prd" in output


TRACED = '''
import pytest

@pytest.mark.parametrize("number", range(6))
def test_traces(trace, generate, number):
    """Traces are kept, also of what fails."""
    trace.input = b"the "
    trace.step("generate", seed=number)
    trace.output = generate(b"the ", seed=number, max_bytes=12)

def test_records(record_trace, candidate):
    """The same trace is kept once."""
    assert record_trace(input="x", output=bytes(candidate.encode(b"y"))) == record_trace(input="x", output="y")

def test_nothing(trace):
    """A trace without anything in it is none."""
'''


def kept(folder: Path) -> dict[str, list[StoredTrace]]:
    found = {}
    for file in sorted(folder.glob("*.jsonl")):
        found[file.name], problems = read(file)
        assert not problems
    return found


def test_evals_and_a_loop_leave_traces(project: Project) -> None:
    project.write("evals/test_traced.py", TRACED)
    project.commit()
    traces = project.path / ".evalloop/traces"
    status, output = project.run("evals/test_traced.py", "-n", "2")
    assert status == 0, output
    (found,) = kept(traces).values()
    assert len(found) == len({each.id for each in found}) == 7
    assert {each.trace.metadata["candidate"] for each in found} == {"working tree"}
    assert "eval:evals/test_traced.py::test_traces[3]" in {each.source for each in found}
    project.replace("evals/test_traced.py", "max_bytes=12)", "max_bytes=12)\n    assert not number")
    assert project.run("evals/test_traced.py")[0] == 1
    assert kept(traces) == {"evals.jsonl": found}
    project.replace("evals/test_traced.py", "\n    assert not number", "")
    status, output = project.loop("--evalloop-candidates", "1")
    assert status == 0, output
    looped = kept(traces)
    assert "main-0.jsonl" in looped
    assert looped.pop("evals.jsonl") == found
    for name, several in looped.items():
        assert name in {"main-0.jsonl", "main-1.jsonl"}
        assert len(several) == 7
        assert {each.trace.metadata["candidate"] for each in several} == {name[:-6].replace("-", "/")}
    assert not (project.path / "evals/labels").exists()
    assert project.git("status", "--porcelain") == ""
