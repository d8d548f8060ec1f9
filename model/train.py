"""Trains the model: `python -m model.train`, or `torchrun --nproc-per-node 2 -m model.train`.

The environment says what to do. `EVALLOOP_DATA` is the folder of training documents, `EVALLOOP_ARTIFACTS`
the only one that is written to, `EVALLOOP_SEED` decides the weights and the order of the data,
`EVALLOOP_BUDGET` is what may be used (`450steps`, `5e6tokens`, `1e13flops`, `40cpu-s` or `300s`), and
`EVALLOOP_PROGRESS` names the file that gets a JSON line every ten steps. All but the last have defaults.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from model.config import Config
from model.corpus import read_documents
from model.device import autocast, one_thread, pick_device
from model.gpt import GPT
from model.optim import AdamW, Muon
from model.tokenizer import BPETokenizer

# What the imports above took, which a budget of seconds has to pay as well.
STARTED = time.perf_counter() - time.process_time()


@dataclass
class Budget:
    """How much may be used, in which unit, and how much has been used so far."""

    amount: float
    unit: str
    steps: int = 0
    tokens: int = 0
    flops: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `450steps`, `5e6tokens`, `1e13flops`, `40cpu-s` or `300s`."""
        match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)(steps|tokens|flops|cpu-s|s)", text)
        if match is None:
            raise ValueError(
                f"EVALLOOP_BUDGET={text!r} is no budget. Write it like 450steps, 5e6tokens or 300s."
            )
        return cls(float(match[1]), match[2])

    def fraction(self, world: int) -> float:
        """Return the share that is used up, 1.0 at the end; `world` processes share it."""
        used = {
            "steps": self.steps,
            "tokens": self.tokens,
            "flops": self.flops,
            "cpu-s": time.process_time() * world,
            "s": time.perf_counter() - STARTED,
        }
        return min(1.0, used[self.unit] / self.amount)


def learning_rate_scale(fraction: float, config: Config) -> float:
    """Return the factor of all learning rates at a share of the budget: up, level, and down to zero."""
    up = fraction / config.warmup if config.warmup else 1.0
    down = (1 - fraction) / config.warmdown if config.warmdown else 1.0
    return min(1.0, up, down)


