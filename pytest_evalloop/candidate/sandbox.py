"""The walls around a candidate's processes: what they see of the machine, and how a command gets inside."""

from __future__ import annotations

import base64
import contextlib
import enum
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_evalloop.candidate import bubblewrap, seccomp
from pytest_evalloop.candidate.places import (
    PACKAGE,
    accelerator_devices,
    links,
    package_folders,
    system_paths,
)
from pytest_evalloop.candidate.process import Limits, Process, candidate_environment, launch
from pytest_evalloop.settings import Settings, SettingsError
from pytest_evalloop.store.home import remove_tree
from pytest_evalloop.store.owner import Owner

_JAIL = Path(__file__).with_name("jail.py")
_PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# A host is shown no other process: it could write messages to another host into the names of its children.
_PROC_OF_HOSTS = ("self", "cpuinfo", "meminfo", "version", "filesystems", "sys", "driver")
_OURS = (".git", ".evalloop")
_SCRATCH = "evalloop-scratch-"


class Mode(enum.StrEnum):
    """The ways to keep a candidate in, the strongest first."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    WATCHDOG = "watchdog"

    @property
    def warning(self) -> str:
        """What has to be said loudly before an untrusted candidate runs in this mode; empty if nothing."""
        if self is not Mode.WATCHDOG:
            return ""
        return (
            "There is no sandbox: a candidate's code can read the hidden data and your files, write wherever you "
            "can, use the network and stop other processes. Only its time, memory, processes and disk are "
            "limited. Install bubblewrap, for example by apt-get install bubblewrap."
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What one process tree may see of the machine besides its private temporary folder.

    The deepest path that a file lies below decides about it. `hidden` stays hidden although it lies below
    something readable. A `host` has seen documents, so it is kept from talking to another host as well.
    """

    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    host: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way that works on this machine: the program of bubblewrap and its options, or Landlock's version."""

    mode: Mode
    bwrap: tuple[str, ...] = ()
    abi: int | None = None

    def temporary(self, scratch: Path) -> Path:
        """Return the name that the private folder `scratch` has inside."""
        return bubblewrap.TEMPORARY if self.mode is Mode.BUBBLEWRAP else scratch

    def command(self, policy: Policy, argv: Iterable[str], *, cwd: Path, scratch: Path) -> list[str]:
        """Return the command that runs `argv` inside; it has to be started in `cwd`."""
        if self.mode is Mode.WATCHDOG:
            return list(argv)
        landlock = _orders(policy, scratch) if self.mode is Mode.LANDLOCK else None
        found = seccomp.rules(host=policy.host, landlock=self.abi)
        program = base64.b64encode(seccomp.assemble(found, os.uname().machine)).decode()
        orders = json.dumps({"filter": program, "landlock": landlock, "abi": self.abi})
        jail = [sys.executable, "-I", "-S", str(_JAIL), orders, *argv]
        if self.mode is Mode.LANDLOCK:
            return jail
        shown = _present(policy.readable), _present(policy.writable)
        mounts = bubblewrap.mounts(*shown, _masked(policy), accelerator_devices(), scratch)
        return [*self.bwrap, *mounts, "--chdir", str(cwd), "--", *jail]


