"""The U-shape, assembled from slots. One screen: every other module serves this one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.errors import InvalidChoice, InvalidPart
from unet_bench.networks.choices import Choices, at_level
from unet_bench.networks.contracts import Design, NamedFactory, Outputs, Place, stated_channels
from unet_bench.networks.layers import LINEAR_MODE


class UNet(nn.Module):
    """Image `(N C H W)` to logits `(N classes H' W')`, after Ronneberger et al. 2015.

    arXiv 1505.04597.
    """

    def __init__(
        self,
        encoder: nn.Module,
        bottleneck: nn.Module,
        topology: nn.Module,
        head: nn.Module,
        aux_heads: Mapping[int, nn.Module],
        average_heads: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.topology = topology
        self.head = head
        self.aux_heads = nn.ModuleList(aux_heads.values())
        self.supervised = list(aux_heads)
        self.average_heads = average_heads
        self.levels = levels_of(encoder)

    def forward(self, image: Tensor) -> Tensor | Outputs:
        encoded = dict(zip(self.levels, self.encoder(image), strict=True))
        # (N C_l H/2^l W/2^l) by level, in one list alone: the topology takes maps out of it, and so
        # frees them
        levels = range(self.levels[-1] + 1)
        maps: list[Tensor | None] = [encoded.pop(level, None) for level in levels]
        maps[-1] = self.bottleneck(maps[-1])
        # Per level, finest first, then what else auxiliary heads look at.
        decoded = self.topology(maps)
        logits: Tensor = self.head(decoded[0])
        if not self.aux_heads or not (self.training or self.average_heads):
            return logits
        others = [head(decoded[i]) for i, head in zip(self.supervised, self.aux_heads, strict=True)]
        if self.training:
            return Outputs(
                logits, tuple((0.5**i, other) for i, other in enumerate(others, start=1))
            )
        size, mode = logits.shape[2:], LINEAR_MODE[logits.ndim - 2]
        for other in others:
            if other.shape[2:] != size:
                other = F.interpolate(other, size, mode=mode)
            logits = logits + other
        return logits / (1 + len(others))


def assemble(
    choices: Choices,
    parts: Mapping[str, NamedFactory],
    in_channels: int,
    classes: int,
    margins: Mapping[int, tuple[int, ...]] | None = None,
) -> UNet:
    """Build the network that `choices` describe; `parts` names a factory for each slot.

    `margins` (pixels, by level, of its `align` parts as they run) tell what unpadded convolutions
    took from the up-sampled map; `geometry.sizes.margins` finds them.
    """
    design = Design(
        choices=choices,
        parts=parts,
        widths=encoder_widths(choices),
        decoder_widths=tuple(scaled(w, choices.width_scale) for w in choices.decoder_widths),
        margins=margins or {},
    )
    place = Place(
        in_channels=in_channels,
        out_channels=design.widths[-1],
        depth=choices.depth,
        dims=choices.dims,
        padding=choices.padding,
        norm=choices.norm,
        norm_groups=choices.norm_groups,
        act=choices.act,
        leak=choices.leak,
        order=choices.order,
        bias=choices.bias,
        dropout=choices.dropout,
        convs=choices.convs_per_level,
        design=design,
    )
    encoder = design.make("encoder", place)
    levels, channels = levels_of(encoder), list(encoder.channels)  # type: ignore[arg-type]
    deepest = place.at(role="bottleneck", level=levels[-1], depth=levels[-1], design=None)
    deepest = deepest.at(in_channels=channels[-1], out_channels=channels[-1])
    bottleneck = design.make("bottleneck", deepest)
    channels[-1] = stated_channels(bottleneck, deepest)

    pyramid = dict(zip(levels, channels, strict=True))
    decoder_norm = choices.norm if choices.decoder_norm == "same" else choices.decoder_norm
    decoder = place.at(
        role="decoder", depth=levels[-1], norm=decoder_norm, dropout=0.0, in_channels=channels[-1]
    )
    decoder = decoder.at(convs=choices.decoder_convs or choices.convs_per_level)
    decoder = decoder.at(
        skip_channels=tuple(pyramid.get(level, 0) for level in range(levels[-1] + 1))
    )
    topology = design.make("topology", decoder)
    if beyond := [level for level in choices.skip_levels if level >= levels[-1]]:
        raise InvalidChoice(
            f"skip_levels: there is no skip at level {beyond[0]}; they are 0 to {levels[-1] - 1}"
        )
    if choices.aux_heads and choices.padding == "valid":
        raise InvalidChoice(
            f"aux_heads={choices.aux_heads} with padding=valid: unpadded, each head's map shows "
            "another part of the "
            "image; use a padding, or aux_heads=0"
        )
    at = decoder.at(out_channels=classes, skip_channels=(), design=None)
    main, *others = supervised(topology, choices.aux_heads)
    head, *aux = (
        design.make("head", at.at(in_channels=width, level=level))
        for _, level, width in (main, *others)
    )
    aux_heads = {index: part for (index, _, _), part in zip(others, aux, strict=True)}
    return UNet(encoder, bottleneck, topology, head, aux_heads, choices.average_heads)


def supervised(topology: nn.Module, aux_heads: int) -> list[tuple[int, int, int]]:
    """Return (index, level, channels) of the topology's maps that get a head, the main one first.

    Raises InvalidChoice.
    """
    channels: list[int] = list(topology.channels)  # type: ignore[arg-type]
    levels = list(enumerate(channels))
    extra: list[int] | None = getattr(topology, "aux_channels", None)
    others = levels[1:] if extra is None else [(0, width) for width in extra]
    first = 1 if extra is None else len(levels)
    if aux_heads > len(others):
        raise InvalidChoice(
            f"aux_heads={aux_heads}: this decoder has {len(others)} further maps; ask for that many"
        )
    return [
        (0, 0, channels[0]),
        *((first + i, *other) for i, other in enumerate(others[:aux_heads])),
    ]


def levels_of(encoder: nn.Module) -> list[int]:
    """Return the level of each map that an encoder returns: a reduction of 2^l is level l.

    Raises InvalidPart.
    """
    reductions = [int(r) for r in encoder.reductions]  # type: ignore[union-attr]
    levels = [r.bit_length() - 1 for r in reductions]
    if [1 << level for level in levels] != reductions or levels != sorted(set(levels)):
        label = getattr(encoder, "_unet_bench_label", "this encoder")
        raise InvalidPart(
            f"{label}: reductions {reductions} must be rising powers of two, such as 1, 2, 4, 8, 16"
        )
    return levels


def encoder_widths(choices: Choices) -> tuple[int, ...]:
    """Return the channels of the plain encoder's levels, finest first.

    They are as chosen, or double from `base_width` to `max_width`.
    """
    widths = [
        min(choices.base_width << level, choices.max_width) for level in range(choices.depth + 1)
    ]
    if choices.encoder_widths:
        widths = [at_level(choices.encoder_widths, level) for level in range(choices.depth + 1)]
    return tuple(scaled(width, choices.width_scale) for width in widths)


def scaled(width: int, scale: float) -> int:
    """Return a width times `scale`, kept a multiple of four.

    So grouped parts still divide it.
    """
    return width if scale == 1 else max(4, 4 * round(width * scale / 4))
