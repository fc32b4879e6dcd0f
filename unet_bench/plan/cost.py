"""What a cell will cost: seconds, operations and memory, foreseen without running it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from unet_bench.context import MeasurementContext
from unet_bench.errors import InvalidPart, first_line
from unet_bench.geometry.shapes import format_size
from unet_bench.measure.clock import PATIENCE
from unet_bench.measure.memory import MIB, predicted_bytes
from unet_bench.measure.probe import Estimate, Probe
from unet_bench.plan.examine import ExaminedNetwork
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol, Setting
from unet_bench.train.tiles import count

Sizes = Mapping[str, tuple[tuple[int, ...], ...]]
"""The size `(*S)` of each image, by split."""

OPTIMISER_STATE: Final = {"adamw": 2, "adam": 2, "sgd": 1}  # tensors for each of the weights
START_S: Final = 0.15  # of a worker process and of building a network
# Likewise, with a context and the libraries that come with the first operators.
START_ON_GPU_S: Final = 3.0


class Overhead(NamedTuple):
    """What a pass takes beside its MACs, as so many MACs or as seconds."""

    mac: float  # MACs at the measured rate that take as long as one of a network's
    activation: float  # likewise an element that a convolution puts out, and what follows on it
    weight: float  # the update of a weight
    module_s: float  # a module's call, however small its maps are


# By least squares over the passes of 44 unlike networks at 64x64 and 128x128, batch 4, one thread
# of an AVX-512 CPU: passes and steps take 0.7 to 1.5 times what these come to.
ON_CPU: Final = Overhead(mac=0.95, activation=112, weight=255, module_s=1.35e-4)
# From the rates of memory and of launches that data sheets state; not fitted to measurements.
ON_GPU: Final = Overhead(mac=1.3, activation=35, weight=30, module_s=2e-5)
STEP: Final = 3  # forward passes as long as a training step, by MACs
STEP_ACTIVATIONS: Final = 4.5  # by activations, which the backward pass reads again
STEP_MODULES: Final = 2  # by calls
THREADS_POWER: Final = 0.65  # so two threads are 1.6 times as fast as one

# On the host, with one thread.
SCORING_S: Final = 0.15  # to import what scores
VALUE_S: Final = 8e-9  # to read and normalise a value of an image
VOXEL_S: Final = 2.5e-8  # the same of a volume, which holds no bytes
WINDOW_S: Final = 5e-4  # to cut and augment a training window
PIXEL_S: Final = 1.4e-7  # to count a pixel's classes
SCORE_S: Final = 1e-8  # for the score of a class at a pixel, of each tile that covers it
OUTLINE_S: Final = 1e-7  # to score a test pixel's outlines
OUTLINE_OF_CLASS_S: Final = 5e-8  # and for each class
RULE_S: Final = 8e-8  # to fit a trivial baseline to a pixel, or to predict it


@dataclass(frozen=True)
class Work:
    """A cell's tera-MACs, and the seconds that it takes in all."""

    tmac: float
    seconds: float


@dataclass(frozen=True)
class Device:
    """How fast a device is: MACs a second, and what goes beside."""

    mac_rate: float
    overhead: Overhead

    @classmethod
    def of(cls, setting: Setting, mac_rate: float) -> Device:
        """Return the device of a setting, whose rate on a CPU is that of one thread."""
        if setting.device != "cpu":
            return cls(mac_rate, ON_GPU)
        return cls(mac_rate * setting.threads**THREADS_POWER, ON_CPU)

    def pass_s(self, network: ExaminedNetwork, images: float) -> float:
        """Return how long a forward pass of so many images of the scored size takes."""
        a_module = self.overhead.module_s * (network.modules or 0)
        return images * self._image_s(network.macs, network.activations) + a_module

    def step_s(self, network: ExaminedNetwork, batch: int) -> float:
        """Return how long a training step takes, on the network's training window."""
        macs = network.macs if network.training_macs is None else network.training_macs
        activations = network.training_activations
        activations = network.activations if activations is None else activations
        an_image = self._image_s(STEP * (macs or 0), STEP_ACTIVATIONS * (activations or 0))
        update = self.overhead.weight * (network.params or 0) / self.mac_rate
        calls = STEP_MODULES * self.overhead.module_s * (network.modules or 0)
        return batch * an_image + update + calls

    def _image_s(self, macs: float | None, activations: float | None) -> float:
        overhead = self.overhead
        worth = overhead.mac * (macs or 0) + overhead.activation * (activations or 0)
        return worth / self.mac_rate


def work_of(
    probe: Probe,
    cell: Cell,
    network: ExaminedNetwork,
    baseline: ExaminedNetwork,
    sizes: Sizes,
    mac_rate: float,
    ready_s: float = 0.0,
) -> Work:
    """Return a cell's work, by what its probe estimates.

    `sizes` are those of the task's images. The device does `mac_rate` MACs a second, of a CPU one
    thread does. A runtime takes `ready_s` to make networks ready.
    """
    estimate, batch = probe.estimate(cell), cell.setting.batch
    device = Device.of(cell.setting, mac_rate)
    on_gpu = cell.setting.device != "cpu" and probe.on_device
    seconds = (START_ON_GPU_S if on_gpu else START_S) + estimate.seconds
    if probe.settings != "first":
        seconds += ready_s
    together = [network, baseline] if probe.paired else [network]
    pass_s = sum(device.pass_s(one, batch) for one in together)
    seconds += estimate.passes * pass_s + timed_s(estimate, pass_s)
    seconds += estimate.steps * (device.step_s(network, batch) + batch * WINDOW_S)
    macs = estimate.passes * batch * sum(one.macs or 0 for one in together)
    trained = network.macs if network.training_macs is None else network.training_macs
    macs += STEP * estimate.steps * batch * (trained or 0)
    if estimate.evaluations or estimate.tests:
        images = scored_images(estimate, cell, sizes)
        macs += images * (network.macs or 0)
        seconds += images / batch * device.pass_s(network, batch)
        scores = images * math.prod(cell.task.scored) * len(cell.task.classes)
        seconds += SCORE_S * scores + scoring_s(estimate, cell, sizes)
    return Work(macs / 1e12, seconds)


