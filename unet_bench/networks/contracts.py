"""What a part is given, and what each slot takes and returns.

Shapes: `N` batch, `C` channels, `*S` the spatial sizes (`H W`, or `D H W` in 3-D). Every part is
made by a factory `(Place) -> nn.Module`; what the module's `forward` does depends on its slot:

| slot | forward | must state |
|---|---|---|
| encoder | `(N C *S) -> list of (N C_i *S_i)`, finest first | `channels`, `reductions` |
| encoder_block, decoder_block | `(N in *S) -> (N out *S')`; strided when `place.stride` is 2 | |
| bottleneck | `(N in *S) -> (N out *S)` | |
| down | `(N in *S) -> (N out *S/2)` | `block_stride = 2` if the next block is to stride instead |
| up | `(N in *S) -> (N out 2*S)` | |
| align | `(skip, up) -> (skip, up)` of one size; either may be the larger | |
| skip | `(skip, gate) -> skip`, or `None` for nothing | `gates_on = "up"`, if that is its gate |
| merge | `([skip, …], up) -> (N out *S)`; the list may be empty | |
| topology | `[map or None a level, finest first] -> [map a level]` | `channels`; `aux_channels` |
| head | `(N in *S) -> (N classes *S)` | |

A module that returns other than `place.out_channels` channels states so in an attribute
`out_channels`. A skip's gate is the decoder's map before up-sampling unless it states otherwise. A
topology may take maps out of the list it is given: one that nobody holds is freed. Auxiliary heads
look at its coarser maps; one that states `aux_channels` for others returns those after its levels'
maps, where `design.supervised(self)` says that they are wanted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from unet_bench.errors import InvalidPart, UnetBenchError
from unet_bench.networks.choices import Choices

if TYPE_CHECKING:
    from torch import Tensor, nn

Role = Literal["encoder", "bottleneck", "decoder"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part stands in the network, and the axes it is to follow.

    The one argument of every factory.
    """

    in_channels: int
    out_channels: int
    mid_channels: int = 0  # between a block's convolutions; 0: as many as out_channels
    role: Role = "encoder"
    level: int = 0  # 0 is full resolution; each level halves it
    depth: int = 4  # the coarsest level
    stride: int = 1
    # What comes in is the image: no activation, nor a norm for it, before its first convolution.
    image: bool = False
    dims: int = 2
    padding: str = "zeros"
    norm: str = "batch"
    norm_groups: int = 8
    act: str = "relu"
    leak: float = 0.01
    order: str = "conv-norm-act"
    bias: bool = True
    dropout: float = 0.0
    convs: int = 2
    # Merge: of each skip. Topology: of each encoder level, 0 where there is no map.
    skip_channels: tuple[int, ...] = ()
    gate_channels: int = 0  # skip: of the decoder's map before up-sampling
    up_channels: int = 0  # skip: of the decoder's map after up-sampling
    # Align: pixels the up-sampled map has lost on its low side, so that positions can be kept.
    margin: int = 0
    # For encoder and topology only.
    design: Design | None = field(default=None, compare=False, repr=False)

    def at(self, **changes: Any) -> Place:
        """Return the same place with some fields changed."""
        return dataclasses.replace(self, **changes)

    def make(self, slot: str, **changes: Any) -> nn.Module:
        """Build the part that fills another slot, at this place with some fields changed."""
        if self.design is None:
            raise ValueError(
                f"this Place has no design, so it cannot make {slot!r}: only encoders and "
                "topologies can"
            )
        return self.design.make(slot, self.at(**changes, design=None))


@dataclass(frozen=True, kw_only=True)
class Design:
    """The network as a whole, for the parts that assemble others: encoder and topology."""

    choices: Choices
    parts: Mapping[str, NamedFactory]
    widths: tuple[int, ...]  # of the plain encoder, finest first
    decoder_widths: tuple[int, ...]  # finest first; empty: the encoder's channels
    # Of each level's `align` parts, as they run.
    margins: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def make(self, slot: str, place: Place) -> nn.Module:
        """Build the part that fills `slot`."""
        return self.parts[slot].make(place)

    def has_skip(self, level: int) -> bool:
        """Return whether a level is to have a skip."""
        return not self.choices.skip_levels or level in self.choices.skip_levels

    def supervised(self, module: nn.Module) -> bool:
        """Return whether auxiliary heads look at a module's output in the mode it is in."""
        return self.choices.aux_heads > 0 and (module.training or self.choices.average_heads)


@dataclass(frozen=True)
class NamedFactory:
    """A part's factory with where it came from, so that a broken part can be named."""

    slot: str
    name: str
    plugin: str
    factory: Callable[[Place], nn.Module]

    def make(self, place: Place) -> nn.Module:
        """Build the part and leave a label on it: which part it is, and its place.

        Raises InvalidPart.
        """
        from torch import nn

        label = Label(self.slot, self.name, self.plugin, place)
        try:
            part = self.factory(place)
        except UnetBenchError:
            raise
        except Exception as error:
            raise InvalidPart(
                f"{label}: its factory raised {type(error).__name__}: {error}"
            ) from error
        if not isinstance(part, nn.Module):
            raise InvalidPart(
                f"{label}: its factory returned {type(part).__name__}, which is no torch nn.Module"
            )
        part._unet_bench_label = label  # type: ignore[assignment]
        return part


class Label(NamedTuple):
    """Which part a module is, for geometry and the contract checks; kept on the module."""

    slot: str
    name: str
    plugin: str
    place: Place

    def __str__(self) -> str:
        return f"part {self.slot}={self.name} of plugin {self.plugin}, at level {self.place.level}"


class Outputs(NamedTuple):
    """What a network with auxiliary heads returns in training mode.

    In eval mode every network returns `main` alone.
    """

    main: Tensor  # (N classes *S)
    aux: tuple[tuple[float, Tensor], ...] = ()  # (weight, (N classes *S_l)) of each auxiliary head


def main_output(output: Tensor | Outputs) -> Tensor:
    """Return the logits `(N classes *S)` of the main head."""
    return output.main if isinstance(output, Outputs) else output


def stated_channels(part: nn.Module, place: Place) -> int:
    """Return how many channels a built part returns.

    That is what it states, else what its place asked for.
    """
    return int(getattr(part, "out_channels", place.out_channels))
