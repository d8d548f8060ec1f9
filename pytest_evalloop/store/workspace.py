"""The project's commits: snapshots, candidates, references; the user's checkout and index are only read."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_evalloop.store.git import Git, GitError, Repository
from pytest_evalloop.store.home import Home, StoreError, check_run_name, disk
from pytest_evalloop.store.merge import merge
from pytest_evalloop.store.scope import Change
from pytest_evalloop.store.staging import stage
from pytest_evalloop.store.worktrees import Worktrees


class StaleRef(StoreError):  # noqa: N818 - reads as what it reports
    """A reference that somebody else moved."""


def branch_ref(run: str) -> str:
    """Return the branch of a run's accepted changes; raises StoreError for a name that cannot be one."""
    check_run_name(run)
    return f"refs/heads/evalloop/{run}"


def candidate_ref(run: str, number: int) -> str:
    """Return the reference that keeps a candidate reachable; raises StoreError for a bad run name."""
    check_run_name(run)
    return f"refs/evalloop/{run}/{number}"


def _excludes(repository: Repository, git: Git) -> tuple[Path, ...]:
    """Return the files outside of the tree that say what the user has git ignore."""
    try:
        configured = git.line("config", "--type=path", "--get", "core.excludesFile")
    except GitError:
        settings = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
        configured = str(Path(settings, "git/ignore"))
    found = (repository.common / "info/exclude", repository.top / configured)
    return tuple(path for path in found if path.is_file())


