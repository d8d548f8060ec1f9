"""What a candidate may change, case by case."""

from __future__ import annotations

import pytest

from pytest_evalloop.store.scope import Change, matches, matching, problems, protected

TREE = (
    *("model/__init__.py", "model/gpt.py", "model/prompt.md", "model/run.sh", "tools.py", "conftest.py"),
    *("evals/test_a.py", "evals/conftest.py", "pyproject.toml", "README.md", "code/main.py"),
)
ANY = ("**",)


def added(path: str, mode: str = "100644") -> Change:
    return Change(path, "000000", mode, "A")


def modified(path: str, old: str = "100644", new: str = "100644") -> Change:
    return Change(path, old, new, "M")


def deleted(path: str) -> Change:
    return Change(path, "100644", "000000", "D")


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("model/*.py", "model/a.py model/.py", "model/a/b.py Model/a.py model/a.pyc a/model/a.py"),
        ("*.py", "a.py .a.py", "model/a.py a.PY"),
        ("**/*.py", "a.py m/a.py m/n/a.py", "a.txt m/a.py/x"),
        ("model/**", "model/a model/a/b", "model models/a"),
        ("model/", "model/a model/a/b", "model"),
        ("model/**/x.py", "model/x.py model/a/x.py model/a/b/x.py", "model/ax.py x.py"),
        ("**", "a a/b", ""),
        ("./a?.py", "ab.py", "a.py a/.py abc.py"),
        ("a[0-9].py", "a1.py", "aa.py a-.py"),
        ("a[!0-9].py", "aa.py", "a1.py a/.py"),
        ("a[]b].py", "a].py ab.py", "a.py"),
        ("a[.py", "a[.py", "a.py"),
        ("a[z-a].py", "", "az.py a[z-a].py"),
        ("a+(b).py", "a+(b).py", "aab.py"),
    ],
)
def test_globs(glob: str, yes: str, no: str) -> None:
    assert [path for path in yes.split() if not matches(glob, path)] == []
    assert [path for path in no.split() if matches(glob, path)] == []


def test_matching_shows_globs_without_a_match() -> None:
    found = matching(("model/*.py", "mdl/*.py"), TREE)
    assert found == {"model/*.py": ("model/__init__.py", "model/gpt.py"), "mdl/*.py": ()}


def test_mutable_must_not_reach_what_grades() -> None:
    assert protected(("model/**", "tools.py"), TREE) == ()
    found = protected(("**/*.py", "*.toml"), TREE)
    assert [sentence.split()[0] for sentence in found] == [
        *("conftest.py", "evals/conftest.py", "evals/test_a.py", "pyproject.toml"),
    ]
    assert "belongs to the evals" in protected(("model/gpt.py",), TREE, ["model/gpt.py"])[0]
    assert len(protected(("model/gpt.py",), TREE, ["."])) == 1
    assert protected(("model/gpt.py",), TREE, ["./mod"]) == ()


@pytest.mark.parametrize(
    "changes",
    [
        [modified("model/gpt.py")],
        [added("model/tokenizer.py"), added("model/random.py"), added("model/blocks/attention.py")],
        [added("model/prompt/part.md")],
        [deleted("model/gpt.py"), added("model/gpt/__init__.py")],
        [deleted("model/prompt.md"), added("model/Prompt.md")],
        [modified("model/run.sh", "100755", "100755")],
        [added("code/other.py"), added("helpers.py"), added("notes/x.md"), added("model/fünf 5.py")],
    ],
)
def test_plain_changes_are_in_scope(changes: list[Change]) -> None:
    assert problems(changes, ANY, TREE) == ()


def test_no_change_is_a_problem() -> None:
    assert problems([], ANY, TREE) == ("The candidate changes nothing.",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (added("model/link.py", "120000"), "symbolic link"),
        (Change("model/gpt.py", "100644", "120000", "T"), "symbolic link"),
        (Change("model/link", "120000", "000000", "D"), "symbolic link"),
        (added("model/lib", "160000"), "submodule"),
        (modified("model/gpt.py", "100644", "100755"), "made executable"),
        (modified("model/run.sh", "100755", "100644"), "made not executable"),
        (added("model/new.sh", "100755"), "made executable"),
        (added("Model/new.py"), "Model/new.py differs from model by the case of letters only"),
        (added("model/GPT.py"), "the case of letters only"),
        (added("model/ﬁle.py"), "cannot happen"),
        (added("tools/__init__.py"), "would shadow a module of the project beside tools.py"),
        (added("model/gpt/x.py"), "beside model/gpt.py"),
        (added("model/gpt.cpython-311-x86_64-linux-gnu.so"), "beside model/gpt.py"),
        (added("model/gpt.pyc"), "beside model/gpt.py"),
        (added("model.py"), "beside model/__init__.py"),
        (added("pytest.py"), "shadow the module 'pytest'"),
        (added("_pytest/__init__.py"), "shadow the module '_pytest'"),
        (added("numpy/core/x.py"), "shadow the module 'numpy'"),
        (added("Random.py"), "shadow the module 'random'"),
        (added("json.so"), "shadow the module 'json'"),
        (added("torch.py"), "shadow the module 'torch'"),
        (added("sitecustomize.py"), "steers Python"),
        (added("model/usercustomize.py"), "steers Python"),
        (added("model/conftest.py"), "steers Python"),
        (added("model/x.pth"), "steers Python"),
        (modified("pyproject.toml"), "steers Python"),
        (added("model/Pytest.INI"), "steers Python"),
        (added("model/.gitattributes"), "steers Python"),
        (added("../x.py"), "outside of the project"),
        (added("model/../../x.py"), "outside of the project"),
        (added("/etc/x.py"), "not a plain relative path"),
        (added("model/.GIT/config"), "takes for its own folder"),
        (added("model/.g\u200cit/config"), "takes for its own folder"),
        (added("model/git~1/config"), "takes for its own folder"),
        (added("model/a\nb.py"), "cannot be seen"),
        (added("model/a\u202eb.py"), "cannot be seen"),
        (added("model/a\udcffb.py"), "not Unicode"),
        (added("model\\x.py"), "backslash"),
    ],
)
def test_everything_else_is_told(change: Change, words: str) -> None:
    found = problems([change], ANY, TREE, reserved={"torch"})
    if words == "cannot happen":  # a new name with a compatibility character and no twin is fine
        assert found == ()
        return
    assert any(words in sentence for sentence in found), found
    assert all(sentence.isprintable() and sentence.endswith(".") for sentence in found)


def test_paths_outside_of_the_globs_are_named() -> None:
    (sentence,) = problems([modified("README.md"), modified("model/gpt.py")], ("model/*.py",), TREE)
    assert sentence == "README.md matches none of the mutable paths (model/*.py)."


def test_names_that_normalise_to_the_same() -> None:
    (sentence,) = problems([added("model/u\u0308.py")], ANY, (*TREE, "model/\u00fc.py"))
    assert "by Unicode normalisation only" in sentence
    twins = problems([added("model/a/x.py"), added("model/A/y.py")], ANY, TREE)
    assert len(twins) == 2


def test_a_module_that_the_project_has_is_no_new_shadow() -> None:
    assert problems([added("code/x.py")], ANY, TREE) == ()
    assert problems([added("code.py")], ANY, TREE) != ()
    assert problems([modified("model/gpt.py")], ANY, (*TREE, "random.py", "random/x.py")) == ()
    assert problems([added("random/y.py")], ANY, (*TREE, "random.py", "random/x.py")) == ()
