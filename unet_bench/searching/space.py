"""What a search chooses among: alternatives for slots and axes, and some published networks.

alternatives, a seed ─▶ points, one value for each slot and axis ─▶ names of variants
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from unet_bench.errors import InvalidChoice, InvalidSuite
from unet_bench.limits import one_line, read_toml
from unet_bench.models.select import checked, select_one
from unet_bench.networks.variants import BASELINE, Variant
from unet_bench.registry.registry import Registry

Point = Mapping[str, str]  # the value of each slot and axis that varies

DEFAULT: Final[Mapping[str, tuple[str, ...]]] = {
    "encoder_block": ("double-conv", "residual", "se-double-conv", "separable"),
    "bottleneck": ("plain", "aspp"),
    "down": ("max-pool", "strided-conv", "blur-pool"),
    "up": ("transpose", "nearest-conv", "bilinear-conv", "1x1-bilinear", "pixel-shuffle"),
    "skip": ("identity", "attention", "scse"),
    "merge": ("concat", "add"),
    "topology": ("unet", "unet++"),
    "norm": ("batch", "instance", "group"),
    "act": ("relu", "leaky_relu", "silu"),
    "depth": ("4", "3", "2"),
    "base_width": ("64", "32", "96"),
    "convs_per_level": ("2", "1"),
    "aux_heads": ("0", "2"),
}
"""Choices that people argue about; align and padding matter little where sizes fit."""
PUBLISHED: Final = ("unet-light", "mobilenetv3-unet", "resnet34-unet")
"""Networks that are no point of it, and are tried first, after the baseline."""


@dataclass(frozen=True)
class Space:
    """All combinations of `alternatives`, laid over a variant; of each the variant's own is first.

    `published` are further variants to try.
    """

    base: Variant
    alternatives: Mapping[str, tuple[str, ...]]
    published: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many combinations there are, those that cannot be built included."""
        return math.prod(map(len, self.alternatives.values()))

    def draws(self, seed: int) -> Iterator[Point]:
        """Yield points at random, without an end; the same for the same seed."""
        chance = random.Random(seed)
        while True:
            yield {name: chance.choice(values) for name, values in self.alternatives.items()}

    def name(self, point: Point) -> str:
        """Return the name of the variant at a point, such as `unet+up=bilinear`."""
        return self.base.with_choices(**point).name

    def point(self, name: str) -> Point | None:
        """Return the point of a variant's name; None for what is not in the space."""
        if not name.startswith(self.base.name):
            return None
        start, *changes = re.split(r"\+(?=\w+=)", name.removeprefix(self.base.name))
        if start:
            return None
        own = {choice: values[0] for choice, values in self.alternatives.items()}
        return own | dict(change.split("=", 1) for change in changes)


def read_space(texts: Sequence[str], registry: Registry, base: str = BASELINE) -> Space:
    """Return the space that `--space` describes: the default, a TOML file, or slot=part,part.

    Raises InvalidSuite, InvalidChoice, UnknownName.
    """
    start = select_one(registry, base)
    if start.architecture:
        raise InvalidSuite(
            f"{base} is a whole architecture, whose parts cannot be exchanged: search from one "
            "made of slots, such as unet"
        )
    published: tuple[str, ...] = ()
    if list(texts) in ([], ["default"]):
        wanted, published = dict(DEFAULT), PUBLISHED
    elif len(texts) == 1 and texts[0].endswith(".toml"):
        wanted = _from_file(Path(texts[0]))
    else:
        wanted = dict(map(_alternatives, texts))
    own = start.choices.text()
    found: dict[str, tuple[str, ...]] = {}
    for name, values in wanted.items():
        variants = [checked(registry, start.with_choices(**{name: value})) for value in values]
        typed = [variant.choices.text()[name] for variant in variants]
        found[name] = tuple(dict.fromkeys([own[name], *typed]))
    if math.prod(map(len, found.values())) < 2:
        raise InvalidSuite(
            "the space has a single network: give alternatives, such as --space up=bilinear,nearest"
        )
    known = [name for name in published if not registry.absent(select_one(registry, name))]
    return Space(start, found, tuple(known))


def _alternatives(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, values = text.partition("=")
    found = tuple(value.strip() for value in values.split(",") if value.strip())
    if not found:
        raise InvalidChoice(
            f"--space {one_line(text)} is not valid: write default, a file that ends in .toml, or "
            "SLOT=PART,PART such as up=bilinear,nearest"
        )
    return name.strip(), found


def _from_file(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the alternatives that a file lists, by slot or axis. Raises InvalidSuite."""
    try:
        content = read_toml(path)
    except (OSError, ValueError) as error:
        raise InvalidSuite(f"space {one_line(str(path))}: {one_line(str(error))}") from error
    found = {}
    for name, values in content.items():
        if not isinstance(values, list) or not values:
            raise InvalidSuite(
                f"space {one_line(str(path))}: {one_line(name)} takes a list of alternatives, such "
                'as up = ["transpose", "bilinear"]'
            )
        found[name] = tuple(map(_text, values))
    return found


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
