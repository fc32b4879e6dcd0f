"""Suite × registry → cells with stable ids, each with what it will cost; what cannot run is found
here.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from unet_bench.context import MeasurementContext
from unet_bench.errors import (
    InvalidPart,
    InvalidSize,
    InvalidSuite,
    UnetBenchError,
    Unsupported,
    first_line,
)
from unet_bench.geometry.shapes import InputWindow
from unet_bench.geometry.sizes import find_input_window
from unet_bench.host.survey import DeviceFacts
from unet_bench.measure.cost import cost
from unet_bench.measure.memory import MIB, predicted_bytes
from unet_bench.measure.runtime import unsupported
from unet_bench.models.build import (
    build,
    doubling_step,
    foreign_variant,
    published_weights,
    takes_width,
    with_width_scale,
)
from unet_bench.models.match import ACCEPTED, is_within, nearest_scale
from unet_bench.models.select import canonicalised, grid, select, with_inactive
from unet_bench.networks.variants import Variant
from unet_bench.registry import plugins
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol, Setting, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import AXES, Suite, parse_memory

if TYPE_CHECKING:
    from unet_bench.execute.jobs import Executor

OPTIMISER_STATE: Final = {"adamw": 2, "adam": 2, "sgd": 1}  # tensors for each of the weights
START_S: Final = 0.3  # of a worker process and of building a network
START_ON_GPU_S: Final = (
    3.0  # likewise, with a context and the libraries that come with the first operators
)
WARM_UP_ON_GPU_S: Final = 3.0  # of two networks, in one or two timings
COMPILE_S: Final = 30.0
ENERGY_S: Final = 26.0
EVALUATIONS_SHARE: Final = (
    1.3  # training, and the looks at validation and test images, in training steps
)
AT_FIRST_SETTING: Final = (
    "cost",
    "accuracy",
)  # that can run: what threads, modes and batch sizes say nothing about
PAIRED: Final = ("speed", "training", "energy")  # probes that hold the baseline beside the variant
TRAINS: Final = ("memory", "training", "accuracy")  # probes that need a training step's memory


@dataclass(frozen=True)
class Planned:
    """A cell, the variants it is measured for, and what is known of it beforehand."""

    cell: Cell
    names: tuple[
        str, ...
    ]  # of the variants that are this very network here; the first gives its name to the others
    inactive: tuple[str, ...] = ()
    seconds: float = 0.0
    params: int | None = None
    macs: int | None = None
    predicted_mib: float | None = None  # live bytes of a forward pass
    predicted_train_mib: float | None = None  # and of a training step
    status: str = ""  # unsupported, skipped or error, if decided already
    reason: str = ""


@dataclass(frozen=True)
class LoadedTask:
    """A task and the file that its data lie in."""

    task: Task
    data: Path | None
    training: int = 1  # images to train on, and to validate on
    validation: int = 1


@dataclass(frozen=True)
class ExaminedNetwork:
    """A variant on a task: the network it canonically is there, and the input it needs."""

    variant: Variant
    input_window: InputWindow | None
    params: int | None = None
    macs: int | None = None
    status: str = ""
    reason: str = ""
    pretrained: bool = False  # whether there are published weights for a part of it


@dataclass(frozen=True)
class Plan:
    """What a suite comes to on this machine: everything that a run needs, and nothing run yet."""

    suite: Suite
    recipe: Recipe
    loaded: plugins.Loaded
    planned: list[Planned]
    data: dict[str, Path | None]
    environment: dict[str, Any]
    executor: Executor
    modules: tuple[str, ...] = ("torch",)  # that every worker needs
    notes: tuple[str, ...] = ()  # what whoever runs it should know of the device


def choose_variants(suite: Suite, registry: Registry) -> list[Variant]:
    """The variants a suite asks for, at its width, the baseline first. Raises UnknownName,
    InvalidChoice.
    """
    baseline = select(registry, [suite.baseline])
    if len(baseline) != 1:
        raise InvalidSuite(
            f"--baseline {suite.baseline} chooses {len(baseline)} variants: name just one"
        )
    chosen = [*baseline, *select(registry, suite.variants)]
    if suite.base:
        chosen += grid(registry, suite.base, suite.vary)
    chosen += [foreign_variant(reference) for reference in suite.models]
    scale = suite.width_scale or 1.0
    scaled = [
        v if is_foreign(v) else with_width_scale(v, scale * v.choices.width_scale) for v in chosen
    ]
    return list({variant.name: variant for variant in scaled}.values())


def is_foreign(variant: Variant) -> bool:
    """Whether a variant is anybody's module, measured without a plugin."""
    return ":" in variant.architecture


