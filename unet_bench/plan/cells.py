"""Suite × registry → cells with stable ids, each with what it will cost.

What cannot run is found here.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from unet_bench.errors import InvalidSuite
from unet_bench.host.survey import DeviceFacts
from unet_bench.measure.probe import Probe
from unet_bench.measure.runtime import refusal
from unet_bench.networks.variants import Variant
from unet_bench.plan.cost import SimulatedPass, Sizes, baseline_mib, work_of
from unet_bench.plan.examinations import Examinations, Watch
from unet_bench.plan.examine import ExaminedNetwork
from unet_bench.plan.tasks import LoadedTask
from unet_bench.registry import plugins
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol, Setting, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import LONGER, SETTING_AXES, Suite, parse_memory

if TYPE_CHECKING:
    from unet_bench.execute.jobs import Executor


SPREAD_OVER: Final = 8
"""Networks whose seeds say, in the first rung of a race, how far two trainings lie apart."""


class SharedNetwork(NamedTuple):
    """A network that is measured once, and the names of all variants that it is."""

    network: ExaminedNetwork
    names: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """A cell, the variants it is measured for, and what is known of it beforehand."""

    cell: Cell
    probe: Probe
    names: tuple[str, ...]  # of the variants that are this very network; the first names the others
    inactive: tuple[str, ...] = ()
    seconds: float = 0.0
    params: int | None = None
    macs: int | None = None
    predicted_mib: float | None = None  # live bytes of a forward pass
    predicted_train_mib: float | None = None  # and of a training step
    status: str = ""  # if decided already: unsupported, skipped, error; ok where figures are known
    reason: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


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
    requested: frozenset[str] = frozenset()  # the names of variants that the suite asks for
    notes: tuple[str, ...] = ()  # what whoever runs it should know of the device and the data

    @cached_property
    def at_once(self) -> int:
        """How many cells that are not timed run side by side."""
        return at_once(self.executor, self.planned)

    @cached_property
    def foreseen_s(self) -> float:
        """How long a run of it takes: of a race, a third goes on at each rung."""
        rungs: dict[int, list[Planned]] = {}
        for planned in self.planned:
            rungs.setdefault(max(1, planned.cell.rung), []).append(planned)
        return sum(self.seconds(cells) * LONGER ** float(1 - rung) for rung, cells in rungs.items())

    def seconds(
        self, cells: Iterable[Planned], factor: Callable[[str], float] = lambda probe: 1.0
    ) -> float:
        """Return how long cells take that are not decided: timed ones alone, the rest side by side.

        A probe takes `factor` times as long as foreseen. No more than one process works on a cell.
        """
        took: dict[bool, list[float]] = {True: [], False: []}
        for planned in cells:
            if not planned.status:
                seconds = planned.seconds * factor(planned.cell.probe)
                took[planned.probe.timed].append(seconds)
        beside = took[False]
        return sum(took[True]) + max(sum(beside) / self.at_once, max(beside, default=0.0))

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """What is imported once before workers are forked."""
        return preloaded(
            (planned.probe for planned in self.planned),
            (planned.cell.variant for planned in self.planned),
        )


def at_once(executor: Executor, planned: Sequence[Planned]) -> int:
    """Return how many cells that are not timed an executor runs side by side."""
    settings = [one.cell.setting for one in planned]
    if not settings:
        return 1
    return executor.at_once(settings[0].device, max(one.threads for one in settings))


def preloaded(probes: Iterable[Probe], variants: Iterable[Variant]) -> tuple[str, ...]:
    """Return what is imported once before workers are forked: torch, our probes, and timm."""
    modules = {"torch": None}
    for probe in probes:
        if probe.preload and isinstance(probe.measure, str):
            modules[probe.measure.partition(":")[0]] = None
    if any(variant.choices.encoder.startswith("timm:") for variant in variants):
        modules["timm"] = None
    return tuple(modules)


def make_plan(
    suite: Suite,
    recipe: Recipe,
    registry: Registry,
    variants: Sequence[Variant],
    tasks: Iterable[LoadedTask],
    device: DeviceFacts,
    examinations: Examinations | None = None,
    watch: Watch = lambda examined, total: None,
) -> list[Planned]:
    """Return every cell of a resolved suite, cheap probes first; replicates of a cell lie apart.

    `watch` is told how many networks are examined, where that has to be done. Raises InvalidSuite
    when the baseline itself cannot run on a task.
    """
    examinations, tasks = examinations or Examinations(registry), list(tasks)
    planner = Planner(suite, registry, device, examinations)

    def cells_of(some: Sequence[Variant]) -> list[Planned]:
        return [cell for task in tasks for cell in planner.cells_of_task(recipe, some, task)]

    examinations.examine_ahead(variants, cells_of, watch)
    return cells_of(variants)


def examine_rest(
    suite: Suite,
    examinations: Examinations,
    variants: Sequence[Variant],
    task: Task,
    baseline: ExaminedNetwork,
    window: tuple[int, ...],
) -> list[ExaminedNetwork]:
    """Examine the variants after the baseline, at the suite's width or the baseline's cost.

    Raises InvalidSuite for a baseline that costs nothing.
    """
    if not suite.match:
        return [examinations.examine(variant, task, window) for variant in variants[1:]]
    if not getattr(baseline, suite.match):
        raise InvalidSuite(
            f"the baseline {suite.baseline} has no {suite.match} for others to match: take another"
        )
    start = variants[0].choices.width_scale
    return [
        examinations.matched(variant, task, start, baseline, suite.match, window)
        for variant in variants[1:]
    ]


def is_first_fold(task: Task) -> bool:
    """Return whether a task is the one of its folds on which speed and memory are measured."""
    return task.fold in ("", f"0/{task.fold.partition('/')[2]}")


def require_validation(recipe: Recipe, loaded: LoadedTask) -> None:
    """Raise InvalidSuite where the recipe chooses weights on images that the task does not have."""
    if recipe.select == "best" and not loaded.validation:
        raise InvalidSuite(
            f"{loaded.task.name} has no validation images, on which recipe {recipe.name} chooses "
            "the weights: name some in splits/val.txt (or beside …_test.txt, of folds), or take a "
            'recipe with select = "last"'
        )


def protocol_of(suite: Suite, recipe: Recipe, loaded: LoadedTask) -> Protocol:
    """Return how a task is measured, epochs counted as its images; of a race its first rung."""
    steps = suite.rungs[0] if suite.rungs else suite.steps or 0
    return Protocol(
        speed_s=suite.speed_s or 0.0,
        interval=suite.interval or 0.0,
        memory_limit_mib=parse_memory(suite.memory_limit) if suite.memory_limit else 0.0,
        shrink_batch=suite.shrink_batch,
        recipe=recipe,
        budget=in_steps(steps) if suite.rungs else suite.budget,
        steps=steps,
        images=suite.epochs * loaded.training if suite.epochs else suite.images or 0,
        train_s=suite.train_s or 0.0,
        whole=suite.evaluation == "whole",
        overlap=suite.overlap,
        flips=suite.flips,
        window=small_window(suite, loaded.task),
        checkpoint_s=suite.checkpoint_s,
        keep_weights=suite.keep_weights,
        examples=suite.examples,
        score=suite.score,
    )


def in_steps(steps: int) -> str:
    """Return a training's budget in words."""
    return f"{steps} steps"


