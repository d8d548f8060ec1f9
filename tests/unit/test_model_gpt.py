"""The network looks back only, the cache changes nothing, and the optimisers do what they say."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch

from model.config import Config
from model.gpt import GPT, Cache
from model.optim import AdamW, Muon, orthogonalise

SIZES: Any = {"context": 16, "n_layer": 2, "n_head": 2, "width": 32}
TINY = dataclasses.replace(Config(), **SIZES)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(dataclasses.replace(TINY, zero_init=False), 300).eval()


def test_predictions_do_not_depend_on_what_follows(model: GPT) -> None:
    tokens = torch.randint(300, (1, 16))
    changed = tokens.clone()
    changed[:, 10:] = 7
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10:], after[:, 10:])


@pytest.mark.parametrize("pieces", [(16,), (5, 11), (1,) * 16, (9, 1, 1, 5)])
def test_the_cache_changes_no_prediction(model: GPT, pieces: tuple[int, ...]) -> None:
    tokens = torch.randint(300, (1, 16))
    cache = Cache(model.config, torch.device("cpu"))
    ends = list(itertools.accumulate(pieces))
    with torch.inference_mode():
        cached = [model(tokens[:, end - piece : end], cache) for piece, end in zip(pieces, ends, strict=True)]
        torch.testing.assert_close(torch.cat(cached, dim=1), model(tokens))


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "gelu"},
        {"activation": "relu2"},
        {"logit_softcap": 15},
        {"zero_init": True},
        {"n_head": 1},
    ],
    ids=str,
)
def test_every_variant_can_be_trained(change: dict[str, Any]) -> None:
    model = GPT(dataclasses.replace(TINY, **change), 300)
    logits = model(torch.randint(300, (2, 16)))
    assert logits.shape == (2, 16, 300)
    torch.autograd.backward(logits.square().sum())
    assert all(weight.grad is not None for weight in model.parameters())


def test_a_softcap_bounds_the_logits() -> None:
    model = GPT(dataclasses.replace(TINY, logit_softcap=15, init_scale=2.9), 300)
    model.head.weight.data *= 100
    assert model(torch.randint(300, (2, 16))).abs().max() <= 15


def test_flops_count_the_weights_that_multiply() -> None:
    weights = 2 * (4 * 32 * 32 + 8 * 32 * 32) + 300 * 32
    assert GPT(TINY, 300).flops_per_token() == 6 * weights + 12 * 2 * 32 * 16


@pytest.mark.parametrize("shape", [(3, 16, 64), (3, 64, 16), (2, 32, 32)])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32], ids=str)
def test_orthogonal_updates_have_even_singular_values(shape: tuple[int, ...], precision: torch.dtype) -> None:
    torch.manual_seed(0)
    update = orthogonalise(torch.randn(shape).to(precision), steps=5)
    assert update.dtype is precision
    values = torch.linalg.svdvals(update.float())
    assert values.median() == pytest.approx(1.0, abs=0.3)
    assert values.max() < 1.3


def test_muon_descends() -> None:
    torch.manual_seed(0)
    target = torch.randn(8, 4)
    weight = torch.zeros(8, 4, requires_grad=True)
    muon = Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
    losses = []
    for step in range(60):
        loss = (weight - target).square().sum()
        losses.append(loss.item())
        weight.grad = None
        torch.autograd.backward(loss)
        muon.step(1 - step / 60)
    assert losses[-1] < losses[0] / 20


def test_weight_decay_shrinks() -> None:
    weight = torch.ones(4, 4, requires_grad=True)
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 0.95))


def test_adamw_is_torchs_own_without_its_compiler() -> None:
    ours, theirs = (
        [torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)), torch.nn.Parameter(torch.ones(5))]
        for _ in range(2)
    )
    options: dict[str, Any] = {"betas": (0.9, 0.95), "weight_decay": 0.1}
    optimiser = AdamW([([ours[0]], 0.01), ([ours[1]], 0.1)], **options)
    reference = torch.optim.AdamW(
        [{"params": [theirs[0]], "lr": 0.01}, {"params": [theirs[1]], "lr": 0.1}], fused=True, **options
    )
    generator = torch.Generator().manual_seed(0)
    for step in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        for group, rate in zip(reference.param_groups, (0.01, 0.1), strict=True):
            group["lr"] = rate / (step + 1)
        optimiser.step(1 / (step + 1))
        reference.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    ours[1].grad = None
    before = ours[1].clone()
    optimiser.step()
    assert torch.equal(ours[1], before)


def test_a_training_does_not_wait_for_a_compiler() -> None:
    code = "import sys; from model.optim import AdamW; import torch; w = torch.ones(2, requires_grad=True); "
    code += "w.sum().backward(); AdamW([([w], 0.1)]).step(); sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
