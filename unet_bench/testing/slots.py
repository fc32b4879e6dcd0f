"""Each slot's contract: at which places its parts are tried, what they are fed, and what they must
return.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar, Final

from torch import Tensor, nn

from unet_bench.errors import InvalidChoice, Unsupported
from unet_bench.geometry.tracker import flat_tensors
from unet_bench.networks.choices import FIELDS, SLOTS, Choices, Value
from unet_bench.networks.contracts import Design, NamedFactory, Place, Role, stated_channels
from unet_bench.networks.unet import encoder_widths, levels_of
from unet_bench.registry.entries import Entry
from unet_bench.registry.registry import Registry
from unet_bench.testing.case import (
    Case,
    Inputs,
    Shape,
    Size,
    blamed,
    random_map,
    require,
    require_shapes,
)

PADDINGS: Final = sorted(
    FIELDS["padding"].metadata["values"],
    key=lambda name: (name != Choices().padding, name != "valid"),
)
"""The usual one first, then none, then those that differ only at the border."""
ROOMY: Final = {2: (8, 12), 3: (4, 6, 8)}
ROOMY_UNPADDED: Final = {2: (24, 28), 3: (14, 16, 18)}
"""Unpadded convolutions eat a map from all sides."""
SMALL: Final = {2: ((7, 9), (1, 1)), 3: ((3, 5, 7), (1, 1, 1))}
"""Odd, and tiny."""
MEETINGS: Final = (
    ((9, 13), (8, 10)),
    ((8, 12), (8, 12)),
    ((5, 6), (8, 10)),
    ((9, 6), (8, 9)),
    ((2, 3), (1, 1)),
)
"""Sizes of a skip and of the up-sampled map that it meets."""


class Slot:
    """A slot whose parts map `(N in *S) -> (N out *S)`. The others change what differs."""

    channels: ClassVar[Sequence[tuple[int, int]]] = ((4, 8), (12, 4))
    role: ClassVar[Role] = "decoder"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def places(self, dims: int) -> Iterator[Place]:
        """Yield every place at which a part is tried, the most usual one first."""
        place = Place(in_channels=0, out_channels=0, role=self.role, level=1, depth=3, dims=dims)
        places = [place.at(in_channels=i, out_channels=o) for i, o in self.channels]
        yield from padded(places)

    def sizes(self, part: nn.Module, place: Place) -> tuple[Sequence[Size], Sequence[Size]]:
        """Return (sizes that must work, sizes that may be refused)."""
        roomy = ROOMY_UNPADDED if place.padding == "valid" else ROOMY
        return [roomy[place.dims]], SMALL[place.dims]

    def inputs(self, part: nn.Module, place: Place, size: Size) -> Inputs:
        """Return what forward is given."""
        return (random_map(place.in_channels, size),)

    def needed(self, inputs: Inputs) -> Iterable[Tensor]:
        """Return the inputs that a gradient must reach."""
        return flat_tensors(inputs)

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        """Raise InvalidPart for an output that breaks the contract."""
        least, most = self.sides(place, part, tuple(inputs[0].shape[2:]))
        require_shapes(output, [Shape(stated_channels(part, place), least, most)])

    def sides(self, place: Place, part: nn.Module, size: Size) -> tuple[Size, Size]:
        """Return the least and the greatest size that the map may come out with."""
        return size, size


class Block(Slot):
    """Keeps the size, or shrinks the map when unpadded."""

    def places(self, dims: int) -> Iterator[Place]:
        yield from super().places(dims)
        place = next(super().places(dims))
        yield place.at(norm="none", convs=1)
        yield place.at(norm="instance", act="leaky_relu", bias=False)
        yield place.at(norm="group", act="silu", convs=3, in_channels=8)
        yield place.at(norm="layer", act="prelu", order="norm-act-conv")
        yield place.at(mid_channels=4, dropout=0.5)

    def sides(self, place: Place, part: nn.Module, size: Size) -> tuple[Size, Size]:
        return at_least(place, size), size


class EncoderBlock(Block):
    """May also be the first, on an image, and be asked to stride."""

    channels = ((3, 8), (8, 12))
    role = "encoder"

    def places(self, dims: int) -> Iterator[Place]:
        for place in super().places(dims):
            yield place
            yield place.at(stride=2, level=2)

    def sides(self, place: Place, part: nn.Module, size: Size) -> tuple[Size, Size]:
        least, most = divided(size, place.stride)
        return at_least(place, least), most


class Bottleneck(Block):
    """Takes the coarsest map."""

    channels = ((8, 8),)
    role = "bottleneck"


class Down(Slot):
    """Halves a map; or leaves it, and has the next block stride."""

    channels = ((8, 8), (4, 4))
    role = "encoder"

    def sides(self, place: Place, part: nn.Module, size: Size) -> tuple[Size, Size]:
        return divided(size, 2 // int(getattr(part, "block_stride", 1)))


class Up(Slot):
    """Doubles a map exactly, whatever the padding."""

    channels = ((16, 8), (8, 8), (4, 2))

    def sides(self, place: Place, part: nn.Module, size: Size) -> tuple[Size, Size]:
        doubled = tuple(2 * side for side in size)
        return doubled, doubled


class Align(Slot):
    """Two maps of any two sizes come out with one.

    A size here is the skip's, followed by the up-sampled map's.
    """

    def places(self, dims: int) -> Iterator[Place]:
        place = Place(in_channels=8, out_channels=8, role="decoder", dims=dims, skip_channels=(4,))
        yield from padded([place.at(margin=margin) for margin in (0, 2)])

    def sizes(self, part: nn.Module, place: Place) -> tuple[Sequence[Size], Sequence[Size]]:
        third = place.dims - 2  # in 3-D the depth is as the height
        return [skip[:third] + skip + up[:third] + up for skip, up in MEETINGS], ()

    def inputs(self, part: nn.Module, place: Place, size: Size) -> Inputs:
        skip = random_map(place.skip_channels[0], size[: place.dims])
        return skip, random_map(place.in_channels, size[place.dims :])

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        sizes = [tuple(tensor.shape[2:]) for tensor in inputs]
        most = tuple(max(sides) for sides in zip(*sizes, strict=True))
        least = (1,) * place.dims
        require_shapes(output, [Shape(tensor.shape[1], least, most) for tensor in inputs])
        skip, up = (tuple(tensor.shape[2:]) for tensor in output)
        require(
            skip == up,
            f"maps of {sizes[0]} and {sizes[1]} came out as {skip} and {up}, expected one size",
        )


class Skip(Slot):
    """A map of the encoder and the decoder's coarser one make a skip, or nothing."""

    def places(self, dims: int) -> Iterator[Place]:
        place = Place(
            in_channels=4, out_channels=4, role="decoder", dims=dims, gate_channels=8, up_channels=8
        )
        coarser = place.at(in_channels=8, out_channels=8, level=2, gate_channels=16)
        yield from padded([place, coarser])

    def inputs(self, part: nn.Module, place: Place, size: Size) -> Inputs:
        lost = 3 if place.padding == "valid" else 0
        coarse = tuple(max(1, side // 2 - lost) for side in size)
        up = tuple(2 * side for side in coarse)
        skip = random_map(place.in_channels, size)
        if getattr(part, "gates_on", "") == "up":
            return skip, random_map(place.up_channels, up)
        return skip, random_map(place.gate_channels, coarse)

    def needed(self, inputs: Inputs) -> Iterable[Tensor]:
        return inputs[:1]  # a skip need not look at its gate

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        size, channels = tuple(inputs[0].shape[2:]), stated_channels(part, place)
        require_shapes(output, [Shape(channels, size, size)] if channels else [])


class Merge(Slot):
    """None, one or several skips and the up-sampled map become one map."""

    def places(self, dims: int) -> Iterator[Place]:
        place = Place(in_channels=8, out_channels=8, role="decoder", dims=dims)
        yield from padded([place.at(skip_channels=skips) for skips in ((8,), (), (4,), (8, 8))])

    def inputs(self, part: nn.Module, place: Place, size: Size) -> Inputs:
        skips = [random_map(channels, size) for channels in place.skip_channels]
        return skips, random_map(place.in_channels, size)

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        super().verify(place, part, inputs[1:], output)


class Encoder(Slot):
    """An image becomes a pyramid of maps, finest first."""

    def places(self, dims: int) -> Iterator[Place]:
        for in_channels, padding in enumerate(PADDINGS, start=1):
            yield assembling(design(self.registry, dims, padding), in_channels)

    def sizes(self, part: nn.Module, place: Place) -> tuple[Sequence[Size], Sequence[Size]]:
        step = 1 << levels_of(part)[-1]
        # Of a mirrored map, wide kernels want as many pixels again.
        mirrored = 0 if place.padding == "zeros" else 3 * step
        room = -(-64 // step) * step if place.padding == "valid" else max(step, mirrored)
        roomy = tuple(room + step * (1 + axis % 2) for axis in range(place.dims))
        return [roomy], [tuple(side + 1 for side in roomy), (step,) * place.dims]

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        size, levels = tuple(inputs[0].shape[2:]), levels_of(part)
        channels: list[int] = list(part.channels)  # type: ignore[arg-type]
        require(
            len(channels) == len(levels), f"states channels {channels} but maps at levels {levels}"
        )
        wanted = []
        for width, level in zip(channels, levels, strict=True):
            least, most = divided(size, 1 << level)
            wanted.append(Shape(width, at_least(place, least), most))
        require_shapes(output, wanted)


class Topology(Slot):
    """The encoder's maps become the decoder's, finest first.

    An encoder may have none at the finest level.
    """

    designs: ClassVar[Sequence[tuple[tuple[int, ...], dict[str, Value]]]] = (
        ((4, 8, 16), {}),
        ((0, 8, 16), {"decoder_widths": (8, 4)}),
        ((4, 8, 16), {"aux_heads": 1, "average_heads": True}),
    )

    def places(self, dims: int) -> Iterator[Place]:
        for padding in PADDINGS:
            for skips, changes in self.designs[: None if padding in PADDINGS[:2] else 1]:
                place = assembling(design(self.registry, dims, padding, **changes), skips[-1])
                yield place.at(role="decoder", skip_channels=skips)

    def sizes(self, part: nn.Module, place: Place) -> tuple[Sequence[Size], Sequence[Size]]:
        roomy = ((48, 56, 52) if place.padding == "valid" else (8, 16, 12))[: place.dims]
        return [roomy], [tuple(side + 3 for side in roomy), (4,) * place.dims]

    def inputs(self, part: nn.Module, place: Place, size: Size) -> Inputs:
        lost = 4 if place.padding == "valid" else 0
        maps: list[Tensor | None] = []
        for channels in place.skip_channels:
            maps.append(random_map(channels, size) if channels else None)
            size = tuple(max(1, side // 2 - lost) for side in size)
        return (maps,)

    def verify(self, place: Place, part: nn.Module, inputs: Inputs, output: Any) -> None:
        maps, channels = inputs[0], list(part.channels)  # type: ignore[arg-type]
        require(len(channels) == len(maps), f"states channels {channels} for {len(maps)} levels")
        wanted = []
        for level, (encoded, decoded) in enumerate(zip(maps, channels, strict=True)):
            lifted = tuple(side << (len(maps) - 1 - level) for side in maps[-1].shape[2:])
            most = lifted if encoded is None else tuple(encoded.shape[2:])
            wanted.append(Shape(decoded, at_least(place, lifted), most))
        assert place.design is not None
        if place.design.supervised(part):
            others: Sequence[int] = getattr(part, "aux_channels", ())
            wanted += [Shape(width, (1,) * place.dims, wanted[0].most) for width in others]
        require_shapes(output, wanted)


class Head(Slot):
    """As many channels as there are classes."""

    channels = ((8, 1), (4, 3))


CONTRACTS: Final[dict[str, type[Slot]]] = {
    "encoder": Encoder,
    "encoder_block": EncoderBlock,
    "decoder_block": Block,
    "bottleneck": Bottleneck,
    "down": Down,
    "up": Up,
    "align": Align,
    "skip": Skip,
    "merge": Merge,
    "topology": Topology,
    "head": Head,
}


def part_cases(registry: Registry, entry: Entry) -> list[Case]:
    """Return the part at every place that it accepts.

    Raises InvalidPart when it serves none in a dimension it states.
    """
    slot = CONTRACTS[entry.kind](registry)
    cases: list[Case] = []
    for dims in entry.dims:
        before, refusal = len(cases), ""
        # 3-D is slow: every third place will do.
        for place in itertools.islice(slot.places(dims), 0, None, 1 if dims == 2 else 3):
            distinct = len(cases) == before or (dims == 2 and place.padding == PADDINGS[0])
            with blamed(f"{described(entry)}, at {brief(place)}"):
                try:
                    cases.append(part_case(slot, entry, place, distinct))
                except (InvalidChoice, Unsupported) as error:
                    refusal = str(error)
        require(
            len(cases) > before,
            f"{described(entry)}: states dims={dims} but serves no place there: {refusal}",
        )
    return cases


def part_case(slot: Slot, entry: Entry, place: Place, distinct: bool) -> Case:
    """Return the part at one place. Raises what its factory raises."""
    part = made(entry, place)
    sizes, others = slot.sizes(part, place)
    return Case(
        what=f"{described(entry)}, at {brief(place)}",
        make=functools.partial(made, entry, place),
        inputs=functools.partial(slot.inputs, part, place),
        verify=functools.partial(slot.verify, place),
        sizes=tuple(sizes),
        others=tuple(others),
        needed=slot.needed,
        distinct=distinct,
    )


def made(entry: Entry, place: Place) -> nn.Module:
    """Return the part that an entry's factory makes at a place.

    Raises InvalidPart for anything else.
    """
    twin = place.at()
    part: nn.Module = entry.load()(place)
    require(
        isinstance(part, nn.Module),
        f"the factory returned {type(part).__name__}, expected an nn.Module",
    )
    require(
        place == twin,
        f"the factory changed its Place to {brief(place)}; a Place stays as it is: use place.at()",
    )
    return part


def described(entry: Entry) -> str:
    """Return a part as messages name it."""
    return f"part {entry.kind}={entry.name} of plugin {entry.provider}"


def padded(places: Sequence[Place]) -> Iterator[Place]:
    """Yield the first place with every padding, the others with the usual one and with none."""
    for i, place in enumerate(places):
        for padding in PADDINGS if i == 0 else PADDINGS[:2]:
            yield place.at(padding=padding)


def brief(place: Place) -> str:
    """Return a place without what is as usual."""
    shown = {field.name: field.default for field in fields(place) if field.repr}
    values = {name: getattr(place, name) for name in shown}
    unusual = [f"{name}={value!r}" for name, value in values.items() if value != shown[name]]
    return f"Place({', '.join(unusual)})"


def design(registry: Registry, dims: int, padding: str, **changes: Value) -> Design:
    """Return the baseline's parts, for encoders and topologies to assemble.

    It has three levels of 4, 8 and 16 channels.
    """
    choices = Choices(
        base_width=4, depth=2, dims=dims, padding=padding, decoder_block=Choices().encoder_block
    )
    choices = choices.replace(**changes)
    entries = [registry.find(slot, getattr(choices, slot)) for slot in SLOTS]
    parts = {e.kind: NamedFactory(e.kind, e.name, str(e.provider), e.load()) for e in entries}
    widths = encoder_widths(choices)
    return Design(
        choices=choices, parts=parts, widths=widths, decoder_widths=choices.decoder_widths
    )


def assembling(plan: Design, in_channels: int) -> Place:
    """Return the place of an encoder or topology that follows a design."""
    choices = plan.choices
    place = Place(
        in_channels=in_channels, out_channels=plan.widths[-1], depth=choices.depth, design=plan
    )
    return place.at(dims=choices.dims, padding=choices.padding)


def divided(size: Size, factor: int) -> tuple[Size, Size]:
    """Return a size divided, rounded down and up."""
    return tuple(side // factor for side in size), tuple(-(-side // factor) for side in size)


def at_least(place: Place, size: Size) -> Size:
    """Return the least size of a convolved map: unpadded convolutions may take all but a pixel."""
    return (1,) * len(size) if place.padding == "valid" else size
