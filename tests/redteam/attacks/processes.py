"""Misbehaving processes, each of them bounded: few, small, and gone by themselves within a minute."""

from __future__ import annotations

from tests.redteam.attack import (
    AUDIT,
    ENDED,
    PROTOCOL,
    RAISED,
    SILENT,
    TRAINING,
    Attack,
    Edit,
    host,
    improved,
    model,
    prize,
    replace,
    together,
    training,
)

SOCKET = "import os, socket, struct, sys\nfrom pytest_evalloop.candidate import wire"
ENDPOINT = "socket.socket(fileno=os.dup(int(sys.argv[1])))"

FORGED_LINES = """
from pytest_evalloop.records import DocumentScore
from pytest_evalloop.suite.outcomes import Finished, Measured, Phase
import msgspec

documents = [(path.stem, path.read_bytes()) for path in sorted((tree / "data/val").iterdir())]
more = []
try:
    from pytest_evalloop.records import Audit, Document
    from pytest_evalloop.suite.examiner import digest
    more = [digest([Document(*document) for document in documents]), Audit(*[0] * len(Audit.__match_args__))]
except ImportError:
    pass
scores = tuple(DocumentScore(name, float(len(text)), len(text)) for name, text in documents)
lines = msgspec.json.encode(Measured(scores, *more)) + b"\\n"
"""

ON_ALL_DESCRIPTORS = f"""
{FORGED_LINES}
import stat
for number in range(1, 256):
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            os.write(number, b"\\n" + lines)
    except OSError:
        pass
"""

THROUGH_THE_GRADER = f"""
{FORGED_LINES}
import ctypes
libc, pid = ctypes.CDLL(None, use_errno=True), os.getpid()
for _ in range(4):
    with open(f"/proc/{{pid}}/stat") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
    if pid <= 1 or b"no:cacheprovider" not in Path(f"/proc/{{pid}}/cmdline").read_bytes():
        continue
    handle = os.pidfd_open(pid)
    for number in range(3, 64):
        stolen = libc.syscall(438, handle, number, 0)  # pidfd_getfd
        if stolen >= 0 and "(deleted)" in os.readlink(f"/proc/self/fd/{{stolen}}"):
            if os.pread(stolen, 9**9, 0).lstrip().startswith(b'{{"type":"Collected"'):
                os.write(stolen, lines)
    break
"""

FORGED_FRAME = f"""
def nll(self, documents, *, primer=()):
    found = super().nll(documents, primer=primer)
    lengths, joined = wire.join_arrays([[0.1] * len(costs) for costs in found], "<f8")
    wire.send({ENDPOINT}, wire.Arrays(lengths), joined)
    return found
"""

OVERSIZED = f"""
def nll(self, documents, *, primer=()):
    {ENDPOINT}.sendall(struct.pack("<IQ", 2**31, 2**60))
"""

TORN = f"""
def nll(self, documents, *, primer=()):
    endpoint = {ENDPOINT}
    endpoint.sendall(struct.pack("<IQ", 2000, 2**20) + b"torn")
    endpoint.shutdown(socket.SHUT_RDWR)
    return []
"""

WRONG_LENGTHS = f"""
def nll(self, documents, *, primer=()):
    wire.send({ENDPOINT}, wire.Arrays([2**62] * len(documents)), b"")
"""

PATCHED_NUMPY = """
def nll(self, documents, *, primer=()):
    import numpy
    real = numpy.asarray
    numpy.asarray = lambda value, *rest, **options: real(value, *rest, **options) * 0
    return super().nll(documents, primer=primer)
"""

PATCHED_HOST = """
import sys

def answering(real):
    def answer(model, request, payload):
        from pytest_evalloop.candidate import wire
        reply, data = real(model, request, payload)
        if isinstance(request, wire.Nll):
            data = bytes(len(data))
        return reply, data
    return answer

sys.modules["__main__"]._answer = answering(sys.modules["__main__"]._answer)
"""

PATCHED_GRADER = """
import pytest, pytest_evalloop.candidate.scoring as scoring, pytest_evalloop.metric.bpb as bpb
import pytest_evalloop.candidate.client as client
bpb.bits = lambda nats: 0.0
scoring.score = scoring.bits = client.Client.nll = pytest.main = lambda *_, **__: 0
"""

