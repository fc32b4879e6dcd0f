"""CMUNeXt's encoder (Tang et al. 2023, arXiv 2308.01239): large depthwise kernels, one size a
level.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from unet_bench.networks.choices import at_level
from unet_bench.networks.contracts import Place, stated_channels
from unet_bench.networks.layers import conv_norm_act
from unet_bench_blocks.large_kernel import cmunext_block, odd_kernel


class LargeKernelEncoder(nn.Module):
    """A 3×3 stem, then a CMUNeXt block per level, a down-sampling before each.

    It maps `(N C *S)` to `depth + 1` maps, finest first. `kernels` are per level, the last one for
    all coarser levels; `blocks_per_level` says how often a level's block mixes before its 3×3
    convolution.
    """

    def __init__(self, place: Place, kernels: tuple[int, ...]) -> None:
        super().__init__()
        assert place.design is not None
        self.downs, self.blocks = nn.ModuleList(), nn.ModuleList()
        self.channels: list[int] = []
        width = place.design.widths[0]
        self.stem = conv_norm_act(place.at(image=True), place.in_channels, width)
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
            at = at.at(
                in_channels=width, out_channels=wanted, stride=int(getattr(down, "block_stride", 1))
            )
            depth = at_level(place.design.choices.blocks_per_level, level)
            self.downs.append(down)
            self.blocks.append(cmunext_block(at, at_level(kernels, level), depth))
            self.channels.append(width := wanted)
        self.reductions = [2**level for level in range(len(self.channels))]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for down, block in zip(self.downs, self.blocks, strict=True):
            x = block(down(x))  # (N C_l H/2^l W/2^l)
            maps.append(x)
        return maps


def family(member: str) -> Callable[[Place], nn.Module]:
    """Build `large-kernel:3-3-7`: 3×3 kernels at the two finest levels, 7×7 ones at all others.

    Raises InvalidChoice.
    """
    kernels = tuple(
        odd_kernel(side, f"encoder=large-kernel:{member}") for side in member.split("-")
    )
    return lambda place: LargeKernelEncoder(place, kernels)