@dataclass(frozen=True, slots=True)
class Workspace:
    """The git repository around one project root, which may be a folder deep inside of it.

    Paths are relative to the project root; commits and trees are those of the whole repository. All methods
    may be called from several threads. Every one raises StoreError, with git's own words, when git fails.
    """

    home: Home
    repository: Repository
    worktrees: Worktrees
    _theirs: Git
    _plain: Git
    _excludes: tuple[Path, ...]

    @classmethod
    def open(cls, root: Path) -> Workspace:
        """Open the repository of a project root; raises StoreError if there is none or it has no commit."""
        root = root.resolve()
        repository = Repository.locate(root)
        home = Home.open(root)
        theirs = repository.theirs()
        plain = repository.plain(home.path / "git")
        worktrees = Worktrees(home.worktrees, repository, theirs, plain)
        return cls(home, repository, worktrees, theirs, plain, _excludes(repository, theirs))

    def snapshot(self) -> tuple[str, str]:
        """Return HEAD and a commit of the working tree as it is, which is HEAD itself if nothing differs.

        Changed, deleted and untracked files count, ignored ones and `__pycache__` do not. The same tree on the
        same HEAD gives the same commit. Nested repositories that HEAD does not know are left out.
        """
        head = self._theirs.line("rev-parse", "--verify", "HEAD^{commit}")
        tree, date = self._tree_and_date(head)
        with self._scratch() as folder:
            index = folder / "index"
            # With its times kept, git still knows which entries of the copy are too young to be trusted.
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(self.repository.folder / "index", index)
            git = self._theirs.adding(GIT_INDEX_FILE=index)
            git.run("add", "--all", "--", ":/", ":(top,exclude,glob)**/__pycache__/**")
            found = git.line("write-tree")
            nested = [
                path for old, new, _, path in self._raw(tree, found) if (old, new) == ("000000", "160000")
            ]
            if nested:
                git.run("update-index", "--force-remove", "-z", "--stdin", stdin=b"\0".join(nested))
                found = git.line("write-tree")
        if found == tree:
            return head, head
        return head, self._commit(found, head, "Snapshot of the working tree", date)

    def tree(self, commit: str) -> str:
        """Return the tree of a commit."""
        return self._plain.line("rev-parse", "--verify", f"{commit}^{{tree}}")

    def trees(self, commits: Sequence[str]) -> tuple[str, ...]:
        """Return the trees of several commits at once."""
        if not commits:
            return ()
        said = self._plain.run("rev-parse", *(f"{commit}^{{tree}}" for commit in commits))
        return tuple(said.decode("ascii").split())

    def ignored(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return those of the paths that the user has git ignore; a tracked one is not, nor is one git refuses."""
        if not paths:
            return ()
        prefix = self.repository.prefix
        asked = b"\0".join(os.fsencode(prefix + path) for path in paths)
        try:
            said = self._theirs.run("check-ignore", "-z", "--stdin", stdin=asked, fine=(0, 1))
        except GitError:
            return ()
        return tuple(os.fsdecode(path).removeprefix(prefix) for path in said.split(b"\0") if path)

    def files(self, commit: str) -> dict[str, tuple[str, str]]:
        """Return the mode (six octal digits) and blob of every file of the project in a commit."""
        prefix = self.repository.prefix.removesuffix("/")
        if prefix and not self._plain.run("ls-tree", "-z", "-d", commit, prefix):
            return {}
        files = {}
        for line in self._plain.run("ls-tree", "-r", "-z", f"{commit}:{prefix}" if prefix else commit).split(
            b"\0"
        ):
            if line:
                entry, _, path = line.partition(b"\t")
                mode, _, blob = os.fsdecode(entry).split(" ")
                files[os.fsdecode(path)] = (mode, blob)
        return files

    def read(self, commit: str, path: str) -> bytes:
        """Return the bytes of a file in a commit; raises StoreError if it is not there."""
        try:
            return self._plain.run("cat-file", "blob", f"{commit}:{self.repository.prefix}{path}")
        except GitError as error:
            raise StoreError(f"{path} is not a file of commit {commit[:12]}.") from error

    @contextlib.contextmanager
    def worktree(self, name: str, commit: str) -> Iterator[Path]:
        """Give out the project root in a checkout of a commit, and remove the checkout afterwards.

        Every file is the bytes of its blob, whatever filters are configured. Raises StoreError if a live
        process has a worktree of that name.
        """
        with self.worktrees.open(name, commit) as path:
            yield path / self.repository.prefix

    def prune(self, run: str | None = None) -> None:
        """Remove what a crashed loop left: worktrees of dead processes; given a run, locks on its references.

        Name a run only while holding its lock, so that nobody else can be moving its references.
        """
        self.worktrees.prune()
        if run is None:
            return
        refs = self.repository.common / candidate_ref(run, 0)
        with disk(f"the folder {refs.parent}"):
            for lock in (*refs.parent.glob("*.lock"), self.repository.common / f"{branch_ref(run)}.lock"):
                lock.unlink(missing_ok=True)

    def commit_all(self, worktree: Path, message: str) -> str:
        """Return a commit of what a worktree holds now, on the commit that it was made from, or that commit.

        `worktree` is what `worktree()` gave out. Content is taken as bytes: nothing that was written there can
        run, filter or hide tracked files. Files that the tree ignores and `__pycache__` are not taken, so train
        in a fresh worktree of the result. A nested repository becomes a submodule entry, for the scope check.
        Raises UnfitTree for a tree that git cannot keep or that is far too large.
        """
        name = self._name(worktree)
        parent = self.worktrees.commit_of(name)
        with self._scratch() as folder:
            with disk("the index of a worktree"):
                shutil.copy2(self.worktrees.index_of(name), folder / "index")
            tree = stage(
                self._plain, self.home.worktrees / name, folder, self._excludes, self.repository.null
            )
        return parent if tree == self.tree(parent) else self.commit_tree(tree, parent, message)

    def merge(self, ours: str, theirs: str) -> str | None:
        """Return the tree of two commits merged, None where they conflict; needs git 2.38."""
        with self._scratch() as folder:
            return merge(self._plain, ours, theirs, folder / "index")

    def commit_tree(self, tree: str, parent: str, message: str) -> str:
        """Return a new commit of a tree, dated now."""
        return self._commit(tree, parent, message)

    def diff(self, parent: str, commit: str) -> str:
        """Return the difference of two commits as a patch, without external programs and renames."""
        options = (
            "-r",
            "-p",
            "--no-ext-diff",
            "--no-textconv",
            "--no-renames",
            "--no-color",
            "--submodule=short",
        )
        return self._plain.run("diff-tree", *options, parent, commit).decode("utf-8", "replace")

    def changed(self, parent: str, commit: str) -> tuple[Change, ...]:
        """Return the paths in which two commits differ, sorted; a rename is a deletion and an addition."""
        fields = iter(
            self._plain.run("diff-tree", "-r", "-z", "--raw", "--no-renames", parent, commit).split(b"\0")
        )
        changes = []
        for entry in fields:
            if entry:
                old, new, _, _, status = entry.decode("ascii").removeprefix(":").split(" ")
                changes.append(Change(self._relative(os.fsdecode(next(fields))), old, new, status))
        return tuple(sorted(changes, key=lambda change: change.path))

    def ref(self, name: str) -> str | None:
        """Return the commit that a full reference name stands for, None if there is none."""
        return self.refs(name).get(name)

    def refs(self, prefix: str) -> dict[str, str]:
        """Return the references at or below a full name and what they stand for."""
        lines = self._theirs.line("for-each-ref", "--format=%(refname) %(objectname)", prefix).split("\n")
        return {name: commit for name, _, commit in (line.partition(" ") for line in lines if line)}

    def checked_out(self, ref: str) -> Path | None:
        """Return where a branch is checked out, None if nowhere; moving it there would dirty that checkout."""
        place = self._theirs.line("for-each-ref", "--format=%(worktreepath)", ref)
        return Path(place) if place else None

    def update_ref(self, ref: str, new: str, old: str | None) -> None:
        """Move a reference from `old` to `new`, where None stands for no reference.

        Raises StaleRef if it is elsewhere by now.
        """
        self._move(ref, old, "update-ref", "-m", "pytest-evalloop", ref, new, old or self.repository.null)

    def delete_ref(self, ref: str, old: str | None = None) -> None:
        """Delete a reference if it exists; raises StaleRef if it is not at `old`, where one is given."""
        self._move(ref, old, "update-ref", "-d", ref, *([] if old is None else [old]))

    def _move(self, ref: str, old: str | None, *command: str) -> None:
        try:
            self._theirs.run(*command)
        except GitError as error:
            now = self.ref(ref)
            if now == old:
                raise  # not that it moved: a lock left behind, a name that git refuses
            raise StaleRef(
                f"{ref} was moved by somebody else: expected {old or 'nothing'}, found {now or 'nothing'}. "
                "It was left alone.",
            ) from error

    def _commit(self, tree: str, parent: str, message: str, date: str | None = None) -> str:
        dates = {} if date is None else {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        text = message.encode("utf-8", "backslashreplace").replace(b"\0", b" ")
        return self._plain.adding(**dates).line("commit-tree", tree, "-p", parent, "-F", "-", stdin=text)

    def _tree_and_date(self, commit: str) -> tuple[str, str]:
        header = (
            self._theirs.run("cat-file", "commit", commit).partition(b"\n\n")[0].decode("utf-8", "replace")
        )
        lines = header.split("\n")
        tree = next(line.removeprefix("tree ") for line in lines if line.startswith("tree "))
        committer = next(line for line in lines if line.startswith("committer "))
        return tree, "@" + committer.rpartition("> ")[2]

    def _raw(self, old: str, new: str) -> Iterator[tuple[str, str, str, bytes]]:
        """Yield old mode, new mode, status and path, as git has it, for every difference of two trees."""
        if old == new:
            return
        fields = iter(
            self._plain.run("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new).split(b"\0")
        )
        for entry in fields:
            if entry:
                old_mode, new_mode, _, _, status = entry.decode("ascii").removeprefix(":").split(" ")
                yield old_mode, new_mode, status, next(fields)

    def _name(self, worktree: Path) -> str:
        try:
            return worktree.resolve().relative_to(self.home.worktrees).parts[0]
        except (ValueError, IndexError):
            raise StoreError(f"{worktree} is not a worktree of this loop.") from None

    def _relative(self, path: str) -> str:
        prefix = self.repository.prefix
        return path.removeprefix(prefix) if path.startswith(prefix) else "../" * prefix.count("/") + path

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        with disk("a temporary index"):
            folder = tempfile.mkdtemp(prefix="evalloop-")
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
