"""Presets: values for what a suite leaves open, that belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

FIRST_LOOK: Final = ("cost", "speed", "memory", "accuracy")
WHERE_EXPORTED: Final = ("deployed",)  # beside a preset's probes, where a runtime is not torch


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Values for the fields of a suite that are left open."""

    name: str
    summary: str
    values: Mapping[str, Any]  # by fields of Suite
    # A shipped suite, whose variants are run where none are named, with what it states under the
    # preset's name; empty: all variants.
    suite: str = ""
    time_limit_s: float = math.inf  # a run ends by then, unless it is given another limit


PRESETS: Final = {
    preset.name: preset
    for preset in (
        Preset(
            name="quick",
            summary="a first look in minutes on two CPU cores: a quarter of the width, 64² "
            "trained on, 128² scored",
            values={
                "size": "128x128",
                "width_scale": 0.25,
                "window": "64x64",
                "threads": (1,),
                "batch": (4,),
                "steps": 100,
                "recipe": "short",
                "seeds": (0,),
                "eval_images": 64,
                "replicates": 1,
                "speed_s": 2.0,
                "interval": 0.02,
                "probes": FIRST_LOOK,
                "memory": "predicted",
                "limit_tmac": 4.0,
            },
            suite="first",
        ),
        Preset(
            name="gpu-quick",
            summary="a first look on a GPU, 45 minutes at most: the tour's variants, widths as "
            "defined, 256² scored",
            values={
                "size": "256x256",
                "width_scale": 1.0,
                "batch": (8,),
                "steps": 300,
                "recipe": "short",
                "seeds": (0,),
                "eval_images": 64,
                "replicates": 1,
                "speed_s": 2.5,
                "interval": 0.02,
                "probes": FIRST_LOOK,
                "memory": "measured",
                "limit_tmac": 4_000.0,
            },
            suite="tour",
            time_limit_s=45 * 60.0,
        ),
        Preset(
            name="standard",
            summary="for a GPU and hours: widths as defined, 256² scored, three seeds, three "
            "processes per timing",
            values={
                "size": "256x256",
                "width_scale": 1.0,
                "batch": (8,),
                "steps": 2000,
                "recipe": "default",
                "seeds": (0, 1, 2),
                "replicates": 3,
                "speed_s": 10.0,
                "interval": 0.01,
                "probes": (*FIRST_LOOK, "training"),
                "memory": "measured",
                "limit_tmac": 20_000.0,
            },
        ),
        Preset(
            name="full",
            summary="standard, and the paper's size too: 388² scored (572² into the unpadded "
            "network)",
            values={
                "size": "256x256,388x388",
                "width_scale": 1.0,
                "batch": (8,),
                "steps": 5000,
                "recipe": "default",
                "seeds": (0, 1, 2),
                "replicates": 3,
                "speed_s": 10.0,
                "interval": 0.01,
                "probes": (*FIRST_LOOK, "training", "batch"),
                "memory": "measured",
                "limit_tmac": 200_000.0,
            },
        ),
    )
}
