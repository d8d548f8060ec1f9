"""How the store calls git: without hooks, without the caller's GIT_* variables, with git's words in errors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_evalloop.store.home import StoreError, disk, disk_full, write_atomically

_NAME: Final = "pytest-evalloop"
_MAIL: Final = "evalloop@localhost"

_OPTIONS: Final = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "commit.gpgSign=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.splitIndex=false"),
    *("-c", "index.sparse=false"),
    *("-c", "core.safecrlf=false"),
    *("-c", "advice.addEmbeddedRepo=false"),
    *("-c", "worktree.useRelativePaths=false"),
)

# Whatever a tree's .gitattributes say, in the plain repository a file is its bytes: no filter, no conversion of
# line ends or encodings, no keywords. `info/attributes` takes precedence over all other attribute files.
_ATTRIBUTES: Final = b"* -text !eol !crlf -ident !filter !working-tree-encoding !diff !merge !export-subst\n"


class GitError(StoreError):
    """A git command that failed, with what git said."""


@dataclass(frozen=True, slots=True)
class Git:
    """Git commands in one directory with a fixed environment; may be used from several threads."""

    cwd: Path
    environment: Mapping[str, str]

    def adding(self, **variables: str | Path) -> Git:
        """Return the same with more environment variables."""
        return Git(self.cwd, {**self.environment, **{name: str(value) for name, value in variables.items()}})

    def run(self, *arguments: str, stdin: bytes = b"", fine: Collection[int] = (0,)) -> bytes:
        """Return what a git command wrote.

        Raises GitError if its exit status is not `fine`, StoreError if git is missing or the disk is full.
        """
        try:
            done = subprocess.run(
                ("git", *_OPTIONS, *arguments),
                cwd=self.cwd,
                env=self.environment,
                input=stdin,
                capture_output=True,
                check=False,
                # Ctrl-C reaches the loop, which stops between commands; git is never stopped halfway.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if not self.cwd.is_dir():
                raise StoreError(f"The folder {self.cwd} does not exist.") from error
            raise StoreError("The command `git` was not found. Install git 2.31 or newer.") from error
        if done.returncode in fine:
            return done.stdout
        said = done.stderr.decode("utf-8", "replace").strip()
        if "No space left on device" in said or "Disk quota exceeded" in said:
            raise disk_full("an object of git")
        raise GitError(
            f"`git {arguments[0]}` failed in {self.cwd}: {said or f'exit status {done.returncode}'}"
        )

    def line(self, *arguments: str, stdin: bytes = b"") -> str:
        """Return the single line that a git command wrote; raises as `run` does."""
        return os.fsdecode(self.run(*arguments, stdin=stdin)).removesuffix("\n")


@dataclass(frozen=True, slots=True)
class Repository:
    """Where the user's repository lies.

    `top` is the top of the checkout, `prefix` leads from there to the project root ("" or "a/b/"), `folder` is
    the git directory of this checkout and `common` the one that all its worktrees share.
    """

    top: Path
    prefix: str
    folder: Path
    common: Path
    algorithm: str

    @property
    def null(self) -> str:
        """The object name that stands for none."""
        return "0" * (64 if self.algorithm == "sha256" else 40)

    @classmethod
    def locate(cls, root: Path) -> Repository:
        """Find the repository around a project root; raises StoreError if there is none, or no commit in it."""
        git = Git(root, scrubbed())
        try:
            said = git.run(
                *("rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir"),
                *("--show-object-format", "--show-prefix"),
            )
        except GitError as error:
            if "not a git repository" not in str(error):
                raise
            raise StoreError(
                f"{root} is not in a git repository, and the loop keeps its candidates as commits. "
                "Run `git init && git add -A && git commit -m start` there first.",
            ) from error
        top, folder, common, algorithm, prefix = os.fsdecode(said).removesuffix("\n").split("\n")
        try:
            git.run("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
        except GitError as error:
            raise StoreError(
                f"The repository of {root} has no commit yet, so there is nothing to start from. "
                "Commit once: `git add -A && git commit -m start`.",
            ) from error
        return cls(Path(top), prefix, Path(folder), Path(common), algorithm)

    def theirs(self) -> Git:
        """Return git as the user configured it, on the user's own checkout, without GIT_* of the caller."""
        return Git(self.top, scrubbed(GIT_DIR=str(self.folder), GIT_WORK_TREE=str(self.top)))

    def plain(self, folder: Path) -> Git:
        """Return git on the same objects but without anybody's configuration, attributes or references.

        What candidates wrote is read and stored through this one. `folder` is created to hold its settings;
        raises StoreError if it cannot be written.
        """
        version, extension = (
            ("1", "[extensions]\n\tobjectFormat = sha256\n") if self.algorithm != "sha1" else ("0", "")
        )
        content = {
            "HEAD": b"ref: refs/heads/none\n",
            "config": f"[core]\n\trepositoryformatversion = {version}\n{extension}".encode(),
            "info/attributes": _ATTRIBUTES,
            "info/exclude": b"__pycache__/\n",
        }
        with disk(f"the folder {folder}"):
            for name in ("objects", "refs", "info"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            for name, data in content.items():
                path = folder / name
                if not path.exists() or path.read_bytes() != data:
                    write_atomically(path, data)
        environment = scrubbed(
            GIT_DIR=str(folder),
            GIT_OBJECT_DIRECTORY=str(self.common / "objects"),
            GIT_CONFIG_GLOBAL=os.devnull,
            GIT_CONFIG_NOSYSTEM="1",
            GIT_ATTR_NOSYSTEM="1",
        )
        return Git(folder, environment)


def scrubbed(**variables: str) -> dict[str, str]:
    """Return the environment without the caller's GIT_* variables, in plain English, plus `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    ours = {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        # A refreshed index would be written back to the user's.
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_AUTHOR_NAME": _NAME,
        "GIT_AUTHOR_EMAIL": _MAIL,
        "GIT_COMMITTER_NAME": _NAME,
        "GIT_COMMITTER_EMAIL": _MAIL,
    }
    return kept | ours | variables
