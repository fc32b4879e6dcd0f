"""UNet 3+ (Huang et al. 2020, arXiv 2004.08790): each decoder level sees maps of all scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from unet_bench.networks.choices import at_level
from unet_bench.networks.contracts import Place, stated_channels
from unet_bench.networks.decoder import Meeting, last_use
from unet_bench.networks.layers import LINEAR_MODE, MAX_POOL, conv_norm_act


class FullScale(nn.Module):
    """The decoder of UNet 3+, each level of which takes maps of all levels (section 2.1).

    A level takes the encoder's maps of its own level and of all finer ones, max-pooled, and the
    decoder's maps of all coarser ones, interpolated; each goes through a 3×3 convolution to as many
    channels as the encoder's finest map has. They meet in the merge, and the decoder's block fuses
    them: a single convolution in the paper (`decoder_convs` 1). What is merged, five times those
    channels, is also the level's width, unless `decoder_widths` says otherwise. Encoder maps pass
    through `skip` once they are pooled, as maps of the level.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.design is not None
        coarsest = len(place.skip_channels) - 1
        steps: list[Step] = []  # finest level first
        self.channels = [place.skip_channels[coarsest]]
        for level in reversed(range(coarsest)):
            steps.insert(0, Step(place.at(level=level), self.channels))
            self.channels.insert(0, steps[0].out_channels)
        self.steps = nn.ModuleList(steps)

    def forward(self, maps: list[Tensor | None]) -> list[Tensor]:
        decoded = [x for x in [maps.pop()] if x is not None]
        for step in reversed(self.steps):
            decoded.insert(0, step(maps, decoded))
        return decoded


class Step(nn.Module):
    """One level of the decoder.

    It maps the encoder's maps up to its own, the last of `maps`, and the coarser decoder maps,
    nearest first, to `(N C H W)`.
    """

    def __init__(self, place: Place, decoded: Sequence[int]) -> None:
        super().__init__()
        assert place.design is not None
        design, level, encoder = place.design, place.level, place.skip_channels
        width = next(channels for channels in encoder if channels)
        at = place.at(
            out_channels=width, gate_channels=decoded[0], up_channels=decoded[0], skip_channels=()
        )
        # Its own level's first: that is where the level lies, should unpadded maps meet half a
        # pixel apart.
        finer = [
            source for source in range(level, -1, -1) if encoder[source] and design.has_skip(source)
        ]
        pooled = {
            source: Pooled(at.at(in_channels=encoder[source]), level - source) for source in finer
        }
        self.sources = [source for source, branch in pooled.items() if branch.passes]
        self.pooled = nn.ModuleList(pooled[source] for source in self.sources)
        self.gates_on_up = any(branch.gates_on_up for branch in pooled.values())
        self.ups = nn.ModuleList(
            nn.Upsample(scale_factor=2**steps, mode=LINEAR_MODE[place.dims])
            for steps in range(1, len(decoded) + 1)
        )
        self.lifted = nn.ModuleList(conv_norm_act(at, channels, width) for channels in decoded)
        skips = (width,) * (len(self.pooled) + len(decoded) - 1)
        merge_at = place.at(in_channels=width, out_channels=width, skip_channels=skips)
        self.meeting = Meeting(merge_at, iter(design.margins.get(level, ())))
        self.merge = merge_at.make("merge")
        merged = stated_channels(self.merge, merge_at)
        mid = max(1, merged // 2) if design.choices.decoder_mid == "half-in" else 0
        wanted = at_level(design.decoder_widths, level) if design.decoder_widths else merged
        block_at = place.at(
            in_channels=merged, out_channels=wanted, mid_channels=mid, skip_channels=()
        )
        self.block = block_at.make("decoder_block")
        self.out_channels = stated_channels(self.block, block_at)

    def forward(self, maps: list[Tensor | None], decoded: Sequence[Tensor]) -> Tensor:
        return last_use(self.block, [self._merged(maps, decoded)])

    def _merged(self, maps: list[Tensor | None], decoded: Sequence[Tensor]) -> Tensor:
        """Return what the block is given.

        The widest maps are lifted first, while no others wait beside them.
        """
        lifting = list(zip(self.lifted, self.ups, decoded, strict=True))
        *coarser, up = [last_use(conv, [lift(x)]) for conv, lift, x in reversed(lifting)]
        gate = self.ups[0](decoded[0]) if self.gates_on_up else decoded[0]
        skips = [
            pooled(maps[source], gate)
            for source, pooled in zip(self.sources, self.pooled, strict=True)
        ]
        del gate
        maps.pop()
        skips, up = self.meeting(skips + coarser, up)
        merged: Tensor = self.merge(skips, up)
        return merged


class Pooled(nn.Module):
    """Brings an encoder map `(N C *S)`, `steps` levels finer, to the place's level and channels."""

    def __init__(self, place: Place, steps: int) -> None:
        super().__init__()
        self.pool = MAX_POOL[place.dims](2**steps) if steps else nn.Identity()
        at = place.at(out_channels=place.in_channels)
        self.skip = at.make("skip")
        self.gates_on_up = getattr(self.skip, "gates_on", "") == "up"
        passed = stated_channels(self.skip, at)
        self.passes = passed > 0
        if self.passes:
            self.conv = conv_norm_act(place, passed, place.out_channels)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return last_use(self.conv, [self.skip(self.pool(x), gate)])