def make_plan(
    suite: Suite,
    recipe: Recipe,
    registry: Registry,
    variants: Sequence[Variant],
    tasks: Iterable[LoadedTask],
    device: DeviceFacts,
) -> list[Planned]:
    """Every cell of a resolved suite, cheap probes first; replicates of one cell lie apart.

    Raises InvalidSuite when the baseline itself cannot run on a task.
    """
    wanted = settings(suite)
    trivial = registry.trivial_baselines() if suite.floors else []
    planned: list[Planned] = []
    for loaded in tasks:
        baseline = examine(registry, variants[0], loaded.task)
        if baseline.input_window is None:
            raise InvalidSuite(
                f"the baseline {suite.baseline} cannot run on {loaded.task.name}: {baseline.reason}"
            )
        examined_networks = [
            baseline,
            *examine_rest(suite, registry, variants, loaded.task, baseline),
        ]
        protocol = protocol_of(suite, recipe, loaded)
        groups = group(examined_networks)
        beside = group(examine(registry, variant, loaded.task) for variant in trivial)
        for probe in suite.probes:
            if probe != "accuracy" and not is_first_fold(loaded.task):
                continue
            for setting in settings_of(probe, wanted, device.precisions):
                scored = groups + beside * (
                    probe == "accuracy" and setting.pretrained == wanted[0].pretrained
                )
                planned += _cells_of_probe(
                    suite, registry, probe, scored, baseline, loaded.task, setting, protocol, device
                )
    return planned


def examine_rest(
    suite: Suite,
    registry: Registry,
    variants: Sequence[Variant],
    task: Task,
    baseline: ExaminedNetwork,
) -> list[ExaminedNetwork]:
    """What the variants after the baseline are on a task, at the suite's width or at the baseline's
    cost.

    Raises InvalidSuite for a baseline that costs nothing.
    """
    if not suite.match:
        return [examine(registry, variant, task) for variant in variants[1:]]
    if not getattr(baseline, suite.match):
        raise InvalidSuite(
            f"the baseline {suite.baseline} has no {suite.match} that others could meet: take another"
        )
    start = variants[0].choices.width_scale
    return [
        matched(registry, variant, task, start, baseline, suite.match) for variant in variants[1:]
    ]


def is_first_fold(task: Task) -> bool:
    """Whether a task is the one of its folds on which speed and memory are measured."""
    return task.fold in ("", f"0/{task.fold.partition('/')[2]}")


def protocol_of(suite: Suite, recipe: Recipe, loaded: LoadedTask) -> Protocol:
    """How a task is measured, epochs counted as its images. Raises InvalidSuite."""
    if recipe.select == "best" and not loaded.validation and "accuracy" in suite.probes:
        raise InvalidSuite(
            f"{loaded.task.name} has no validation images, on which recipe {recipe.name} chooses the weights: "
            'name some in splits/val.txt (or beside …_test.txt, of folds), or take a recipe with select = "last"'
        )
    return Protocol(
        speed_s=suite.speed_s or 0.0,
        interval=suite.interval or 0.0,
        memory_limit_mib=parse_memory(suite.memory_limit) if suite.memory_limit else 0.0,
        shrink_batch=suite.shrink_batch,
        recipe=recipe,
        budget=suite.budget,
        steps=suite.steps or 0,
        images=suite.epochs * loaded.training if suite.epochs else suite.images or 0,
        train_s=suite.train_s or 0.0,
        whole=suite.evaluation == "whole",
        overlap=suite.overlap,
        flips=suite.flips,
        checkpoint_s=suite.checkpoint_s,
        keep_weights=suite.keep_weights,
        examples=suite.examples,
    )


