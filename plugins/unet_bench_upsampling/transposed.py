"""Up-sampling by transposed convolution of stride 2: `(N in *S)` to `(N out 2*S)`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    CONV_TRANSPOSE,
    activation,
    he_init,
    normalisation,
    transposed_convolution,
)
from unet_bench_upsampling.parts import blur_3


def transpose_no_bias(place: Place) -> nn.Module:
    """Build a 2×2 transposed convolution of stride 2 without bias: `(N in *S)` to `(N out *2S)`.

    MONAI's DynUNet has it.
    """
    conv = transposed_convolution(place, place.in_channels, place.out_channels)
    conv.bias = None  # type: ignore[assignment]
    return conv


def transpose_3x3(place: Place) -> nn.Module:
    """Build a 3×3 transposed convolution of stride 2, padded by 1.

    For an even size it is padded by another pixel at the high side. Every second pixel sees one
    input pixel, the others two or four; so the map lies half a pixel off.
    """
    conv = CONV_TRANSPOSE[place.dims](
        place.in_channels, place.out_channels, 3, stride=2, padding=1, output_padding=1
    )
    return he_init(conv, place.in_channels * 3**place.dims // 2**place.dims)


def transpose_3x3_norm(place: Place) -> nn.Module:
    """Build a 3×3 transposed convolution of stride 2 with norm and activation, as MONAI has it.

    `(N in *S)` to `(N out *2S)`.
    """
    return nn.Sequential(
        transpose_3x3(place), normalisation(place, place.out_channels), activation(place)
    )


class ResizedTranspose(nn.Module):
    """A 3×3 transposed convolution of stride 2, resized to twice the size.

    It is padded by 1 and makes 2n − 1 of n pixels, which the nearest pixels resize to 2n. So the
    first pixel comes twice, and the others lie a pixel off; `transpose-3x3` makes 2n of them by
    itself. It has the place's bias. Source: github.com/wolny/pytorch-3dunet,
    TransposeConvUpsampling.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        conv = CONV_TRANSPOSE[place.dims](
            place.in_channels, place.out_channels, 3, stride=2, padding=1, bias=place.bias
        )
        self.conv = he_init(conv, place.in_channels * 3**place.dims // 2**place.dims)

    def forward(self, x: Tensor) -> Tensor:
        # That is what resizing comes to.
        return F.pad(self.conv(x), (1, 0) * (x.ndim - 2), mode="replicate")


def transpose_4x4(place: Place) -> nn.Module:
    """Build 4×4 transposed convolution of stride 2 and padding 1.

    Every output pixel sees 2×2 input pixels.
    """
    return transposed_convolution(place, place.in_channels, place.out_channels, 4, padding=1)


def transpose_blur(place: Place) -> nn.Module:
    """Build a 2×2 transposed convolution, then the binomial blur 1 2 1 along every axis.

    The fixed smoothing takes away the checkerboard that learned weights leave, as Kinoshita and
    Kiya 2020 propose.
    """
    return nn.Sequential(
        transposed_convolution(place, place.in_channels, place.out_channels), *blur_3(place.dims)
    )
