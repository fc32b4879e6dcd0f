"""Whole networks: the sizes they are tried at, and whether what geometry says of them is true."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidSize
from unet_bench.geometry.forward import trace
from unet_bench.geometry.shapes import Geometry, format_size
from unet_bench.geometry.sizes import legal_sizes
from unet_bench.models.build import build
from unet_bench.networks.variants import Variant
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
from unet_bench.testing.tracing import FAINT, Tracer, looked_at

IN_CHANNELS: Final = 2  # neither grey nor colour: nothing may take those for granted
CLASSES: Final = 3
NEAR: Final = 0.25  # of a pixel: how far a traced position may be from the stated one


def variant_cases(registry: Registry, variant: Variant, sizes: Sequence[Size] = ()) -> list[Case]:
    """Return the network, at the sizes given; without any, at two legal ones and two odd ones.

    Raises InvalidPart.
    """
    what = f"variant {variant.name} of plugin {registry.provider(variant.provider)}"
    image_size = tuple(sizes[0]) if sizes else ()
    make = functools.partial(build, registry, variant, IN_CHANNELS, CLASSES, image_size)
    with blamed(what), torch.device("meta"):
        shadow = make()
        stated = functools.cache(functools.partial(trace, shadow, IN_CHANNELS))
        legal, odd = (sizes, ()) if sizes else usual_sizes(shadow, variant.choices.dims)
    case = Case(
        what=what,
        make=make,
        inputs=lambda size: (random_map(IN_CHANNELS, size),),
        verify=functools.partial(verify, stated),
        sizes=tuple(legal),
        others=tuple(odd),
        stated=stated,
    )
    return [case]


def usual_sizes(model: nn.Module, dims: int) -> tuple[list[Size], list[Size]]:
    """Return a small and a larger legal size, of unlike sides, and an odd one beside each."""
    base, step = legal_sizes(model, IN_CHANNELS, dims)
    with contextlib.suppress(InvalidSize):  # a network may refuse what is not legal
        between = trace(model, IN_CHANNELS, (base + step // 2,) * dims)
        told = f"legal sides are said to be {step} apart, but {between.input[0]} is legal"
        require(step == 1 or not between.legal, told)
    legal = [tuple(base + step * (steps + axis % 2) for axis in range(dims)) for steps in (2, 7)]
    return legal, [
        tuple(side + more for side in size) for size, more in zip(legal, (1, 3), strict=True)
    ]


def verify(
    stated: Callable[[Size], Geometry], model: nn.Module, inputs: Inputs, output: Any
) -> None:
    """Raise InvalidPart unless evaluation gives logits, just as large as geometry says."""
    require(
        isinstance(output, Tensor),
        f"returned {type(output).__name__} in evaluation, expected a tensor of logits",
    )
    size = stated(tuple(inputs[0].shape[2:])).output
    require_shapes(output, [Shape(CLASSES, size, size)])


def positions(case: Case) -> None:
    """Require that offset and misalignments are what geometry states.

    They are traced by gradients, at a legal size and at an odd one.
    """
    assert case.stated is not None
    tracer = Tracer(case.built())
    # The larger ones: fewer of their pixels are at a border.
    for size in (*case.sizes[-1:], *case.others[-1:]):
        with contextlib.suppress(InvalidSize):
            require_positions(tracer, case.stated(size))


def require_positions(tracer: Tracer, stated: Geometry) -> None:
    """Raise InvalidPart when a traced position is not the stated one, at one input size."""
    # Noise, so that no maximum is preferred.
    noise = torch.rand(1, IN_CHANNELS, *stated.input, dtype=torch.float64) / 100
    image = (FAINT * (1 + noise)).requires_grad_()
    output, meetings = tracer.run(image)
    require_near("offset", stated.offset, looked_at(output, image, stated.stride).origin, stated)
    met = [(meeting.level, *meeting.sizes) for meeting in meetings]
    told = [(skip.level, skip.size, skip.up_size) for skip in stated.skips]
    require(met == told, f"skips met as (level, size, up-sampled) {met}, stated {told}")
    for skip, meeting in zip(stated.skips, meetings, strict=True):
        kept, lifted = looked_at(meeting.skip, image, 2), looked_at(meeting.up, image, 2)
        shift = kept.distance(lifted)
        require_near(f"misalignment at level {skip.level}", skip.misalignment, shift, stated)


def require_near(what: str, stated: Sequence[float], seen: Sequence[float], at: Geometry) -> None:
    """Raise InvalidPart when a traced position is not near the stated one."""
    told = [np.round(values, 2).tolist() for values in (seen, stated)]
    require(
        bool((np.abs(np.subtract(seen, stated)) <= NEAR).all()),
        f"an input of {format_size(at.input)} has {what} {told[0]} by its gradients, "
        f"stated {told[1]}",
    )