def settings_of(
    probe: str, wanted: Sequence[Setting], native: Sequence[str] = ()
) -> Sequence[Setting]:
    """The settings that a probe is taken at: all; the first that can run; or, where it finds the
    batch, one batch.

    Only accuracy depends on the weights that a network begins from.
    """
    starts = dict.fromkeys(setting.pretrained for setting in wanted)
    if probe == "accuracy":
        return [
            _first([setting for setting in wanted if setting.pretrained == start], native)
            for start in starts
        ]
    wanted = [setting for setting in wanted if setting.pretrained == wanted[0].pretrained]
    if probe in AT_FIRST_SETTING:
        return [_first(wanted, native)]
    return [setting for setting in wanted if probe != "batch" or setting.batch == wanted[0].batch]


def _first(wanted: Sequence[Setting], native: Sequence[str]) -> Setting:
    return next(
        (setting for setting in wanted if not unsupported(setting, native=native)), wanted[0]
    )


def settings(suite: Suite) -> list[Setting]:
    """Every combination of the workload axes, the first values first."""
    axes = {name: getattr(suite, name) for name in AXES}
    axes |= {"threads": suite.threads or (torch.get_num_threads(),), "batch": suite.batch}
    combinations = itertools.product(*axes.values())
    return [
        Setting(suite.device, **dict(zip(axes, combination, strict=True)))
        for combination in combinations
    ]


def group(
    examined_networks: Iterable[ExaminedNetwork],
) -> list[tuple[ExaminedNetwork, tuple[str, ...]]]:
    """Subjects that are the same network, measured once: the first of them, and all their names."""
    groups: dict[str, tuple[ExaminedNetwork, tuple[str, ...]]] = {}
    for examined in examined_networks:
        key = examined.variant.canonical()
        first, names = groups.get(key, (examined, ()))
        groups[key] = (first, (*names, examined.variant.name))
    return list(groups.values())


def _cells_of_probe(
    suite: Suite,
    registry: Registry,
    probe: str,
    groups: Sequence[tuple[ExaminedNetwork, tuple[str, ...]]],
    baseline: ExaminedNetwork,
    task: Task,
    setting: Setting,
    protocol: Protocol,
    device: DeviceFacts,
) -> list[Planned]:
    """What is foreseen of a cell holds for all its seeds and replicates."""
    assert baseline.input_window is not None
    seeds = suite.seeds if probe == "accuracy" else suite.seeds[:1]
    replicates = suite.replicates or 1 if probe in ("speed", "training") else 1
    firsts = []
    for examined, names in groups:
        cell = Cell(
            variant=examined.variant,
            input_window=examined.input_window or baseline.input_window,
            baseline=baseline.variant,
            baseline_input_window=baseline.input_window,
            task=task,
            setting=setting,
            protocol=protocol,
            probe=probe,
            seed=seeds[0],
        )
        firsts.append(decide(suite, registry, cell, examined, names, baseline, device))
    planned = []
    for replicate in range(replicates):
        order = list(firsts)
        if (
            replicates > 1
        ):  # so that what changes while a run goes on does not meet the same variants each time
            random.Random(replicate).shuffle(order)
        for first in order:
            cells = (replace(first.cell, seed=seed, replicate=replicate) for seed in seeds)
            planned += [replace(first, cell=cell) for cell in cells]
    return planned


