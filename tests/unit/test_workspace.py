"""The workspace against real git: the user's checkout stays as it is, candidates cannot do harm."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_evalloop.store.home import StoreError
from pytest_evalloop.store.owner import Owner
from pytest_evalloop.store.scope import Change
from pytest_evalloop.store.staging import LARGEST, UnfitTree
from pytest_evalloop.store.workspace import StaleRef, Workspace, branch_ref, candidate_ref


def git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
    identity = ("-c", "user.name=U", "-c", "user.email=u@example.org", "-c", "init.defaultBranch=main")
    command = ("git", *identity, *arguments)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, text=True)
    return done.stdout.rstrip("\n")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def make(root: Path, *options: str) -> Path:
    """Make a repository with one commit."""
    root.mkdir(parents=True)
    git(root, "init", "-q", *options)
    write(
        root,
        {"model/gpt.py": "layers = 4\n", "model/__init__.py": "", "evals/test_a.py": "def test(): pass\n"},
    )
    write(root, {".gitignore": "*.log\n/out/\n"})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "start")
    return root


def looks(root: Path) -> tuple[object, ...]:
    """Return all that must stay as it is: status, index with its times, HEAD and its branch."""
    index = Path(git(root, "rev-parse", "--absolute-git-dir"), "index")
    status = index.stat()
    return (
        git(root, "status", "--porcelain=v2", "-z"),
        index.read_bytes(),
        (status.st_mtime_ns, status.st_ino, status.st_size),
        git(root, "rev-parse", "HEAD"),
        git(root, "symbolic-ref", "-q", "HEAD"),
    )


def linked(root: Path) -> int:
    """Return how many worktrees the repository has besides its first."""
    return git(root, "worktree", "list").count("\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "a project")


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    """Give out the workspace of a clean checkout, and see that it stayed as it was."""
    before = looks(root)
    yield Workspace.open(root)
    assert looks(root) == before


@pytest.fixture
def dirty(root: Path) -> Path:
    """Leave a checkout with a staged, an unstaged, a deleted, an untracked and an ignored file."""
    write(
        root,
        {"staged.py": "1\n", "model/gpt.py": "layers = 5\n", "new/deep.py": "2\n", "out/x": "3", "a.log": ""},
    )
    git(root, "add", "staged.py")
    (root / "evals/test_a.py").unlink()
    return root


def test_a_clean_checkout_is_its_own_snapshot(root: Path, workspace: Workspace) -> None:
    head = git(root, "rev-parse", "HEAD")
    assert workspace.snapshot() == (head, head)


def test_snapshot_holds_what_is_uncommitted(dirty: Path) -> None:
    write(dirty, {"model/__pycache__/gpt.pyc": "cached"})
    before = looks(dirty)
    workspace = Workspace.open(dirty)
    head, commit = workspace.snapshot()
    expected = {".gitignore", "model/__init__.py", "model/gpt.py", "staged.py", "new/deep.py"}
    assert set(workspace.files(commit)) == expected
    assert workspace.read(commit, "model/gpt.py") == b"layers = 5\n"
    assert git(dirty, "rev-parse", f"{commit}^") == head
    assert workspace.snapshot() == (head, commit)
    with workspace.worktree("r-1", commit) as tree:
        write(tree, {"model/gpt.py": "layers = 6\n"})
        workspace.update_ref(branch_ref("r"), workspace.commit_all(tree, "x"), None)
    workspace.prune("r")
    assert looks(dirty) == before


def test_snapshot_sees_a_same_size_edit_right_after_a_commit(root: Path) -> None:
    for layers in range(5, 9):
        git(root, "commit", "-q", "--allow-empty", "-m", "x")
        write(root, {"model/gpt.py": f"layers = {layers}\n"})
        workspace = Workspace.open(root)
        assert workspace.read(workspace.snapshot()[1], "model/gpt.py") == f"layers = {layers}\n".encode()
        git(root, "add", "-A")


def test_snapshot_with_sparse_checkout_and_without_index(root: Path) -> None:
    workspace = Workspace.open(root)
    git(root, "sparse-checkout", "set", "--no-cone", "/model/", "/.gitignore")
    assert not (root / "evals").exists()
    head, commit = workspace.snapshot()
    assert commit == head
    git(root, "sparse-checkout", "disable")
    (root / ".git/index").unlink()
    assert workspace.snapshot() == (head, head)


def test_snapshot_in_the_middle_of_a_merge(root: Path) -> None:
    git(root, "checkout", "-q", "-b", "side")
    write(root, {"model/gpt.py": "layers = 5\n"})
    git(root, "commit", "-q", "-a", "-m", "side")
    git(root, "checkout", "-q", "main")
    write(root, {"model/gpt.py": "layers = 6\n"})
    git(root, "commit", "-q", "-a", "-m", "main")
    with pytest.raises(subprocess.CalledProcessError):
        git(root, "merge", "side")
    before = looks(root)
    workspace = Workspace.open(root)
    assert b"<<<<<<<" in workspace.read(workspace.snapshot()[1], "model/gpt.py")
    assert looks(root) == before


def test_snapshot_leaves_unknown_nested_repositories_out(root: Path) -> None:
    make(root / "nested")
    write(root, {"more.py": "1\n"})
    workspace = Workspace.open(root)
    head, commit = workspace.snapshot()
    assert [change.path for change in workspace.changed(head, commit)] == ["more.py"]


def test_users_filters_shape_the_snapshot_but_not_the_worktree(root: Path) -> None:
    git(root, "config", "filter.up.clean", "tr a-z A-Z")
    git(root, "config", "filter.up.smudge", "tr A-Z a-z")
    write(root, {".gitattributes": "*.big filter=up\n", "w.big": "weights\n"})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "filtered")
    workspace = Workspace.open(root)
    head, commit = workspace.snapshot()
    assert head == commit
    with workspace.worktree("r-1", head) as tree:
        assert (tree / "w.big").read_text() == "WEIGHTS\n"
        assert workspace.commit_all(tree, "nothing") == head


def test_files_tree_read(root: Path, workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    files = workspace.files(head)
    assert sorted(files) == [".gitignore", "evals/test_a.py", "model/__init__.py", "model/gpt.py"]
    assert files["model/gpt.py"] == ("100644", git(root, "rev-parse", "HEAD:model/gpt.py"))
    assert workspace.tree(head) == git(root, "rev-parse", "HEAD^{tree}")
    with pytest.raises(StoreError, match=r"nothing\.py is not a file"):
        workspace.read(head, "nothing.py")


def test_worktree_commit_and_diff(root: Path, workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        assert git(tree, "status", "--porcelain") == ""
        assert (tree / "model/gpt.py").read_text() == "layers = 4\n"
        write(tree, {"model/gpt.py": "layers = 6\n", "model/new.py": "x\n", "noise.log": "", "out/x": ""})
        (tree / "evals/test_a.py").unlink()
        commit = workspace.commit_all(tree, "six layers")
    assert workspace.changed(head, commit) == (
        Change("evals/test_a.py", "100644", "000000", "D"),
        Change("model/gpt.py", "100644", "100644", "M"),
        Change("model/new.py", "000000", "100644", "A"),
    )
    assert "-layers = 4\n+layers = 6\n" in workspace.diff(head, commit)
    shown = git(root, "log", "-1", "--format=%P %an <%ae> %cn %s", commit)
    assert shown == f"{head} pytest-evalloop <evalloop@localhost> pytest-evalloop six layers"
    assert not list(workspace.home.worktrees.iterdir())
    assert linked(root) == 0


def test_unchanged_worktree_gives_its_parent(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        (tree / "model/gpt.py").write_text("layers = 4\n")
        assert workspace.commit_all(tree, "nothing") == head
    assert workspace.changed(head, head) == ()
    assert workspace.diff(head, head) == ""


def test_same_size_edit_with_old_times_is_seen(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        path = tree / "model/gpt.py"
        times = path.stat()
        path.write_text("layers = 9\n")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert workspace.commit_all(tree, "sly") != head


def test_git_tricks_of_a_candidate_do_nothing(root: Path, workspace: Workspace, tmp_path: Path) -> None:
    head, _ = workspace.snapshot()
    trap = tmp_path / "sprung"
    spring = f"touch '{trap}'; cat"
    with workspace.worktree("r-1", head) as tree:
        evil = make(tmp_path / "evil")
        for name in ("core.fsmonitor", "filter.evil.clean", "diff.evil.command", "diff.evil.textconv"):
            git(evil, "config", name, spring)
        (tree / ".git").write_text(f"gitdir: {evil / '.git'}\n")
        attributes = "* filter=evil diff=evil text eol=crlf ident working-tree-encoding=UTF-16\n"
        (tree / ".gitattributes").write_text(attributes)
        (tree / "model/gpt.py").write_bytes(b"a = '$Id$'\r\nb\n\r\n")
        commit = workspace.commit_all(tree, "evil")
        assert workspace.read(commit, "model/gpt.py") == b"a = '$Id$'\r\nb\n\r\n"
        workspace.diff(head, commit)
        with workspace.worktree("r-2", commit) as other:
            assert (other / "model/gpt.py").read_bytes() == b"a = '$Id$'\r\nb\n\r\n"
            assert workspace.commit_all(other, "same") == commit
    assert not trap.exists()
    assert [change.path for change in workspace.changed(head, commit)] == [".gitattributes", "model/gpt.py"]
    assert linked(root) == 0


def test_own_commits_and_index_of_a_candidate_do_not_count(root: Path, workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        write(tree, {"model/gpt.py": "layers = 7\n"})
        git(tree, "commit", "-q", "-a", "-m", "my own")
        git(tree, "update-index", "--assume-unchanged", "model/__init__.py")
        write(tree, {"model/__init__.py": "hidden\n"})
        commit = workspace.commit_all(tree, "ours")
    assert git(root, "rev-parse", f"{commit}^") == head
    assert [change.path for change in workspace.changed(head, commit)] == [
        "model/__init__.py",
        "model/gpt.py",
    ]


def test_links_modes_and_nested_repositories_become_entries(workspace: Workspace, tmp_path: Path) -> None:
    head, _ = workspace.snapshot()
    write(tmp_path, {"secret/gpt.py": "secret"})
    with workspace.worktree("r-1", head) as tree:
        make(tree / "lib/nested")
        # In a folder with tracked files, a repository hides nothing.
        make(tree / "evals/x").joinpath(".git").rename(tree / "evals/.git")
        (tree / "evals/test_a.py").chmod(0o755)
        for path in (tree / "model").iterdir():
            path.unlink()
        (tree / "model").rmdir()
        (tree / "model").symlink_to(tmp_path / "secret")
        (tree / "odd\nname\tü.py").write_text("x")
        os.mkfifo(tree / "pipe")
        commit = workspace.commit_all(tree, "odd")
    changes = {change.path: (change.new_mode, change.status) for change in workspace.changed(head, commit)}
    assert changes["lib/nested"] == ("160000", "A")
    assert changes["evals/test_a.py"] == ("100755", "M")
    assert changes["model"] == ("120000", "A")
    assert changes["model/gpt.py"] == ("000000", "D")
    assert changes["odd\nname\tü.py"] == ("100644", "A")
    assert "evals/x/model/gpt.py" in changes
    assert "pipe" not in changes
    assert workspace.read(commit, "model") == os.fsencode(tmp_path / "secret")
    with workspace.worktree("r-2", commit) as tree:
        assert workspace.commit_all(tree, "same") == commit


def test_file_and_folder_may_trade_places(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        (tree / "model/gpt.py").unlink()
        (tree / "evals/test_a.py").unlink()
        (tree / "evals").rmdir()
        write(tree, {"model/gpt.py/__init__.py": "package", "evals": "file"})
        commit = workspace.commit_all(tree, "swap")
    assert [(change.path, change.status) for change in workspace.changed(head, commit)] == [
        *(("evals", "A"), ("evals/test_a.py", "D")),
        *(("model/gpt.py", "D"), ("model/gpt.py/__init__.py", "A")),
    ]


@pytest.mark.parametrize("trick", ["dotgit", "pipe", "large"])
def test_what_git_cannot_keep_is_unfit(workspace: Workspace, trick: str) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        if trick == "dotgit":
            write(tree, {".GIT/config": ""})
        elif trick == "pipe":
            (tree / "model/gpt.py").unlink()
            os.mkfifo(tree / "model/gpt.py")
        else:
            with (tree / "large.bin").open("wb") as stream:
                stream.truncate(LARGEST + 1)
        with pytest.raises(UnfitTree, match="The candidate"):
            workspace.commit_all(tree, trick)


def test_worktree_goes_though_its_permissions_do_not_let_it(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        (tree / "model").chmod(0)
    assert not tree.exists()


def test_worktree_is_removed_after_an_error(root: Path, workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    with pytest.raises(RuntimeError), workspace.worktree("r-1", head):
        raise RuntimeError
    with pytest.raises(StoreError), workspace.worktree("r-1", "0" * 40):
        pass
    assert not list(workspace.home.worktrees.iterdir())
    assert linked(root) == 0


def test_prune_takes_leftovers_of_the_dead_only(root: Path, workspace: Workspace, tmp_path: Path) -> None:
    head, _ = workspace.snapshot()
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "users own"))
    (tmp_path / "users own").rename(tmp_path / "not mounted now")
    code = f"""if True:
        import os, pathlib
        from pytest_evalloop.store.workspace import Workspace
        workspace = Workspace.open(pathlib.Path({str(root)!r}))
        with workspace.worktree("r-9", {head!r}):
            os._exit(9)
    """
    assert subprocess.run((sys.executable, "-c", code), check=False).returncode == 9
    assert (workspace.home.worktrees / "r-9/model/gpt.py").exists()
    with workspace.worktree("r-1", head) as tree:
        workspace.prune("r")
        assert sorted(path.name for path in workspace.home.worktrees.iterdir()) == [
            f".r-1@{Owner.current()}",
            "r-1",
        ]
        assert tree.exists()
        words = f"in use by process {os.getpid()}"
        with pytest.raises(StoreError, match=words), workspace.worktree("r-1", head):
            pass
        assert tree.exists()
    assert "users own" in git(root, "worktree", "list")
    assert linked(root) == 1


def test_a_leftover_of_the_dead_gives_its_name_free(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    write(workspace.home.worktrees, {"r-1/rubbish": ""})
    with workspace.worktree("r-1", head) as tree:
        assert not (tree / "rubbish").exists()


def test_worktrees_side_by_side(root: Path, workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    commits: dict[int, str] = {}

    def work(number: int) -> None:
        with workspace.worktree(f"r-{number}", head) as tree:
            write(tree, {"model/gpt.py": f"layers = {number}\n"})
            commits[number] = workspace.commit_all(tree, f"{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {number: workspace.read(commit, "model/gpt.py") for number, commit in commits.items()}
    assert found == {number: f"layers = {number}\n".encode() for number in range(6)}
    assert linked(root) == 0


def test_references_move_by_compare_and_swap(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    branch, first = branch_ref("r"), candidate_ref("r", 1)
    other = workspace.commit_tree(workspace.tree(head), head, "other")
    assert workspace.ref(branch) is None
    workspace.update_ref(branch, head, None)
    with pytest.raises(StaleRef, match=f"expected nothing, found {head}"):
        workspace.update_ref(branch, other, None)
    workspace.update_ref(branch, other, head)
    with pytest.raises(StaleRef, match=f"expected {head}, found {other}"):
        workspace.update_ref(branch, head, head)
    workspace.update_ref(first, other, None)
    assert workspace.refs("refs/evalloop/r") == {first: other}
    with pytest.raises(StaleRef):
        workspace.delete_ref(first, head)
    workspace.delete_ref(first, other)
    workspace.delete_ref(first)
    assert workspace.refs("refs/evalloop/") == {}
    assert workspace.ref(branch) == other


def test_where_a_branch_is_checked_out(root: Path) -> None:
    workspace = Workspace.open(root)
    assert workspace.checked_out("refs/heads/main") == root
    assert workspace.checked_out(branch_ref("r")) is None


def test_a_lock_left_on_a_reference_is_no_stale_reference(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    for ref in (branch_ref("r"), candidate_ref("r", 2)):
        write(workspace.repository.common, {f"{ref}.lock": ""})
        with pytest.raises(StoreError, match=r"\.lock") as caught:
            workspace.update_ref(ref, head, None)
        assert not isinstance(caught.value, StaleRef)
        workspace.prune("r")
        workspace.update_ref(ref, head, None)


def test_project_below_the_top_of_the_repository(root: Path) -> None:
    project = root / "sub folder/project"
    write(project, {"model/a.py": "1\n"})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "sub")
    write(project, {"model/b.py": "2\n"})
    before = looks(root)
    workspace = Workspace.open(project)
    assert (project / ".evalloop").is_dir()
    head, commit = workspace.snapshot()
    assert head != commit
    assert sorted(workspace.files(commit)) == ["model/a.py", "model/b.py"]
    assert workspace.read(commit, "model/b.py") == b"2\n"
    with workspace.worktree("r-1", commit) as tree:
        assert sorted(path.name for path in tree.iterdir()) == ["model"]
        write(tree, {"model/a.py": "3\n", "../../model/gpt.py": "out"})
        changed = workspace.commit_all(tree, "x")
    paths = [change.path for change in workspace.changed(commit, changed)]
    assert paths == ["../../model/gpt.py", "model/a.py"]
    assert workspace.files(git(root, "rev-parse", "HEAD^")) == {}
    assert looks(root) == before


def test_root_in_a_linked_worktree(root: Path, tmp_path: Path) -> None:
    side = tmp_path / "linked one"
    git(root, "worktree", "add", "-q", "-b", "side", str(side))
    write(side, {"more.py": "1\n"})
    before = looks(side), looks(root)
    workspace = Workspace.open(side)
    head, commit = workspace.snapshot()
    assert [change.path for change in workspace.changed(head, commit)] == ["more.py"]
    with workspace.worktree("r-1", commit) as tree:
        write(tree, {"more.py": "2\n"})
        assert workspace.commit_all(tree, "x") != commit
    workspace.prune("r")
    assert (looks(side), looks(root)) == before
    assert linked(root) == 1


def test_sha256_and_users_excludes(tmp_path: Path) -> None:
    root = make(tmp_path / "project", "--object-format=sha256")
    write(root, {".git/info/exclude": "*.swp\n"})
    workspace = Workspace.open(root)
    head, commit = workspace.snapshot()
    assert head == commit
    assert len(head) == 64
    with workspace.worktree("r-1", head) as tree:
        write(tree, {"b.py": "2\n", "model/__pycache__/c.py": "3", "x.swp": ""})
        (tree / "model/gpt.py").unlink()
        commit = workspace.commit_all(tree, "x")
    changes = [(change.path, change.status) for change in workspace.changed(head, commit)]
    assert changes == [("b.py", "A"), ("model/gpt.py", "D")]
    workspace.update_ref(branch_ref("r"), commit, None)


def test_no_repository_and_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"not in a git repository.*git init"):
        Workspace.open(tmp_path)
    git(tmp_path, "init", "-q")
    with pytest.raises(StoreError, match="Commit once"):
        Workspace.open(tmp_path)
    assert not (tmp_path / ".evalloop").exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="Install git"):
        Workspace.open(tmp_path)


def test_callers_git_variables_do_not_matter(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"):
            patch.setenv(name, str(tmp_path))
        head, commit = Workspace.open(root).snapshot()
    assert head == commit


def test_hooks_do_not_run(root: Path, workspace: Workspace, tmp_path: Path) -> None:
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-commit"):
        write(root, {f".git/hooks/{name}": f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n"})
        (root / ".git/hooks" / name).chmod(0o755)
    head, _ = workspace.snapshot()
    with workspace.worktree("r-1", head) as tree:
        write(tree, {"more.py": ""})
        workspace.update_ref(branch_ref("r"), workspace.commit_all(tree, "x"), None)
    assert not (tmp_path / "hooked").exists()


def test_run_names_are_names_of_references(workspace: Workspace) -> None:
    head, _ = workspace.snapshot()
    for name in ("a", "9", "a.b", "A_b-c", "a" * 64, "HEAD"):
        workspace.update_ref(branch_ref(name), head, None)
        workspace.update_ref(candidate_ref(name, 1), head, None)
    assert len(workspace.refs("refs/evalloop")) == 6
