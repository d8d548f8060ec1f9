"""A real command edits the worktree; its brief, its limits and what is made of its output."""

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.mutators import agent, builtin, history
from pytest_evalloop.protocols import MutatorError
from pytest_evalloop.records import Brief, Budget, Candidate, Decision, Status, Verdict
from pytest_evalloop.settings import Settings, SettingsError


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "model").mkdir(parents=True)
    (tree / "model" / "gpt.py").write_text("layers = 4\n", encoding="utf-8")
    (tree / "model" / "corpus.py").write_text("fixed = 1\n", encoding="utf-8")
    return tree


def make_brief(worktree: Path, past: tuple[Candidate, ...] = (), **values: Any) -> Brief:
    defaults: dict[str, Any] = {
        "run": "r",
        "number": 3,
        "seed": 7,
        "incumbent": "0123456789abcdef",
        "incumbent_bpb": 2.3,
    }
    defaults |= {"mutable": ("model/gpt.py", "model/new_*.py"), "budget": Budget(450, "steps")}
    defaults |= {
        "train_data": "/data/train",
        "prompt": None,
        "space": None,
        "log": str(worktree.parent / "log"),
    }
    return Brief(worktree=str(worktree), history=past, **{**defaults, **values})


def make_agent(worktree: Path, script: str, seconds: float = 60.0) -> agent.AgentMutator:
    path = worktree.parent / "agent.py"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    return agent.AgentMutator(
        (sys.executable, str(path)), seconds=seconds, evals=("evals",), hidden=("data/val",)
    )


def candidate(number: int, description: str, **values: Any) -> Candidate:
    values = {
        "mutator": "agent",
        "bpb": 2.3,
        "decision": Decision(Verdict.REJECTED, "no gain", -0.01),
        **values,
    }
    return Candidate("r", number, "c", f"c{number}", description=description, **values)


