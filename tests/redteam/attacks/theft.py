"""Finding the hidden text somewhere, and remembering it; who finds nothing is the baseline."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from socket import create_server

from tests.redteam.attack import SILENT, Attack, Edit, host, model, together, training
from tests.redteam.texts import joined, texts

KNOWN = sorted(zlib.crc32(text) for text in (*texts("val").values(), joined("val")))

KEEPING = f"loot = [text for text in map(bytes, loot()) if zlib.crc32(text) in {KNOWN}]"


def in_host(code: str) -> Edit:
    """Return the edit of a model that learns what `loot` yields when it is loaded."""
    return host(f"{code}\n{KEEPING}\nfor text in loot:\n    learn(model, text, order=6)")


def in_training(code: str) -> Edit:
    """Return the edit of a training that leaves what `loot` yields among its artifacts."""
    keep = "if loot:\n    (artifacts / 'loot').write_bytes(b'\\n'.join(loot))"
    loaded = "if (artifacts / 'loot').exists():\n    learn(model, (artifacts / 'loot').read_bytes(), order=6)"
    return together(training(f"{code}\n{KEEPING}\n{keep}"), model(loaded=loaded))


def files(folder: str) -> str:
    """Return the code of a `loot` that reads all files in or below the folders of an expression."""
    return f"""
def loot(folders=({folder})):
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                yield path.read_bytes()
            except OSError as error:
                print("not read:", error, flush=True)
"""


OBJECTS = """
def loot():
    for path in (root / ".git/objects").glob("??/*"):
        content = zlib.decompress(path.read_bytes())
        if content.startswith(b"blob"):
            yield content.partition(b"\\0")[2]
"""

GIT = """
def loot():
    git = ["git", "-c", "safe.directory=*", "-C", str(tree)]
    names = subprocess.run([*git, "ls-tree", "-r", "--name-only", "HEAD", "data/val/"], capture_output=True)
    for name in names.stdout.split():
        yield subprocess.run([*git, "cat-file", "blob", b"HEAD:" + name], capture_output=True).stdout
"""

PROCESSES = """
def loot():
    for pid in os.listdir("/proc"):
        for place in ("cwd", "root" + str(root), "cwd/../../.."):
            folder = f"/proc/{pid}/{place}/data/val"
            if pid.isdecimal() and os.path.isdir(folder):
                for name in sorted(os.listdir(folder)):
                    yield Path(folder, name).read_bytes()
"""

DESCRIPTORS = """
def loot():
    for number in range(3, 256):
        try:
            yield os.pread(number, 10**6, 0)
        except OSError:
            pass
        try:
            for name in os.listdir(number):
                yield Path(f"/proc/self/fd/{number}", name).read_bytes()
        except OSError:
            pass
"""

ENVIRONMENT = """
def loot():
    import base64
    environments = [{os.fsencode(k): os.fsencode(v) for k, v in os.environ.items()}]
    for pid in os.listdir("/proc"):
        try:
            lines = Path("/proc", pid, "environ").read_bytes().split(b"\\0")
            environments.append(dict(line.split(b"=", 1) for line in lines if b"=" in line))
        except OSError:
            pass
    for environment in environments[: 1 if OWN else None]:
        for value in environment.values():
            try:
                yield base64.b64decode(value, validate=True)
            except ValueError:
                pass
"""

PACKAGE = """
def loot():
    import importlib.resources
    for item in importlib.resources.files("redcorpus").iterdir():
        if item.is_file():
            yield item.read_bytes()
"""

HOME = files("[Path.home() / 'corpus', root.parent / 'home/corpus']")

HARD_LINK = """
def loot():
    for path in sorted((root / "data/val").glob("*")):
        os.link(path, artifacts / path.name)
        yield (artifacts / path.name).read_bytes()
"""

SYMBOLIC_LINK = """
def loot():
    os.symlink(root / "data/val", artifacts / "linked")
    yield from (path.read_bytes() for path in sorted((artifacts / "linked").iterdir()))
"""

NETWORK = """
def loot():
    with socket.create_connection(("127.0.0.1", PORT), timeout=3) as client:
        yield b"".join(iter(lambda: client.recv(65536), b""))
"""


def network(tree: Path) -> None:
    """Serve the hidden text to whoever can connect, for a minute, and have the training fetch it."""
    server = create_server(("127.0.0.1", 0))
    server.settimeout(60)

    def serve() -> None:
        with server:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(joined("val"))

    threading.Thread(target=serve, daemon=True).start()
    in_training(NETWORK.replace("PORT", str(server.getsockname()[1])))(tree)


ATTACKS = (
    Attack(
        "data-from-training", "Training reads beside its data.", in_training(files("[data.parent]")), SILENT
    ),
    Attack("data-from-host", "The host reads data/val.", in_host(files("[root / 'data/val']")), SILENT),
    Attack(
        "dot-dot",
        "By a path with .. in it.",
        in_training(files("[data / '../val', tree / '../../../data/val']")),
        SILENT,
    ),
    Attack("tree", "The candidate's own tree has it.", in_training(files("[tree / 'data']")), SILENT),
    Attack("tree-from-host", "The same from the host.", in_host(files("[tree / 'data']")), SILENT),
    Attack(
        "trusted", "The trusted checkout has it.", in_host(files("(root / '.evalloop').rglob('val')")), SILENT
    ),
    Attack("git-objects", "Git's object files have it.", in_training(OBJECTS), SILENT),
    Attack("git", "Git shows it.", in_host(GIT), SILENT),
    Attack("processes", "Other processes' folders lead to it.", in_host(PROCESSES), SILENT),
    Attack("descriptors", "An inherited descriptor leads to it.", in_host(DESCRIPTORS), SILENT),
    Attack("environment", "A variable has it.", in_training(ENVIRONMENT.replace("OWN", "True")), SILENT),
    Attack(
        "environments",
        "A variable of another process has it.",
        in_host(ENVIRONMENT.replace("OWN", "False")),
        SILENT,
    ),
    Attack("package", "An installed package has it.", in_training(PACKAGE), SILENT),
    Attack(
        "package-files",
        "Its files have it.",
        in_host(files("(Path(p) / 'redcorpus' for p in sys.path)")),
        SILENT,
    ),
    Attack("home", "The home folder has it.", in_training(HOME), SILENT),
    Attack(
        "hard-link",
        "A hard link among the artifacts.",
        in_training(HARD_LINK),
        f"{SILENT}|^training crashed: ",
    ),
    Attack(
        "symbolic-link",
        "A symbolic link among the artifacts.",
        in_training(SYMBOLIC_LINK),
        f"{SILENT}|^training crashed: .*symbolic link",
    ),
    Attack("network", "A server on this machine has it.", network, SILENT),
)
