"""pytorch-3dunet's transposed convolution, which is resized to the size it lacks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.interfaces import Place
from unet_bench.layers import CONV_TRANSPOSE, he_init


class ResizedTranspose(nn.Module):
    """3×3 transposed convolution of stride 2, padded by 1: of n pixels it makes 2n − 1, resized to 2n by the nearest.

    So the first pixel comes twice, and the others lie a pixel off; `transpose-3x3` makes 2n of them by itself. It has
    the place's bias. Source: github.com/wolny/pytorch-3dunet, TransposeConvUpsampling.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        conv = CONV_TRANSPOSE[place.dims](
            place.in_channels, place.out_channels, 3, stride=2, padding=1, bias=place.bias
        )
        self.conv = he_init(conv, place.in_channels * 3**place.dims // 2**place.dims)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.conv(x), (1, 0) * (x.ndim - 2), mode="replicate")  # what resizing comes to
