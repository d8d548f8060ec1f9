"""Taking more than there is for one candidate: processes, memory, disk. Each pays only if all of it was had."""

from __future__ import annotations

from tests.redteam.attack import DISK, ENDED, MEMORY, PROCESSES, SILENT, Attack, host_prize, prize

FORKS = """
for _ in range(150):  # children fork no further, and all are gone after ten seconds
    if os.fork() == 0:
        time.sleep(10)
        os._exit(0)
time.sleep(2)
"""

MEMORY_BOMB = """
held = []
for _ in range(28):  # 1.4 GB
    held.append(bytearray(b"x") * (50 * 2**20))
    time.sleep(0.02)
time.sleep(1.5)
del held
"""

SHARED_BOMB = """
import mmap
held = []
for _ in range(28):
    held.append(mmap.mmap(-1, 50 * 2**20))
    held[-1].write(b"x" * (50 * 2**20))
time.sleep(1.5)
held.clear()
"""

DISK_BOMB = """
with open(artifacts / "ballast", "wb") as file:
    for _ in range(20):  # 200 MB
        file.write(os.urandom(2**20) * 10)
        file.flush()
        time.sleep(0.05)
time.sleep(1)
"""

MANY_FILES = """
for number in range(60):  # 240 MB in all, none of them large
    (artifacts / str(number)).write_bytes(bytes(4 * 2**20))
time.sleep(1)
"""

TEMPORARY = """
import tempfile
with tempfile.TemporaryFile() as file:
    for _ in range(20):
        file.write(os.urandom(2**20) * 10)
        file.flush()
        time.sleep(0.05)
    time.sleep(1)
"""


ATTACKS = (
    Attack("forks", "150 processes.", prize(FORKS), f"{PROCESSES}|{MEMORY}|{SILENT}"),
    Attack(
        "forks-in-host",
        "150 processes of the host.",
        host_prize(FORKS),
        f"{PROCESSES}|{MEMORY}|{SILENT}|{ENDED}",
    ),
    Attack("memory", "1.4 GB of memory.", prize(MEMORY_BOMB), f"{MEMORY}|{SILENT}"),
    Attack("memory-in-host", "1.4 GB of the host's.", host_prize(MEMORY_BOMB), f"{MEMORY}|{SILENT}|{ENDED}"),
    Attack("shared-memory", "1.4 GB that belong to nobody.", prize(SHARED_BOMB), f"{MEMORY}|{SILENT}"),
    Attack("disk", "A file of 200 MB.", prize(DISK_BOMB), f"{DISK}|{SILENT}"),
    Attack("many-files", "240 MB in sixty files.", prize(MANY_FILES), f"{DISK}|{SILENT}"),
    Attack("temporary", "200 MB in a file without a name.", prize(TEMPORARY), f"{DISK}|{MEMORY}|{SILENT}"),
)
