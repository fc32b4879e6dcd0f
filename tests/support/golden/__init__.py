"""Parameters and MACs of reference implementations, one CSV a plugin, and ours at the same
configuration.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unet_bench.measure.cost import cost
from unet_bench.models.build import build
from unet_bench.models.select import select
from unet_bench.registry.registry import Registry

HERE = Path(__file__).parent


class Golden(NamedTuple):
    """A reference's figures. Without `macs`, only its parameters are known."""

    variant: str
    in_channels: int
    classes: int
    size: tuple[int, ...]
    params: int
    macs: int | None
    source: str

    def __str__(self) -> str:
        return f"{self.variant}-{self.in_channels}to{self.classes}-{'x'.join(map(str, self.size))}"


def read_golden() -> list[Golden]:
    """All rows of all files."""
    found = []
    for path in sorted(HERE.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.append(
                    Golden(
                        "+".join(filter(None, (row["variant"], row["changes"]))),
                        int(row["in_channels"]),
                        int(row["classes"]),
                        tuple(map(int, row["size"].split("x"))),
                        int(row["params"]),
                        int(row["macs"]) if row["macs"] else None,
                        row["source"],
                    )
                )
    return found


def ours(registry: Registry, golden: Golden) -> dict[str, Any]:
    """Our parameters and MACs of the same configuration."""
    (variant,) = select(registry, [golden.variant])
    if not variant.architecture or len(golden.size) == 3:
        variant = variant.with_choices(dims=len(golden.size))
    with torch.device("meta"):
        model = build(registry, variant, golden.in_channels, golden.classes, golden.size)
    return cost(model, golden.in_channels, golden.size)