def test_an_agent_reads_the_brief_and_edits_the_worktree(
    worktree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutator = make_agent(
        worktree,
        r"""
        import os, sys
        from pathlib import Path
        Path("../brief").write_text(sys.stdin.read())
        Path("../environ").write_text(os.environ.get("AGENT_API_KEY", "") + os.environ.get("PYTEST_ADDOPTS", ""))
        Path("model/gpt.py").write_text("layers = 5\n")
        print("Thinking")
        print("DESCRIPTION: a first thought", flush=True)
        print("\x1b[32mDESCRIPTION: one more \x07layer | \x1b]0;title\x07deeper\x1b[0m", file=sys.stderr)
        """,
    )
    monkeypatch.setenv("AGENT_API_KEY", "secret")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    proposal = mutator.propose(make_brief(worktree))
    assert proposal.description == "one more layer | deeper"
    assert proposal.parameters["files"] == ["model/gpt.py"]
    assert proposal.parameters["returncode"] == 0
    assert (worktree.parent / "environ").read_text() == "secret"
    assert (worktree.parent / "brief").read_text() == agent.render(
        make_brief(worktree), seconds=60, evals=("evals",), hidden=("data/val",)
    )
    assert "Thinking" in (worktree.parent / "log").read_text()


def test_without_a_description_the_files_describe_it(worktree: Path) -> None:
    script = """
        from pathlib import Path
        for name in ("new_a", "new_b", "new_c", "gpt"):
            Path(f"model/{name}.py").write_text("x = 1")
        print("the brief says: DESCRIPTION: not a line of its own")
    """
    proposal = make_agent(worktree, script).propose(make_brief(worktree))
    assert proposal.description == "changed model/gpt.py, model/new_a.py, model/new_b.py and 1 more"


def test_an_agent_that_prints_its_brief_has_described_nothing(worktree: Path) -> None:
    script = "import sys; print(sys.stdin.read()); open('model/gpt.py', 'a').write('#')"
    proposal = make_agent(worktree, script).propose(make_brief(worktree, (candidate(0, "base"),)))
    assert proposal.description == "changed model/gpt.py"


def test_a_stopped_agent_has_proposed_what_it_edited_and_nothing_of_it_is_left(worktree: Path) -> None:
    script = f"""
        setsid sleep 600 & echo $! > ../child
        echo '# half done' >> model/gpt.py
        echo 'DESCRIPTION: {"long " * 40}'
        wait
    """
    mutator = agent.AgentMutator(("sh", "-c", textwrap.dedent(script)), seconds=1.5)
    proposal = mutator.propose(make_brief(worktree))
    assert proposal.description.startswith("long long")
    assert proposal.description.endswith("… (stopped after 1.5 s)")
    assert len(proposal.description) <= agent.WIDTH
    child = int((worktree.parent / "child").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_stopped_agent_without_an_edit_is_an_error(worktree: Path) -> None:
    with pytest.raises(MutatorError, match=r"stopped after 0\.5 s.*log is .*evalloop_agent_time"):
        make_agent(worktree, "import time; time.sleep(600)", seconds=0.5).propose(make_brief(worktree))


def test_a_failed_agent_without_an_edit_shows_the_end_of_its_log(worktree: Path) -> None:
    (worktree.parent / "log").write_text("an earlier line\n", encoding="utf-8")
    script = "import sys; print('hello', flush=True); sys.exit('Invalid \\x1b[31mAPI key')"
    with pytest.raises(MutatorError, match=r"status 1.*hello / Invalid API key.*log is") as caught:
        make_agent(worktree, script).propose(make_brief(worktree))
    assert "earlier" not in str(caught.value)


def test_an_agent_that_only_touches_what_it_may_not_is_an_error(worktree: Path) -> None:
    script = "open('model/corpus.py', 'a').write('# mine now'); print('DESCRIPTION: cheat')"
    with pytest.raises(
        MutatorError, match=r"changed model/corpus\.py, which evalloop_mutable does not name, and no"
    ):
        make_agent(worktree, script).propose(make_brief(worktree))


def test_an_agent_that_changes_nothing_may_need_a_flag(worktree: Path) -> None:
    with pytest.raises(MutatorError, match=r"without changing a mutable file.*needs a flag"):
        make_agent(worktree, "print('DESCRIPTION: an idea')").propose(make_brief(worktree))


def test_a_deleted_file_is_a_change(worktree: Path) -> None:
    script = "import os; os.remove('model/gpt.py')"
    assert make_agent(worktree, script).propose(make_brief(worktree)).description == "changed model/gpt.py"


def test_the_same_files_are_not_proposed_twice(worktree: Path) -> None:
    mutator = make_agent(worktree, "open('model/gpt.py', 'w').write('layers = 6')")
    proposal = mutator.propose(make_brief(worktree))
    (worktree / "model" / "gpt.py").write_text("layers = 4\n", encoding="utf-8")
    past = (candidate(1, "six", parameters=proposal.parameters),)
    with pytest.raises(MutatorError, match=r"candidate 1 already measured \(six\)"):
        mutator.propose(make_brief(worktree, past))


def test_the_brief_tells_everything_once(worktree: Path) -> None:
    past = (
        candidate(0, "baseline", mutator="baseline", decision=None),
        candidate(1, "more heads", decision=Decision(Verdict.ACCEPTED, "clearly better", 0.03)),
        candidate(
            2, "crash", bpb=None, status=Status.CRASHED, decision=Decision(Verdict.REJECTED, "no model")
        ),
    )
    text = agent.render(
        make_brief(worktree, past, program="Prefer depth."),
        seconds=600,
        evals=("evals",),
        hidden=("data/val",),
    )
    for words in (
        "# Propose candidate 3", "commit 0123456789ab, val_bpb 2.3000", "Candidates so far: 2, accepted: 1",
        "450steps", "`/data/train`", "`model/gpt.py`, `model/new_*.py`", "`evals`, `data/val`", "600 seconds",
        "| 1 | agent | more heads | accepted | +0.0300 | 2.3000 | clearly better |",
        "| 2 | agent | crash | rejected |  |  | crashed: no model |", "Prefer depth.",
    ):  # fmt: skip
        assert text.count(words) == 1, words
    assert "DESCRIPTION:" in text.splitlines()[-1]
    assert "program.md" not in agent.render(make_brief(worktree), seconds=600)


TRACEBACK = """exited with status 1
Traceback (most recent call last):
  File "model/train.py", line 3, in <module>
    ```\x1b[2J
# no heading\x07
NameError: name 'depth' is not defined"""


def broken(number: int, reason: str, detail: str = TRACEBACK, **values: Any) -> Candidate:
    decision = Decision(Verdict.REJECTED, reason)
    values = {"bpb": None, "status": Status.CRASHED, **values}
    return candidate(number, "breaks", decision=decision, detail=detail, **values)


def test_the_brief_shows_how_the_last_broken_trainings_ended(worktree: Path) -> None:
    past = (
        broken(1, "training crashed: long ago", "an old one"),
        broken(2, "evals failed: of the host", "what it quotes is nobody's business"),
        broken(3, "training crashed: exited with status 1"),
        broken(4, "training stopped", "stopped, and not broken", status=None),
    )
    text = agent.render(make_brief(worktree, past), seconds=600)
    assert "## How the last broken ones ended" in text
    assert "\n    NameError: name 'depth' is not defined\n" in text
    assert "\n        ```\n" in text
    assert "\n    # no heading \n" in text
    for words in ("an old one", "nobody's business", "and not broken", "\x1b", "\x07"):
        assert words not in text
    assert "broken ones ended" not in agent.render(make_brief(worktree, past[1:2]), seconds=600)


def test_text_in_the_history_stays_in_its_cell() -> None:
    nasty = "a | b\n| 9 | forged | accepted |\r\x1b[2Jc\u202ed \\| e \x00 f\u2028g"
    rows = history.table([candidate(1, nasty)]).splitlines()
    assert len(rows) == 3
    idea = r"a \| b \| 9 \| forged \| accepted \| c d \\\| e f g"
    assert rows[2] == f"| 1 | agent | {idea} | rejected | -0.0100 | 2.3000 | no gain |"


def test_a_long_history_keeps_the_baseline_the_best_and_the_latest() -> None:
    past = [candidate(0, "baseline", decision=None)]
    for number in range(1, 101):
        verdict = Verdict.ACCEPTED if number % 10 == 0 else Verdict.REJECTED
        past.append(candidate(number, f"idea {number}", decision=Decision(verdict, "", number / 1000)))
    rows = history.table(past).splitlines()
    numbers = [int(row.split("|")[1]) for row in rows[2:] if row.startswith("|")]
    assert numbers == [0, 20, 30, 40, 50, 60, *range(61, 101)]
    assert rows[-1] == "55 earlier candidates are left out."
    assert history.table([]).count("\n") == 1


def test_factory_checks_the_command(worktree: Path, tmp_path: Path) -> None:
    def settings(*command: str) -> Settings:
        return Settings(
            root=tmp_path, train=("t",), load="m:load", budget=Budget(1, "s"), mutable=("*",), agent=command
        )

    factory = builtin.builtin()["agent"]
    with pytest.raises(SettingsError, match="evalloop_agent is not set"):
        factory(settings())
    with pytest.raises(SettingsError, match="'no-such-agent' is no command on the PATH"):
        factory(settings("no-such-agent", "-p"))
    script = tmp_path / "agent.sh"
    script.write_text("#!/bin/sh\necho >> model/gpt.py\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"\./agent\.sh"):
        factory(settings("./agent.sh"))
    script.chmod(0o755)
    assert factory(settings("./agent.sh")).propose(make_brief(worktree)).description == "changed model/gpt.py"


def test_a_brief_can_be_read_by_its_path(worktree: Path) -> None:
    """Commands that take a file instead of standard input are given /dev/stdin."""
    mutator = agent.AgentMutator(("sh", "-c", "cp /dev/stdin model/new_brief.py"), seconds=60)
    mutator.propose(make_brief(worktree))
    assert "# Propose candidate 3" in (worktree / "model" / "new_brief.py").read_text(encoding="utf-8")


def test_patterns_find_files_in_folders(worktree: Path) -> None:
    (worktree / "model" / "deep" / "er").mkdir(parents=True)
    (worktree / "model" / "deep" / "er" / "a.txt").write_text("a", encoding="utf-8")
    (worktree / "model" / "link.txt").symlink_to("/etc/hostname")
    (worktree / ".git").mkdir()
    (worktree / ".git" / "a.py").write_text("a", encoding="utf-8")
    everything = {"model/gpt.py", "model/corpus.py", "model/deep/er/a.txt", "model/link.txt"}
    assert set(agent.contents(worktree, ("**",))) == everything
    assert set(agent.contents(worktree, ("model/*.py", "model/deep/"))) == everything - {"model/link.txt"}
