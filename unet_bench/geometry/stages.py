"""A network's maps in the order in which they are made, seen in a forward pass without data."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.geometry import tracker as geometry
from unet_bench.geometry.tracker import Geometry, text
from unet_bench.networks.contracts import main_output
from unet_bench.networks.stage import Stage
from unet_bench.networks.unet import UNet, levels_of

TOKENS: Final = 3  # dimensions of a sequence of tokens, (N L C)


def stages(model: nn.Module, in_channels: int, at: Geometry) -> list[Stage]:
    """The network's maps in the order in which they are made: per level, or per top module of a
    whole architecture.
    """
    seen: list[tuple[str, Any]] = []

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((name, output))

    for name, module in watched(model):
        module.register_forward_hook(functools.partial(note, name))
    model.eval()
    with torch.no_grad():
        output = main_output(model(torch.empty((1, in_channels, *at.input), device="meta")))
    made = (
        of_slots(model, dict(seen), at) if isinstance(model, UNet) else of_modules(seen, at.input)
    )
    return [Stage("image", 0, in_channels, at.input), *made, Stage("scores", 0, *shape(output))]


def watched(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules whose outputs make the picture, with their names: the top ones; those of a list
    one by one.
    """
    if isinstance(model, UNet):
        return [
            ("encoder", model.encoder),
            ("bottleneck", model.bottleneck),
            ("topology", model.topology),
        ]
    found = []
    for name, child in model.named_children():
        within = list(child.named_children()) if isinstance(child, nn.ModuleList) else []
        found += [(f"{name} {inner}", module) for inner, module in within] or [(name, child)]
    return found


def of_slots(model: UNet, seen: dict[str, Any], at: Geometry) -> list[Stage]:
    """Encoder maps, the bottleneck's, decoder maps, finest last."""
    maps = dict(zip(levels_of(model.encoder), seen["encoder"], strict=True))
    maps[max(maps)] = seen["bottleneck"]
    skips = {skip.level: skip for skip in at.skips}
    made = [Stage(f"encoder {level}", level, *shape(x)) for level, x in maps.items()]
    for level in reversed(range(max(maps))):
        skip = skips.get(level)
        said = (
            f"skip of {text(skip.size)} to {text(skip.up_size)}"
            if skip and not skip.agrees
            else "skip" * bool(skip)
        )
        made.append(Stage(f"decoder {level}", level, *shape(seen["topology"][level]), said))
    return made


def of_modules(seen: list[tuple[str, Any]], image: tuple[int, ...]) -> list[Stage]:
    """A stage wherever the shape changes."""
    made: list[Stage] = []
    for name, output in seen:
        for x in [x for x in geometry.flat_tensors(output) if x.ndim in (len(image) + 2, TOKENS)][
            -1:
        ]:
            channels, size = shape(x) if x.ndim == len(image) + 2 else (x.shape[2], (x.shape[1],))
            if not made or (made[-1].channels, made[-1].size) != (channels, size):
                made.append(Stage(name, halvings(image, size), channels, size))
    return made


def shape(x: Tensor) -> tuple[int, tuple[int, ...]]:
    """Channels and sizes of `(N C *S)`."""
    return x.shape[1], tuple(x.shape[2:])


def halvings(image: tuple[int, ...], size: tuple[int, ...]) -> int:
    """How often the image was halved to get so many pixels, or tokens."""
    return max(0, round(math.log2(math.prod(image) / math.prod(size)) / len(image)))