def timed_s(estimate: Estimate, pass_s: float) -> float:
    """Return how long is timed: a few passes at least, and all that time allows of the wanted."""
    wanted_s = estimate.timed_passes * pass_s
    patience_s = max(PATIENCE * estimate.timed_s, wanted_s / 3)
    return max(estimate.timed_s, min(patience_s, wanted_s))


def scored_images(estimate: Estimate, cell: Cell, sizes: Sizes) -> float:
    """Return how many images of the scored size a network predicts, validating and testing.

    Larger images are as many as their tiles; whole ones as many as they are larger.
    """
    protocol, scored = cell.protocol, cell.task.scored

    def images(split: str, overlap: float, flips: bool) -> float:
        if protocol.whole:
            turns = 2 ** len(scored) if flips else 1
            return turns * pixels_of(sizes, split) / math.prod(scored)
        tiles = (count(size, scored, overlap=overlap, flips=flips) for size in sizes.get(split, ()))
        return sum(tiles)

    validated = estimate.evaluations * images("val", 0.0, False)
    tested = images("test", protocol.overlap, protocol.flips) if estimate.tests else 0.0
    return validated + tested


def scoring_s(estimate: Estimate, cell: Cell, sizes: Sizes) -> float:
    """Return the host's seconds for reading all images, and for scoring those of two splits."""
    training, validation, test = (pixels_of(sizes, split) for split in ("train", "val", "test"))
    value_s = VALUE_S if cell.task.dims == 2 else VOXEL_S
    seconds = SCORING_S + value_s * cell.task.in_channels * (training + validation + test)
    outlines_s = OUTLINE_S + OUTLINE_OF_CLASS_S * len(cell.task.classes)
    seconds += (PIXEL_S + outlines_s) * test if estimate.tests else 0.0
    if cell.variant.trivial:
        return seconds + RULE_S * (training + test)
    return seconds + PIXEL_S * validation * estimate.evaluations


def pixels_of(sizes: Sizes, split: str) -> int:
    """Return the pixels of a split's images."""
    return sum(math.prod(size) for size in sizes.get(split, ()))


def baseline_mib(probe: Probe, cell: Cell, params: int) -> float:
    """Return what a baseline of so many parameters takes beside the variant.

    These are its weights and, in training, the optimiser's state.
    """
    if not probe.paired:
        return 0.0
    copies = 1 + (OPTIMISER_STATE[cell.protocol.recipe.optimizer] if probe.trains else 0)
    return copies * 4 * params / MIB


class SimulatedPass(NamedTuple):
    """What a pass on tensors without data tells: its peak, and why the real one will fail."""

    mib: float | None = None  # of live tensors
    status: str = ""
    reason: str = ""
    is_exact: bool = True


class AttentionWatch(TorchFunctionMode):
    """Sees whether attention is computed by torch's one function for it.

    On real tensors that chooses a fused kernel, which keeps less for the backward pass than the
    steps that it consists of on tensors without data.
    """

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.seen = True
        return func(*args, **(kwargs or {}))


def as_simulated(cell: Cell, *, training: bool) -> Cell:
    """Return a cell with all that a pass's memory does not depend on made alike."""
    return replace(
        cell,
        setting=replace(cell.setting.eager(), batch_norm="kept", pretrained="none", threads=1),
        task=replace(cell.task, dataset_hash="", fold=""),
        baseline=cell.variant,
        baseline_input_window=cell.input_window,
        probe="",
        seed=0,
        replicate=0,
        small_window=cell.small_window if training else None,
        rung=0,
        protocol=Protocol(recipe=replace(cell.protocol.recipe, evaluations=1)),
    )


def simulate_pass(registry: Registry, cell: Cell, *, training: bool) -> SimulatedPass:
    """Return what a forward pass of the cell's network, or a training step, comes to."""
    cell = as_simulated(cell, training=training)
    try:
        with AttentionWatch() as attention:
            mib = predicted_bytes(MeasurementContext(cell, registry), training) / MIB
        return SimulatedPass(mib, is_exact=not attention.seen)
    except InvalidPart as error:
        return SimulatedPass(status="error", reason=str(error))
    except (ValueError, AssertionError) as error:
        return SimulatedPass(status="unsupported", reason=explain_training_failure(cell, error))
    except Exception:
        # Tensors without data do not allow everything: it will be measured all the same.
        return SimulatedPass()


def explain_training_failure(cell: Cell, error: Exception) -> str:
    """Return why a training step fails that a forward pass does not, and what to do."""
    size, batch = format_size(cell.training_window.input.input), cell.setting.batch
    option = "--window" if cell.small_window else "--size"
    if "more than 1 value per channel" in str(error):  # torch's batch norm
        return (
            f"{cell.variant.name} cannot train on {size} at batch {batch}: its smallest maps have "
            f"one value per channel, too few for batch norm; take a larger {option}, or --batch 2"
        )
    return (
        f"{cell.variant.name} cannot train on {size} at batch {batch} ({first_line(error)}); a "
        f"larger {option} or --batch may do"
    )
