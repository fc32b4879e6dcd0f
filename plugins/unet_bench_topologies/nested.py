"""UNet++ (Zhou et al. 2018, arXiv 1807.10165): between an encoder's map and the decoder lies a
dense block.
"""

from __future__ import annotations

from torch import Tensor, nn

from unet_bench.networks.choices import at_level
from unet_bench.networks.contracts import Place
from unet_bench.networks.decoder import DecoderNode


class Nested(nn.Module):
    """X^{i,j} = H([X^{i,0}, …, X^{i,j-1}, U(X^{i+1,j-1})]) (section 3.1, equation 1).

    X^{i,0} is the encoder's map. `H` is the decoder's block, `U` the up-sampling, the brackets the
    merge; the encoder's map passes through `skip` on its way into each node. The last node of a
    level is the decoder's and has its width, those before it have the encoder's. A level without a
    skip has its last node alone. Auxiliary heads look at the other nodes of the finest level that
    has any, the last first.

    A level is computed as a whole, the coarsest first, so that the maps of two levels wait at most.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        assert place.design is not None
        self.design, encoder = place.design, place.skip_channels
        self.nested = [
            bool(width) and self.design.has_skip(level) for level, width in enumerate(encoder)
        ]
        rows: list[list[DecoderNode]] = []  # finest level first
        below, self.channels = [encoder[-1]], [encoder[-1]]
        self.aux_channels: list[int] = []
        self.shown = 0  # the level that auxiliary heads look at
        for level in reversed(range(len(encoder) - 1)):
            here, row = [encoder[level]] * self.nested[level], []
            margins = iter(self.design.margins.get(level, ()))
            sources = below if self.nested[level] else below[-1:]
            for j, width in enumerate(sources, start=1):
                last = j == len(sources)
                at = place.at(
                    level=level,
                    in_channels=width,
                    out_channels=self._width(level, encoder[level], last),
                )
                row.append(DecoderNode(at, here[1:], margins))
                here.append(row[-1].out_channels)
            if len(row) > 1:
                self.aux_channels, self.shown = here[-2:0:-1], level
            rows.insert(0, row)
            self.channels.insert(0, here[-1])
            below = here
        self.rows = nn.ModuleList(nn.ModuleList(row) for row in rows)

    def _width(self, level: int, encoder: int, last: bool) -> int:
        """Return what a node is to return; 0: half of what is merged there."""
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
                here.append(node(below, list(here)))
            if level == self.shown and self.design.supervised(self):
                aux = here[:0:-1]
            here.append(nodes[-1](below, list(here)))
            decoded.insert(0, here[-1])
            below = here
        return [*decoded, *aux]
