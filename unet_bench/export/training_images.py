"""The images that a network was trained on, read again from where its run found them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from unet_bench.data.dataset import Dataset
from unet_bench.errors import StoreError
from unet_bench.pipeline import suite_of_run
from unet_bench.plan.tasks import read_tasks
from unet_bench.registry.plugins import load
from unet_bench.train.trained import Network
from unet_bench.train.windows import cut


def training_images(run: Path, network: Network, count: int) -> list[np.ndarray]:
    """Return inputs `(1 C *S)` cut from training images at random: values, not normalised.

    Raises StoreError where the data are not what they were, and whatever reading them raises.
    """
    with tempfile.TemporaryDirectory() as folder:
        tasks = read_tasks(suite_of_run(run), load().checked(), Path(folder))
        same = [task.data for task in tasks if task.task == network.task and task.data]
        if not same:
            raise StoreError(
                f"the images of {network.task.name} are not those that {run} was trained on: "
                "bring them back, or leave out --quantize"
            )
        samples = Dataset.load(same[0]).train
    rng, inputs = np.random.default_rng(network.seed), []
    for number in rng.integers(len(samples), size=count):
        values = np.moveaxis(samples[number].image, -1, 0).astype(np.float32)
        room = np.subtract(values.shape[1:], network.task.scored)
        corner = tuple(int(rng.integers(most + 1)) for most in room)
        inputs.append(cut(torch.from_numpy(values), corner, network.input_window)[None].numpy())
    return inputs
