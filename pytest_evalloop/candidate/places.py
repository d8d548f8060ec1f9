"""Where things lie on this machine that a candidate needs to run, or must not find."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
"""The folder of this package."""

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/sys/devices/system"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"),
    *("/etc/timezone", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/host.conf"),
    *("/etc/protocols", "/etc/services", "/etc/mime.types", "/etc/terminfo", "/etc/fonts", "/etc/OpenCL"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/ca-certificates"),
)


def system_paths() -> tuple[Path, ...]:
    """Return what every candidate may read: the system's programs, this interpreter and this package."""
    found = [*map(Path, _SYSTEM), Path(sys.prefix), Path(sys.base_prefix), PACKAGE, *links(sys.executable)]
    if accelerator_devices():
        found += [Path("/sys"), Path("/opt/rocm")]
    return tuple(path for path in dict.fromkeys(found) if path.exists())


def accelerator_devices() -> list[Path]:
    """Return the devices of graphics processors."""
    return [*sorted(Path("/dev").glob("nvidia*")), *filter(Path.exists, map(Path, ("/dev/kfd", "/dev/dri")))]


def links(program: str) -> Iterator[Path]:
    """Yield the absolute path of a program and what it leads to, link by link."""
    path = Path(os.path.abspath(program))  # noqa: PTH100 - resolving would skip the links between
    for _ in range(40):
        yield path
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / path.readlink()))


def package_folders(name: str) -> list[Path]:
    """Return where an installed package lies, without importing it; nothing if there is no such package."""
    import importlib.util

    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    if folders is None:
        return [Path(spec.origin)] if spec.origin and not rest else []
    return [Path(folder, *rest) for folder in folders]
