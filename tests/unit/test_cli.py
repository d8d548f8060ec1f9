"""The command line: traces in, spreadsheets out and back, and judges that have to be validated before they speak."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_evalloop import cli
from pytest_evalloop.commands import project
from pytest_evalloop.commands.sampling import Wish, draw
from pytest_evalloop.records import Trace
from pytest_evalloop.review.judges import JudgeError
from pytest_evalloop.review.labels import Labels
from pytest_evalloop.review.modes import Mode, write_modes
from pytest_evalloop.review.splits import Split, read_splits
from pytest_evalloop.review.traces import Library, ReviewError
from pytest_evalloop.suite.verdicts import Court
from tests.judging import MODE, MODEL, Model, labelled, said, write_judge


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
    out = capsys.readouterr().out
    assert "1 new trace (" in out
    assert "row 3" in out
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


@pytest.mark.parametrize("words", ["many", "random", "random:x", "random:0", "stratified:5", "best:5"])
def test_a_sample_that_cannot_be_drawn(judged: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(judged, "review", "--sample", words, "--no-browser") == 2
    assert "Write how and how many" in capsys.readouterr().err
    assert run(judged, "review", "--stratify", "model", "--no-browser") == 2
    assert "--stratify belongs to a sample" in capsys.readouterr().err


CHECKS = f"""
from pytest_evalloop import check

@check("{MODE}")
def says_bad(text):
    return ["BAD"] if "BAD" in text else []

@check("{MODE}")
def says_bad_or_new(text):
    return ["fine"] if text == "fine" else says_bad(text)

@check("FM-01")
def breaks(text):
    raise RuntimeError("on purpose")

def test_nothing():
    pass
