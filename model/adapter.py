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
    tokenizer = BPETokenizer.load(artifacts / "tokenizer.json")
    model = GPT(config, len(tokenizer.vocabulary))
    model.load_state_dict(load_file(artifacts / "model.safetensors"))
    return ScoredGPT(model.eval(), tokenizer, pick_device())


class ScoredGPT:
    """A trained model that scores documents, shows its predictions, and writes."""

    def __init__(self, model: GPT, tokenizer: BPETokenizer, device: torch.device) -> None:
        self.model, self.tokenizer, self.device = model.to(device), tokenizer, device
        self.context, self.stride = model.config.context, model.config.stride
        self.reach = self.context // 2  # tokens of the primer that are seen

    def token_bytes(self) -> list[bytes]:
        """Return the bytes that each token id stands for, `b""` for BOS."""
        return self.tokenizer.token_bytes()

    def encode(self, text: bytes) -> list[int]:
        """Return token ids whose bytes, joined, give `text` back."""
        return self.tokenizer.encode(text)

    @torch.inference_mode()
    def nll(self, documents: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> list[Tensor]:
        """Return float32 nats per token of each document, given the primer and all tokens before it."""
        before = self._before(primer)
        scores = [torch.empty(len(document)) for document in documents]
        windows: list[Sequence[int]] = []
        targets: list[Sequence[int]] = []
        places: list[Tensor] = []  # where the scores of the last targets of each window go
        for document, score in zip(documents, scores, strict=True):
            text = [*before, *document]
            done = 0
            while done < len(document):
                start, end = self._window(done, len(before) - 1)
                end = min(end, len(document))
                window = text[start + len(before) - 1 : end + len(before)]
                windows.append(window[:-1])
                targets.append(window[1:])
                places.append(score[done:end])
                done = end
        for first in range(0, len(windows), BATCH):
            chunk = slice(first, first + BATCH)
            logits, wanted = self._predict(windows[chunk]), self._pad(targets[chunk])
            nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
            for row, target, place in zip(nats.cpu(), targets[chunk], places[chunk], strict=False):
                place.copy_(row[len(target) - len(place) : len(target)])
        return scores

    @torch.inference_mode()
    def logits(self, prefixes: Sequence[Sequence[int]], *, primer: Sequence[int] = ()) -> Tensor:
        """Return float32 logits, (prefixes, vocabulary), of the token after the primer and each prefix."""
        before = self._before(primer)
        windows = []
        for prefix in prefixes:
            start, _ = self._window(len(prefix), len(before) - 1)
            windows.append([*before, *prefix][start + len(before) - 1 :])
        rows = [torch.empty(0, len(self.tokenizer.vocabulary))]
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
        cache, start = Cache(self.model.config, self.device), 0
        while len(written) < max_bytes:
            moved, _ = self._window(len(text) - 1)
            if moved != start:
                start, cache.length = moved, 0  # cached keys are turned by their places in the old window
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

    def _before(self, primer: Sequence[int]) -> list[int]:
        """Return what stands before a document: of the primer as much as may be seen, and BOS.

        BOS divides them as it divides two scenes in training. It also gives the first token something to be
        predicted from when there is no primer.
        """
        return [*primer[-self.reach :], self.tokenizer.bos]

    def _window(self, position: int, primed: int = 0) -> tuple[int, int]:
        """Return the start of the window that predicts the token at `position`, and the end of what it predicts.

        Predicted positions count from the document's first token. Starts count from BOS, with `primed` tokens
        of the primer before it. The primer has a first window of its own, and all others are as they
        would be without: what a primer is worth is not blurred by windows that lie elsewhere.
        """
        if primed and position < self.context - self.reach:
            return -primed, self.context - self.reach
        beyond = max(0, position + 1 - self.context)
        start = -(-beyond // self.stride) * self.stride
        return start, start + self.context

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
