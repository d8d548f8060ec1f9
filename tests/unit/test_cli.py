"""The command line: traces in, spreadsheets out and back, and judges that have to be validated before they speak."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_evalloop import cli
from pytest_evalloop.records import Trace
from pytest_evalloop.review.judges import JudgeError
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import Mode, write_modes
from pytest_evalloop.review.traces import Library
from pytest_evalloop.suite.verdicts import Court
from tests.judging import MODE, MODEL, Model, labelled, write_judge


@pytest.fixture
def judged(tmp_path: Path, model: Model) -> Path:
    """A project with a hundred labelled traces, twenty that nobody labelled, and a judge."""
    folder = tmp_path / "evals/labels"
    traces, labels = labelled(60, 60)
    with Labels.open(folder, write=True) as written:
        for number, (name, stored) in enumerate(traces.items()):
            if number % 6:
                written.change(stored, "someone", float(number), modes=labels[name].modes)
    lines = [{"input": f"new {number}", "output": "BAD" if number % 2 else "fine"} for number in range(20)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert cli.main(["review", "--root", str(tmp_path), "--import", str(tmp_path / "new.jsonl")]) == 0
    write_judge(
        folder,
        f'prompt = "The output says BAD."\nmodel = "{MODEL}"\nbase_url = "{model.base_url}"\nretries = 0\n',
    )
    return tmp_path


def run(root: Path, *words: str) -> int:
    return cli.main([words[0], "--root", str(root), *words[1:]])


def test_the_command_is_installed_and_helps() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_evalloop.cli", "review", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for flag in ("--import", "--export", "--apply", "--scaffold", "--sample", "--port"):
        assert flag in done.stdout


def test_traces_come_in_and_bad_rows_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log.csv").write_text("trace_id,input,output\na,hello,hi\na,hello,other\n")
    assert run(tmp_path, "review", "--import", str(tmp_path / "log.csv")) == 1
    said = capsys.readouterr().out
    assert "1 new trace (" in said
    assert "row 3" in said
    assert run(tmp_path, "review", "--import", str(tmp_path / "absent.csv")) == 2
    assert "absent.csv" in capsys.readouterr().err


def test_a_spreadsheet_goes_out_and_what_was_edited_comes_back(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = judged / "labels.csv"
    write_modes(judged / "evals/labels", [Mode(MODE, "says BAD")])
    assert run(judged, "review", "--export", str(sheet)) == 0
    with sheet.open(newline="", encoding="utf-8-sig") as file:
        head, first, *rest = list(csv.reader(file))
    first[head.index("note")] = "read again"
    with sheet.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, first, *rest])
    assert run(judged, "review", "--apply", str(sheet), "--dry-run") == 0
    assert ": 1 cell changed" in capsys.readouterr().out
    with Labels.open(judged / "evals/labels") as labels:
        assert labels.get(first[0]).note == ""
    assert run(judged, "review", "--apply", str(sheet), "--by", "reader") == 0
    with Labels.open(judged / "evals/labels") as labels:
        assert (labels.get(first[0]).note, labels.get(first[0]).by) == ("read again", "reader")
    first[head.index(MODE)] = "maybe"
    with sheet.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, first])
    assert run(judged, "review", "--apply", str(sheet), "--dry-run") == 1
    assert run(judged, "review", "--apply", str(sheet)) == 1


def test_a_scaffold_needs_a_mode_that_was_named(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(judged, "review", "--scaffold", "FM-99") == 2
    assert "no failure mode FM-99" in capsys.readouterr().err
    library = Library.load(judged / ".evalloop/traces", judged / "evals/labels")
    write_modes(judged / "evals/labels", [Mode(MODE, "says BAD", examples=(next(iter(library.traces)),))])
    assert run(judged, "review", "--scaffold", MODE) == 0
    assert "Fill in its check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest]\nevalloop_labels = "said"\nevalloop_evals = ["checks"]\n'),
        (
            "pyproject.toml",
            '[tool.pytest.ini_options]\nevalloop_labels = "said"\nevalloop_evals = "checks"\n',
        ),
        ("pytest.toml", '[pytest]\nevalloop_labels = "said"\nevalloop_evals = ["checks"]\n'),
        (
            "pytest.ini",
            "[pytest]\naddopts = -p '%x'\nevalloop_labels = said\nevalloop_evals =\n  checks\n  more\n",
        ),
        ("tox.ini", "[pytest]\nevalloop_labels = said\nevalloop_evals = checks\n"),
        ("setup.cfg", "[tool:pytest]\nevalloop_labels = said\nevalloop_evals = checks\n"),
    ],
)
def test_labels_and_evals_lie_where_the_project_says(
    judged: Path, name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (judged / "evals/labels").rename(judged / "said")
    (judged / name).write_text(text)
    example = next(iter(Library.load(judged / ".evalloop/traces", judged / "said").traces))
    write_modes(judged / "said", [Mode(MODE, "says BAD", examples=(example,))])
    capsys.readouterr()
    assert run(judged, "review", "--scaffold", MODE) == 0
    path = "checks/test_says_bad.py"
    asked = f"{path} is written. Fill in its check and how to ask your system, and run: pytest {path}\n"
    assert capsys.readouterr().out == asked
    assert (judged / path).exists()
    assert not (judged / "evals/labels").exists()


def test_the_file_that_pytest_takes_counts_alone(judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (judged / "pytest.ini").touch()
    (judged / "pyproject.toml").write_text('[tool.pytest]\nevalloop_labels = "said"\n')
    assert run(judged, "judge") == 0
    assert MODE in capsys.readouterr().out
    (judged / "pytest.ini").unlink()
    assert run(judged, "judge") == 0
    assert f"no judges in {judged / 'said'}" in capsys.readouterr().out
    assert run(judged, "judge", "--labels", str(judged / "evals/labels")) == 0
    assert MODE in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tool.pytest", "pyproject.toml cannot be read"),
        ('[tool.pytest]\nevalloop_labels = "../x"\n', "evalloop_labels names '../x'"),
    ],
)
def test_a_configuration_that_is_of_no_use(
    tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert run(tmp_path, "judge") == 2
    assert reason in capsys.readouterr().err


def test_a_root_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "absent", "review", "--no-browser") == 2
    assert "absent is no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_served_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run(tmp_path, "review", "--no-browser") == 2
    assert "pip install 'pytest-evalloop[review]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_interruption_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_judge", interrupted)
    assert run(tmp_path, "judge") == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("words", ["many", "random", "random:x", "stratified:5", "best:5"])
def test_a_sample_that_cannot_be_drawn(judged: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(judged, "review", "--sample", words, "--no-browser") == 2
    assert "Write how and how many" in capsys.readouterr().err


def test_a_judge_gates_only_once_it_was_validated(
    judged: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    court = Court(judged, judged / "evals/labels")
    with pytest.raises(JudgeError, match="never validated against labels"):
        court(MODE, Trace("question", "BAD"))
    assert run(judged, "judge") == 0
    assert "never validated" in capsys.readouterr().out
    assert run(judged, "judge", MODE) == 0
    assert f"{MODE}, dev split: TPR 1.00" in capsys.readouterr().out
    assert run(judged, "judge", MODE, "--estimate") == 2
    assert run(judged, "judge", MODE, "--test") == 0
    assert "It may gate." in capsys.readouterr().out
    assert not court(MODE, Trace("question", "BAD")).passed
    assert court(MODE, Trace("question", "good")).passed
    asked = len(model.asked)
    assert court(MODE, Trace("question", "good")).passed
    assert len(model.asked) == asked
    assert court(MODE, Trace("question", "good"), repeat=1).passed
    assert len(model.asked) == asked + 1
    assert run(judged, "judge", MODE, "--estimate") == 0
    assert "Corrected for its errors on the test split: 0.500" in capsys.readouterr().out
    assert run(judged, "judge", MODE, "--test") == 0
    assert "This is look 2" in capsys.readouterr().out


def test_a_changed_judge_is_an_error(judged: Path) -> None:
    assert run(judged, "judge", MODE, "--test") == 0
    path = judged / f"evals/labels/judges/{MODE}.toml"
    path.write_text(path.read_text().replace("says BAD", "says BAD or worse"))
    with pytest.raises(JudgeError, match=r"changed since it was validated \(prompt\)"):
        Court(judged, judged / "evals/labels")(MODE, Trace("question", "good"))
    with pytest.raises(JudgeError, match="There is no judge of FM-01"):
        Court(judged, judged / "evals/labels")("FM-01", Trace("question", "good"))
