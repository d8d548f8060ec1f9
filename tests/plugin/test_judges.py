"""Judges and kept traces in evals: what may not speak is an error of every case, and told once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_evalloop.records import Trace
from pytest_evalloop.review.traces import StoredTrace, append
from tests.judging import LOCAL, MODE, MODEL, write_judge

EVAL = f"""
import pytest
from pytest_evalloop import Trace

@pytest.mark.failure_mode("{MODE}", "says BAD", tolerate=0.1)
@pytest.mark.parametrize("case", range(4))
def test_bad(judge, case):
    assert judge("{MODE}", Trace(str(case), "fine")).passed

def test_unknown(judge):
    assert judge("FM-99", Trace("q", "fine")).passed
"""
REASON = f"Judge {MODE} was never validated against labels, so it cannot gate."


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_judge_that_may_not_speak_is_explained_once_and_passes_nothing(
    pytester: pytest.Pytester, workers: str
) -> None:
    (pytester.path / "evals").mkdir()
    (pytester.path / "evals/test_bad.py").write_text(EVAL)
    write_judge(pytester.path / "evals/labels", f'prompt = "x"\nmodel = "{MODEL}"\nbase_url = "{LOCAL}"\n')
    result = pytester.runpytest_subprocess("evals", "-n", workers)
    assert result.ret == 1
    result.assert_outcomes(failed=5)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "ERROR judge FM-07: 4 cases have no verdict. Judge FM-07 was never validated against labels, so it "
            "cannot gate. Validate it on its test split: pytest-evalloop judge FM-07 --test.",
            "ERROR judge FM-99: 1 case has no verdict. There is no judge of FM-99 in *",
        ]
    )
    errors = [line for line in text.splitlines() if line.startswith("E ")]
    told = sum(REASON in line for line in errors)  # with the first case of each process
    assert 1 <= told <= max(1, int(workers))
    assert sum(f"No verdict: judge {MODE} may not speak." in line for line in errors) == 4 - told
    assert "verdicts.py" not in text
    assert "PASS FM-07" not in text


def test_an_eval_reads_a_kept_trace_whole(pytester: pytest.Pytester) -> None:
    labels = pytester.path / "evals/labels"
    append(labels / "traces.jsonl", [StoredTrace("t-1", "s", 1.0, Trace("q", "long " * 1000))])
    (pytester.path / "evals/test_kept.py").write_text(
        "def test_whole(kept_trace):\n"
        "    assert len(kept_trace('t-1').output) == 5000\n"
        "def test_absent(kept_trace):\n"
        "    kept_trace('t-2')\n"
    )
    result = pytester.runpytest_subprocess("evals")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *There is no trace 't-2' in *traces.jsonl. Take the file back *"])


def test_a_scaffold_runs_in_a_project_of_its_own(pytester: pytest.Pytester) -> None:
    folder: Path = pytester.path
    (folder / "pytest.ini").write_text("[pytest]\n")
    append(folder / ".evalloop/traces/a.jsonl", [StoredTrace("t-1", "s", 1.0, Trace("q", "BAD " * 1000))])
    (folder / "evals/labels").mkdir(parents=True)
    (folder / "evals/labels/modes.toml").write_text(
        '[[mode]]\nid = "FM-07"\ntitle = "says BAD"\nexamples = ["t-1"]\n'
    )
    done = pytester.run(sys.executable, "-m", "pytest_evalloop.cli", "review", "--scaffold", "FM-07")
    assert done.ret == 0, done.stderr.str()
    path = folder / "evals/test_says_bad.py"
    source = path.read_text()
    assert "BAD " * 20 not in source
    check, answer = '    return ["BAD"] if text.count("BAD") == 1000 else []\n', '    return "fine"\n'
    parts = source.split("    raise NotImplementedError(\n")
    first, *rest = parts
    bodies = [answer, check]
    path.write_text(
        first + "".join(body + part.split("    )\n", 1)[1] for body, part in zip(bodies, rest, strict=True))
    )
    result = pytester.runpytest_subprocess("evals")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["PASS FM-07 (says BAD): 0 of 40 cases failed*"])
