"""Networks that tests build and measure: the tour's, and all that are more than another part."""

from __future__ import annotations

from support.sampling import sampled

from unet_bench.models.select import select
from unet_bench.registry import plugins
from unet_bench.spec.suite import read as read_suite

REGISTRY = plugins.load().checked()
TOUR = {variant.name for variant in select(REGISTRY, read_suite("tour")["variants"])}
OWN_SHAPE = ("unet-norm-last", "unet-recurrent")
SAMPLE = (
    "unet",
    "unet-paper",
    "segnet",
)
NAMES = [
    variant.name
    for variant in select(REGISTRY, ["all"])
    if variant.name in TOUR or variant.architecture or variant.name in OWN_SHAPE
]
VARIANTS = sampled(NAMES, SAMPLE)
