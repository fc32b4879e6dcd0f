"""One network on a page: what it is, what it costs, how it differs from the baseline, and its shape
as text and SVG.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from unet_bench.errors import InvalidSize
from unet_bench.geometry.forward import trace
from unet_bench.geometry.shapes import Geometry, Stage, format_size
from unet_bench.geometry.sizes import explain_size, legal_sizes
from unet_bench.geometry.stages import stages
from unet_bench.measure.cost import cost
from unet_bench.models.build import build
from unet_bench.models.select import canonicalised, select_one
from unet_bench.networks.choices import AXES, Choices
from unet_bench.networks.variants import Variant
from unet_bench.present.drawing import draw
from unet_bench.registry.registry import Registry

SIDE: Final = 256  # of the square image that a page shows, unless the network takes another one
SIDE_3D: Final = 64


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


def detail(
    registry: Registry, name: str, size: Sequence[int] = (), in_channels: int = 3, classes: int = 2
) -> Detail:
    """Return the page of a variant at an input size, by default 256² or the nearest it takes.

    Raises UnknownName, InvalidSize, Unsupported.
    """
    variant = select_one(registry, name)
    dims = variant.choices.dims
    if size and len(size) != dims:
        raise InvalidSize(
            f"{format_size(size)}: {name} is shown with {dims} sides; "
            f"give as many, such as {format_size((64,) * dims)}"
        )
    wanted = tuple(size) or (SIDE if dims == 2 else SIDE_3D,) * dims
    with torch.device("meta"):
        model = build(registry, variant, in_channels, classes, wanted)
    try:
        shown = wanted if size else nearest(model, in_channels, wanted)
        geometry = trace(model, in_channels, shown)
    except InvalidSize as error:
        raise InvalidSize(f"{error}; {explain_size(model, in_channels, wanted)}") from error
    counted = cost(model, in_channels, geometry.input)
    return Detail(
        name=variant.name,
        summary=variant.summary,
        cite=variant.cite,
        about=about(registry, variant),
        differs=tuple(differences(registry, variant)),
        in_channels=in_channels,
        classes=classes,
        params=counted["params"],
        macs=counted["macs"],
        geometry=geometry,
        stages=tuple(stages(model, in_channels, geometry)),
    )


def nearest(model: nn.Module, in_channels: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size itself, or the next larger one at which nothing is lost."""
    try:
        if trace(model, in_channels, wanted).legal:
            return wanted
    except InvalidSize:
        pass
    base, step = legal_sizes(model, in_channels, len(wanted))
    return tuple(base + step * max(0, -(-(side - base) // step)) for side in wanted)


def about(registry: Registry, variant: Variant) -> str:
    """Return a paragraph: an architecture's own words, or what its parts are."""
    if variant.architecture:
        factory = registry.find("architecture", variant.architecture).load()
        words = inspect.getdoc(getattr(factory, "func", factory)) or variant.summary
        return " ".join(words.split("\n\n")[0].split())
    simple = canonicalised(registry, variant)
    sentences = []
    for label, slots in PARAGRAPH.items():
        if {*slots} - {*simple.inactive}:
            parts = {registry.find(slot, getattr(simple.choices, slot)).summary for slot in slots}
            sentences.append(f"{label}: {' / '.join(sorted(parts))}")
    return ". ".join(sentences) + "."


PARAGRAPH: Final = {
    "Encoder": ("encoder",),
    "blocks": ("encoder_block", "decoder_block"),
    "down": ("down",),
    "bottleneck": ("bottleneck",),
    "up": ("up",),
    "skips": ("skip",),
    "merged": ("merge",),
    "where sizes differ": ("align",),
    "topology": ("topology",),
}


def differences(registry: Registry, variant: Variant) -> Iterator[tuple[str, str, str]]:
    """Yield the choices that are not the baseline's: name, value, what that is."""
    default = Choices().text()
    for name, value in () if variant.architecture else variant.choices.text().items():
        if value != default[name]:
            is_axis = name in AXES
            summary = "" if is_axis else registry.find(name, value).summary
            yield name, value, f"default {default[name]}" if is_axis else summary


def picture(page: Detail) -> str:
    """Return the stages as text, each indented by its level."""
    lines = []
    for stage in page.stages:
        tokens = " tokens" if len(stage.size) != len(page.geometry.input) else ""
        name = f"{stage.name} + {stage.skip}" if stage.skip else stage.name
        size = f"{stage.channels} × {format_size(stage.size)}{tokens}"
        lines.append(f"{'    ' * stage.level}{size}  {name}")
    return "\n".join(lines)


def as_text(page: Detail) -> str:
    """Return the page for a terminal."""
    lines = [f"{page.name}: {page.summary}", page.about, f"source: {page.cite or '-'}", ""]
    lines += [*facts(page), ""]
    if page.differs:
        choices = [f"  {name}={value}  ({meaning})" for name, value, meaning in page.differs]
        lines += ["differs from `unet` in", *choices, ""]
    return "\n".join([*lines, picture(page)])


def facts(page: Detail) -> list[str]:
    """Return parameters, MACs and geometry, a line each."""
    at = page.geometry
    return [
        f"parameters {page.params:,}",
        f"MACs {page.macs:,} for {page.in_channels} × {format_size(at.input)} in, "
        f"{page.classes} × {format_size(at.output)} out",
        f"halves the image to 1/{at.stride}; first output pixel at {format_size(at.offset)}",
    ]


def as_markdown(page: Detail, figure: str) -> str:
    """Return the page for the docs; `figure` is the path of its SVG."""
    summary = page.summary[:1].upper() + page.summary[1:]
    lines = [f"# {page.name}", "", f"{summary}.", "", page.about, ""]
    lines += [f"Source: {page.cite or 'this project'}.", ""]
    lines += [*(f"- {fact}" for fact in facts(page)), ""]
    if page.differs:
        rows = [f"| `{name}` | `{value}` | {meaning} |" for name, value, meaning in page.differs]
        head = ["| choice | here | what it is |", "|---|---|---|"]
        lines += ["What differs from `unet`:", "", *head, *rows, ""]
    return "\n".join([*lines, f"![{page.name}]({figure})", ""])


def as_svg(page: Detail) -> str:
    """Return the page's picture."""
    return draw(page.name, page.stages)
