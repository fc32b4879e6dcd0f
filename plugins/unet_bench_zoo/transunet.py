"""TransUNet (Chen et al. 2021, arXiv 2102.04306): ResNet-50, a vision transformer on its last map,
and a decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import conv_norm_act, he_init
from unet_bench.networks.unet import scaled
from unet_bench_zoo.limits import require_multiples

UNITS: Final = (3, 4, 9)  # bottlenecks of each ResNet stage
LAYERS: Final = 12
HEADS: Final = 12
DROPOUT: Final = 0.1
DECODER: Final = (4, 2, 1, 0.25)  # widths in base widths, coarsest first
STEP: Final = 16
USUAL_SIZE: Final = (256, 256)


class TransUNet(nn.Module):
    """R50-ViT-B/16 with three skips.

    It maps `(N C H W)`, sides multiples of 16, to logits `(N classes H W)`. There is a position
    embedding for each 16×16 patch of `image_size` (256×256 if none is given); at other sizes they
    are interpolated. An image of one channel is taken as it is, where the authors' code repeats it
    thrice. Up-sampling aligns corners, as published, the last one too: at the far end logits lie a
    pixel off. Raises InvalidChoice for volumes, InvalidSize for other sides.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = 64,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        base = scaled(base_width, width_scale)
        grid = [math.ceil(side / STEP) for side in image_size or USUAL_SIZE]
        self.resnet = ResNet(in_channels, base)
        skips = self.resnet.channels
        hidden = HEADS * base
        self.embed = nn.Conv2d(skips.pop(), hidden, 1)
        self.positions = nn.Parameter(torch.zeros(1, hidden, *grid))
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.Sequential(
            *(Layer(hidden) for _ in range(LAYERS)), nn.LayerNorm(hidden, eps=1e-6)
        )
        width = 8 * base
        self.entry = convolved(hidden, width)
        self.blocks = nn.ModuleList()
        for factor, skip in zip(DECODER, (*reversed(skips), 0), strict=True):
            wanted = scaled(round(base_width * factor), width_scale)
            self.blocks.append(
                nn.Sequential(convolved(width + skip, wanted), convolved(wanted, wanted))
            )
            width = wanted
        self.up = nn.UpsamplingBilinear2d(scale_factor=2)
        self.head = nn.Conv2d(width, classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        require_multiples("transunet", STEP, image.shape[2:])
        *skips, x = self.resnet(image)
        x = self.embed(x)  # (N hidden H/16 W/16)
        size = x.shape[2:]
        positions: Tensor = self.positions
        if positions.shape[2:] != size:
            positions = F.interpolate(positions, size, mode="bilinear")
        # (N H/16·W/16 hidden)
        tokens = self.layers(self.dropout(x + positions).flatten(2).transpose(1, 2))
        x = self.entry(tokens.transpose(1, 2).unflatten(2, size))
        for block in self.blocks:
            x = self.up(x)
            x = block(torch.cat((x, skips.pop()), 1) if skips else x)
        logits: Tensor = self.head(x)
        return logits


class ResNet(nn.Module):
    """ResNet-50 with standardised weights and group norm, without its last stage.

    It maps `(N C H W)` to four maps. They are the maps at 1/2, 1/4, 1/8 and 1/16, of `channels`.
    The max-pool is unpadded, as published: the map at 1/4 is a pixel short, which its skip makes up
    for with zeros at the far end, and all maps from there on lie two pixels of the image further
    down and to the right.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.root = nn.Sequential(
            StandardisedConv(in_channels, width, 7, stride=2),
            group_norm(width),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, 2)
        self.stages = nn.ModuleList()
        self.channels = [width]
        for i, units in enumerate(UNITS):
            out = (4 << i) * width
            first = Bottleneck(self.channels[-1], out, stride=2 if i else 1)
            self.stages.append(
                nn.Sequential(first, *(Bottleneck(out, out) for _ in range(units - 1)))
            )
            self.channels.append(out)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [self.root(image)]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(even(x) if len(maps) == 1 else x)
        return maps


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolution with a shortcut.

    It maps `(N in H W)` to `(N out H/stride W/stride)`, rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        mid = out_channels // 4
        self.stride = stride
        self.reduce = nn.Sequential(
            StandardisedConv(in_channels, mid, 1), group_norm(mid), nn.ReLU(inplace=True)
        )
        self.convolve = nn.Sequential(
            StandardisedConv(mid, mid, 3, stride=stride), group_norm(mid), nn.ReLU(inplace=True)
        )
        self.expand = nn.Sequential(
            StandardisedConv(mid, out_channels, 1), group_norm(out_channels)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            project = StandardisedConv(in_channels, out_channels, 1, stride=stride)
            self.shortcut = nn.Sequential(project, nn.GroupNorm(out_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.reduce(x)
        if self.stride > 1:  # the zeros that the convolution would have padded: no row is left over
            hidden, x = even(hidden), even(x)
        added: Tensor = self.shortcut(x) + self.expand(self.convolve(hidden))
        return F.relu(added)


class StandardisedConv(nn.Conv2d):
    """A convolution without bias whose kernels have mean 0 and variance 1.

    Qiao et al. 2019, arXiv 1903.10520.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        he_init(self, in_channels * kernel**2)
        self.standardise = nn.LayerNorm(self.weight.shape[1:], eps=1e-5, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.standardise(self.weight), None, self.stride, self.padding)


class Layer(nn.Module):
    """A transformer layer, norms first: tokens `(N L C)` to the same.

    Dosovitskiy et al. 2020, arXiv 2010.11929.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = (nn.LayerNorm(channels, eps=1e-6) for _ in range(2))
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        widen, narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        for linear in (widen, narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.mlp = nn.Sequential(widen, nn.GELU(), nn.Dropout(DROPOUT), narrow, nn.Dropout(DROPOUT))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.attention_norm(x))
        mixed: Tensor = self.mlp(self.mlp_norm(x))
        return x + mixed

    def attend(self, x: Tensor) -> Tensor:
        """Return tokens `(N L C)`, each of which has looked at every other."""
        # N heads L C'
        query, key, value = (
            self.query_key_value(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        )
        attended: Tensor = self.project(
            F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )
        return attended


def group_norm(channels: int) -> nn.GroupNorm:
    """Build group norm of 32 groups; of fewer where these would be of single channels."""
    return nn.GroupNorm(math.gcd(32, channels // 2), channels, eps=1e-6)


def convolved(in_channels: int, out_channels: int) -> nn.Sequential:
    """Build a 3×3 convolution with batch norm and ReLU."""
    return conv_norm_act(
        Place(in_channels=in_channels, out_channels=out_channels, bias=False),
        in_channels,
        out_channels,
    )


def even(x: Tensor) -> Tensor:
    """Return the map with a row and a column of zeros at the far end where a side is odd."""
    height, width = x.shape[2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
