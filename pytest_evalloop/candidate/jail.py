"""The last step before a candidate's own code: give up rights for good, then become the command.

Run as a script, `python -I -S jail.py ORDERS COMMAND...`. ORDERS is JSON: `filter` (the system-call filter in
base64) and, where Landlock is to guard the files, its version `abi` and `landlock` with the lists of paths
`readable`, `writable`, `hidden` and `devices`. All paths have to be resolved. Imports are few: every start
waits for them.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import signal
import sys

TYPE_CHECKING = False  # importing typing would cost every start its milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_ABI = 3
"""From here on (Linux 6.2) Landlock keeps files from being cut, which is nothing to do without."""

_PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 22, 24, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CAPSET = {"x86_64": 126, "aarch64": 91}

# The rights of landlock(7), by the bit of their introduction.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL_DEV = 1, 2, 4, 8, 1 << 14, 1 << 15
_MAKE_DEVICES = 1 << 6 | 1 << 11
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WRITE = ((1 << 15) - 1) & ~_MAKE_DEVICES
_DEVICE = _READ | _WRITE_FILE | _IOCTL_DEV
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return what a call answered; raises OSError that names `what` if the kernel refused it."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that the C library has no function for."""
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(libc.syscall(ctypes.c_long(number), *converted))


def granted(readable: list[str], hidden: list[str]) -> Iterator[tuple[str, int]]:
    """Yield paths and rights that make `readable` readable without what is hidden below it.

    Landlock takes nothing back below what it has granted, so on the way to something hidden only the listing
    is granted, and reading to each neighbour.
    """
    for path in readable:
        below = [other for other in hidden if other.startswith(path.rstrip("/") + "/")]
        if path in hidden:
            continue
        if not below:
            yield path, _READ
            continue
        yield path, _READ_DIR
        neighbours = []
        with contextlib.suppress(OSError), os.scandir(path) as entries:
            # A link leads to where somebody else wants, and needs no right of its own.
            neighbours = [entry.path for entry in entries if not entry.is_symlink()]
        yield from granted(neighbours, [path for path in hidden if path in below])


def landlock_version() -> int:
    """Return the version of the kernel's Landlock, 0 if there is none."""
    return max(0, syscall(_CREATE_RULESET, None, 0, 1))


def guard_files(orders: dict[str, list[str]], abi: int) -> None:
    """Have Landlock allow what the orders name and nothing else: no other file, no TCP, no outsider's signal.

    Before version 6 signals are none of its business, and TCP before version 4; the filter has to refuse them.
    """
    if abi < LEAST_ABI:
        raise OSError(f"the kernel's Landlock has version {abi}, needed is {LEAST_ABI} (Linux 6.2)")
    handled = (1 << 16 if abi >= 5 else 1 << 15) - 1
    attributes = _Ruleset(handled, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)
    size = ctypes.sizeof(attributes)
    ruleset = checked(syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0), "Landlock")
    rules = [(path, _WRITE) for path in orders["writable"]]
    rules += [(path, _DEVICE) for path in orders["devices"]]
    rules += granted(orders["readable"], orders["hidden"])
    for name, rights in rules:
        path = name.replace("/proc/self", f"/proc/{os.getpid()}")  # which is a link
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # what is not there needs no right
        rights &= handled  # noqa: PLW2901 - what the kernel does not know it does not take
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - pathlib takes milliseconds
            rights &= _OF_FILES  # noqa: PLW2901 - nor other rights for a file
        rule = _PathBeneath(rights, descriptor)
        if rights:
            checked(syscall(_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0), f"Landlock and {path}")
        os.close(descriptor)
    checked(syscall(_RESTRICT_SELF, ruleset, 0), "Landlock")
    os.close(ruleset)


def drop_capabilities() -> None:
    """Give up what a superuser may do beyond the owner of their files, also for what is executed later."""
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # who may not drop any has none to lose
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    checked(syscall(_CAPSET[os.uname().machine], header, none), "capabilities")


def filter_calls(program: bytes) -> None:
    """Hand the kernel a filter of system calls, an array of struct sock_filter."""
    attributes = _Program(len(program) // 8, program)
    checked(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(attributes), 0, 0), "the filter of system calls")


def main() -> None:
    """Give up rights as `sys.argv` says and execute the command."""
    orders, command = json.loads(sys.argv[1]), sys.argv[2:]
    what = "the sandbox"
    try:
        checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
        drop_capabilities()
        if orders["landlock"] is not None:
            guard_files(orders["landlock"], orders["abi"])
        filter_calls(base64.b64decode(orders["filter"]))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that is inherited
            signal.signal(number, signal.SIG_DFL)
        what = repr(command[0])
        os.execvp(command[0], command)  # noqa: S606 - the point of this program
    except OSError as error:
        sys.stderr.write(f"could not start {what}: {error.strerror or error}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
