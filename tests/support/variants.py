"""Variants that several tests look at."""

from __future__ import annotations

import pytest

from unet_bench.models.select import select
from unet_bench.registry import plugins
from unet_bench.spec.suite import read as read_suite

TOUR = [
    variant.name for variant in select(plugins.load().checked(), read_suite("tour")["variants"])
]


QUICK = (
    "unet",
    "unet-paper",
    "unet-residual",
    "unet-group",
    "unet-bilinear",
    "unet-milesial",
    "segnet",
)


VARIANTS = [  # the tour's and whole architectures, a few of them by default; a part is like one of theirs
    pytest.param(variant.name, marks=[pytest.mark.slow] * (variant.name not in QUICK))
    for variant in select(plugins.load().checked(), ["all"])
    if variant.name in TOUR
    or variant.architecture
    or variant.name in ("unet-norm-last", "unet-recurrent")
]
