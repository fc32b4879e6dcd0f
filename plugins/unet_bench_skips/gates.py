"""Skips that weigh the encoder's map before it reaches the decoder."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    CONV,
    LINEAR_MODE,
    activation,
    convolution,
    he_init,
    normalisation,
)


class Attention(nn.Module):
    """Attention gate: `x · σ(ψ(act(W_x x + W_g g)))`.

    Oktay et al. 2018, arXiv 1804.03999, section 2.1. `g` is the decoder's map before its
    up-sampling. The skip is brought to about its size by a 2×2 convolution of stride 2, as in the
    authors' code; the coefficients, one a pixel, are interpolated back. Half as many channels as
    the skip has lie between. W_g and ψ have biases whatever the place says, W_x has none. `(N C
    *S)` and gate `(N G *S/2)` to `(N C *S)`; where sizes differ, as unpadded convolutions leave
    them, the gate is interpolated.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        between = max(1, place.in_channels // 2)
        of_skip = CONV[place.dims](place.in_channels, between, 2, stride=2, bias=False)
        self.of_skip = he_init(of_skip, place.in_channels * 2**place.dims)
        unnormed = place.at(bias=True)
        self.of_gate = convolution(unnormed, place.gate_channels, between, 1)
        self.psi = nn.Sequential(
            activation(place), convolution(unnormed, between, 1, 1), nn.Sigmoid()
        )
        self.mode = LINEAR_MODE[place.dims]

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        seen = self.of_skip(skip)
        weights = self.psi(seen + resized(self.of_gate(gate), seen, self.mode))
        return skip * resized(weights, skip, self.mode)


class AttentionUp(nn.Module):
    """The attention gate as most code has it.

    Its gate is the up-sampled map, and norms follow its convolutions. `(N C *S)` and gate `(N G
    *S)` to `(N C *S)`; where sizes differ, the gate is interpolated.
    """

    gates_on: Final = "up"

    def __init__(self, place: Place) -> None:
        super().__init__()
        between = max(1, place.in_channels // 2)
        self.of_skip = self._normed(place, place.in_channels, between)
        self.of_gate = self._normed(place, place.up_channels or place.gate_channels, between)
        self.psi = nn.Sequential(activation(place), self._normed(place, between, 1), nn.Sigmoid())
        self.mode = LINEAR_MODE[place.dims]

    @staticmethod
    def _normed(place: Place, channels: int, wanted: int) -> nn.Module:
        return nn.Sequential(convolution(place, channels, wanted, 1), normalisation(place, wanted))

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        weights: Tensor = self.psi(
            self.of_skip(skip) + resized(self.of_gate(gate), skip, self.mode)
        )
        return skip * weights


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze & excitation.

    Roy et al. 2018, arXiv 1803.02579, section 2. `(N C *S)` to `(N C *S)`: the sum of the map
    weighted by pixel and the map weighted by channel. Weights of channels come from their means
    through half as many, weights of pixels from a 1×1 convolution; no norm follows, so all have
    biases whatever the place says.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        channels, squeezed, place = (
            place.in_channels,
            max(1, place.in_channels // 2),
            place.at(bias=True),
        )
        self.of_channels = nn.Sequential(
            convolution(place, channels, squeezed, 1),
            activation(place),
            convolution(place, squeezed, channels, 1),
            nn.Sigmoid(),
        )
        self.of_pixels = nn.Sequential(convolution(place, channels, 1, 1), nn.Sigmoid())

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        means = skip.mean(dim=tuple(range(2, skip.ndim)), keepdim=True)
        weights: Tensor = self.of_channels(means) + self.of_pixels(skip)
        return skip * weights


def resized(x: Tensor, like: Tensor, mode: str) -> Tensor:
    """Return `x` interpolated to the size of another map, if it has not that size already."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode=mode, align_corners=False)
