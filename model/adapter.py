"""What the grader loads: the trained model behind the methods of pytest-evalloop's `LanguageModel`.

A text longer than the context is read through windows. Where the window of a position starts depends on
the position alone, so every method here predicts a token from the same tokens before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from model.config import Config
from model.device import autocast, one_thread, pick_device
from model.gpt import GPT, Cache
from model.tokenizer import BPETokenizer

# Windows that are scored at once. Always this many, padded, since another shape may round differently.
BATCH = 16


def load(artifacts: Path) -> ScoredGPT:
    """Load what `python -m model.train` saved."""
    one_thread()
    config = Config.load(artifacts / "config.json")
    model = GPT(config)
    model.load_state_dict(load_file(artifacts / "model.safetensors"))
    return ScoredGPT(model.eval(), BPETokenizer.load(artifacts / "tokenizer.json"), pick_device())


class ScoredGPT:
    """A trained model that scores documents, shows its predictions, and writes."""

    def __init__(self, model: GPT, tokenizer: BPETokenizer, device: torch.device) -> None:
        self.model, self.tokenizer, self.device = model.to(device), tokenizer, device
        self.context, self.stride = model.config.context, model.config.stride

    def token_bytes(self) -> list[bytes]:
        """Return the bytes that each token id stands for, `b""` for BOS."""
        return self.tokenizer.token_bytes()

    def encode(self, text: bytes) -> list[int]:
        """Return token ids whose bytes, joined, give `text` back."""
        return self.tokenizer.encode(text)

    @torch.inference_mode()
    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Tensor]:
        """Return float32 nats per token of each document, given the primer and all tokens before it.

        BOS stands between the primer and the document, as it stands between two scenes in training. So the
        first token is predicted from something also without a primer.
        """
        context = [*primer, self.tokenizer.bos]
        scores = [torch.empty(len(document)) for document in documents]
        windows: list[Sequence[int]] = []
        targets: list[Sequence[int]] = []
        places: list[
            tuple[int, int, int]
        ] = []  # of each window: document, first position, where it is in the window
        for index, document in enumerate(documents):
            text = [*context, *document]
            position = len(context)
            while position < len(text):
                start = self.window_start(position)
                end = min(start + self.context, len(text) - 1)  # of the inputs; targets are one further
                windows.append(text[start:end])
                targets.append(text[start + 1 : end + 1])
                places.append((index, position - len(context), position - start - 1))
                position = end + 1
        for first in range(0, len(windows), BATCH):
            chunk = slice(first, first + BATCH)
            logits = self._predict(windows[chunk])
            nats = F.cross_entropy(
                logits.flatten(0, 1), self._pad(targets[chunk]).flatten(), reduction="none"
            )
            for row, target, (index, at, skip) in zip(
                nats.view(BATCH, -1).cpu(), targets[chunk], places[chunk], strict=False
            ):
                scored = row[skip : len(target)]
                scores[index][at : at + len(scored)] = scored
        return scores

    @torch.inference_mode()
    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Tensor:
        """Return float32 logits, (prefixes, vocabulary), of the token after the primer and each prefix."""
        texts = [[*primer, self.tokenizer.bos, *prefix] for prefix in prefixes]
        windows = [text[self.window_start(len(text)) :] for text in texts]
        rows = [torch.empty(0, self.model.config.vocab_size)]
        for first in range(0, len(windows), BATCH):
            chunk = windows[first : first + BATCH]
            last = torch.tensor([len(window) - 1 for window in chunk])
            rows.append(self._predict(chunk).cpu()[torch.arange(len(chunk)), last])
        return torch.cat(rows)

    @torch.inference_mode()
    def generate(self, prompt: bytes, *, max_bytes: int, seed: int, temperature: float) -> bytes:
        """Return at most `max_bytes` that continue `prompt`, the same for the same arguments.

        A temperature of 0 always takes the likeliest token; control tokens are never drawn.
        """
        generator = torch.Generator().manual_seed(seed)
        text = [self.tokenizer.bos, *self.tokenizer.encode(prompt)]
        written = b""
        cache, start = Cache(self.model.config, self.device), -1
        while len(written) < max_bytes:
            if start != self.window_start(len(text)):
                start = self.window_start(len(text))
                cache.length = 0
            unread = torch.tensor([text[start + cache.length :]], device=self.device)
            logits = self.model.logits(self.model.features(unread, cache)[0, -1]).float().cpu()
            logits[self.tokenizer.bos] = -torch.inf
            if temperature > 0:
                weights = torch.softmax(logits / temperature, dim=-1)
                token = int(torch.multinomial(weights, 1, generator=generator))
            else:
                token = int(logits.argmax())
            text.append(token)
            written += self.tokenizer.vocabulary[token]
        return written[:max_bytes]

    def window_start(self, position: int) -> int:
        """Return where the window starts that predicts the token at `position` from those before it.

        The first window holds a whole context; from there on windows move by the stride.
        """
        beyond = max(0, position - self.context)
        return -(-beyond // self.stride) * self.stride

    def _predict(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return float32 logits (BATCH, context, vocabulary) of at most BATCH windows."""
        with autocast(self.device):
            logits: Tensor = self.model(self._pad(windows))
        return logits.float()

    def _pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return (BATCH, context) with zeros where a row or the batch is short; nothing looks ahead at them."""
        padded = torch.zeros(BATCH, self.context, dtype=torch.long)
        for row, tokens in enumerate(rows):
            padded[row, : len(tokens)] = torch.tensor(tokens)
        return padded.to(self.device)
