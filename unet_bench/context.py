"""What a probe is given: the cell, and the network, input and data that belong to it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from unet_bench.data.dataset import Dataset
from unet_bench.errors import Unsupported
from unet_bench.geometry.meta import on_meta
from unet_bench.host import device
from unet_bench.models.build import build, published_weights
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell

if TYPE_CHECKING:
    from unet_bench.measure.probe import Probe
    from unet_bench.measure.runtime import Runtime

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h
AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class MeasurementContext:
    """What a cell is measured with, in a process of its own."""

    cell: Cell
    registry: Registry
    data: Path | None = None  # the fitted data set, as the parent saved it
    samples: Path | None = None  # where a probe leaves raw values
    # the folder where a training leaves its state, to go on from when it was killed
    checkpoint: Path | None = None
    weights: Path | None = None  # where a training leaves the network
    trained: Path | None = None  # the folder with all networks that the run has kept
    key: str = ""  # of the cell and the software: what a checkpoint must be of
    stand_in: str = ""  # a device in the setting's place: `meta`, where nothing is computed

    @property
    def probe(self) -> Probe:
        """The cell's probe."""
        return self.registry.probe(self.cell.probe)

    @property
    def runtime(self) -> Runtime:
        """What runs the cell's network."""
        return self.registry.runtime(self.cell.setting.runtime)

    @property
    def device(self) -> torch.device:
        """Where the network runs, its index stated."""
        return device.indexed(self.stand_in or self.cell.setting.device)

    def baseline(self) -> MeasurementContext:
        """Return the same context with the baseline in the variant's place."""
        cell = self.cell
        return replace(
            self, cell=replace(cell, variant=cell.baseline, input_window=cell.baseline_input_window)
        )

    def eager(self) -> MeasurementContext:
        """Return the same context with the network run by eager torch, its numbers as trained."""
        return replace(self, cell=replace(self.cell, setting=self.cell.setting.eager()))

    def with_batch(self, batch: int) -> MeasurementContext:
        """Return the same context with another batch."""
        return replace(
            self, cell=replace(self.cell, setting=replace(self.cell.setting, batch=batch))
        )

    def network(self, *, training: bool = False) -> nn.Module:
        """Build the cell's variant from the cell's seed, on the device."""
        cell = self.cell
        torch.manual_seed(cell.seed)
        model = build(
            self.registry,
            cell.variant,
            cell.task.in_channels,
            len(cell.task.classes),
            cell.input_window.input,
        )
        model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        if cell.setting.pretrained != "none" and self.probe.scores:
            if (load := published_weights(model)) is None:
                raise Unsupported(f"{cell.variant.name} has no published weights to begin from")
            load(cell.setting.pretrained)
        return model.train(training)

    def blueprint(self) -> nn.Module:
        """Build the cell's variant on the meta device: shapes without memory."""
        cell = self.cell
        with on_meta():
            return build(
                self.registry,
                cell.variant,
                cell.task.in_channels,
                len(cell.task.classes),
                cell.input_window.input,
            )

    def images(self, *, training: bool = False) -> Tensor:
        """Return random input `(N C *S)`, as large as the variant needs for the scored pixels.

        `training`: for those of a training window.
        """
        cell = self.cell
        window = cell.training_window.input if training else cell.input_window
        shape = (cell.setting.batch, cell.task.in_channels, *window.input)
        if self.device.type == "meta":
            return torch.empty(shape, device="meta").to(memory_format=self.memory_format)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(cell.seed))
        return images.to(self.device, memory_format=self.memory_format)

    def target(self) -> Tensor:
        """Return random classes `(N *s)` of the scored pixels."""
        cell = self.cell
        shape = (cell.setting.batch, *cell.training_window.size)
        if self.device.type == "meta":
            return torch.empty(shape, dtype=torch.long, device="meta")
        generator = torch.Generator().manual_seed(cell.seed)
        return torch.randint(len(cell.task.classes), shape, generator=generator).to(self.device)

    @property
    def memory_format(self) -> torch.memory_format:
        """Torch's name for the setting's memory format."""
        if self.cell.setting.memory_format != "channels_last":
            return torch.contiguous_format
        return torch.channels_last if self.cell.task.dims == 2 else torch.channels_last_3d

    def dataset(self) -> Dataset:
        """Return the task's images and masks."""
        if self.data is None:
            raise Unsupported(f"task {self.cell.task.name} has no data to train on")
        return Dataset.load(self.data)

    @contextlib.contextmanager
    def precision(self, *, cache: bool = True) -> Iterator[None]:
        """Run a forward pass in the setting's precision.

        Without `cache` no cast weight is kept for the next pass: a CUDA graph must not read what
        leaving frees.
        """
        wanted = AUTOCAST.get(self.cell.setting.precision)
        if wanted is None:
            yield
            return
        with torch.autocast(self.device.type, dtype=wanted, cache_enabled=cache):
            yield

    def rng(self) -> np.random.Generator:
        """Return the same random numbers for every variant of a (task, seed)."""
        return np.random.default_rng(self.cell.seed)


def keep_freed_memory() -> None:
    """Have glibc keep what tensors leave, as a process that has run for long does.

    Other C libraries are left alone. Otherwise large tensors sometimes come fresh from the system,
    page by page, and sometimes not, depending on the state of the heap: that made the intervals of
    equal networks twice as wide.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def limit_memory(cell: Cell) -> None:
    """Have the system, or the device's allocator, refuse what is beyond the protocol's limit.

    What the process has already does not count on a CPU: that is torch itself.
    """
    if not (limit := int(cell.protocol.memory_limit_mib * 2**20)):
        return
    if device.is_accelerator(where := device.indexed(cell.setting.device)):
        device.limit_memory(where, limit)
    elif sys.platform == "linux":
        import resource

        held = next(
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmData")
        )
        most = limit + 1024 * int(held.split()[1])
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def prepare_process(cell: Cell, probe: Probe) -> None:
    """Set what torch keeps globally, once in a fresh process: threads, tf32, the cuDNN search.

    And the C library's allocator, and the limit on memory.
    """
    if probe.keep_freed_memory:
        keep_freed_memory()
    torch.set_num_threads(cell.setting.threads)
    device.allow_tf32(cell.setting.precision == "tf32")
    deterministic = cell.setting.algorithms == "deterministic"
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    device.select(device.indexed(cell.setting.device))
    limit_memory(cell)
