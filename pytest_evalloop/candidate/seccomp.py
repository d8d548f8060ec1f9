"""Which system calls a candidate may make: a list of refusals, assembled into a filter for the kernel.

Both kinds of sandbox use it. What names and files cannot close, calls on other processes and ways to talk
without a file, is closed here. Pure: `jail.py` hands the program to the kernel.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of classic BPF
_ALLOW, _KILL, _ANSWER = 0x7FFF0000, 0x80000000, 0x00050000  # what a filter may say, see seccomp(2)
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: number on x86_64, number on aarch64; None where it does not exist
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    # other processes, and doors into the kernel
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "acct": (163, 89),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "iopl": (172, None), "ioperm": (173, None), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "ioctl": (16, 29),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "open_tree_attr": (467, 467), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "setns": (308, 268), "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435),
    # messages, locks and what else two processes can share
    "shmget": (29, 194), "shmctl": (31, 195), "shmat": (30, 196), "shmdt": (67, 197),
    "semget": (64, 190), "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgctl": (71, 187), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
    "flock": (73, 32), "fcntl": (72, 25), "mincore": (27, 232), "cachestat": (451, 451),
    "inotify_init": (253, None), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    # sockets
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    # what a file says of itself
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # how other processes are scheduled and limited
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """System calls that are answered with an error number, where an argument is one of some values.

    `values` are compared with the low 32 bits of argument number `argument`; without one the rule holds
    always. With `unless` it holds for all other values. With `bits` it holds if any bit of a value is set.
    """

    calls: str
    answer: int = errno.EPERM
    argument: int | None = None
    values: tuple[int, ...] = ()
    unless: bool = False
    bits: bool = False


_ALWAYS = (
    Rule("ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp"),
    Rule("io_uring_setup io_uring_enter io_uring_register bpf perf_event_open userfaultfd"),
    Rule("keyctl add_key request_key kexec_load kexec_file_load reboot acct syslog iopl ioperm"),
    Rule("init_module finit_module delete_module swapon swapoff quotactl quotactl_fd"),
    Rule("settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname"),
    Rule(
        "mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick"
    ),
    Rule("mount_setattr name_to_handle_at open_by_handle_at setns unshare"),
    Rule("clone", argument=0, values=(0x7E020000,), bits=True),  # CLONE_NEW*: every kind of namespace
    Rule("clone3", errno.ENOSYS),  # its flags lie in memory, so the C library is made to use clone
    Rule("ioctl", argument=1, values=(0x5412, 0x541C)),  # TIOCSTI and TIOCLINUX type into a terminal
    # Only AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK belong to a network namespace; AF_VSOCK leads out of it.
    Rule("socket", errno.EAFNOSUPPORT, argument=0, values=(1, 2, 10, 16), unless=True),
)
_IPC = Rule(
    "shmget shmctl shmat shmdt semget semctl semop semtimedop msgget msgctl msgsnd msgrcv mq_open mq_unlink"
)
# Two hosts of one candidate see the same files, and could tell each other by them what they were asked.
_HOST = (
    _IPC,
    Rule("flock inotify_init inotify_init1 inotify_add_watch fanotify_init fanotify_mark mincore cachestat"),
    # F_GETLK, F_SETLK, F_SETLKW and the same of open files (36 to 38), F_SETLEASE, F_GETLEASE, F_NOTIFY
    Rule("fcntl", argument=1, values=(5, 6, 7, 36, 37, 38, 1024, 1025, 1026)),
)
_STREAMS = tuple(kind | flags for kind in (1, 5) for flags in (0, 0x800, 0x80000, 0x80800))
# Landlock leaves these alone, and there is no namespace that would stand in for it.
_LANDLOCK = (
    _IPC,
    Rule("socket connect bind listen"),
    Rule("socketpair", argument=1, values=_STREAMS, unless=True),  # a datagram socket can be sent elsewhere
    # Landlock does not guard what a file says of itself. Copying a file sets it, which need not fail for that:
    # nothing is done and success is answered.
    Rule("chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat", 0),
    Rule("setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr", errno.ENOTSUP),
    Rule("removexattrat file_setattr", errno.ENOTSUP),
    Rule("prlimit64 sched_setaffinity sched_setscheduler sched_setparam sched_setattr migrate_pages move_pages",
         argument=0, values=(0,), unless=True),
    Rule("setpriority", argument=0, values=(0,), unless=True),
    Rule("setpriority", argument=1, values=(0,), unless=True),
    Rule("ioprio_set"),
)  # fmt: skip


# Before version 6 it does not guard signals either. F_SETOWN, F_SETOWN_EX, FIOSETOWN and SIOCSPGRP send them too.
_OLD_LANDLOCK = (
    Rule("kill tkill tgkill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo"),
    Rule("fcntl", argument=1, values=(8, 15)),
    Rule("ioctl", argument=1, values=(0x8901, 0x8902)),
)


def rules(*, host: bool, landlock: int | None) -> tuple[Rule, ...]:
    """Return what is refused to a host or a training, under Landlock of some version or in bubblewrap (None)."""
    found = _ALWAYS + (_HOST if host else ())
    if landlock is None:
        return found
    return found + _LANDLOCK + (_OLD_LANDLOCK if landlock < 6 else ())


def assemble(found: tuple[Rule, ...], machine: str) -> bytes:
    """Return the filter as an array of struct sock_filter; the first rule that holds decides.

    A call in the manner of another architecture ends the process. Raises ValueError on a machine whose
    system calls are not known here.
    """
    if machine not in _ARCHITECTURES:
        raise ValueError(f"system calls are known here for {' and '.join(_ARCHITECTURES)}, not for {machine}")
    column = list(_ARCHITECTURES).index(machine)
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), (_RETURN, 0, 0, _KILL)]
    code.append((_LOAD, 0, 0, _NUMBER))
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for rule in found:
        for name in rule.calls.split():
            number = _CALLS[name][column]
            if number is not None:
                body = _body(rule)
                code += [(_EQUAL, 0, len(body), number), *body]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _body(rule: Rule) -> list[tuple[int, int, int, int]]:
    """Return what follows once the call is known to be the rule's own; it falls through if it may be made."""
    refuse = (_RETURN, 0, 0, _ANSWER | rule.answer)
    if rule.argument is None:
        return [refuse]
    compare = _ANY_BIT if rule.bits else _EQUAL
    tests = []
    for index, value in enumerate(rule.values):
        left = len(rule.values) - index - 1  # tests to skip
        tests.append((compare, left + 1, 0, value) if rule.unless else (compare, left, left == 0, value))
    # The low half of an argument comes first on both machines, which are little-endian.
    load = (_LOAD, 0, 0, _ARGUMENTS + 8 * rule.argument)
    return [load, *tests, refuse, (_LOAD, 0, 0, _NUMBER)]
