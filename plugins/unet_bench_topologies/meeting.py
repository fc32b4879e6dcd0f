"""How more than two maps are brought to one size."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from unet_bench.interfaces import Place


class Meeting(nn.Module):
    """Brings the maps that a merge is to join to one size, by an `align` part for each skip.

    `place` is the merge's. `margins` are what the up-sampled maps have lost, in the order in which the level's
    `align` parts run. `([(N C_k *S_k), …], (N C *S))` to the same of one size.
    """

    def __init__(self, place: Place, margins: Iterator[int]) -> None:
        super().__init__()
        self.aligns = nn.ModuleList(
            place.make("align", skip_channels=(channels,), margin=next(margins, 0)) for channels in place.skip_channels
        )

    def forward(self, skips: list[Tensor], up: Tensor) -> tuple[list[Tensor], Tensor]:
        met = []
        for skip, align in zip(skips, self.aligns, strict=True):
            skip, up = align(skip, up)
            met.append(skip)
        for i, align in enumerate(self.aligns):
            if met[i].shape[2:] != up.shape[2:]:  # a later skip has changed the up-sampled map's size
                _, met[i] = align(up, met[i])
        return met, up