def batches(
    tokens: Tensor, config: Config, *, seed: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets, each (batch, context), for ever.

    Each pass cuts the text into windows from another offset and takes them in another order. Processes
    that share a seed get different windows of the same pass.
    """
    generator = torch.Generator().manual_seed(seed)
    within = torch.arange(config.context + 1)
    if len(tokens) < (config.batch_size * world + 1) * config.context + 1:
        raise ValueError(
            f"{len(tokens)} training tokens do not fill one batch. Is EVALLOOP_DATA the right folder?"
        )
    while True:
        offset = int(torch.randint(config.context, (1,), generator=generator))
        windows = (len(tokens) - offset - 1) // config.context
        starts = offset + config.context * torch.randperm(windows, generator=generator)[rank::world]
        for first in range(0, len(starts) - config.batch_size + 1, config.batch_size):
            batch = tokens[starts[first : first + config.batch_size, None] + within]
            yield batch[:, :-1], batch[:, 1:]


@dataclass
class Progress:
    """The training loss of late, written to the harness as it goes."""

    path: Path | None
    bits: float = 0.0
    bytes: float = 0.0
    bpb: float = math.nan

    def add(self, nats: float, size: float) -> None:
        """Count a batch that cost this many nats for this many bytes."""
        self.bits += nats / math.log(2)
        self.bytes += size

    def report(self, step: int, fraction: float) -> None:
        """Append one line on all that was counted since the last one."""
        self.bpb, self.bits, self.bytes = self.bits / self.bytes, 0.0, 0.0
        if self.path is not None:
            line = {"step": step, "fraction": round(fraction, 6), "train_bpb": round(self.bpb, 6)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class Trainer:
    """One training run of one process; several processes share it under torchrun."""

    def __init__(self, config: Config, tokenizer: BPETokenizer, *, seed: int, device: torch.device) -> None:
        self.config, self.device = config, device
        self.autocast = autocast(device)
        self.distributed = dist.is_initialized()
        self.rank = dist.get_rank() if self.distributed else 0
        self.world = dist.get_world_size() if self.distributed else 1
        self.seed = seed
        torch.manual_seed(seed)  # the same weights in every process
        self.model = GPT(config, len(tokenizer.vocabulary)).to(device)
        self.bytes_of = torch.tensor([len(token) for token in tokenizer.vocabulary], device=device)
        self.muon = Muon(
            [weight for weight in self.model.blocks.parameters() if weight.ndim == 2],
            lr=config.matrix_lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            newton_schulz=config.newton_schulz,
        )
        self.adamw = AdamW(
            [
                (self.model.embedding.parameters(), config.embedding_lr),
                (self.model.head.parameters(), config.head_lr),
            ],
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
        )

    def step(self, inputs: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Train on one batch, with all learning rates times `scale`, and return its nats and bytes."""
        with self.autocast:
            logits = self.model(inputs)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        torch.autograd.backward(loss)
        if self.distributed:
            for weight in self.model.parameters():
                if weight.grad is not None:
                    dist.all_reduce(weight.grad)
                    weight.grad.div_(self.world)
        self.adamw.step(scale)
        self.muon.step(scale)
        self.model.zero_grad(set_to_none=True)
        return loss.detach() * targets.numel(), self.bytes_of[targets].sum()

    def spent(self, budget: Budget) -> float:
        """Return the share of the budget that is used up, the same in every process."""
        fraction = budget.fraction(self.world)
        if not self.distributed:
            return fraction
        shared = torch.tensor(fraction, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)

    def run(self, tokens: Tensor, budget: Budget, progress: Progress) -> None:
        """Train until the budget is used up."""
        data = batches(tokens, self.config, seed=self.seed, rank=self.rank, world=self.world)
        flops = self.model.flops_per_token()
        fraction = self.spent(budget)
        while fraction < 1.0:
            inputs, targets = (part.to(self.device) for part in next(data))
            nats, size = self.step(inputs, targets, learning_rate_scale(fraction, self.config))
            progress.add(float(nats), float(size))
            budget.steps += 1
            budget.tokens += inputs.numel() * self.world
            budget.flops += inputs.numel() * self.world * flops
            fraction = self.spent(budget)
            if budget.steps % 10 == 0 or fraction >= 1.0:
                progress.report(budget.steps, fraction)


def join_the_others(backend: str) -> None:
    """Make the process group of this run, which `destroy_process_group` ends together with its threads.

    Functions of `torch.distributed.nn` hold the group of the moment of their import as a default argument.
    The optimisers of `torch.optim` import them; were the group there by then, its threads would outlive it and now and
    then abort the process while Python shuts down.
    """
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group(backend)


def main() -> None:
    """Train as the environment says, save the artifacts, and print one line about it."""
    artifacts = Path(os.environ.get("EVALLOOP_ARTIFACTS", ".evalloop/artifacts"))
    folder = Path(os.environ.get("EVALLOOP_DATA", ".evalloop/data/train"))
    seed = int(os.environ.get("EVALLOOP_SEED", "0"))
    budget = Budget.parse(os.environ.get("EVALLOOP_BUDGET", "450steps"))
    progress = Path(path) if (path := os.environ.get("EVALLOOP_PROGRESS")) else None
    one_thread()

    device = pick_device()
    documents = [text for _, text in read_documents(folder)]
    if not documents:
        raise SystemExit(f"No documents in {folder}. Prepare them first: python -m model.corpus")
    config = Config()
    tokenizer = BPETokenizer.train(documents, config.vocab_size)
    tokens = [token for text in documents for token in (tokenizer.bos, *tokenizer.encode(text))]

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        join_the_others("nccl" if device.type == "cuda" else "gloo")
    trainer = Trainer(config, tokenizer, seed=seed, device=device)
    writes = trainer.rank == 0
    log = Progress(progress if writes else None)
    trainer.run(torch.tensor(tokens), budget, log)
    if writes:
        artifacts.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.contiguous().cpu() for name, weight in trainer.model.state_dict().items()}
        save_file(weights, artifacts / "model.safetensors")
        tokenizer.save(artifacts / "tokenizer.json")
        config.save(artifacts / "config.json")
        seconds = time.perf_counter() - STARTED
        print(
            f"{budget.steps} steps, {budget.tokens} tokens on {device.type}: train {log.bpb:.4f} bpb, "
            f"{seconds:.1f} s, {time.process_time():.1f} CPU-s"
        )
    if trainer.distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