def decide(
    suite: Suite,
    registry: Registry,
    cell: Cell,
    examined: ExaminedNetwork,
    names: tuple[str, ...],
    base: ExaminedNetwork,
    device: DeviceFacts,
) -> Planned:
    """Foresee a cell's cost and memory, and skip it when one is beyond its limit."""
    variant = examined.variant
    known = Planned(
        cell,
        names,
        variant.inactive,
        params=examined.params,
        macs=examined.macs,
        status=examined.status,
        reason=examined.reason,
    )
    if examined.status:
        return known
    reason = unsupported(cell.setting, cell.probe, device.precisions)
    if cell.probe == "accuracy" and cell.setting.pretrained != "none" and not examined.pretrained:
        reason = f"{variant.name} has no published weights to begin from; --pretrained none trains it from scratch"
    if reason:
        return replace(known, status="unsupported", reason=reason)
    if cell.probe != "cost" and not variant.trivial:
        trains = cell.probe in TRAINS
        memory = (
            predicted_mib(registry, cell, False),
            predicted_mib(registry, cell, True) if trains else None,
        )
        known = replace(known, predicted_mib=memory[0], predicted_train_mib=memory[1])
        needed, limit = memory[trains] or 0.0, cell.protocol.memory_limit_mib
        if (
            cell.probe in PAIRED
        ):  # the baseline's weights, and when training the optimiser's state, lie beside it
            copies = 1 + trains * OPTIMISER_STATE[cell.protocol.recipe.optimizer]
            needed += copies * 4 * (base.params or 0) / MIB
        if 0 < limit < needed:
            reason = f"predicted to need {needed:,.4g} MiB, beyond the limit of {limit:,.4g} MiB; --memory-limit allows more"
            return replace(known, status="skipped", reason=reason)
    tmac, fixed_s = foreseen(cell, examined.macs or 0, base.macs or 0)
    if 0 < (suite.limit_tmac or 0) < tmac:
        reason = (
            f"predicted to cost {tmac:.3g} tera-MACs ({(examined.macs or 0) / 1e9:.3g} GMACs an image), "
            f"beyond the limit of {suite.limit_tmac:g}; --limit 0 runs it"
        )
        return replace(known, status="skipped", reason=reason)
    return replace(known, seconds=fixed_s + 1e12 * tmac / device.mac_rate)


def predicted_mib(registry: Registry, cell: Cell, training: bool) -> float | None:
    """The peak of live MiB that the cell's network will have; `None` where it does not run without
    data.
    """
    setting = replace(cell.setting, mode="eager", batch_norm="kept", pretrained="none", threads=1)
    cell = replace(
        cell,
        setting=setting,
        probe="memory",
        seed=0,
        replicate=0,
        protocol=Protocol(recipe=cell.protocol.recipe),
    )
    return _predicted_mib(
        registry,
        replace(cell, baseline=cell.variant, baseline_input_window=cell.input_window),
        training,
    )


@functools.lru_cache(maxsize=4096)
def _predicted_mib(registry: Registry, cell: Cell, training: bool) -> float | None:
    try:
        return predicted_bytes(MeasurementContext(cell, registry), training) / MIB
    except Exception:  # somebody's module, in somebody's way: it will be measured all the same
        return None


def foreseen(cell: Cell, macs: int, base_macs: int) -> tuple[float, float]:
    """A cell's tera-MACs, and the seconds it takes besides. A backward pass costs as much as two
    forward passes.
    """
    steps = {
        "accuracy": 3 * cell.protocol.steps_of(cell.setting.batch) * EVALUATIONS_SHARE * macs,
        "speed": 10 * (macs + base_macs),
        "training": 30 * (macs + base_macs),
        "memory": 8 * macs,
        "batch": 64 * macs,
    }
    on_gpu = cell.setting.device != "cpu"
    fixed_s = START_ON_GPU_S if on_gpu and cell.probe != "cost" else START_S
    if cell.setting.mode == "compile" and cell.probe not in AT_FIRST_SETTING:
        fixed_s += COMPILE_S
    if cell.probe == "accuracy":
        fixed_s += EVALUATIONS_SHARE * cell.protocol.train_s
    elif cell.probe in ("speed", "training", "batch"):
        fixed_s += cell.protocol.speed_s + WARM_UP_ON_GPU_S * on_gpu
    elif cell.probe == "energy":
        fixed_s += max(ENERGY_S, cell.protocol.speed_s)
    return cell.setting.batch * steps.get(cell.probe, 0) / 1e12, fixed_s