def rungs_of(suite: Suite, probe: Probe, template: Cell) -> list[Cell]:
    """Return a probe's cell at every rung of a race, or the cell itself where there are none.

    Where no evaluation chooses weights, one at the end is enough.
    """
    if not (probe.scores and probe.trains and suite.rungs):
        return [template]
    protocol = template.protocol
    if protocol.recipe.select == "last":
        protocol = replace(protocol, recipe=replace(protocol.recipe, evaluations=1))
    return [
        replace(
            template,
            rung=number,
            protocol=replace(protocol, steps=steps, budget=in_steps(steps)),
        )
        for number, steps in enumerate(suite.rungs, 1)
    ]


def small_window(suite: Suite, task: Task) -> tuple[int, ...]:
    """Return the scored pixels of a task's training windows; empty where that is all it scores."""
    window = suite.window_of(task.scored)
    return window if window != task.scored else ()


def settings_of(
    probe: Probe, wanted: Sequence[Setting], is_able: Callable[[Setting], bool]
) -> Sequence[Setting]:
    """Return the settings that a probe is run at: all, the first that is able to, or of one batch.

    Only what is learnt depends on the weights that a network begins from. What is run once is run
    by torch.
    """
    starts = dict.fromkeys(setting.pretrained for setting in wanted)
    if not probe.scores:
        starts = dict.fromkeys([wanted[0].pretrained])
    found: list[Setting] = []
    for start in starts:
        started = [setting for setting in wanted if setting.pretrained == start]
        if probe.settings == "first":
            able = (one for one in started if is_able(one))
            found.append(next(able, started[0].eager()))
        elif probe.settings == "exported":
            found += [setting for setting in started if setting != setting.eager()]
        elif probe.settings == "first batch":
            found += [setting for setting in started if setting.batch == wanted[0].batch]
        else:
            found += started
    return found


