"""Every network, at its smallest, learns: within a few steps on one batch the loss falls."""

from __future__ import annotations

import pytest
import torch
from support.sampling import sampled
from torch import Tensor
from torch.nn import functional as F

from unet_bench.geometry.sizes import covering_input
from unet_bench.models.build import build, with_width_scale
from unet_bench.networks.contracts import Outputs
from unet_bench.registry.plugins import load
from unet_bench.registry.registry import Registry

STEPS = 8  # at most: most networks need three
FALL = 0.02
LOADED = load().checked()
NAMES = [name for name, variant in LOADED.variants().items() if not LOADED.absent(variant)]


@pytest.mark.parametrize("name", sampled(NAMES, ("unet",)))
def test_the_loss_falls(name: str, registry: Registry) -> None:
    variant = with_width_scale(registry.variants()[name], 0.125)
    dims = variant.choices.dims
    least = (64 if dims == 2 else 32,) * dims
    with torch.device("meta"):
        at = covering_input(build(registry, variant, 1, 2, least), 1, (24,) * dims)
    torch.manual_seed(0)
    model = build(registry, variant, 1, 2, at.input).train()
    image = torch.randn(2, 1, *at.input)
    image = F.interpolate(
        F.avg_pool2d(image, 8) if dims == 2 else F.avg_pool3d(image, 8), at.input
    )  # blobs
    start = [
        max(0, round(offset)) for offset in at.offset
    ]  # a backbone may look a pixel beyond the border
    seen = image[(..., *(slice(s, s + o) for s, o in zip(start, at.output, strict=True)))]
    target = (
        seen[:, 0] > 0
    ).long()  # what one pixel tells: any network that learns at all can learn it
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses: list[float] = []
    while len(losses) < STEPS and not has_fallen(losses):
        optimiser.zero_grad()
        loss = loss_of(model(image), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert has_fallen(losses), losses


def has_fallen(losses: list[float]) -> bool:
    """Return whether two steps in a row began with a loss well below the first one's."""
    return len(losses) > 2 and max(losses[-2:]) < losses[0] - FALL


def loss_of(output: Tensor | Outputs, target: Tensor) -> Tensor:
    """Cross-entropy of the main head, and of the others where they are as large."""
    main, aux = (output.main, output.aux) if isinstance(output, Outputs) else (output, ())
    loss = F.cross_entropy(main, target)
    for weight, logits in aux:
        loss = loss + weight * F.cross_entropy(F.interpolate(logits, target.shape[1:]), target)
    return loss
