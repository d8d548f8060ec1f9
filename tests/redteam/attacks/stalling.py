"""Taking longer than is allowed; each of these ends by itself within a minute."""

from __future__ import annotations

from tests.redteam.attack import (
    ENDED,
    SILENT,
    TIMED_OUT,
    Attack,
    host_prize,
    improved,
    model,
    prize,
    together,
)

DRIPPING = """
def nll(self, documents, *, primer=()):
    import os, sys, time
    for byte in b"\\xff\\0\\0\\0" + bytes(100):
        time.sleep(0.5)
        os.write(int(sys.argv[1]), bytes([byte]))
"""

SPINNING = """
if os.fork() == 0:
    while time.process_time() < 12:
        pass
    os._exit(0)
while time.process_time() < 12:
    pass
os.wait()
"""

# Nobody waits for these: their time is in no account of the kernel's, and each is over before it is looked at.
SCATTERED = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end = time.monotonic() + 5.5
for _ in range(2):
    if os.fork() == 0:
        while time.monotonic() < end:
            if os.fork() == 0:
                while time.process_time() < 0.02:
                    pass
                os._exit(0)
            try:
                os.wait()
            except ChildProcessError:
                pass
        os._exit(0)
try:
    os.wait()
except ChildProcessError:
    pass
"""

# The watcher is stopped for longer than training may take, and woken up again when it is over.
FROZEN_WARDEN = """
warden = os.getppid()
if os.fork() == 0:
    time.sleep(12.5)
    os.kill(warden, signal.SIGCONT)
    os._exit(0)
os.kill(warden, signal.SIGSTOP)
time.sleep(12)
"""

FROZEN_GRADER = """
pid = os.getpid()
for _ in range(4):
    with open(f"/proc/{pid}/stat") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
    if b"no:cacheprovider" in Path(f"/proc/{pid}/cmdline").read_bytes():
        if os.fork() == 0:
            time.sleep(40)
            os.kill(pid, signal.SIGCONT)
            os._exit(0)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(40)
        break
else:
    raise OSError("there is no grader to be seen")
"""

ATTACKS = (
    Attack(
        "never-answering",
        "The host never answers.",
        together(
            improved, model("def nll(self, documents, *, primer=()):\n    __import__('time').sleep(45)")
        ),
        TIMED_OUT,
    ),
    Attack("dripping", "The host answers a byte at a time.", model(DRIPPING), f"{TIMED_OUT}|{ENDED}"),
    Attack("hanging", "Training takes three quarters of a minute.", prize("time.sleep(45)"), TIMED_OUT),
    Attack("spinning", "Training takes ten times the compute.", prize(SPINNING), TIMED_OUT),
    Attack(
        "scattered",
        "Training hides compute in short children.",
        prize(SCATTERED),
        r"allowed [\d.]+|of compute",
    ),
    Attack("frozen-warden", "Training stops its watcher.", prize(FROZEN_WARDEN), f"{TIMED_OUT}|{SILENT}"),
    Attack("frozen-grader", "The host stops its grader.", host_prize(FROZEN_GRADER), f"{TIMED_OUT}|{SILENT}"),
)
