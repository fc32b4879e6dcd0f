"""What topologies are made of: a node of the decoder, and how maps of unlike sizes meet in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from unet_bench.networks.contracts import Place, stated_channels


class DecoderNode(nn.Module):
    """One map of a decoder: up-sample the coarser one, align it with the skips, merge, block.

    `place` has the level's encoder channels in `skip_channels`, the coarser map's in `in_channels`,
    and in `out_channels` what the node is to return, 0 for half of what is merged. `earlier`:
    channels of the level's maps that are merged beside the encoder's, which alone passes through
    `skip`. `margins`: see `Meeting`.
    """

    def __init__(self, place: Place, earlier: Sequence[int], margins: Iterator[int]) -> None:
        super().__init__()
        assert place.design is not None
        choices, gate = place.design.choices, place.in_channels
        encoder = place.skip_channels[place.level]
        lifted = up_channels(choices.up_policy, gate, place.out_channels)
        up_at = place.at(out_channels=lifted, skip_channels=())
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
        block_at = place.at(
            in_channels=width, out_channels=wanted, mid_channels=mid, skip_channels=()
        )
        self.block = block_at.make("decoder_block")
        self.out_channels = stated_channels(self.block, block_at)

    def forward(self, below: list[Tensor], here: list[Tensor]) -> Tensor:
        """Return the level's map, from the first map `below` and those `here`.

        The encoder's maps come first in `here`; used maps are taken out of both lists.
        """
        return last_use(self.block, [self._merged(below, here)])

    def _merged(self, below: list[Tensor], here: list[Tensor]) -> Tensor:
        """Return what the block is given; on return, all that it was made of is released."""
        gate, skips = below.pop(0), list(here)
        here.clear()
        x = self.up(gate)
        if self.skip is not None:
            passed = self.skip(skips[0], x if self.gates_on_up else gate)
            skips[:1] = [] if passed is None else [passed]
        skips, x = self.meeting(skips, x)
        merged: Tensor = self.merge(skips, x)
        return merged


class Meeting(nn.Module):
    """Brings the maps that a merge is to join to one size, by an `align` part for each skip.

    `place` is the merge's. `margins` are what the up-sampled maps have lost, in the order in which
    the level's `align` parts run. `([(N C_k *S_k), …], (N C *S))` to the same of one size.
    """

    def __init__(self, place: Place, margins: Iterator[int]) -> None:
        super().__init__()
        self.aligns = nn.ModuleList(
            place.make("align", skip_channels=(channels,), margin=next(margins, 0))
            for channels in place.skip_channels
        )

    def forward(self, skips: list[Tensor], up: Tensor) -> tuple[list[Tensor], Tensor]:
        met = []
        for skip, align in zip(skips, self.aligns, strict=True):
            skip, up = align(skip, up)
            met.append(skip)
        for i, align in enumerate(self.aligns):
            # A later skip may have changed the up-sampled map's size.
            if met[i].shape[2:] != up.shape[2:]:
                _, met[i] = align(up, met[i])
        return met, up


def up_channels(policy: str, width: int, own: int) -> int:
    """Return how many channels an up-sampling of `width` is to return.

    `own` is its level's width, 0 if that is open.
    """
    if policy == "keep":
        return width
    return own if policy == "match" and own else max(1, width // 2)


def last_use(module: nn.Module, maps: list[Tensor]) -> Tensor:
    """Return `module(maps.pop())` for a map that nobody needs any more.

    A call keeps its argument until it returns. A plain sequence is therefore run part by part,
    which frees the map after the first. With hooks on it, it is called as usual.
    """
    hooked = module._forward_hooks or module._forward_pre_hooks
    parts = module if type(module) is nn.Sequential and not hooked else [module]
    for part in parts:
        maps.append(part(maps.pop()))
    return maps.pop()
