"""One network on a page: what it is, what it costs, how it differs from the baseline, and its shape as text and SVG."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench import geometry
from unet_bench.build import build
from unet_bench.choices import AXES, Choices
from unet_bench.drawing import Stage, draw
from unet_bench.errors import InvalidSize
from unet_bench.geometry import Geometry, text
from unet_bench.interfaces import main_output
from unet_bench.measure.cost import cost
from unet_bench.registry import Registry
from unet_bench.selection import canonicalised, select_one
from unet_bench.unet import UNet, levels_of
from unet_bench.variants import Variant

SIDE: Final = 256  # of the square image that a page shows, unless the network takes another one
SIDE_3D: Final = 64
TOKENS: Final = 3  # dimensions of a sequence of tokens, (N L C)


@dataclass(frozen=True)
class Detail:
    """What a page says of a network."""

    name: str
    summary: str
    cite: str
    about: str  # a paragraph
    differs: tuple[tuple[str, str, str], ...]  # choice, its value, what that is
    in_channels: int
    classes: int
    params: int
    macs: int
    geometry: Geometry
    stages: tuple[Stage, ...]


def detail(registry: Registry, name: str, size: Sequence[int] = (), in_channels: int = 3, classes: int = 2) -> Detail:
    """The page of a variant at an input size (default: 256², or the nearest that the network takes).

    Raises UnknownName, InvalidSize, Unsupported.
    """
    variant = select_one(registry, name)
    dims = variant.choices.dims
    if size and len(size) != dims:
        raise InvalidSize(
            f"{text(size)}: {name} is shown with {dims} sides; give as many, such as {text((64,) * dims)}"
        )
    wanted = tuple(size) or (SIDE if dims == 2 else SIDE_3D,) * dims
    with torch.device("meta"):
        model = build(registry, variant, in_channels, classes, wanted)
    try:
        found = geometry.geometry(model, in_channels, wanted if size else nearest(model, in_channels, wanted))
    except InvalidSize as error:
        raise InvalidSize(f"{error}; {geometry.advice(model, in_channels, wanted)}") from error
    counted = cost(model, in_channels, found.input)
    return Detail(
        name=variant.name,
        summary=variant.summary,
        cite=variant.cite,
        about=about(registry, variant),
        differs=differences(registry, variant),
        in_channels=in_channels,
        classes=classes,
        params=counted["params"],
        macs=counted["macs"],
        geometry=found,
        stages=tuple(stages(model, in_channels, found)),
    )


def nearest(model: nn.Module, in_channels: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The size itself where nothing is lost at it, else the next larger one of which that is true."""
    try:
        if geometry.geometry(model, in_channels, wanted).legal:
            return wanted
    except InvalidSize:
        pass
    base, step = geometry.legal_sizes(model, in_channels, len(wanted))
    return tuple(base + step * max(0, -(-(side - base) // step)) for side in wanted)


def about(registry: Registry, variant: Variant) -> str:
    """A paragraph: an architecture's own words, or what its parts are."""
    if variant.architecture:
        factory = registry.find("architecture", variant.architecture).load()
        return " ".join((inspect.getdoc(getattr(factory, "func", factory)) or variant.summary).split("\n\n")[0].split())
    simple = canonicalised(registry, variant)
    choices, words = simple.choices, []
    for label, slots in PARAGRAPH:
        if not {*slots} - {*simple.inactive}:
            continue
        found = {registry.find(slot, getattr(choices, slot)).summary for slot in slots}
        words.append(f"{label}: {' / '.join(sorted(found))}")
    return ". ".join(words) + "."


PARAGRAPH: Final = (
    ("Encoder", ("encoder",)),
    ("blocks", ("encoder_block", "decoder_block")),
    ("down", ("down",)),
    ("bottleneck", ("bottleneck",)),
    ("up", ("up",)),
    ("skips", ("skip",)),
    ("merged", ("merge",)),
    ("where sizes differ", ("align",)),
    ("topology", ("topology",)),
)


def differences(registry: Registry, variant: Variant) -> tuple[tuple[str, str, str], ...]:
    """The choices that are not the baseline's: name, value, what that is."""
    if variant.architecture:
        return ()
    default = Choices().text()
    changed = [(name, value) for name, value in variant.choices.text().items() if value != default[name]]
    return tuple(
        (name, value, f"default {default[name]}" if name in AXES else registry.find(name, value).summary)
        for name, value in changed
    )


def stages(model: nn.Module, in_channels: int, at: Geometry) -> list[Stage]:
    """The network's maps in the order in which they are made: per level, or per top module of a whole architecture."""
    seen: list[tuple[str, Any]] = []

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append((name, output))

    for name, module in watched(model):
        module.register_forward_hook(functools.partial(note, name))
    model.eval()
    with torch.no_grad():
        output = main_output(model(torch.empty((1, in_channels, *at.input), device="meta")))
    made = of_slots(model, dict(seen), at) if isinstance(model, UNet) else of_modules(seen, at.input)
    return [Stage("image", 0, in_channels, at.input), *made, Stage("scores", 0, *shape(output))]


def watched(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules whose outputs make the picture, with their names: the top ones; those of a list one by one."""
    if isinstance(model, UNet):
        return [("encoder", model.encoder), ("bottleneck", model.bottleneck), ("topology", model.topology)]
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
        said = f"skip of {text(skip.size)} to {text(skip.up_size)}" if skip and not skip.agrees else "skip" * bool(skip)
        made.append(Stage(f"decoder {level}", level, *shape(seen["topology"][level]), said))
    return made


def of_modules(seen: list[tuple[str, Any]], image: tuple[int, ...]) -> list[Stage]:
    """A stage wherever the shape changes."""
    made: list[Stage] = []
    for name, output in seen:
        for x in [x for x in geometry.flat_tensors(output) if x.ndim in (len(image) + 2, TOKENS)][-1:]:
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


def picture(page: Detail) -> str:
    """The stages as text, each indented by its level."""
    lines = []
    for stage in page.stages:
        words = f"{stage.channels} × {text(stage.size)}" + " tokens" * (len(stage.size) != len(page.geometry.input))
        note = f"{stage.name} + {stage.skip}" if stage.skip else stage.name
        lines.append(f"{'    ' * stage.level}{words}  {note}")
    return "\n".join(lines)


def as_text(page: Detail) -> str:
    """The page for a terminal."""
    lines = [f"{page.name}: {page.summary}", page.about, f"source: {page.cite or '-'}", "", *facts(page), ""]
    if page.differs:
        lines += ["differs from `unet` in"]
        lines += [f"  {name}={value}  ({meaning})" for name, value, meaning in page.differs] + [""]
    return "\n".join([*lines, picture(page)])


def facts(page: Detail) -> list[str]:
    """Parameters, MACs and geometry, a line each."""
    at = page.geometry
    return [
        f"parameters {page.params:,}",
        f"MACs {page.macs:,} for {page.in_channels} × {text(at.input)} in, {page.classes} × {text(at.output)} out",
        f"halves the image to 1/{at.stride}; first output pixel at {text(at.offset)}",
    ]


def as_markdown(page: Detail, figure: str) -> str:
    """The page for the docs; `figure` is the path of its SVG."""
    rows = [f"| `{name}` | `{value}` | {meaning} |" for name, value, meaning in page.differs]
    table = ["| choice | here | what it is |", "|---|---|---|", *rows] if rows else []
    lines = [f"# {page.name}", "", page.summary[:1].upper() + page.summary[1:] + ".", "", page.about, ""]
    lines += [f"Source: {page.cite or 'this project'}.", "", *(f"- {fact}" for fact in facts(page)), ""]
    lines += ["What differs from `unet`:", "", *table, ""] if table else []
    return "\n".join([*lines, f"![{page.name}]({figure})", ""])


def as_svg(page: Detail) -> str:
    """The page's picture."""
    return draw(page.name, page.stages)
