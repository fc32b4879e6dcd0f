"""The parts of the 2015 network and of the baseline; those that assemble others: plain encoder,
stem, U topology.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unet_bench.networks.choices import at_level
from unet_bench.networks.contracts import Place, stated_channels
from unet_bench.networks.decoder import DecoderNode
from unet_bench.networks.layers import (
    MAX_POOL,
    conv_norm_act,
    convolutions,
    crop,
    dropout,
    keeping,
    transposed_convolution,
)


class PlainEncoder(nn.Module):
    """A block per level with a down-sampling between.

    It maps `(N C H W)` to `depth + 1` maps, finest first. `image` says that what comes in is the
    image, and not what a stem made of it.
    """

    def __init__(self, place: Place, *, image: bool = True) -> None:
        super().__init__()
        assert place.design is not None
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        self.channels: list[int] = []
        width = place.in_channels
        for level, wanted in enumerate(place.design.widths):
            last = level == place.depth
            at = place.at(
                level=level,
                role="bottleneck" if last else "encoder",
                dropout=place.dropout if last else 0.0,
            )
            down: nn.Module = nn.Identity()
            if level:
                down = at.make("down", in_channels=width, out_channels=width)
                width = stated_channels(down, at.at(out_channels=width))
            stride = int(getattr(down, "block_stride", 1))
            blocks: list[nn.Module] = []
            for i in range(at_level(place.design.choices.blocks_per_level, level)):
                block_at = at.at(
                    in_channels=width, out_channels=wanted, stride=stride if i == 0 else 1
                )
                block_at = block_at.at(image=image and level == i == 0)
                blocks.append(block_at.make("encoder_block"))
                width = stated_channels(blocks[-1], block_at)
            self.downs.append(down)
            self.blocks.append(blocks[0] if len(blocks) == 1 else nn.Sequential(*blocks))
            self.channels.append(width)
        self.reductions = [2**level for level in range(len(self.channels))]

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for down, block in zip(self.downs, self.blocks, strict=True):
            x = block(down(x))  # (N C_l H/2^l W/2^l)
            maps.append(x)
        return maps


class Stem(PlainEncoder):
    """A convolution, norm and activation at full resolution, then the plain encoder.

    It maps `(N C *S)` to `depth + 1` maps. nnU-Net's residual encoder (Isensee et al. 2024, arXiv
    2404.09556) begins so: as wide as its finest level.
    """

    def __init__(self, place: Place) -> None:
        assert place.design is not None
        width = place.design.widths[0]
        super().__init__(place.at(in_channels=width), image=False)
        self.stem = conv_norm_act(place.at(image=True), place.in_channels, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(self.stem(x))


class UNetTopology(nn.Module):
    """From the coarsest map: up-sample, align with the skip, merge, block; once per level."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.design is not None
        design, encoder = place.design, place.skip_channels
        self.steps = nn.ModuleList()
        self.channels = [encoder[-1]]
        for level in reversed(range(len(encoder) - 1)):
            own = (
                at_level(design.decoder_widths, level) if design.decoder_widths else encoder[level]
            )
            at = place.at(level=level, in_channels=self.channels[0], out_channels=own)
            step = DecoderNode(at, (), iter(design.margins.get(level, ())))
            self.steps.append(step)
            self.channels.insert(0, step.out_channels)

    def forward(self, maps: list[Tensor | None]) -> list[Tensor]:
        x = maps.pop()
        assert x is not None
        decoded = [x]
        for step in self.steps:
            x = step(
                [x], [skip for skip in [maps.pop()] if skip is not None and step.skip is not None]
            )
            decoded.insert(0, x)
        return decoded


def double_conv(place: Place) -> nn.Sequential:
    """Build `place.convs` times 3×3 convolution, norm, activation; the first one strides."""
    return nn.Sequential(*convolutions(place), dropout(place))


def max_pool(place: Place) -> nn.Module:
    """Build a 2×2 max-pool: channels stay; an odd last row or column is dropped."""
    return keeping(MAX_POOL[place.dims](2), place.in_channels)


def transpose(place: Place) -> nn.Module:
    """Build a 2×2 transposed convolution of stride 2."""
    return transposed_convolution(place, place.in_channels, place.out_channels)


class Crop(nn.Module):
    """Cuts the larger map where the other one lies.

    That is `place.margin` pixels at the low side, the rest at the high. Pooling an odd size drops
    its last row, so the middle of a map is not where the other map's middle is.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.margin = place.margin

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        dims = skip.ndim - 2
        return crop(skip, up.shape[2:], (self.margin,) * dims), crop(
            up, skip.shape[2:], (0,) * dims
        )


class CropCenter(nn.Module):
    """Cuts the larger map to its middle, as the paper does.

    At odd differences that shifts it by half a pixel.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        return crop(skip, up.shape[2:]), crop(up, skip.shape[2:])


class Identity(nn.Module):
    """Passes the encoder's map on as it is."""

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        return skip


def identity_skip(place: Place) -> nn.Module:
    """Build the skip of the 2015 network."""
    return Identity()


def identity(place: Place) -> nn.Module:
    """Build no bottleneck beyond the encoder's deepest block."""
    return keeping(nn.Identity(), place.in_channels)


class Concat(nn.Module):
    """Skips first, then the up-sampled map, along the channels."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.out_channels = sum(place.skip_channels) + place.in_channels

    def forward(self, skips: list[Tensor], up: Tensor) -> Tensor:
        return torch.cat([*skips, up], dim=1) if skips else up
