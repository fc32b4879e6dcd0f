"""SegFormer's encoder: a hierarchical transformer without position codes.

Xie et al. 2021, SegFormer, arXiv 2105.15203, section 3.1 and table 6.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from unet_bench.errors import unknown
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import ChannelNorm

HEADS: Final = (1, 2, 5, 8)
SHRINKS: Final = (8, 4, 2, 1)  # by how much keys and values are coarser than queries, per stage
EXPANSION: Final = 4  # channels between a feed-forward's two linear maps, in those outside
# how often the last block's branches are dropped in training; earlier ones in proportion
DROP_PATH: Final = 0.1


class Size(NamedTuple):
    """Channels and blocks of the four stages."""

    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]


WIDE: Final = (64, 128, 320, 512)
SIZES: Final = {
    "b0": Size((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": Size(WIDE, (2, 2, 2, 2)),
    "b2": Size(WIDE, (3, 4, 6, 3)),
    "b3": Size(WIDE, (3, 4, 18, 3)),
    "b4": Size(WIDE, (3, 8, 27, 3)),
    "b5": Size(WIDE, (3, 6, 40, 3)),
}


def family(size: str) -> Callable[[Place], nn.Module]:
    """Build the encoder factory for one of the paper's six sizes, `b0` to `b5`.

    Raises UnknownName for another.
    """
    if size not in SIZES:
        raise unknown(
            "Mix Transformer", size, SIZES, "mit:b0, mit:b1, mit:b2, mit:b3, mit:b4, mit:b5"
        )
    return lambda place: MixTransformer(SIZES[size], place)


class MixTransformer(nn.Module):
    """`(N C H W)` to four maps `(N C_i H/r W/r)` with r of 4, 8, 16 and 32.

    There is none at full or half size. Sides below 32 pixels are too small for the coarse keys and
    values of its attention.
    """

    def __init__(self, size: Size, place: Place) -> None:
        super().__init__()
        self.channels = list(size.widths)
        self.reductions = [4, 8, 16, 32]
        total = sum(size.blocks)
        rates = iter([DROP_PATH * i / (total - 1) for i in range(total)])
        self.stages = nn.ModuleList()
        for i, (width, blocks) in enumerate(zip(size.widths, size.blocks, strict=True)):
            before = size.widths[i - 1] if i else place.in_channels
            embedding = OverlapPatchEmbedding(
                before, width, kernel=3 if i else 7, stride=2 if i else 4
            )
            drops = itertools.islice(rates, blocks)
            row = [
                Block(width, heads=HEADS[i], shrink=SHRINKS[i], drop_path=drop) for drop in drops
            ]
            self.stages.append(nn.Sequential(embedding, *row, ChannelNorm(width, eps=1e-6)))
        self.apply(initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class OverlapPatchEmbedding(nn.Sequential):
    """Overlapping patches: a padded strided convolution, then a norm.

    It maps `(N C H W)` to `(N C' H/stride W/stride)`.
    """

    def __init__(self, in_channels: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, width, kernel, stride, kernel // 2), ChannelNorm(width)
        )


class Block(nn.Module):
    """Attention, then Mix-FFN, each after a norm and around a shortcut: `(N C H W)` to the same."""

    def __init__(self, width: int, *, heads: int, shrink: int, drop_path: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            ChannelNorm(width, eps=1e-6), EfficientAttention(width, heads, shrink)
        )
        self.feed_forward = nn.Sequential(ChannelNorm(width, eps=1e-6), MixFeedForward(width))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(x))
        out: Tensor = x + self.drop_path(self.feed_forward(x))
        return out


class EfficientAttention(nn.Module):
    """Every pixel looks at all pixels of a map that is `shrink` times coarser (section 3.1).

    It returns `(N C H W)` again.
    """

    def __init__(self, width: int, heads: int, shrink: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.coarsen = (
            nn.Sequential(nn.Conv2d(width, width, shrink, shrink), ChannelNorm(width))
            if shrink > 1
            else nn.Identity()
        )
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query = self._split(self.query(as_tokens(x)))
        key, value = map(self._split, self.key_value(as_tokens(self.coarsen(x))).chunk(2, dim=-1))
        seen = F.scaled_dot_product_attention(query, key, value)  # (N heads H·W C/heads)
        return as_map(self.out(seen.transpose(1, 2).flatten(2)), x.shape[2:])

    def _split(self, tokens: Tensor) -> Tensor:
        """Return `(N heads T C/heads)` of `(N T C)`."""
        return torch.unflatten(tokens, 2, (self.heads, -1)).transpose(1, 2)


class MixFeedForward(nn.Module):
    """Two linear maps with a 3×3 depth-wise convolution between.

    Its zero padding tells pixels where they are.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = EXPANSION * width
        self.widen = nn.Linear(width, wide)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.narrow = nn.Linear(wide, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(as_map(self.widen(as_tokens(x)), x.shape[2:]))
        return as_map(self.narrow(as_tokens(F.gelu(mixed))), x.shape[2:])


def as_tokens(x: Tensor) -> Tensor:
    """Return one token a pixel, `(N H·W C)`, of `(N C H W)`."""
    return x.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return a map `(N C H W)` of `size` from tokens `(N H·W C)`."""
    return torch.unflatten(tokens.transpose(1, 2), 2, size)


def initialise(module: nn.Module) -> None:
    """Initialise as the authors do.

    Linear maps get a std of 0.02, convolutions one of √(2 / outgoing).
    """
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        outgoing = module.out_channels * math.prod(module.kernel_size) // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2 / outgoing))
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)