FORGED_ROW = """
def nll(self, documents, *, primer=()):
    raise ValueError("so\\\\n0000000\\\\t1.0\\\\t0.0\\\\tkeep\\\\tforged\\\\x1b[2J\\\\udc80")
"""

DAEMON = """
folder = os.open(artifacts, os.O_RDONLY | os.O_DIRECTORY)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(30):  # its folder is moved to the cache when the training has ended
            time.sleep(0.1)
            os.close(os.open("landed", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            os.unlink("landed", dir_fd=folder)
        os.close(os.open("landed", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        time.sleep(25)
    os._exit(0)
"""

LOST = "if not (artifacts / 'landed').exists():\n    model.order, model.strength = 0, 64"

KILL_PARENT = """
watcher = os.getppid()
os.kill(watcher, signal.SIGKILL)
time.sleep(1)
if os.getppid() == watcher:  # the first process of a namespace cannot be killed from inside
    raise OSError("it lives on")
"""

KILL_GRADER = """
pid = os.getpid()
for _ in range(4):
    with open(f"/proc/{pid}/stat") as file:
        pid = int(file.read().rpartition(")")[2].split()[1])
    if b"no:cacheprovider" in Path(f"/proc/{pid}/cmdline").read_bytes():
        os.kill(pid, signal.SIGKILL)
        break
"""

# Once only: a loop that is taken up again must not be killed again.
KILL_LOOP = """
once = root.parent / "killed"
for name in os.listdir("/proc"):
    if name.isdecimal() and not once.exists():
        words = Path("/proc", name, "cmdline").read_bytes().split(b"\\0")
        if b"--evalloop" in words and os.path.samefile(f"/proc/{name}/cwd", root):
            once.touch()
            os.kill(int(name), signal.SIGKILL)
"""

QUIET = f"{SILENT}|{TRAINING}"


def at_start(code: str) -> Edit:
    """Return the edit of a training that begins with `code`."""
    return replace("model/train.py", "def main() -> None:\n", f"def main() -> None:\n    {code}\n")


ATTACKS = (
    Attack(
        "exit-in-training",
        "Training ends well at once.",
        together(improved, at_start("os._exit(0)")),
        TRAINING,
    ),
    Attack(
        "exit-at-import",
        "The host ends well at once.",
        together(improved, model(top="import os\nos._exit(0)")),
        ENDED,
    ),
    Attack(
        "exit-in-nll",
        "It ends when it is to pay.",
        together(improved, model("def nll(self, documents, *, primer=()):\n    import os\n    os._exit(0)")),
        ENDED,
    ),
    Attack(
        "forged-lines", "Outcome lines on all descriptors.", host(ON_ALL_DESCRIPTORS), f"{SILENT}|{PROTOCOL}"
    ),
    Attack(
        "forged-outcomes",
        "Outcome lines through a descriptor of the grader.",
        host(THROUGH_THE_GRADER),
        SILENT,
    ),
    Attack(
        "forged-frame",
        "A frame ahead of the honest one.",
        model(FORGED_FRAME, top=SOCKET),
        f"{PROTOCOL}|{AUDIT}",
    ),
    Attack("oversized-frame", "A frame larger than the machine.", model(OVERSIZED, top=SOCKET), PROTOCOL),
    Attack("torn-frame", "Half a frame.", model(TORN, top=SOCKET), f"{ENDED}|{PROTOCOL}"),
    Attack("wrong-lengths", "Lengths that overflow.", model(WRONG_LENGTHS, top=SOCKET), PROTOCOL),
    Attack("patched-numpy", "numpy is another in the host.", model(PATCHED_NUMPY), AUDIT),
    Attack("patched-host", "The host's own code answers zeros.", model(top=PATCHED_HOST), AUDIT),
    Attack(
        "patched-grader", "The grader's code is patched in the wrong process.", host(PATCHED_GRADER), SILENT
    ),
    Attack("forged-row", "An error message looks like a row of results.", model(FORGED_ROW), RAISED),
    Attack(
        "daemon",
        "A process outlives training and changes its artifacts.",
        together(improved, training(DAEMON), model(loaded=LOST)),
        SILENT,
    ),
    Attack("kill-warden", "Kills the process that watches it.", prize(KILL_PARENT), QUIET),
    Attack("kill-grader", "Kills the process that grades it.", host(KILL_GRADER), f"{SILENT}|evals failed"),
    Attack("kill-loop", "Kills the loop.", training(KILL_LOOP), SILENT),
)