"""


def draw_disagreements(root: Path, number: int = 30) -> dict[str, str]:
    place = project.place(root, None, root)
    library = Library.load(place.home.traces, place.labels)
    with Labels.open(place.labels) as labels:
        return draw(Wish.parse(f"disagreements:{number}", "", 0), place, library, labels.all())


def test_without_opinions_there_is_nothing_to_disagree_about(judged: Path) -> None:
    with pytest.raises(ReviewError, match=r"Nobody can disagree.* Write a check .* --sample random:30\.$"):
        draw_disagreements(judged)
    (judged / "evals/test_bad.py").write_text(CHECKS.replace('text == "fine"', "False"))
    with pytest.raises(
        ReviewError, match="There is no disagreement on 120 traces, having heard 2 checks and judges: "
    ):
        draw_disagreements(judged)
    (judged / "evals/test_bad.py").write_text("import nothing_like_it\n")
    with pytest.raises(
        ReviewError, match=r"The checks could not be tried: pytest ended with status 2.*\n.*"
    ) as e:
        draw_disagreements(judged)
    assert "nothing_like_it" in str(e.value)


def test_a_sample_of_disagreements_asks_checks_judges_and_people(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (judged / "evals/test_bad.py").write_text(CHECKS)
    (judged / "pytest.ini").write_text(
        "[pytest]\naddopts = -k nothing_that_is_there\nevalloop_prd = prd.md\n"
    )
    found = draw_disagreements(judged)
    assert len(found) == 30
    who = [f"evals/test_bad.py::{name}" for name in ("says_bad", "says_bad_or_new")]
    assert set(found.values()) == {"drawn at random", f"{MODE}: {who[0]} passes it and {who[1]} fails it"}
    assert sum(why != "drawn at random" for why in found.values()) == 10
    assert "gave no verdict on 120 of 120 traces, " in capsys.readouterr().err
    assert not (judged / "prd.md").exists()
    with Labels.open(judged / "evals/labels", write=True) as labels:  # people say the opposite of some
        stored = Library.load(judged / ".evalloop/traces", judged / "evals/labels").traces
        for name in ("t-001", "t-119"):
            labels.change(stored[name], "someone", 500.0, modes={MODE: name == "t-001"})
    reasons = draw_disagreements(judged)
    assert reasons["t-001"] == f"{MODE}: {who[0]} and {who[1]} pass it and a person fails it"
    assert reasons["t-119"] == f"{MODE}: {who[0]} and {who[1]} fail it and a person passes it"
    assert list(reasons)[:2] == ["t-001", "t-119"]


def test_what_a_judge_said_of_its_test_split_is_no_reason_to_read_it(judged: Path, model: Model) -> None:
    model.reply = lambda _: said("fail")
    assert run(judged, "judge", MODE) == 0
    assert run(judged, "judge", MODE, "--test") == 1
    found = draw_disagreements(judged, 200)
    splits = read_splits(judged / "evals/labels", MODE)
    told = {splits.get(name) for name, why in found.items() if why != "drawn at random"}
    assert told == {Split.DEV}
    assert f"{MODE}: the judge fails it and a person passes it" in found.values()


@pytest.mark.parametrize("name", ["pytest.ini", "pyproject.toml", "setup.py", ".evalloop/version"])
def test_the_root_is_found_from_a_folder_below(
    judged: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    below = judged / "src/deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    (judged / name).touch()
    (below / "tox.ini").write_text("[tox]\n")  # says nothing of pytest
    capsys.readouterr()
    assert cli.main(["judge"]) == 0
    told = capsys.readouterr()
    assert f"{MODE}: Judge {MODE} was never validated" in told.out
    assert told.err == f"Project: {judged}\n"
    (below / "log.csv").write_text("input,output\nq,a\n")
    assert cli.main(["review", "--import", "log.csv"]) == 0
    assert (judged / ".evalloop/.gitignore").read_text() == "*\n"
    assert sorted(each.name for each in below.iterdir()) == ["log.csv", "tox.ini"]
    example = next(iter(Library.load(judged / ".evalloop/traces", judged / "evals/labels").traces))
    write_modes(judged / "evals/labels", [Mode(MODE, "says BAD", examples=(example,))])
    assert cli.main(["review", "--scaffold", MODE]) == 0
    assert "run: pytest ../../evals/test_says_bad.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["review", "--no-browser"],
        ["review", "--import", "log.csv"],
        ["review", "--export", "x.csv"],
        ["judge"],
    ],
)
def test_outside_of_any_project_nothing_is_made(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.csv").write_text("input,output\nq,a\n")
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert f"{tmp_path} lies in no project" in told
    assert f"--root {tmp_path}" in told
    assert list(tmp_path.iterdir()) == [tmp_path / "log.csv"]


def test_a_judge_gates_only_once_it_was_validated(
    judged: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    court = Court(judged, judged / "evals/labels")
    with pytest.raises(JudgeError, match="never validated against labels"):
        court(MODE, Trace("question", "BAD"))
    with pytest.raises(JudgeError, match=f"^No verdict: judge {MODE} may not speak. Why is said once"):
        court(MODE, Trace("another question", "BAD"))
    assert run(judged, "judge") == 0
    assert "never validated" in capsys.readouterr().out
    assert run(judged, "judge", MODE) == 0
    assert f"{MODE}, dev split: TPR 1.00" in capsys.readouterr().out
    assert run(judged, "judge", MODE, "--estimate") == 2
    assert run(judged, "judge", MODE, "--test") == 0
    assert "It may gate." in capsys.readouterr().out
    court = Court(judged, judged / "evals/labels")
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


def test_every_judge_is_listed_also_beside_files_that_are_of_no_use(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mode, text in (("FM-01", "prompt = "), ("FM-02", 'prompt = "x"\n'), ("FM-99", "what = 1\n")):
        write_judge(judged / "evals/labels", text, mode)
    capsys.readouterr()
    assert run(judged, "judge") == 2
    told = capsys.readouterr()
    first, second, good, last = told.out.splitlines()
    assert first.startswith("FM-01: cannot be used. ")
    assert "FM-01.toml is no TOML" in first
    assert "FM-02.toml has no model" in second
    assert good.startswith(f"{MODE}: Judge {MODE} was never validated")
    assert "FM-99.toml sets 'what'" in last
    assert told.err == "3 judges of 4 cannot be used.\n"


class Terminal(io.StringIO):
    """What a command writes to, when somebody sits there."""

    def isatty(self) -> bool:
        return True


def test_how_far_a_judge_is_shows_on_a_terminal_alone(
    judged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        assert run(judged, "judge", MODE) == 0
    *lines, cleared, end = terminal.getvalue().split("\r")[1:]
    number = len(lines) - 1
    assert number > 20
    assert [line.rstrip() for line in lines] == [
        f"{MODE}: traces judged by {MODEL}: {done} of {number}" for done in range(number + 1)
    ]
    assert (cleared.strip(), end) == ("", "")
    capsys.readouterr()
    assert run(judged, "judge", MODE, "--test") == 0
    assert capsys.readouterr().err == ""


def test_a_changed_judge_is_an_error(judged: Path) -> None:
    assert run(judged, "judge", MODE, "--test") == 0
    path = judged / f"evals/labels/judges/{MODE}.toml"
    path.write_text(path.read_text().replace("says BAD", "says BAD or worse"))
    with pytest.raises(JudgeError, match=r"changed since it was validated \(prompt\)"):
        Court(judged, judged / "evals/labels")(MODE, Trace("question", "good"))
    with pytest.raises(JudgeError, match="There is no judge of FM-01"):
        Court(judged, judged / "evals/labels")("FM-01", Trace("question", "good"))
