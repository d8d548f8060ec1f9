"""The launcher's side of supervised processes, with real ones."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_evalloop.candidate.process import Limits, clean_environment, launch
from pytest_evalloop.records import ProcessResult, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_evalloop.candidate.process import Process

    Start = Callable[..., Process]
    Run = Callable[..., ProcessResult]

PATIENCE = 20.0
BURN = "import time\ndef burn(s):\n  while time.process_time() < s: pass\n"


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Launch Python code, or a command, with the test's directory as its own."""

    def start(code: str | list[str], **options: Any) -> Process:
        argv = [sys.executable, "-c", code] if isinstance(code, str) else code
        defaults: dict[str, Any] = {"cwd": tmp_path, "env": clean_environment(), "log": tmp_path / "log"}
        return launch(argv, **{**defaults, **options})

    return start


@pytest.fixture
def run(start: Start) -> Run:
    def run(code: str | list[str], **options: Any) -> ProcessResult:
        with start(code, **options) as process:
            return process.wait(PATIENCE)

    return run


def status_of(process: Process) -> Status | None:
    """Say how a process ended, None if it has not."""
    result = process.poll()
    return None if result is None else result.status


def test_a_command_that_succeeds_is_completed(run: Run) -> None:
    result = run("pass")
    assert (result.status, result.returncode, result.detail) == (Status.COMPLETED, 0, "")
    assert 0 < result.cpu_seconds < 2
    assert 0 < result.wall_seconds < PATIENCE
    assert 1e6 < result.peak_bytes < 1e9


def test_an_exit_status_is_a_crash(run: Run) -> None:
    result = run("raise SystemExit(3)")
    assert (result.status, result.returncode, result.detail) == (Status.CRASHED, 3, "exited with status 3")


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGPIPE"])
def test_a_signal_is_a_crash_that_names_it(run: Run, name: str) -> None:
    result = run(f"import os, signal; signal.signal(13, signal.SIG_DFL); os.kill(os.getpid(), signal.{name})")
    assert (result.status, result.returncode) == (Status.CRASHED, -signal.Signals[name])
    assert result.detail == f"died of {name}"


def test_a_command_that_does_not_exist_says_so(run: Run) -> None:
    result = run(["no-such-command", "--flag"])
    assert (result.status, result.returncode) == (Status.CRASHED, None)
    # A folder of PATH that may not be read gives "Permission denied".
    assert result.detail.startswith("could not start 'no-such-command': ")


def test_a_file_that_is_not_executable_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert run(["./plain"]).detail == "could not start './plain': Permission denied"


def test_a_directory_that_does_not_exist_says_so(run: Run, tmp_path: Path) -> None:
    result = run("pass", cwd=tmp_path / "nowhere")
    assert result.status is Status.CRASHED
    assert result.detail == f"could not start in directory '{tmp_path}/nowhere': No such file or directory"


def test_an_empty_command_is_refused(start: Start) -> None:
    with pytest.raises(ValueError, match="at least one word"):
        start([])


