"""What nnU-Net's and MONAI's networks have of their own: a stem, up-samplings, and a decoder's block."""

from __future__ import annotations

from torch import Tensor, nn

from unet_bench.interfaces import Place
from unet_bench.layers import (
    INSTANCE_NORM,
    activation,
    conv_norm_act,
    convolution,
    dropout,
    normalisation,
    transposed_convolution,
)
from unet_bench_classic.parts import PlainEncoder
from unet_bench_upsampling.parts import transpose_3x3


class Stem(PlainEncoder):
    """A convolution, norm and activation at full resolution, then the plain encoder: `(N C *S)` to `depth + 1` maps.

    nnU-Net's residual encoder (Isensee et al. 2024, arXiv 2404.09556) begins so: as wide as its finest level.
    """

    def __init__(self, place: Place) -> None:
        assert place.design is not None
        width = place.design.widths[0]
        super().__init__(place.at(in_channels=width))
        self.stem = conv_norm_act(place, place.in_channels, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(self.stem(x))


def transpose_no_bias(place: Place) -> nn.Module:
    """2×2 transposed convolution of stride 2 without bias: `(N in *S)` to `(N out *2S)`. MONAI's DynUNet has it."""
    conv = transposed_convolution(place, place.in_channels, place.out_channels)
    conv.bias = None  # type: ignore[assignment]
    return conv


def transpose_3x3_norm(place: Place) -> nn.Module:
    """3×3 transposed convolution of stride 2, norm, activation: `(N in *S)` to `(N out *2S)`, as MONAI has it."""
    return nn.Sequential(transpose_3x3(place), normalisation(place, place.out_channels), activation(place))


def instance_prelu(place: Place) -> nn.Module:
    """`place.convs` times 3×3 convolution, instance norm without scales, PReLU: `(N in *S)` to `(N out *S')`.

    MONAI's Convolution is this by default, and so is what its AttentionUnet merges with.
    """
    layers: list[nn.Module] = []
    width = place.in_channels
    for i in range(place.convs):
        wanted = place.out_channels if i == place.convs - 1 else place.mid_channels or place.out_channels
        layers += [convolution(place, width, wanted), INSTANCE_NORM[place.dims](wanted), nn.PReLU()]
        width = wanted
    return nn.Sequential(*layers, dropout(place))
