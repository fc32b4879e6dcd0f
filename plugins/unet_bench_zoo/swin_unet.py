"""Swin-Unet (Cao et al. 2021, arXiv 2105.05537): a U of shifted-window transformer blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_bench.networks.layers import ChannelNorm
from unet_bench.networks.unet import scaled
from unet_bench_zoo.limits import require_multiples

HEADS: Final = (3, 6, 12, 24)  # of each level, finest first
BLOCKS: Final = 2  # at each level of the encoder, the coarsest included, and of the decoder
WINDOW: Final = 7
PATCH: Final = 4
# chance of a branch of the coarsest level's last block to be dropped; rises from 0
DROPPED: Final = 0.2
STEP: Final = 32


class SwinUnet(nn.Module):
    """`(N C H W)`, sides multiples of 32, to logits `(N classes H W)`.

    As the authors' code runs it: two blocks at all levels but the decoder's coarsest, which only
    expands (their configuration's decoder depths are not read). Where windows of 7 do not fill a
    map, its far end is padded with tokens that nobody looks at; at 224 there is no need. An image
    of one channel is taken as it is, where the authors' code repeats it thrice. Raises
    InvalidChoice for volumes, InvalidSize for other sides.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = 96,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        levels = range(len(HEADS))
        per_head = scaled(base_width // HEADS[0], width_scale)
        widths = [per_head * heads for heads in HEADS]
        drops = [DROPPED * i / (BLOCKS * len(HEADS) - 1) for i in range(BLOCKS * len(HEADS))]

        def stage(level: int) -> nn.Sequential:
            dropped = drops[BLOCKS * level : BLOCKS * (level + 1)]
            blocks = (
                Block(widths[level], HEADS[level], shifted=i % 2 == 1, drop=d)
                for i, d in enumerate(dropped)
            )
            return nn.Sequential(*blocks)

        self.embed = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], PATCH, PATCH), ChannelNorm(widths[0])
        )
        self.encoder = nn.ModuleList(stage(level) for level in levels)
        self.merges = nn.ModuleList(Merge(width) for width in widths[:-1])
        self.norm = ChannelNorm(widths[-1])
        self.expands = nn.ModuleList(Expand(width, width // 2, 2) for width in reversed(widths[1:]))
        self.joins = nn.ModuleList(
            nn.Conv2d(2 * width, width, 1) for width in reversed(widths[:-1])
        )
        self.decoder = nn.ModuleList(stage(level) for level in reversed(levels[:-1]))
        self.last = nn.Sequential(ChannelNorm(widths[0]), Expand(widths[0], widths[0], PATCH))
        self.head = nn.Conv2d(widths[0], classes, 1, bias=False)
        self.apply(small_weights)

    def forward(self, image: Tensor) -> Tensor:
        require_multiples("swin-unet", STEP, image.shape[2:])
        x = self.embed(image)  # (N C H/4 W/4)
        skips = []
        for stage, merge in zip(self.encoder, self.merges, strict=False):
            skips.append(x)  # before the blocks, as published
            x = merge(stage(x))
        x = self.norm(self.encoder[-1](x))  # (N 8C H/32 W/32)
        for expand, join, stage in zip(self.expands, self.joins, self.decoder, strict=True):
            x = stage(join(torch.cat((expand(x), skips.pop()), 1)))
        logits: Tensor = self.head(self.last(x))
        return logits


class Block(nn.Module):
    """A Swin transformer block, norms first: `(N C H W)` to the same.

    Liu et al. 2021, arXiv 2103.14030.
    """

    def __init__(self, channels: int, heads: int, *, shifted: bool, drop: float) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = ChannelNorm(channels), ChannelNorm(channels)
        self.attention = WindowAttention(channels, heads, shift=WINDOW // 2 if shifted else 0)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attention(self.attention_norm(x)))
        mixed: Tensor = self.drop(self.mlp(self.mlp_norm(x).movedim(1, -1)).movedim(-1, 1))
        return x + mixed


class WindowAttention(nn.Module):
    """Each pixel looks at those of its 7×7 window, by what they hold and by where they lie.

    It maps `(N C H W)` to the same. Shifted, the windows lie as many pixels further down and to the
    right, and what then juts out at the far end is joined to what is left over at the near one,
    without looking at it. A map of less than a window is one window.
    """

    looks_around = True  # what a pixel looks at is not centred on it

    def __init__(self, channels: int, heads: int, *, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        # by offset within the window
        self.preference = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.preference, std=0.02)
        self.register_buffer("offsets", offsets(), persistent=False)
        self.offsets: Tensor

    def forward(self, x: Tensor) -> Tensor:
        size = tuple(x.shape[2:])
        window = tuple(min(WINDOW, side) for side in size)
        shift = tuple(self.shift if side > WINDOW else 0 for side in size)
        counts = tuple(-(-side // w) for side, w in zip(size, window, strict=True))
        full = tuple(count * w for count, w in zip(counts, window, strict=True))

        looks = self.query_key_value(x.movedim(1, -1))  # (N H W 3C)
        if full != size:
            looks = F.pad(looks, (0, 0, 0, full[1] - size[1], 0, full[0] - size[0]))
        if any(shift):
            looks = looks.roll((-shift[0], -shift[1]), (1, 2))
        looks = looks.reshape(len(x), counts[0], window[0], counts[1], window[1], 3, self.heads, -1)
        looks = looks.permute(5, 0, 1, 3, 6, 2, 4, 7)  # (3 N rows columns heads h w C')
        # Windows are heads, too: one mask serves the batch.
        query, key, value = looks.flatten(5, 6).flatten(2, 4)

        bias = self.bias(window).expand(counts[0] * counts[1], -1, -1, -1)  # (windows heads L L)
        if full != size or any(shift):
            near = [
                together(*axis, x.device) for axis in zip(size, full, window, shift, strict=True)
            ]
            allowed = near[0][:, None, :, None, :, None] & near[1][None, :, None, :, None, :]
            bias = bias.masked_fill(
                ~allowed.flatten(4).flatten(2, 3).flatten(0, 1)[:, None], -torch.inf
            )
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.flatten(0, 1)[None])

        x = x.reshape(len(x), *counts, self.heads, *window, -1).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.flatten(5).flatten(3, 4).flatten(1, 2)  # (N H' W' C)
        if any(shift):
            x = x.roll(shift, (1, 2))
        mixed: Tensor = self.project(x[:, : size[0], : size[1]])
        return mixed.movedim(-1, 1)

    def bias(self, window: Sequence[int]) -> Tensor:
        """Return what each head adds for each pair of a window's pixels: `(heads L L)`."""
        height, width = window
        pairs = self.offsets[:height, :width, :height, :width].reshape(height * width, -1)
        return self.preference[pairs].movedim(-1, 0)


class Merge(nn.Module):
    """Four pixels become one of twice the channels: `(N C H W)` to `(N 2C H/2 W/2)`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(4 * channels)
        self.reduce = nn.Conv2d(4 * channels, 2 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        quarters = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduce(self.norm(torch.cat(quarters, 1)))
        return merged


class Expand(nn.Module):
    """Each pixel becomes `factor`² pixels: `(N C H W)` to `(N out factor·H factor·W)`."""

    def __init__(self, channels: int, out_channels: int, factor: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, out_channels * factor**2, 1, bias=False)
        self.shuffle = nn.PixelShuffle(factor)
        self.norm = ChannelNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        expanded: Tensor = self.norm(self.shuffle(self.widen(x)))
        return expanded


class DropPath(nn.Module):
    """In training, forgets a branch for some images of a batch.

    Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.chance):
            return x
        kept = 1 - self.chance
        return x * x.new_empty(len(x), *(1,) * (x.ndim - 1)).bernoulli_(kept) / kept


def offsets() -> Tensor:
    """Return where `preference` keeps the offset of each pair of a window's pixels: `(7 7 7 7)`."""
    place = torch.arange(WINDOW)
    apart = place[:, None] - place[None, :] + WINDOW - 1
    return apart[:, None, :, None] * (2 * WINDOW - 1) + apart[None, :, None, :]


def together(side: int, full: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Return which pixels of a window may look at each other along one axis.

    The result is `(windows window window)`. What was joined by the shift lies apart, and so does
    the padding.
    """
    origin = (torch.arange(full, device=device) + shift) % full
    region = ((origin < shift) + 2 * (origin >= side)).view(-1, window)
    return region[:, :, None] == region[:, None, :]


def small_weights(module: nn.Module) -> None:
    """Initialise as transformers are: normal weights of std 0.02 in linear maps, and no bias."""
    if isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    ):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
