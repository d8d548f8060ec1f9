"""The accelerators of this machine, found without importing a framework."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path


def visible_devices(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of the NVIDIA devices that a training sees, as CUDA_VISIBLE_DEVICES spells them.

    As CUDA reads that list, it ends before the first entry that names no device.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = (item.strip() for item in visible.split(","))
        return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))
    files = [file for file in Path("/dev").glob("nvidia*") if file.name.removeprefix("nvidia").isdecimal()]
    return [
        str(index) for index in range(len(files))
    ]  # CUDA counts what is there, whatever the files are called


def accelerators(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many devices a training sees."""
    return len(visible_devices(environment))
