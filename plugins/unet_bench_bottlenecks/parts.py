"""Bottlenecks: `(N C *S)` to `(N C *S)`, whatever the padding.

What reaches far is zero-padded always: beyond a map of a few pixels there is nothing to mirror.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import CONV, activation, conv_norm_act, convolution, normalisation

RATES: Final = (6, 12, 18)  # of a map reduced 16 times
DILATIONS: Final = (1, 2, 4, 8)
HEAD: Final = 64  # channels per attention head


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017, section 3.3).

    A 1×1 convolution, three dilated 3×3 ones and the map's mean lie side by side, each with a
    quarter of the channels (DeepLab's 256 of 1024); then comes a 1×1 convolution. The rates are 6,
    12 and 18 on a map reduced 16 times, twice that on one reduced 8 times, and so on: the same
    reach in the image. Taps beyond the map see zeros. The mean has no norm: a batch of one has a
    single value per channel.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        width = max(1, place.out_channels // 4)
        rates = [max(1, rate * 16 >> place.level) for rate in RATES]
        self.near = conv_norm_act(place, place.in_channels, width, 1)
        zeros = place.at(padding="zeros")
        self.far = nn.ModuleList(
            conv_norm_act(zeros, place.in_channels, width, dilation=rate) for rate in rates
        )
        self.mean = nn.Sequential(
            convolution(place.at(bias=True), place.in_channels, width, 1), activation(place)
        )
        self.join = conv_norm_act(place, width * (len(rates) + 2), place.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x.mean(tuple(range(2, x.ndim)), keepdim=True))
        mean = mean.expand(-1, -1, *x.shape[2:])
        joined: Tensor = self.join(
            torch.cat([self.near(x), *(far(x) for far in self.far), mean], dim=1)
        )
        return joined


class Dilated(nn.Module):
    """The centre of D-LinkNet (Zhou et al. 2018).

    3×3 convolutions with dilations 1, 2, 4 and 8 stand in a row; the map and what each of them
    returns are summed. Norm, activation and their order are the place's.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        zeros, width = place.at(padding="zeros"), place.in_channels
        self.convs = nn.ModuleList(
            conv_norm_act(zeros, width, width, dilation=rate) for rate in DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        total = x
        for conv in self.convs:
            x = conv(x)
            total = total + x
        return total


class Transformer(nn.Module):
    """A pre-norm transformer layer over all pixels.

    It is self-attention, then an MLP four times as wide, each added. Positions come from a
    depthwise 3×3 convolution, added first (Chu et al. 2021), so that any size will do. As many
    heads of 64 channels as there are; fewer, wider ones where that many do not divide the channels.
    Its norms and activation are the transformer's own.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        channels = place.in_channels
        self.heads = next(
            heads for heads in range(max(1, channels // HEAD), 0, -1) if channels % heads == 0
        )
        self.positions = CONV[place.dims](channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positions(x)
        tokens = x.flatten(2).transpose(1, 2)  # N L C
        tokens = tokens + self.attended(self.norm(tokens))
        tokens = tokens + self.mlp(tokens)
        mixed: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return mixed

    def attended(self, tokens: Tensor) -> Tensor:
        """Return `(N L C)`: every pixel as a mean of all pixels' values."""
        # N heads L C'
        query, key, value = (
            self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )
        mixed: Tensor = self.out(
            F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )
        return mixed


class NonLocal(nn.Module):
    """`x + W(softmax(θ(x)ᵀ φ(x)) g(x))`, the embedded Gaussian with half the channels.

    Wang et al. 2018, section 3. θ, φ, g and W are 1×1 convolutions, W with a norm. What is added
    begins as zero. Products are divided by the root of their length, as the authors' code does.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        inner = max(1, place.in_channels // 2)
        # θ, φ and g: no norm follows
        self.embed = convolution(place.at(bias=True), place.in_channels, 3 * inner, 1)
        self.conv = convolution(place, inner, place.in_channels, 1)
        self.norm = normalisation(place, place.in_channels)
        for parameter in (self.conv if place.norm == "none" else self.norm).parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)  # N L 3C'
        query, key, value = tokens.unsqueeze(1).chunk(3, dim=-1)  # N 1 L C'
        mixed = F.scaled_dot_product_attention(query, key, value).squeeze(1).transpose(1, 2)
        added: Tensor = self.norm(self.conv(mixed.reshape(len(x), -1, *x.shape[2:])))
        return x + added
