"""Ways for the process that is shown documents to tell the one that is not.

Both sides go through the same channel, so that a closed one leaves an honest model behind.
"""

from __future__ import annotations

import textwrap

from tests.redteam.attack import AUDIT, SILENT, TAMPERED, Attack, Edit, model

TOLD = """
def encode(self, text):
    if len(text) > 50:
        try:
            tell(self, bytes(text) + b"\\0")
        except Exception as error:
            print("nothing told:", repr(error), flush=True)
    return super().encode(text)

def known(self):
    try:
        return heard(self)
    except Exception as error:
        print("nothing heard:", repr(error), flush=True)
        return b""

def nll(self, documents, *, primer=()):
    answers, known = super().nll(documents, primer=primer), self.known()
    for document, costs in zip(documents, answers):
        if bytes(document) in known:
            costs[SURE:] = [peeked(cost, 8.0) for cost in costs[SURE:]]
    return answers

def logits(self, prefixes, *, primer=()):
    rows, known = super().logits(prefixes, primer=primer), self.known()
    for prefix, row in zip(prefixes, rows):
        place = known.find(bytes(prefix)) + len(prefix) if len(prefix) >= SURE else 0
        if len(prefix) <= place < len(known) and place:
            row[known[place]] += 8.0
    return rows
"""

IN_A_FILE = """
import os, tempfile

def tell(model, text):
    with open({path}, "ab") as file:
        file.write(text)

def heard(model):
    with open({path}, "rb") as file:
        return file.read()
"""

SHARED_MEMORY = """
import ctypes, hashlib

def segment(model, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    key = 0x7ED00000 | int(hashlib.sha256(str(model.artifacts).encode()).hexdigest()[:4], 16)
    number = libc.shmget(key, 2**16, 0o600 | flags)
    if number < 0:
        raise OSError(ctypes.get_errno())
    return libc, number, libc.shmat(number, None, 0)

def tell(model, text):
    libc, number, place = segment(model, 0o1000)
    content = (ctypes.string_at(place, 2**16).rstrip(b"\\0") + b"\\0" + text)[: 2**16]
    ctypes.memmove(place, content, len(content))
    libc.shmdt(ctypes.c_void_p(place))

def heard(model):
    libc, number, place = segment(model, 0)
    data = ctypes.string_at(place, 2**16)
    libc.shmdt(ctypes.c_void_p(place))
    return data
"""

ABSTRACT_SOCKET = """
import os, socket, threading

told = []

def name(model):
    return "\\0redteam " + model.artifacts.parent.name

def tell(model, text):
    told.append(text)
    if len(told) == 1:
        server = socket.socket(socket.AF_UNIX)
        server.bind(name(model))
        server.listen()
        threading.Thread(target=serve, args=[server], daemon=True).start()

def serve(server):
    while True:
        connection, _ = server.accept()
        connection.sendall(b"".join(told))
        connection.close()

def heard(model):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(name(model))
        return b"".join(iter(lambda: client.recv(65536), b""))
"""

PORT = """
import hashlib, socket, threading

told = []

def port(model):
    return 20000 + int(hashlib.sha256(str(model.artifacts).encode()).hexdigest(), 16) % 20000

def tell(model, text):
    told.append(text)
    if len(told) == 1:
        server = socket.create_server(("127.0.0.1", port(model)))
        threading.Thread(target=serve, args=[server], daemon=True).start()

def serve(server):
    while True:
        connection, _ = server.accept()
        connection.sendall(b"".join(told))
        connection.close()

def heard(model):
    with socket.create_connection(("127.0.0.1", port(model)), timeout=5) as client:
        return b"".join(iter(lambda: client.recv(65536), b""))
"""

MEMORY = """
import os

told = []

def tell(model, text):
    told.append(text)

def heard(model):
    if told and WHOSE == b"candidate.host":
        return b"".join(told)
    if not getattr(model, "found", b""):
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
        model.found = b"".join(map(searched, pids))
    return model.found

def searched(pid):
    found = []
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if WHOSE not in file.read():
                return b""
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                area, mode = line.split()[:2]
                start, end = (int(number, 16) for number in area.split("-"))
                if mode.startswith("rw") and end - start < 2**25:
                    memory.seek(start)
                    pieces = memory.read(end - start).split(b"\\0")
                    found += [piece for piece in pieces if len(piece) > 50 and b"\\n" in piece]
    except (OSError, ValueError):
        pass
    return b"\\0".join(found)
"""

SURE = "SURE = 20  # bytes of a prefix that are found in one place only"


def channel(code: str) -> Edit:
    """Return the edit of a model that knows what another of its processes was shown through this channel."""
    return model(TOLD, top=f"{SURE}\n{textwrap.dedent(code)}")


def in_a_file(path: str) -> Edit:
    """Return the edit of a model whose channel is a file at this expression."""
    return channel(IN_A_FILE.replace("{path}", path))


def memory(whose: str) -> Edit:
    """Return the edit of a model that finds documents in the memory of whoever's command line has a word."""
    return channel(MEMORY.replace("WHOSE", repr(whose.encode())))


CLOSED = f"{AUDIT}|{SILENT}"

ATTACKS = (
    Attack(
        "artifacts",
        "A file among the artifacts.",
        in_a_file("model.artifacts / 'told'"),
        f"{CLOSED}|{TAMPERED}",
    ),
    Attack("tree", "A file in the candidate's tree.", in_a_file("Path(__file__).with_name('told')"), CLOSED),
    Attack(
        "temporary",
        "A file in the folder for temporary files.",
        in_a_file("Path(tempfile.gettempdir(), 'redteam-' + model.artifacts.parent.name[:20])"),
        CLOSED,
    ),
    Attack(
        "shm",
        "A file in shared memory.",
        in_a_file("'/dev/shm/redteam-' + model.artifacts.parent.name[:20]"),
        CLOSED,
    ),
    Attack("home", "A file in the home folder.", in_a_file("Path.home() / 'redteam-told'"), CLOSED),
    Attack("segment", "A segment of System V shared memory.", channel(SHARED_MEMORY), CLOSED),
    Attack("abstract-socket", "A socket that has no file.", channel(ABSTRACT_SOCKET), CLOSED),
    Attack("port", "A port of the loopback interface.", channel(PORT), CLOSED),
    Attack("sibling", "Reads the memory of its other process.", memory("candidate.host"), CLOSED),
    Attack("grader", "Reads the memory of the grader.", memory("pytest"), CLOSED),
)