def setting_combinations(suite: Suite, registry: Registry) -> list[Setting]:
    """Return every combination of the workload axes, the first values first.

    What one of the runtimes can quantise and another cannot is left out for that one.
    """
    runtimes = [registry.runtime(name) for name in suite.runtime]
    axes = {name: getattr(suite, name) for name in SETTING_AXES}
    axes |= {"threads": suite.threads or (torch.get_num_threads(),), "batch": suite.batch}
    found = [
        Setting(suite.device, **dict(zip(axes, combination, strict=True)))
        for combination in itertools.product(*axes.values())
    ]
    able = {name for runtime in runtimes for name in runtime.quantize}
    return [
        setting
        for setting in found
        if setting.quantize in registry.runtime(setting.runtime).quantize
        or setting.quantize not in able
    ]


def merge_equal_networks(networks: Iterable[ExaminedNetwork]) -> list[SharedNetwork]:
    """Return the networks that differ, each with the names of all variants that it is."""
    groups: dict[str, SharedNetwork] = {}
    for network in networks:
        key = network.variant.canonical()
        first, names = groups.get(key, SharedNetwork(network, ()))
        groups[key] = SharedNetwork(first, (*names, network.variant.name))
    return list(groups.values())


@dataclass(frozen=True)
class Planner:
    """Makes a suite's cells for a device, and decides which of them cannot or shall not run."""

    suite: Suite
    registry: Registry
    device: DeviceFacts
    examinations: Examinations

    def cells_of_task(
        self, recipe: Recipe, variants: Sequence[Variant], loaded: LoadedTask
    ) -> Iterator[Planned]:
        """Yield the cells of one task, probe by probe. Raises InvalidSuite."""
        suite, task = self.suite, loaded.task
        probes = [self.registry.probe(name) for name in suite.probes]
        window = small_window(suite, task) if any(probe.scores for probe in probes) else ()
        baseline = self.examinations.examine(variants[0], task, window)
        if baseline.input_window is None:
            raise InvalidSuite(
                f"the baseline {suite.baseline} cannot run on {task.name}: {baseline.reason}"
            )
        rest = examine_rest(suite, self.examinations, variants, task, baseline, window)
        networks = merge_equal_networks([baseline, *rest])
        scored_too = self.registry.trivial_baselines() if suite.floors else []
        trivial = merge_equal_networks(
            self.examinations.examine(variant, task) for variant in scored_too
        )
        if any(probe.scores for probe in probes):
            require_validation(recipe, loaded)
        protocol = protocol_of(suite, recipe, loaded)
        wanted = setting_combinations(suite, self.registry)
        for probe in probes:
            if not probe.scores and not is_first_fold(task):
                continue
            served = self.served(probe, wanted)
            for setting in settings_of(probe, served, functools.partial(self.is_able, probe)):
                from_first = probe.trains and setting.pretrained == wanted[0].pretrained
                cell = Cell(
                    variant=baseline.variant,
                    input_window=baseline.input_window,
                    baseline=baseline.variant,
                    baseline_input_window=baseline.input_window,
                    task=task,
                    setting=setting,
                    protocol=protocol,
                    probe=probe.name,
                )
                for of_rung in rungs_of(suite, probe, cell):
                    is_first = from_first and of_rung.rung < 2
                    measured = [*networks, *trivial] if is_first and probe.scores else networks
                    yield from self.cells_of_probe(probe, of_rung, measured, baseline, loaded.sizes)

    def cells_of_probe(
        self,
        probe: Probe,
        template: Cell,
        networks: Sequence[SharedNetwork],
        baseline: ExaminedNetwork,
        sizes: Sizes,
    ) -> Iterator[Planned]:
        """Yield the cells of one probe and setting: `template`, with each network in its place.

        What is foreseen of a cell holds for all its seeds and replicates.
        """
        suite = self.suite
        replicates = (suite.replicates or 1) if probe.replicated else 1
        one_per_network = []
        for network, names in networks:
            window = network.input_window or template.input_window
            cell = replace(template, variant=network.variant, input_window=window)
            if network.variant.trivial:  # it runs no race
                cell = replace(cell, rung=0)
            if probe.scores and network.training_window:
                cell = replace(cell, small_window=network.training_window)
            planned = self.with_cost(probe, cell, names, network, baseline, sizes)
            one_per_network.append(planned)
        seeds = self.seeds_of(probe, one_per_network)
        for replicate in range(replicates):
            order = list(one_per_network)
            if replicates > 1:
                # So that what changes during a run does not meet the same variants each time.
                random.Random(replicate).shuffle(order)
            for first in order:
                for seed in seeds[first.names]:
                    cell = replace(first.cell, seed=seed, replicate=replicate)
                    yield replace(first, cell=cell)

    def seeds_of(
        self, probe: Probe, planned: Sequence[Planned]
    ) -> dict[tuple[str, ...], tuple[int, ...]]:
        """Return the seeds of each network's cells, by its names.

        In the first rung of a race most networks have the first seed; the baseline and some others,
        spread evenly over what they cost, have all: they say how far two trainings of a network lie
        apart.
        """
        seeds = self.suite.seeds if probe.scores else self.suite.seeds[:1]
        found = {first.names: seeds for first in planned}
        racing = [one for one in planned if one.cell.rung == 1 and not one.status]
        if len(racing) > SPREAD_OVER:
            others = racing[1:]  # the first is the baseline
            found |= dict.fromkeys((one.names for one in others), seeds[:1])
            by_cost = sorted(others, key=lambda one: one.seconds)
            apart = len(by_cost) / (SPREAD_OVER - 1)
            sample = [by_cost[int(apart * (at + 0.5))] for at in range(SPREAD_OVER - 1)]
            found |= dict.fromkeys((one.names for one in sample), seeds)
        return found

    def with_cost(
        self,
        probe: Probe,
        cell: Cell,
        names: tuple[str, ...],
        network: ExaminedNetwork,
        baseline: ExaminedNetwork,
        sizes: Sizes,
    ) -> Planned:
        """Return a cell with its cost and memory foreseen; skipped where one is beyond a limit."""
        known = Planned(
            cell,
            probe,
            names,
            network.variant.inactive,
            params=network.params,
            macs=network.macs,
            status=network.status,
            reason=network.reason,
        )
        if known.status:
            return known
        if reason := self.refusal(probe, cell, network):
            return replace(known, status="unsupported", reason=reason)
        if probe.on_device and not network.variant.trivial:
            inference = self.examinations.simulate(cell, training=False)
            training = SimulatedPass()
            if probe.trains:
                training = self.examinations.simulate(cell, training=True)
            if training.status:
                return replace(known, status=training.status, reason=training.reason)
            known = replace(known, predicted_mib=inference.mib, predicted_train_mib=training.mib)
            needed = (training if probe.trains else inference).mib or 0.0
            needed += baseline_mib(probe, cell, baseline.params or 0)
            limit = cell.protocol.memory_limit_mib
            if 0 < limit < needed:
                reason = (
                    f"predicted to need {needed:,.4g} MiB, beyond the limit of {limit:,.4g} MiB; "
                    "--memory-limit allows more"
                )
                return replace(known, status="skipped", reason=reason)
            if figures := self.known_figures(known, inference, training):
                return replace(known, status="ok", figures=figures)
        ready_s = self.registry.runtime(cell.setting.runtime).ready_s
        work = work_of(probe, cell, network, baseline, sizes, self.device.mac_rate, ready_s)
        limit = self.suite.limit_tmac or 0.0
        if cell.rung:  # who may begin a race may end it
            limit *= cell.protocol.steps / self.suite.rungs[0]
        if 0 < limit < work.tmac:
            reason = (
                f"predicted to cost {work.tmac:.3g} tera-MACs "
                f"({(network.macs or 0) / 1e9:.3g} GMACs an image), "
                f"beyond the limit of {limit:g}; --limit 0 runs it"
            )
            return replace(known, status="skipped", reason=reason)
        return replace(known, seconds=work.seconds)

    def known_figures(
        self, planned: Planned, inference: SimulatedPass, training: SimulatedPass
    ) -> Mapping[str, Any]:
        """Return the figures of a cell that need not be measured; none where it shall run.

        Of anybody's modules it is not known whether they do the same on tensors without data.
        """
        if self.suite.memory != "predicted" or self.registry.is_foreign(planned.cell.variant):
            return {}
        is_exact = inference.is_exact and training.is_exact
        if not is_exact or inference.mib is None or training.mib is None:
            return {}
        return planned.probe.known(planned.cell.setting, inference.mib, training.mib)

    def refusal(self, probe: Probe, cell: Cell, network: ExaminedNetwork) -> str:
        """Return why a cell cannot run on this device; empty where it can."""
        setting = cell.setting
        if probe.scores and setting.pretrained != "none" and not network.pretrained:
            return (
                f"{network.variant.name} has no published weights to begin from; "
                "--pretrained none trains it from scratch"
            )
        return self.refusal_of_setting(probe, setting) or probe.refuses(setting)

    def served(self, probe: Probe, wanted: Sequence[Setting]) -> Sequence[Setting]:
        """Return the settings that a probe is asked for: torch's alone, where it looks at torch."""
        if probe.runs_in == "any runtime":
            return wanted
        in_torch = [one for one in wanted if self.registry.runtime(one.runtime).in_torch]
        return in_torch or wanted

    def is_able(self, probe: Probe, setting: Setting) -> bool:
        """Return whether a probe can run at a setting."""
        return not self.refusal_of_setting(probe, setting)

    def refusal_of_setting(self, probe: Probe, setting: Setting) -> str:
        """Return why no network can be measured so; empty where one can."""
        runtime = self.registry.runtime(setting.runtime)
        if probe.runs_in == "torch" and not runtime.in_torch:
            return f"{probe.name} looks at torch's own work, and {runtime.name} is not torch"
        training = probe.runs_in == "training steps"
        return refusal(setting, runtime, self.device.precisions, training=training)
