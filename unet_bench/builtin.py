"""The core's own plugin: the data sets and probes that ship with it, registered by the same hook as
anybody's.
"""

from __future__ import annotations

import functools
from typing import Final

from unet_bench.registry.hookspecs import hookimpl
from unet_bench.registry.registry import Registrar
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
    """Register `brain`, `cells`, the readers, trivial baselines, recipes and probes."""
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
        summary="images/ and masks/ of pictures or NIfTI volumes, with splits/ and dataset.json if you like",
    )
    registry.reader(
        "medsegbench",
        "unet_bench.data.medsegbench:read",
        recognises="unet_bench.data.medsegbench:recognises",
        summary="MedSegBench: one .npz with images and labels of three splits",
        cite="Kuş and Aydin 2024, Scientific Data 11",
    )
    registry.reader(
        "decathlon",
        "unet_bench.data.decathlon:read",
        recognises="unet_bench.data.decathlon:recognises",
        summary="Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr; NIfTI",
        cite="Antonelli et al. 2022, Nature Communications 13",
    )
    registry.reader(
        "nnunet",
        "unet_bench.data.nnunet:read",
        recognises="unet_bench.data.nnunet:recognises",
        summary="nnU-Net raw: dataset.json, imagesTr/CASE_0000.EXT, labelsTr; NIfTI or pictures",
        cite="Isensee et al. 2021, Nature Methods 18",
    )
    registry.reader(
        "tiff",
        "unet_bench.data.pages:read",
        recognises="unet_bench.data.pages:recognises",
        summary="multi-page TIFF: train-volume.tif, train-labels.tif, as in ISBI 2012",
        cite="Arganda-Carreras et al. 2015, Frontiers in Neuroanatomy 9",
    )
    registry.reader(
        "dsb",
        "unet_bench.data.instances:read",
        recognises="unet_bench.data.instances:recognises",
        summary="a folder an image, a mask file an instance: ID/images, ID/masks, as in Kaggle's DSB 2018",
        cite="Caicedo et al. 2019, Nature Methods 16",
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
    registry.executor(
        "ray",
        "unet_bench.execute.on_ray:OnRay",
        summary="a Ray cluster, without a shared file system",
        needs=("ray", "pip install 'unet-bench[ray]'"),
    )
    registry.executor(
        "slurm",
        "unet_bench.execute.on_slurm:OnSlurm",
        summary="a Slurm cluster, by arrays of jobs; the run's folder on a file system that nodes share",
        needs=("submitit", "pip install 'unet-bench[slurm]'"),
    )
    probe, timed = registry.probe, functools.partial(registry.probe, timed=True)
    probe(
        "cost", "unet_bench.measure.cost:probe", summary="parameters, MACs, activations, intensity"
    )
    timed(
        "speed",
        "unet_bench.measure.speed:probe",
        summary="latency and throughput, paired with the baseline",
    )
    probe(
        "memory",
        "unet_bench.measure.memory:probe",
        summary="peak memory of inference and a training step",
    )
    timed(
        "training",
        "unet_bench.measure.training:probe",
        summary="a training step, whole and split, paired likewise",
    )
    timed(
        "energy",
        "unet_bench.measure.energy:probe",
        summary="joules an image, paired likewise; NVIDIA GPUs",
    )
    timed(
        "batch",
        "unet_bench.measure.batch:probe",
        summary="the batch of the best throughput, and the largest that fits",
    )
    probe(
        "accuracy",
        "unet_bench.measure.accuracy:probe",
        summary="trains, then Dice and IoU on test images",
    )
