from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Config:
    order: Literal[0, 1, 2, 3] = 0  # bytes of context
    strength: Literal[1, 4, 16, 64] = 64  # weight of the shorter context
