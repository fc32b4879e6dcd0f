"""A probe: one kind of measurement, with all that is special about it.

Plan, driver, worker, tables and reports ask this object; none of them knows a probe by its name.
It imports no torch: what measures is named, `"module:function"`, and imported in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from unet_bench.errors import InvalidChoice
from unet_bench.spec.cell import Cell, Setting
from unet_bench.store.columns import Column
from unet_bench.store.probes import fault_of_column, to_manifest

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

Settings = Literal["all", "first batch", "first", "exported"]
RunsIn = Literal["any runtime", "torch", "training steps"]


@dataclass(frozen=True)
class Estimate:
    """What a cell will take: work, and seconds that the work does not explain.

    A pass is a forward pass of its batch at the scored size; of a paired probe it is one of the
    variant and one of the baseline. A training step there counts as three passes.
    """

    passes: float = 0.0
    seconds: float = 0.0
    timed_s: float = 0.0  # seconds of timed passes, or longer where `timed_passes` take longer
    timed_passes: float = 0.0
    steps: float = 0.0  # training steps of its batch, each on the cell's training window
    evaluations: float = 0.0  # how often all validation images are scored
    tests: bool = False  # whether test images are scored


def takes_no_time(cell: Cell) -> Estimate:
    """Return the estimate of what takes no longer than its worker's start."""
    return Estimate()


def knows_nothing(setting: Setting, inference_mib: float, training_mib: float) -> Mapping[str, Any]:
    """Return no figures: the probe has to run."""
    return {}


def refuses_nothing(setting: Setting) -> str:
    """Return no reason: the probe runs wherever networks do."""
    return ""


@dataclass(frozen=True)
class Probe:
    """One kind of measurement.

    `measure` is called with a `MeasurementContext` and returns the values of `columns`. Unless
    stated otherwise, a probe runs the network without training it, at each setting, while other
    work goes on. Raises InvalidChoice for a column that tables cannot hold.
    """

    name: str
    measure: str | Callable[[MeasurementContext], Mapping[str, Any]]  # text: "module:function"
    _: KW_ONLY
    summary: str
    cite: str = ""
    columns: tuple[Column, ...] = ()  # ours are in the table of columns
    headline: str = ""  # its main figures in a line of progress: "{latency_ms:.1f} ms"

    # How often. `first`: once, since its figures do not depend on device and setting; `first
    # batch`: once for all batch sizes; `exported`: where a runtime of its own runs the network. One
    # that scores what was learnt is run for each seed, fold and choice of published weights, and
    # where it trains, for trivial baselines too; then it may keep the network.
    settings: Settings = "all"
    replicated: bool = False  # in as many fresh processes as the suite says
    scores: bool = False

    # How.
    timed: bool = False  # needs a quiet machine: nothing else of ours is timed, or runs beside it
    paired: bool = False  # holds the baseline in memory beside the variant
    trains: bool = False  # takes training steps
    after_training: bool = False  # looks at networks that the run has trained and kept
    on_device: bool = True  # runs the network; otherwise that is only looked at
    runs_in: RunsIn = "torch"  # which runtimes it serves
    keep_freed_memory: bool = True  # have the C library do so: times vary less, and peaks are lost
    preload: bool = False  # import its module before workers are forked

    # What is known beforehand.
    refuses: Callable[[Setting], str] = refuses_nothing  # why it cannot be run so, or ""
    estimate: Callable[[Cell], Estimate] = takes_no_time
    # Its columns where they follow exactly from the predicted peaks of live tensors, of a forward
    # pass and of a training step: then the suite may have it not run.
    known: Callable[[Setting, float, float], Mapping[str, Any]] = knows_nothing

    def __post_init__(self) -> None:
        for column in self.columns:
            if wrong := fault_of_column(column):
                raise InvalidChoice(f"probe {self.name}: {wrong}")
        mine = (replace(column, probes=(self.name,)) for column in self.columns)
        object.__setattr__(self, "columns", tuple(mine))

    def figures_text(self, row: Mapping[str, Any]) -> str:
        """Return the main figures of a row, for its line of progress; empty where it has none."""
        if self.headline:
            try:
                return self.headline.format_map(row)
            except (KeyError, TypeError, ValueError):
                return ""
        first = next(iter(self.columns), None)
        value = None if first is None else row.get(first.name)
        if first is None or value is None:
            return ""
        number = f"{value:.4g}" if isinstance(value, float) else str(value)
        return f"{first.label} {number} {first.unit}".rstrip()

    def to_manifest(self) -> dict[str, Any]:
        """Return what run.json states of it."""
        return {"any_device": self.settings == "first", "columns": to_manifest(self.columns)}
