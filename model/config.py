"""Everything about the model and its training that is a choice, with the range it may be chosen from.

The search mutator reads the annotations and edits the values behind them, so a value and its range
stand on one line. A plain type is no choice for the search. No value takes much more compute than the
default; values that take less leave a run more steps of the same budget.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval


@dataclass(frozen=True)
class Config:
    """One model and one way to train it."""

    # The text
    vocab_size: int = 1024  # tokens, the 256 bytes and BOS included
    batch_size: int = 8  # windows of one context in a step
    context: int = 128  # tokens that a prediction is made from, at most
    stride: int = 64  # tokens that a scored window moves on; half the context brings all of the gain

    # The network
    n_layer: Literal[2, 3, 4] = 4
    n_head: Literal[1, 2] = 2
    width: int = 128
    activation: Literal["relu2", "gelu"] = "relu2"
    logit_softcap: Literal[0, 15, 30] = 0  # bounds the logits smoothly; 0 leaves them alone
    rotary_base: float = 10_000.0  # slowest turn of a position
    init_scale: float = 1.0  # of all weights, times 1/sqrt(width)
    zero_init: Literal[True, False] = False  # start with blocks that add nothing to the residual stream

    # The optimizers
    matrix_lr: Annotated[float, Interval(gt=0.001, lt=0.1)] = 0.02  # Muon: matrices of attention and MLP
    momentum: float = 0.95  # Muon
    newton_schulz: int = 5  # Muon: iterations towards an orthogonal update
    embedding_lr: Annotated[float, Interval(gt=0.0001, lt=0.1)] = 0.0006  # AdamW: the token embedding
    head_lr: Annotated[float, Interval(gt=0.0001, lt=0.1)] = 0.0006  # AdamW: the output layer
    weight_decay: Annotated[float, Interval(ge=0.0, lt=0.5)] = 0.1  # of all weights, apart from the gradient
    warmup: float = 0.1  # share of the budget with a rising rate
    warmdown: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.2  # share of the budget with a falling rate

    def save(self, path: Path) -> None:
        """Write all values as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
