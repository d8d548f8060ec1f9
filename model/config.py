"""Everything about the model and its training that is a choice, with the range it may be chosen from.

The search mutator reads the annotations and edits the values behind them, so a value and its space
stand on the same line. No value costs more than about 1.2 times the compute of the default.
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
    vocab_size: Literal[512, 768, 1024] = 1024  # tokens, the 256 bytes and BOS included
    context: Literal[64, 128] = 128  # tokens that the model looks back at most
    batch_size: Literal[4, 8] = 8  # windows of one context a step

    # The network
    n_layer: Literal[2, 3, 4] = 4
    n_head: Literal[1, 2] = 2
    width: Literal[96, 128] = 128
    activation: Literal["relu2", "gelu"] = "gelu"
    logit_softcap: Literal[0, 15, 30] = 0  # bounds the logits smoothly; 0 leaves them alone
    init_scale: Annotated[float, Interval(gt=0.1, lt=3.0)] = 1.0  # times 1/sqrt(inputs) for every matrix
    zero_init: Literal[True, False] = False  # start with blocks that add nothing to the residual stream

    # The optimizers
    matrix_lr: Annotated[float, Interval(gt=0.001, lt=0.1)] = 0.02  # Muon: attention and MLP matrices
    embedding_lr: Annotated[float, Interval(gt=0.0001, lt=0.1)] = 0.001  # AdamW: the token embedding
    head_lr: Annotated[float, Interval(gt=0.0001, lt=0.1)] = 0.001  # AdamW: the output layer
    momentum: Annotated[float, Interval(gt=0.5, lt=0.99)] = 0.95  # Muon
    weight_decay: Annotated[float, Interval(ge=0.0, lt=0.5)] = 0.1  # decoupled, for all matrices
    warmup: Annotated[float, Interval(ge=0.0, lt=0.5)] = 0.1  # share of the budget with a rising rate
    warmdown: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.2  # share of the budget with a falling rate

    # Scoring
    stride: Literal[64, 128] = 64  # tokens that a scored window moves on; smaller sees more, costs more

    def save(self, path: Path) -> None:
        """Write all values as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Config:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
