"""UNet++ (Zhou et al. 2018, arXiv 1807.10165): between an encoder's map and the decoder lies a dense block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from unet_bench.choices import at_level
from unet_bench.interfaces import Place, stated_channels
from unet_bench.unet import last_use, up_channels
from unet_bench_topologies.meeting import Meeting


class Nested(nn.Module):
    """Section 3.1, equation 1: X^{i,j} = H([X^{i,0}, …, X^{i,j-1}, U(X^{i+1,j-1})]), where X^{i,0} is the encoder's.

    `H` is the decoder's block, `U` the up-sampling, the brackets the merge; the encoder's map passes through `skip`
    on its way into each node. The last node of a level is the decoder's and has its width, those before it have the
    encoder's. A level without a skip has its last node alone. Auxiliary heads look at the other nodes of the finest
    level that has any, the last first.

    A level is computed as a whole, the coarsest first, so that the maps of two levels wait at most.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.design is not None
        self.design, encoder = place.design, place.skip_channels
        self.nested = [bool(width) and self.design.has_skip(level) for level, width in enumerate(encoder)]
        rows: list[list[Node]] = []  # finest level first
        below, self.channels = [encoder[-1]], [encoder[-1]]
        self.aux_channels: list[int] = []
        self.shown = 0  # the level that auxiliary heads look at
        for level in reversed(range(len(encoder) - 1)):
            here, row = [encoder[level]] * self.nested[level], []
            margins = iter(self.design.margins.get(level, ()))
            sources = below if self.nested[level] else below[-1:]
            for j, width in enumerate(sources, start=1):
                last = j == len(sources)
                at = place.at(level=level, in_channels=width, out_channels=self._width(level, encoder[level], last))
                row.append(Node(at, here[1:], margins))
                here.append(row[-1].out_channels)
            if len(row) > 1:
                self.aux_channels, self.shown = here[-2:0:-1], level
            rows.insert(0, row)
            self.channels.insert(0, here[-1])
            below = here
        self.rows = nn.ModuleList(nn.ModuleList(row) for row in rows)

    def _width(self, level: int, encoder: int, last: bool) -> int:
        """What a node is to return; 0: half of what is merged there."""
        chosen = self.design.decoder_widths
        return at_level(chosen, level) if last and chosen else encoder

    def forward(self, maps: list[Tensor | None]) -> list[Tensor]:
        below: list[Tensor] = [x for x in [maps.pop()] if x is not None]
        decoded, aux = list(below), []
        for level, row in reversed(list(enumerate(self.rows))):
            encoded = maps.pop()
            here = [encoded] if self.nested[level] and encoded is not None else []
            below = below if self.nested[level] else below[-1:]
            nodes: list[nn.Module] = list(row.children())
            for node in nodes[:-1]:
                here.append(node(below, here))
            if level == self.shown and self.design.supervised(self):
                aux = here[:0:-1]
            here.append(nodes[-1](below, here))
            decoded.insert(0, here[-1])
            below = here
        return [*decoded, *aux]


class Node(nn.Module):
    """X^{i,j}, from the first map that is left of those `below` (which it takes) and all maps so far `here`.

    `earlier`: channels of the level's nodes so far.
    """

    def __init__(self, place: Place, earlier: Sequence[int], margins: Iterator[int]) -> None:
        super().__init__()
        assert place.design is not None
        choices, gate, encoder = place.design.choices, place.in_channels, place.skip_channels[place.level]
        up_at = place.at(out_channels=up_channels(choices.up_policy, gate, place.out_channels), skip_channels=())
        self.up = up_at.make("up")
        width = stated_channels(self.up, up_at)
        self.skip: nn.Module | None = None
        skips = list(earlier)
        if encoder and place.design.has_skip(place.level):
            at = place.at(in_channels=encoder, out_channels=encoder, skip_channels=())
            at = at.at(gate_channels=gate, up_channels=width)
            self.skip = at.make("skip")
            if passed := stated_channels(self.skip, at):
                skips.insert(0, passed)
        self.gates_on_up = getattr(self.skip, "gates_on", "") == "up"
        merge_at = place.at(in_channels=width, out_channels=width, skip_channels=tuple(skips))
        self.meeting = Meeting(merge_at, margins)
        self.merge = merge_at.make("merge")
        width = stated_channels(self.merge, merge_at)
        mid = max(1, width // 2) if choices.decoder_mid == "half-in" else 0
        wanted = place.out_channels or max(1, width // 2)
        block_at = place.at(in_channels=width, out_channels=wanted, mid_channels=mid, skip_channels=())
        self.block = block_at.make("decoder_block")
        self.out_channels = stated_channels(self.block, block_at)

    def forward(self, below: list[Tensor], here: list[Tensor]) -> Tensor:
        return last_use(self.block, [self._merged(below, here)])

    def _merged(self, below: list[Tensor], here: list[Tensor]) -> Tensor:
        """What the block is given; all that it was made of is let go of on return."""
        gate, skips = below.pop(0), list(here)
        x = self.up(gate)
        if self.skip is not None:
            passed = self.skip(skips[0], x if self.gates_on_up else gate)
            skips[:1] = [] if passed is None else [passed]
        skips, x = self.meeting(skips, x)
        merged: Tensor = self.merge(skips, x)
        return merged
