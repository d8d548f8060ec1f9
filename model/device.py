"""Where the model runs, and in which precision it multiplies."""

from __future__ import annotations

import os
from functools import cache

import torch


def pick_device() -> torch.device:
    """Return the fastest device of this machine; each process of torchrun takes a GPU of its own."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@cache
def precision(device: torch.device) -> torch.dtype:
    """Return what matrices are multiplied in: bfloat16, where the device can do that itself.

    A CPU that cannot would emulate it, which is ten times slower than float32.
    """
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch cannot say
    native = any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if device.type != "cpu" or native else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Return the context in which the model's matrices are multiplied in that precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision(device) is torch.bfloat16)


def one_thread() -> None:
    """Use one CPU thread, or as many as OMP_NUM_THREADS says: two runs side by side beat one with two."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
