"""The network: a decoder-only transformer with rotary positions and normalised queries and keys."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config


def rms_norm(x: Tensor) -> Tensor:
    """Scale the last dimension to a root mean square of one; there is nothing to learn in it."""
    return F.rms_norm(x, (x.size(-1),))


class Positions(NamedTuple):
    """What attention needs to know about positions: their rotary angles, and who may see whom."""

    cos: Tensor  # (length, head_width / 2)
    sin: Tensor
    mask: Tensor  # (length, positions that can be seen), added to the logits of attention: 0 or -inf

    @classmethod
    def up_to(cls, length: int, head_width: int, base: float) -> Positions:
        """Return all positions below `length`. Source of the angles: RoFormer (arXiv:2104.09864)."""
        frequencies = base ** -torch.linspace(0, 1, head_width // 2)
        angles = torch.outer(torch.arange(length), frequencies)
        return cls(angles.cos(), angles.sin(), torch.full((length, length), -torch.inf).triu(1))

    def between(self, start: int, end: int) -> Positions:
        """Return the positions from `start` to before `end`, which see all up to themselves."""
        return Positions(self.cos[start:end], self.sin[start:end], self.mask[start:end, :end])


def rotate(x: Tensor, at: Positions) -> Tensor:
    """Turn each pair of the last dimension by its position's angle; x is (..., length, head_width)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * at.cos + right * at.sin, right * at.cos - left * at.sin), dim=-1)


class Cache:
    """Keys and values of the tokens seen so far, one pair for each layer."""

    def __init__(self, config: Config, device: torch.device) -> None:
        shape = (config.n_layer, 1, config.n_head, config.context, config.width // config.n_head)
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        self.length = 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append a layer's new keys and values, (1, heads, new, head_width), and return all of them."""
        end = self.length + key.size(2)
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.layer, self.n_head = layer, config.n_head
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.width, bias=False)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, at: Positions, cache: Cache | None) -> Tensor:
        """Mix each position with those before it; x is (batch, length, width)."""
        heads = (*x.shape[:2], self.n_head, -1)
        query, key, value = (
            project(x).view(heads).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        query, key = rotate(rms_norm(query), at), rotate(rms_norm(key), at)
        if cache is not None:
            key, value = cache.extend(self.layer, key, value)
        # Written out, since over so short a context torch's fused attention takes a training step on the
        # CPU from 48 to 64 ms.
        affinity = query @ key.mT * query.size(-1) ** -0.5 + at.mask
        mixed = affinity.softmax(dim=-1).to(value.dtype) @ value
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(x.shape))
        return out


class MLP(nn.Module):
    """Two layers with a nonlinearity between them, at each position alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.activation = config.activation
        self.input = nn.Linear(config.width, 4 * config.width, bias=False)
        self.output = nn.Linear(4 * config.width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (batch, length, width)."""
        hidden = self.input(x)
        hidden = F.relu(hidden).square() if self.activation == "relu2" else F.gelu(hidden)
        out: Tensor = self.output(hidden)
        return out


class Block(nn.Module):
    """Attention, then MLP; each reads the normalised residual stream and adds to it."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, at: Positions, cache: Cache | None) -> Tensor:
        """Transform (batch, length, width)."""
        x = x + self.attention(rms_norm(x), at, cache)
        out: Tensor = x + self.mlp(rms_norm(x))
        return out


class GPT(nn.Module):
    """From token ids to logits over the token that follows each of them."""

    cos: Tensor
    sin: Tensor
    mask: Tensor

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.head = nn.Linear(config.width, vocab_size, bias=False)
        positions = Positions.up_to(config.context, config.width // config.n_head, config.rotary_base)
        for name, value in positions._asdict().items():
            self.register_buffer(name, value, persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew from torch's global generator."""
        for name, weight in self.named_parameters():
            if self.config.zero_init and name.endswith("output.weight"):
                nn.init.zeros_(weight)
            else:
                nn.init.normal_(weight, std=self.config.init_scale * self.config.width**-0.5)

    def features(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the final residual stream, (batch, length, width), of token ids (batch, length).

        With a cache the tokens continue those that it holds.
        """
        start = cache.length if cache is not None else 0
        end = start + tokens.size(1)
        at = Positions(self.cos, self.sin, self.mask).between(start, end)
        x = rms_norm(self.embedding(tokens))
        for block in self.blocks:
            x = block(x, at, cache)
        if cache is not None:
            cache.length = end
        return rms_norm(x)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (..., vocabulary) of final features (..., width)."""
        logits: Tensor = self.head(features)
        if cap := self.config.logit_softcap:
            logits = cap * torch.tanh(logits / cap)
        return logits

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Return logits (batch, length, vocabulary) of token ids (batch, length)."""
        return self.logits(self.features(tokens, cache))

    def flops_per_token(self) -> float:
        """Floating point operations of one trained token: 6 for each weight, and those of attention.

        Source: appendix B of PaLM (arXiv:2204.02311).
        """
        weights = sum(weight.numel() for weight in self.parameters()) - self.embedding.weight.numel()
        return 6 * weights + 12 * self.config.n_layer * self.config.width * self.config.context
