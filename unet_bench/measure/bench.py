"""What a probe is given: the cell, and the network, input and data that belong to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unet_bench.build import build
from unet_bench.cells import Cell
from unet_bench.data.dataset import Dataset
from unet_bench.errors import Unsupported
from unet_bench.registry import Registry

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Bench:
    """A cell on its bench, in a process of its own."""

    cell: Cell
    registry: Registry
    data: Path | None = None  # the fitted data set, as the parent saved it
    samples: Path | None = None  # where a probe leaves raw values

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return torch.device(self.cell.setting.device)

    def network(self, *, baseline: bool = False, training: bool = False) -> nn.Module:
        """The cell's variant (or its baseline), freshly built from the cell's seed, on the device."""
        cell = self.cell
        variant, frame = (cell.baseline, cell.baseline_frame) if baseline else (cell.variant, cell.frame)
        torch.manual_seed(cell.seed)
        model = build(self.registry, variant, cell.task.in_channels, len(cell.task.classes), frame.input)
        placed: nn.Module = model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        return placed.train(training)

    def blueprint(self) -> nn.Module:
        """The cell's variant on the meta device: shapes without memory."""
        cell = self.cell
        with torch.device("meta"):
            return build(self.registry, cell.variant, cell.task.in_channels, len(cell.task.classes), cell.frame.input)

    def images(self, *, baseline: bool = False) -> Tensor:
        """Random input `(N C H W)` of the size that the variant needs for the scored pixels."""
        cell = self.cell
        frame = cell.baseline_frame if baseline else cell.frame
        generator = torch.Generator().manual_seed(cell.seed)
        images = torch.randn((cell.setting.batch, cell.task.in_channels, *frame.input), generator=generator)
        return images.to(self.device, memory_format=self.memory_format)

    @property
    def memory_format(self) -> torch.memory_format:
        """Torch's name for the setting's memory format."""
        wanted = self.cell.setting.memory_format
        return torch.channels_last if wanted == "channels_last" else torch.contiguous_format

    def dataset(self) -> Dataset:
        """The task's images and masks."""
        if self.data is None:
            raise Unsupported(f"task {self.cell.task.name} has no data to train on")
        return Dataset.load(self.data)

    @contextlib.contextmanager
    def precision(self) -> Iterator[None]:
        """Run a forward pass in the setting's precision."""
        wanted = AUTOCAST.get(self.cell.setting.precision)
        if wanted is None:
            yield
            return
        with torch.autocast(self.device.type, dtype=wanted):
            yield

    def rng(self) -> np.random.Generator:
        """The same random numbers for every variant of a (task, seed)."""
        return np.random.default_rng(self.cell.seed)


def prepare_process(cell: Cell) -> None:
    """Set, once in a fresh process, what torch keeps globally: threads, tf32, the cuDNN search."""
    torch.set_num_threads(cell.setting.threads)
    tf32 = cell.setting.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    if cell.setting.device.startswith("cuda"):
        torch.cuda.set_device(torch.device(cell.setting.device))
