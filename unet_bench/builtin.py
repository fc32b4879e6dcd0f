"""The core's own plugin: the data sets and probes that ship with it, registered by the same hook as
anybody's.
"""

from __future__ import annotations

import functools
from typing import Final

from unet_bench.measure.probes import CHECKING_PROBES, OUR_PROBES
from unet_bench.measure.runtime import OUR_RUNTIMES
from unet_bench.registry import Registrar
from unet_bench.registry.hookspecs import hookimpl
from unet_bench.spec.recipe import Recipe, shipped

RECIPES: Final = (
    "short",
    "paper",
    "nnunet",
    "ubench",
    "nvidia-unet",
    "openvino-camvid",
    "medsegbench",
)


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register `brain`, `cells`, the folder reader, `local`, trivial baselines, recipes, runtimes,
    probes.
    """
    registry.dataset(
        "brain",
        "unet_bench.data.brain:load",
        summary="real head MRI: CSF and rest, grey, white matter",
    )
    registry.dataset(
        "cells",
        "unet_bench.data.cells:load",
        summary="generated touching cells with membranes, any size",
    )
    registry.reader(
        "folder",
        "unet_bench.data.folder:read_folder",
        recognises="unet_bench.data.folder:recognises",
        summary="images/ and masks/ of pictures or NIfTI volumes, "
        "with splits/ and dataset.json if you like",
    )
    registry.trivial_baseline(
        "floor-majority",
        "unet_bench.measure.trivial:majority",
        summary="always the commonest class",
    )
    registry.trivial_baseline(
        "floor-otsu",
        "unet_bench.measure.trivial:otsu",
        summary="thresholds of brightness, image by image",
    )
    registry.trivial_baseline(
        "floor-lookup",
        "unet_bench.measure.trivial:lookup",
        summary="a table from grey value or colour to class, learnt from the training images",
    )
    registry.recipe(
        "default",
        Recipe,
        summary="AdamW, half a cosine after a linear rise, Dice and cross-entropy",
    )
    for name in RECIPES:
        recipe = shipped(name)
        registry.recipe(
            name, functools.partial(shipped, name), summary=recipe.summary, cite=recipe.source
        )
    registry.executor(
        "local", "unet_bench.execute.local:Local", summary="this machine, every device of it"
    )
    for runtime in OUR_RUNTIMES:
        registry.runtime(runtime)
    for probe in (*OUR_PROBES, *CHECKING_PROBES):
        registry.probe(probe)