def examine(registry: Registry, variant: Variant, task: Task) -> ExaminedNetwork:
    """Build a variant on the meta device: what it is on this task, and whether it can run there at
    all.
    """
    try:
        variant = canonicalised(registry, variant)
        variant = in_dims(variant, task)
        with torch.device("meta"):
            model = build(registry, variant, task.in_channels, len(task.classes), task.scored)
        input_window, where = find_input_window(
            model, task.in_channels, len(task.classes), task.scored
        )
        counted = cost(model, task.in_channels, input_window.input)
    except (Unsupported, InvalidSize) as error:
        return ExaminedNetwork(variant, None, status="unsupported", reason=str(error))
    except InvalidPart as error:
        return ExaminedNetwork(variant, None, status="error", reason=str(error))
    except UnetBenchError:
        raise
    except Exception as error:
        reason = f"{variant.name} cannot be built: {type(error).__name__}: {first_line(error)}"
        return ExaminedNetwork(variant, None, status="error", reason=reason)
    if where.skips and not variant.architecture and all(skip.agrees for skip in where.skips):
        variant = with_inactive(variant, ["align"])
    return ExaminedNetwork(
        variant,
        input_window,
        counted["params"],
        counted["macs"],
        pretrained=bool(published_weights(model)),
    )


def matched(
    registry: Registry,
    variant: Variant,
    task: Task,
    start: float,
    baseline: ExaminedNetwork,
    figure: str,
) -> ExaminedNetwork:
    """A variant as `examine` finds it, at the width at which its `params` or `macs` come nearest to
    the baseline's.

    The search begins at the width scale `start`, not at its own. What no width brings near is
    unsupported.
    """
    scalable = takes_width(registry, variant)
    found = examine(registry, with_width_scale(variant, start) if scalable else variant, task)
    if found.status or found.input_window is None:
        return found
    target: int = getattr(baseline, figure)
    if scalable:
        alike, size = (
            replace(task, name="", dataset_hash="", fold=""),
            found.input_window.input,
        )  # folds have one search
        known = {start: getattr(found, figure)}

        def figure_at(scale: float) -> int | None:
            return known.get(scale) or _figure_at(
                registry, with_width_scale(variant, scale), alike, size, figure
            )

        scale = nearest_scale(figure_at, target, start, doubling_step(variant))
        if scale != start:
            found = examine(registry, with_width_scale(variant, scale), task)
    reached: int | None = getattr(found, figure)
    if reached is None or is_within(reached, target, ACCEPTED):
        return found
    steps = f", at width_scale {found.variant.choices.width_scale:g}; widths go in steps, finer at a larger --width-scale"
    why = (
        f"the nearest is {reached:,}{steps}"
        if scalable
        else f"it has {reached:,}, which width_scale does not change"
    )
    wanted = f"the {target:,} {figure} of {baseline.variant.name}"
    reason = (
        f"{variant.name} cannot be brought to {wanted}: {why}. A run without --match measures it"
    )
    return replace(found, status="unsupported", reason=reason)


@functools.lru_cache(maxsize=8192)
def _figure_at(
    registry: Registry, variant: Variant, task: Task, size: tuple[int, ...], figure: str
) -> int | None:
    """The `params` or `macs` of a variant for an input of `size`; `None` where it cannot be built
    so wide.
    """
    try:
        with torch.device("meta"):
            model = build(
                registry, in_dims(variant, task), task.in_channels, len(task.classes), task.scored
            )
        if figure == "params":
            return sum(parameter.numel() for parameter in model.parameters()) or None
        return int(cost(model, task.in_channels, size)[figure]) or None
    except Exception:  # a part that does not take this width; `examine` says so if it comes to that
        return None


def in_dims(variant: Variant, task: Task) -> Variant:
    """The variant for the task's images or volumes. Raises Unsupported for one of volumes by its
    own choice, on images.

    Whether its parts serve as many dimensions is found when it is built.
    """
    if variant.choices.dims > task.dims:
        raise Unsupported(
            f"{variant.name} states dims={variant.choices.dims}, and {task.name} is scored as images: "
            "give a size of volumes, such as --size 32x32x32"
        )
    return replace(variant, choices=variant.choices.replace(dims=task.dims))
