"""What a row says of its cell beside the figures: what was measured, where, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unet_bench.host.environment import device_name
from unet_bench.networks.choices import SLOTS, parse_value
from unet_bench.networks.variants import OF_ANY
from unet_bench.spec.cell import digest

if TYPE_CHECKING:
    from unet_bench.plan.cells import Plan, Planned


def row_id(planned: Planned, name: str) -> str:
    """Return a cell's id for one of its variants: the first one's is the cell's own."""
    return planned.cell.id if name == planned.names[0] else f"{planned.cell.id}-{digest(name)[:6]}"


def cell_columns(plan: Plan, planned: Planned, name: str) -> dict[str, Any]:
    """Return the columns that say what a row is about."""
    cell = planned.cell
    variant, task, setting = cell.variant, cell.task, cell.setting
    choices: dict[str, str | None] = dict(variant.choices.text())
    if variant.architecture:
        choices = dict.fromkeys(choices)
        choices |= {name: variant.choices.text()[name] for name in OF_ANY}
    return {
        "cell_id": row_id(planned, name),
        "variant": name,
        "same_as": planned.names[0] if name != planned.names[0] else None,
        "probe": cell.probe,
        "seed": cell.seed,
        "replicate": cell.replicate,
        **choice_columns(choices),
        "architecture": variant.architecture or None,
        "architecture_args": ",".join(f"{k}={v}" for k, v in variant.args) or None,
        "inactive": None if variant.architecture else ",".join(planned.inactive) or None,
        "plugins": ",".join(sorted(providers(plan, planned))),
        "trivial": variant.trivial,
        "task": task.name,
        "dataset_hash": task.dataset_hash,
        "device": setting.device,
        "device_name": device_name(setting.device),
        "precision": setting.precision,
        "memory_format": setting.memory_format,
        "runtime": setting.runtime,
        "quantize": setting.quantize,
        "batch_norm": setting.batch_norm,
        "algorithms": setting.algorithms,
        "threads": setting.threads,
        "batch_requested": setting.batch,
        **size_columns("input", cell.input_window.input),
        **size_columns("output", cell.input_window.output),
        **size_columns("scored", task.scored),
        "in_channels": task.in_channels,
        "classes": len(task.classes),
        "fit": task.fit,
        "match": plan.suite.match or None,
        "fold": task.fold or None,
        "pretrained": setting.pretrained,
        "recipe": cell.protocol.recipe.name,
        "budget": cell.protocol.budget,
        "window": size_text(cell.protocol.window) or None,
        "window_taken": size_text(cell.training_window.size) if planned.probe.scores else None,
        "evaluation": cell.protocol.evaluation,
        "rung": cell.rung or None,
        "slowdown": cell.protocol.slowdown or None,
        "env_id": plan.environment["env_id"],
        "torch": plan.environment["packages"]["torch"],
        "commit": plan.environment["commit"],
        "baseline": cell.baseline.name,
        "predicted_memory_mib": planned.predicted_mib,
        "predicted_train_memory_mib": planned.predicted_train_mib,
    }


def providers(plan: Plan, planned: Planned) -> set[str]:
    """Return the plugins that a cell's variant is made of, by its parts or its architecture."""
    variant, registry = planned.cell.variant, plan.loaded.registry
    if variant.architecture:
        return {variant.provider}
    return {registry.find(slot, getattr(variant.choices, slot)).provider.plugin for slot in SLOTS}


def size_columns(of: str, size: tuple[int, ...]) -> dict[str, int | None]:
    """Return a size `(H W)` or `(D H W)` as columns.

    The input's height and width go without a prefix.
    """
    plane = "" if of == "input" else f"{of}_"
    depth = size[0] if len(size) == 3 else None
    return {f"{of}_depth": depth, f"{plane}height": size[-2], f"{plane}width": size[-1]}


def size_text(size: tuple[int, ...]) -> str:
    """Return a size as options state it, such as `64x64`."""
    return "x".join(map(str, size))


def choice_columns(text: Mapping[str, str | None]) -> dict[str, Any]:
    """Return choices with numbers as numbers; lists stay text."""
    plain = {
        name: None if value is None else parse_value(name, value) for name, value in text.items()
    }
    return {
        name: text[name] if isinstance(value, tuple) else value for name, value in plain.items()
    }
