"""Cost, against figures worked out by hand, the same on the CPU and without data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from unet_bench.measure.cost import cost

C, SIDE = 8, 4
L = SIDE * SIDE  # tokens
PROJECTIONS, ATTENTION = (
    4 * L * C * C,
    2 * L * L * C,
)  # query, key, value, out; scores, and what they weigh


class Tokens(nn.Module):
    """A sequence module as a network of images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.unused = inner, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class Attention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention, self.need_weights = (
            nn.MultiheadAttention(C, 2, batch_first=True),
            need_weights,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class Fused(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(2, (2, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


MODULES = {
    "attention": (lambda: Attention(need_weights=False), PROJECTIONS + ATTENTION),
    "attention with weights": (lambda: Attention(need_weights=True), PROJECTIONS + ATTENTION),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(C, 2, dim_feedforward=24, batch_first=True),
        PROJECTIONS + ATTENTION + 2 * L * C * 24,
    ),
    "fused": (Fused, ATTENTION),
    "linear": (lambda: nn.Linear(C, C), L * C * C),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", MODULES)
def test_attention_is_counted_everywhere_alike(name: str, device: str) -> None:
    make, macs = MODULES[name]
    with torch.device(device):
        model = Tokens(make())
    assert cost(model, C, (SIDE, SIDE))["macs"] == macs


def test_the_fused_encoder_is_left_as_it_was() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    cost(Tokens(nn.Linear(C, C)), C, (SIDE, SIDE))
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_a_convolution_by_hand() -> None:
    found = cost(nn.Conv2d(2, 3, 3, padding=1), 2, (8, 6))
    weights, macs = 3 * 2 * 9 + 3, 48 * 3 * 2 * 9
    moved = 2 * 48 + weights + 3 * 48
    assert found == {
        "params": weights,
        "macs": macs,
        "activations": 3 * 48,
        "flop_per_byte": 2 * macs / (4 * moved),
    }


def test_a_transposed_convolution_by_hand() -> None:
    found = cost(nn.ConvTranspose2d(4, 2, 2, stride=2, bias=False), 4, (8, 6))
    assert found["macs"] == 48 * 4 * 2 * 4
    assert found["activations"] == 2 * 4 * 48


def test_a_network_without_arithmetic_costs_nothing() -> None:
    assert cost(nn.Identity(), 1, (8, 8)) == {
        "params": 0,
        "macs": 0,
        "activations": 0,
        "flop_per_byte": 0.0,
    }


@pytest.mark.parametrize("name", ["unet", "attention-unet", "swin-unet"])
def test_operations_are_those_that_torchs_counter_finds(context_of, name: str) -> None:
    context = context_of(name)
    size = context.cell.input_window.input
    model = context.blueprint().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty((1, 1, *size), device="meta"))
    assert cost(model, 1, size)["macs"] == counter.get_total_flops() // 2
