"""The images that a network was trained on, read again from where its run found them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unet_bench.data.dataset import Dataset, Sample
from unet_bench.errors import StoreError
from unet_bench.pipeline import recipe_of_run, suite_of_run
from unet_bench.plan.tasks import read_tasks
from unet_bench.registry.plugins import load
from unet_bench.train.trained import Network
from unet_bench.train.windows import cut


def dataset_of(run: Path, network: Network) -> Dataset:
    """Return the data that a network was trained on.

    Raises StoreError where they are not what they were, and whatever reading them raises.
    """
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_of_run(run)
        selects = recipe is None or recipe.select == "best"
        tasks = read_tasks(suite_of_run(run), load().checked(), Path(folder), selects=selects)
        same = [task.data for task in tasks if task.task == network.task and task.data]
        if not same:
            raise StoreError(
                f"the images of {network.task.name} are not those that {run} was trained on: "
                "bring them back, or leave out --quantize"
            )
        return Dataset.load(same[0])


def training_inputs(samples: Sequence[Sample], network: Network, count: int) -> list[np.ndarray]:
    """Return inputs `(1 C *S)` cut from images at random: values, not normalised."""
    rng, inputs = np.random.default_rng(network.seed), []
    for number in rng.integers(len(samples), size=count):
        values = np.moveaxis(samples[number].image, -1, 0).astype(np.float32)
        room = np.subtract(values.shape[1:], network.task.scored)
        corner = tuple(int(rng.integers(most + 1)) for most in room)
        inputs.append(cut(torch.from_numpy(values), corner, network.input_window)[None].numpy())
    return inputs
