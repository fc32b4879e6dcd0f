"""What a cell will cost: seconds, operations and memory, foreseen without running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from unet_bench.context import MeasurementContext
from unet_bench.errors import InvalidPart, first_line
from unet_bench.geometry.shapes import format_size
from unet_bench.measure.memory import MIB, predicted_bytes
from unet_bench.measure.probe import Probe
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol

OPTIMISER_STATE: Final = {"adamw": 2, "adam": 2, "sgd": 1}  # tensors for each of the weights
START_S: Final = 0.3  # of a worker process and of building a network
# Likewise, with a context and the libraries that come with the first operators.
START_ON_GPU_S: Final = 3.0
COMPILE_S: Final = 30.0


@dataclass(frozen=True)
class Work:
    """A cell's tera-MACs, and the seconds that it takes besides."""

    tmac: float
    fixed_s: float

    def seconds(self, mac_rate: float) -> float:
        """Return how long it takes on a device of so many MACs a second."""
        return self.fixed_s + 1e12 * self.tmac / mac_rate


def work_of(probe: Probe, cell: Cell, macs: int, baseline_macs: int) -> Work:
    """Return a cell's work, by what its probe estimates; `macs` are of one image."""
    estimate = probe.estimate(cell)
    on_gpu = cell.setting.device != "cpu" and probe.on_device
    fixed_s = (START_ON_GPU_S if on_gpu else START_S) + estimate.seconds
    if cell.setting.mode == "compile" and probe.settings != "first":
        fixed_s += COMPILE_S
    macs_a_pass = macs + (baseline_macs if probe.paired else 0)
    return Work(cell.setting.batch * estimate.passes * macs_a_pass / 1e12, fixed_s)


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


def as_simulated(cell: Cell, *, training: bool) -> Cell:
    """Return a cell with all that a pass's memory does not depend on made alike."""
    return replace(
        cell,
        setting=replace(
            cell.setting, mode="eager", batch_norm="kept", pretrained="none", threads=1
        ),
        task=replace(cell.task, dataset_hash="", fold=""),
        baseline=cell.variant,
        baseline_input_window=cell.input_window,
        probe="",
        seed=0,
        replicate=0,
        small_window=cell.small_window if training else None,
        rung=0,
        protocol=Protocol(recipe=cell.protocol.recipe),
    )


def simulate_pass(registry: Registry, cell: Cell, *, training: bool) -> SimulatedPass:
    """Return what a forward pass of the cell's network, or a training step, comes to."""
    cell = as_simulated(cell, training=training)
    try:
        mib = predicted_bytes(MeasurementContext(cell, registry), training) / MIB
        return SimulatedPass(mib)
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
