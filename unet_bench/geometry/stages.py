"""A network's maps in the order in which they are made, seen in a forward pass without data."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.geometry.shapes import Geometry, Size, Stage, format_size
from unet_bench.geometry.tracker import flat_tensors
from unet_bench.networks.contracts import main_output
from unet_bench.networks.unet import UNet, levels_of

TOKENS: Final = 3  # dimensions of a sequence of tokens, (N L C)


def stages(model: nn.Module, in_channels: int, at: Geometry) -> list[Stage]:
    """Return the network's maps in the order in which they are made.

    Those of a network made of slots are one per level, those of a whole architecture one per top
    module that changes the shape.
    """
    seen: list[tuple[str, Any]] = []

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((name, output))

    for name, module in _watched(model):
        module.register_forward_hook(functools.partial(note, name))
    model.eval()
    with torch.no_grad():
        output = main_output(model(torch.empty((1, in_channels, *at.input), device="meta")))
    first, last = Stage("image", 0, in_channels, at.input), Stage("scores", 0, *_shape(output))
    if isinstance(model, UNet):
        return [first, *_of_slots(model, dict(seen), at), last]
    return [first, *_of_modules(seen, at.input), last]


def _watched(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the top modules with their names; those of a list one by one."""
    if isinstance(model, UNet):
        return [(name, getattr(model, name)) for name in ("encoder", "bottleneck", "topology")]
    found: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList) and len(child):
            found += [(f"{name} {inner}", module) for inner, module in child.named_children()]
        else:
            found.append((name, child))
    return found


def _of_slots(model: UNet, seen: dict[str, Any], at: Geometry) -> list[Stage]:
    """Return encoder maps, the bottleneck's, and decoder maps, finest last."""
    maps = dict(zip(levels_of(model.encoder), seen["encoder"], strict=True))
    coarsest = max(maps)
    maps[coarsest] = seen["bottleneck"]
    skips = {}
    for skip in at.skips:
        sizes = f" of {format_size(skip.size)} to {format_size(skip.up_size)}"
        skips[skip.level] = "skip" if skip.agrees else f"skip{sizes}"
    made = [Stage(f"encoder {level}", level, *_shape(x)) for level, x in maps.items()]
    for level in reversed(range(coarsest)):
        shape = _shape(seen["topology"][level])
        made.append(Stage(f"decoder {level}", level, *shape, skips.get(level, "")))
    return made


def _of_modules(seen: Sequence[tuple[str, Any]], image: Size) -> list[Stage]:
    """Return a stage wherever the shape changes."""
    made: list[Stage] = []
    map_dims = len(image) + 2
    for name, output in seen:
        maps = [x for x in flat_tensors(output) if x.ndim in (map_dims, TOKENS)]
        if not maps:
            continue
        x = maps[-1]
        channels, size = _shape(x) if x.ndim == map_dims else (x.shape[2], (x.shape[1],))
        if not made or (made[-1].channels, made[-1].size) != (channels, size):
            made.append(Stage(name, halvings(image, size), channels, size))
    return made


def _shape(x: Tensor) -> tuple[int, Size]:
    """Return channels and sizes of `(N C *S)`."""
    return x.shape[1], tuple(x.shape[2:])


def halvings(image: Size, size: Size) -> int:
    """Return how often the image was halved to get so many pixels, or tokens."""
    return max(0, round(math.log2(math.prod(image) / math.prod(size)) / len(image)))