def test_a_log_that_cannot_be_opened_is_an_error(start: Start, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        start("pass", log=tmp_path / "nowhere" / "log")


def test_all_output_is_appended_to_the_log(run: Run, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    run("import os; os.write(1, b'out\\n'); os.write(2, b'err\\n')")
    assert (tmp_path / "log").read_text() == "before\nout\nerr\n"


def test_much_output_hangs_nothing(run: Run, tmp_path: Path) -> None:
    result = run("import sys; [sys.stdout.write('x' * 2**20) for _ in range(32)]")
    assert result.status is Status.COMPLETED
    assert (tmp_path / "log").stat().st_size == 32 * 2**20


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_hangs_nothing(run: Run) -> None:
    result = run("import os\ntry: os.write(1, b'x')\nexcept OSError: os._exit(7)", log=Path("/dev/full"))
    assert result.returncode == 7


def test_standard_input_is_empty_by_default(run: Run) -> None:
    assert run("import sys; sys.exit(len(sys.stdin.buffer.read()))").returncode == 0


@pytest.mark.parametrize("stdin", [b"", bytes(range(256)) * 4096], ids=["none", "a megabyte"])
def test_standard_input_is_what_was_given(run: Run, tmp_path: Path, stdin: bytes) -> None:
    run("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin=stdin)
    assert (tmp_path / "log").read_bytes() == stdin


def test_input_that_nobody_reads_hangs_nothing(run: Run) -> None:
    assert run(["true"], stdin=b"x" * 2**22).status is Status.COMPLETED


def test_wall_clock_limit(run: Run) -> None:
    result = run(["sleep", "60"], limits=Limits(wall_seconds=0.3))
    assert result.status is Status.TIMED_OUT
    assert result.detail.startswith("ran for ")
    assert result.detail.endswith(" seconds, allowed 0.3")
    assert 0.3 <= result.wall_seconds < 5


def test_cpu_limit_counts_the_whole_tree(run: Run) -> None:
    # Two processes share the work, and each alone stays below the limit.
    code = BURN + "import os\nos.fork()\nburn(0.45)\ntime.sleep(60)"
    result = run(code, limits=Limits(cpu_seconds=0.6, wall_seconds=30))
    assert (result.status, result.returncode) == (Status.TIMED_OUT, -signal.SIGKILL)
    assert result.detail.endswith("CPU seconds, allowed 0.6")
    assert 0.6 < result.cpu_seconds < 1.5


def test_cpu_limit_holds_also_between_two_samples(run: Run) -> None:
    result = run(BURN + "burn(0.08)", limits=Limits(cpu_seconds=0.05))
    assert result.status is Status.TIMED_OUT


def test_memory_limit(run: Run) -> None:
    code = "import time; held = bytearray(300_000_000); time.sleep(60)"
    result = run(code, limits=Limits(memory_bytes=150_000_000))
    assert result.status is Status.KILLED
    assert result.detail.endswith(" MB of memory, allowed 150.0 MB")
    assert result.peak_bytes > 150_000_000


def test_memory_limit_counts_the_whole_tree(run: Run) -> None:
    code = "import os, time; os.fork(); os.fork(); held = bytearray(60_000_000); time.sleep(60)"
    result = run(code, limits=Limits(memory_bytes=200_000_000))
    assert result.status is Status.KILLED
    assert result.peak_bytes > 200_000_000


def test_peak_memory_is_known_of_short_lived_processes(run: Run) -> None:
    assert run("held = bytearray(80_000_000)").peak_bytes > 80_000_000


def test_process_limit(run: Run) -> None:
    code = "import os, time\nfor _ in range(5): os.fork()\ntime.sleep(60)"
    result = run(code, limits=Limits(processes=10))
    assert result.status is Status.KILLED
    assert result.detail.endswith("processes at once, allowed 10")


def test_a_reaped_grandchild_is_accounted_for(run: Run) -> None:
    code = """if 1:
        import os
        if os.fork() == 0:
            if os.fork() == 0:
                burn(0.5)
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()"""
    result = run(BURN + code)
    assert 0.45 < result.cpu_seconds < 1.5


def test_children_that_nobody_waits_for_are_accounted_for(run: Run) -> None:
    code = """if 1:
        import os, signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        read, write = os.pipe()
        if os.fork() == 0:
            burn(0.6)
            os._exit(0)
        os.close(write)
        os.read(read, 1)"""
    assert 0.58 < run(BURN + code).cpu_seconds < 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_named_descriptors_are_inherited(run: Run, tmp_path: Path) -> None:
    mine, theirs = socket.socketpair()
    spare, unnamed = os.pipe()
    os.set_inheritable(unnamed, True)
    run("import os; print(*os.listdir('/proc/self/fd'))", pass_fds=[theirs.fileno()])
    names = {int(name) for name in (tmp_path / "log").read_text().split()}
    assert len(names) == 5  # among them the one that lists
    assert {0, 1, 2, theirs.fileno()} < names
    for descriptor in (spare, unnamed, mine.detach(), theirs.detach()):
        os.close(descriptor)


def test_a_socket_can_be_passed_and_its_end_is_seen(start: Start) -> None:
    mine, theirs = socket.socketpair()
    code = f"""if 1:
        import socket, time
        wire = socket.socket(fileno={theirs.fileno()})
        wire.sendall(wire.recv(100).upper())
        wire.close()
        time.sleep(60)"""
    with mine, start(code, pass_fds=[theirs.fileno()]):
        theirs.close()
        mine.settimeout(PATIENCE)
        mine.sendall(b"hello")
        assert mine.recv(100) == b"HELLO"
        assert mine.recv(100) == b""  # the warden holds no copy


def test_a_command_leads_its_own_session(run: Run) -> None:
    assert run("import os, sys; sys.exit(os.getsid(0) != os.getpid())").status is Status.COMPLETED


def test_waiting_ends_in_time_and_the_command_goes_on(start: Start) -> None:
    with start(["sleep", "60"]) as process:
        with pytest.raises(TimeoutError, match=r"not ended within 0\.1 seconds"):
            process.wait(0.1)
        assert process.poll() is None
        killed = process.kill()
        assert killed.status is Status.KILLED
        assert process.kill() is process.poll() is process.wait() is killed


def test_killing_what_has_ended_keeps_its_result(start: Start) -> None:
    with start("pass") as process:
        assert process.wait(PATIENCE).status is Status.COMPLETED
        assert process.kill().status is Status.COMPLETED
    assert status_of(process) is Status.COMPLETED


def test_waiting_ticks(start: Start) -> None:
    ticks = []
    with start(["sleep", "60"]) as process, pytest.raises(TimeoutError):
        process.wait(0.55, tick=lambda: ticks.append(1), every=0.1)
    assert 1 <= len(ticks) <= 5


def test_an_interrupt_leaves_the_wait_and_the_block_kills(start: Start) -> None:
    # A shell starts what it puts into the background with interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), start(["sleep", "60"]) as process:
            process.wait(PATIENCE, tick=lambda: signal.raise_signal(signal.SIGINT), every=0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert status_of(process) is Status.KILLED


def test_several_can_be_selected_over(start: Start) -> None:
    with start(["sleep", "60"]) as slow, start("pass") as fast:
        assert select.select([slow, fast], [], [], PATIENCE)[0] == [fast]
        assert status_of(fast) is Status.COMPLETED
        assert slow.poll() is None


def test_several_can_be_waited_for_in_threads(start: Start) -> None:
    results = {}

    def work(code: int) -> None:
        with start(f"raise SystemExit({code})") as process:
            results[code] = process.wait(PATIENCE).returncode

    threads = [threading.Thread(target=work, args=[code]) for code in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {code: code for code in range(8)}


def test_the_environment_is_scrubbed() -> None:
    base = {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "VIRTUAL_ENV": "/venv",
        "PYTHONHASHSEED": "0",
        **dict.fromkeys(["PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "GIT_DIR", "EVALLOOP_SEED"], "x"),
        **dict.fromkeys(["PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONPYCACHEPREFIX"], "x"),
    }
    assert clean_environment(base, EVALLOOP_SEED="7") == {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin",
        "HOME": "/home/me",
        "VIRTUAL_ENV": "/venv",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "EVALLOOP_SEED": "7",
    }


def test_bytecode_goes_where_it_was_asked_to() -> None:
    cleaned = clean_environment({"PYTHONDONTWRITEBYTECODE": "1"}, PYTHONPYCACHEPREFIX="/there")
    assert cleaned["PYTHONPYCACHEPREFIX"] == "/there"
    assert "PYTHONDONTWRITEBYTECODE" not in cleaned


def test_cleaning_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-x")
    once = clean_environment()
    assert "PYTEST_ADDOPTS" not in once
    assert clean_environment(once) == once


def test_python_on_the_path_is_this_interpreter(run: Run, tmp_path: Path) -> None:
    run(["python", "-c", "import sys; print(sys.executable)"])
    assert Path((tmp_path / "log").read_text().strip()).parent == Path(sys.executable).parent


def test_importing_the_launcher_is_light() -> None:
    code = "import sys, pytest_evalloop.candidate.process; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "psutil", "pytest", "msgspec", "scipy", "torch"} & set(names.split())