@dataclass(frozen=True, slots=True)
class Jail:
    """How the candidates of one project run: the sandbox, and what of it no candidate differs in.

    `hidden` are absolute paths, `below` paths that are hidden relative to every candidate's tree.
    """

    sandbox: Sandbox = Sandbox(Mode.WATCHDOG)
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    below: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    disk_bytes: int | None = None
    processes: int | None = None

    def launch(
        self,
        argv: Sequence[str],
        *,
        tree: Path,
        log: Path,
        limits: Limits,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        host: bool = False,
        variables: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a command of the candidate in its `tree`, with a temporary folder and an environment of its own.

        The temporary folder goes when the process is left. Raises what `launch` raises.
        """
        scratch = _scratch()
        hidden = [path for path in self.hidden if path.resolve() != tree.resolve()]  # a root graded in place
        try:
            temporary = self.sandbox.temporary(scratch)
            told = {**_import_path(self, scratch), **(variables or {})}
            environment = candidate_environment(self.environment, temporary, **told)
            # A relative path with a slash starts from the tree, and what the tree holds is readable anyway.
            inside = not argv or ("/" in argv[0] and not argv[0].startswith("/"))
            program = None if inside else shutil.which(argv[0], path=environment["PATH"])
            policy = Policy(
                readable=(*self.readable, tree, *readable, *(links(program) if program else ())),
                writable=tuple(writable),
                hidden=(*hidden, *(tree / name for name in self.below)),
                host=host,
            )
            disk_paths = (str(scratch), str(log), *map(str, writable))
            return launch(
                self.sandbox.command(policy, argv, cwd=tree, scratch=scratch),
                cwd=tree,
                env=environment,
                log=log,
                limits=replace(
                    limits,
                    processes=self.processes or limits.processes,
                    disk_bytes=self.disk_bytes or limits.disk_bytes,
                    disk_paths=disk_paths,
                ),
                pass_fds=pass_fds,
                scratch=scratch,
                piped=host,
            )
        except BaseException:
            remove_tree(scratch)
            raise


def for_candidates(settings: Settings) -> Jail:
    """Return how the candidates of a project run; raises `SettingsError` if the wanted sandbox does not work."""
    root, readable = settings.root, system_paths()
    hidden = [root / name for name in (*_OURS, *settings.hidden)]
    if root not in readable:
        # It is below something readable where a project lies in /usr/src or beside an interpreter.
        hidden.append(root)
    packages = [folder for name in settings.hidden_packages for folder in package_folders(name)]
    return Jail(
        sandbox=probe(settings.sandbox),
        readable=(*readable, *(root / name for name in settings.readable)),
        hidden=(*hidden, *packages),
        below=(*_OURS, *settings.hidden),
        environment=settings.environment,
        disk_bytes=settings.disk_bytes,
        processes=settings.processes,
    )


@functools.cache
def probe(wanted: str = "auto") -> Sandbox:
    """Return the wanted sandbox, or the first that works; each is really tried, once a process.

    Raises `SettingsError` if the one that is wanted does not work.
    """
    modes = list(Mode) if wanted == "auto" else [Mode(wanted)]
    reasons = {}
    for mode in modes:
        for sandbox in _ways(mode):
            reason = _trouble(sandbox)
            if not reason:
                return sandbox
            reasons[mode] = reason
    why = "; ".join(reasons.values()) or "it is not installed"
    raise SettingsError(
        f"evalloop_sandbox is {wanted!r}, which does not work here: {why}. {_remedy(modes[0])} "
        "Or set evalloop_sandbox to auto, which takes the strongest that works."
    )


def _ways(mode: Mode) -> list[Sandbox]:
    """Return the variants of a mode, the strongest first."""
    if mode is Mode.BUBBLEWRAP:
        return [Sandbox(mode, command) for command in bubblewrap.commands()]
    if mode is Mode.LANDLOCK and sys.platform == "linux":
        from pytest_evalloop.candidate.jail import landlock_version

        return [Sandbox(mode, abi=landlock_version())]
    return [Sandbox(mode)]


def _trouble(sandbox: Sandbox) -> str:
    """Run `true` inside; return why that failed, or an empty string."""
    if sandbox.mode is Mode.WATCHDOG:
        return ""
    if sys.platform != "linux":
        return "it needs Linux"
    with tempfile.TemporaryDirectory(prefix="evalloop-probe-") as name:
        scratch = Path(name).resolve()
        try:
            policy = Policy(system_paths(), host=True)
            command = sandbox.command(policy, ["true"], cwd=Path("/"), scratch=scratch)
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
            done = subprocess.run(
                command, cwd="/", env=environment, capture_output=True, timeout=60, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            return str(error)
    said = done.stderr.decode(errors="replace").strip()
    return (said or f"it exited with status {done.returncode}") if done.returncode else ""


def _remedy(mode: Mode) -> str:
    if mode is Mode.BUBBLEWRAP:
        return (
            "Install bubblewrap, for example by apt-get install bubblewrap, and allow user namespaces "
            "(inside of a container: start it with --security-opt seccomp=unconfined)."
        )
    return "Use Linux 6.2 or newer with Landlock enabled (lsm=landlock,... on the kernel's command line)."


def _present(paths: Iterable[Path]) -> dict[Path, Path]:
    """Map the paths that exist to where they really lie, which a candidate's links could otherwise hide."""
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - its own name counts too
    return {path: path.resolve() for path in absolute if os.path.lexists(path)}


def _masked(policy: Policy) -> list[Path]:
    """Return what has to be taken away again from what is shown."""
    shown = [*_present((*policy.readable, *policy.writable)).values()]
    hidden = dict.fromkeys(_present(policy.hidden).values())
    return [path for path in hidden if any(path.is_relative_to(each) for each in shown)]


def _orders(policy: Policy, scratch: Path) -> dict[str, list[str]]:
    """Return what Landlock is to allow, as `jail.py` takes it."""
    proc = [Path("/proc", name) for name in _PROC_OF_HOSTS] if policy.host else [Path("/proc")]
    found = {
        "readable": [*_present(policy.readable).values(), *proc],
        "writable": [*_present(policy.writable).values(), scratch.resolve()],
        "hidden": _masked(policy),
        "devices": [*map(Path, _PLAIN_DEVICES), *accelerator_devices()],
    }
    return {name: [str(path) for path in dict.fromkeys(paths)] for name, paths in found.items()}


def _import_path(jail: Jail, scratch: Path) -> dict[str, str]:
    """Return the variable by which Python finds this very package, which may be another than the installed one.

    Where it lies in a checkout, the folder around it is not readable: bubblewrap shows nothing else there,
    and Landlock would not let it be listed.
    """
    mode = jail.sandbox.mode
    if mode is Mode.WATCHDOG or any(path in PACKAGE.parents for path in jail.readable):
        return {}
    if mode is Mode.BUBBLEWRAP:
        return {"PYTHONPATH": str(PACKAGE.resolve().parent)}
    folder = scratch / "python"
    folder.mkdir()
    (folder / PACKAGE.name).symlink_to(PACKAGE.resolve())
    return {"PYTHONPATH": str(folder)}


def _scratch() -> Path:
    """Make a private folder, and remove those whose processes are gone."""
    for leftover in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        owner = Owner.parse(leftover.name.removeprefix(_SCRATCH))
        if owner is not None and not owner.alive:
            with contextlib.suppress(OSError, RecursionError):  # another user's, or nested too deep
                remove_tree(leftover)
    return Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{Owner.current()}-")).resolve()
