"""The core's own plugin: the data sets and probes that ship with it, registered by the same hook as anybody's."""

from __future__ import annotations

from unet_bench.hookspecs import hookimpl
from unet_bench.registry import Draft


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register `brain`, `cells` and the probes."""
    registry.dataset("brain", "unet_bench.data.brain:load", summary="real head MRI: CSF and rest, grey, white matter")
    registry.dataset("cells", "unet_bench.data.cells:load", summary="generated touching cells with membranes, any size")
    registry.probe("cost", "unet_bench.measure.cost:probe", summary="parameters, MACs, activations, intensity")
    registry.probe(
        "speed", "unet_bench.measure.speed:probe", summary="latency and throughput, paired with the baseline"
    )
    registry.probe("memory", "unet_bench.measure.memory:probe", summary="peak memory of inference and a training step")
    registry.probe(
        "training", "unet_bench.measure.training:probe", summary="a training step, whole and split, paired likewise"
    )
    registry.probe("energy", "unet_bench.measure.energy:probe", summary="joules an image, paired likewise; NVIDIA GPUs")
    registry.probe(
        "batch", "unet_bench.measure.batch:probe", summary="the batch of the best throughput, and the largest that fits"
    )
    registry.probe("accuracy", "unet_bench.measure.accuracy:probe", summary="trains, then Dice and IoU on test images")
