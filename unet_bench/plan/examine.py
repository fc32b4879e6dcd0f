"""What a variant is on a task: its network on the meta device, and the input it needs there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import nn

from unet_bench.errors import InvalidPart, InvalidSize, UnetBenchError, Unsupported, first_line
from unet_bench.geometry.meta import on_meta
from unet_bench.geometry.shapes import InputWindow, Size, format_size
from unet_bench.geometry.sizes import find_input_window, try_size
from unet_bench.measure.cost import cost
from unet_bench.models.build import (
    build,
    doubling_step,
    published_weights,
    takes_width,
    with_width_scale,
)
from unet_bench.models.foreign import unmatched
from unet_bench.models.match import ACCEPTED, is_within, nearest_scale
from unet_bench.models.select import canonicalised, with_inactive
from unet_bench.networks.variants import Variant
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task, TrainingWindow

USUAL_SIZES: Final[Mapping[int, tuple[int, ...]]] = {
    2: (224, 256, 512, 384, 128, 320, 448, 352, 96, 1024),
    3: (96, 128, 64, 32, 160),
}
"""Sides of images and of volumes that networks of one size are made for."""


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
    # What its training sees; None where that is what is scored.
    training_window: TrainingWindow | None = None
    # What a forward pass of an image takes beside MACs: `activations` as `cost` counts them, and
    # how many modules are called. Likewise of a training window, where that is another.
    activations: int | None = None
    modules: int | None = None
    training_macs: int | None = None
    training_activations: int | None = None


def examine(registry: Registry, variant: Variant, task: Task, window: Size = ()) -> ExaminedNetwork:
    """Build a variant on the meta device: what it is on this task, and whether it can run there.

    `window` are the scored pixels of training windows, where these are not the task's.
    """
    try:
        variant = canonicalised(registry, variant)
        variant = in_dims(variant, task)
        model = blueprint(registry, variant, task)
        input_window, geometry = find_input_window(
            model, task.in_channels, len(task.classes), task.scored
        )
        costs = cost(model, task.in_channels, input_window.input)
    except (Unsupported, InvalidSize, InvalidPart) as error:
        status = "error" if isinstance(error, InvalidPart) else "unsupported"
        hints = hints_for(registry, variant, task) if registry.is_foreign(variant) else []
        reason = "; ".join([str(error), *hints])
        return ExaminedNetwork(variant, None, status=status, reason=reason)
    except UnetBenchError:
        raise
    except Exception as error:
        first = f"{type(error).__name__}: {first_line(error)}"
        reason = f"{variant.name} cannot be built: {first}"
        return ExaminedNetwork(variant, None, status="error", reason=reason)
    if geometry.skips and not variant.architecture and all(skip.agrees for skip in geometry.skips):
        variant = with_inactive(variant, ["align"])
    taken = training_window(model, task, window, input_window) if window else None
    of_window = cost(model, task.in_channels, taken.input.input) if taken else {}
    return ExaminedNetwork(
        variant,
        input_window,
        costs["params"],
        costs["macs"],
        pretrained=bool(published_weights(model)),
        training_window=taken,
        activations=costs["activations"],
        modules=sum(1 for module in model.modules() if not any(module.children())),
        training_macs=of_window.get("macs"),
        training_activations=of_window.get("activations"),
    )


def training_window(
    model: nn.Module, task: Task, window: Size, whole: InputWindow
) -> TrainingWindow | None:
    """Return what a training with windows of so many scored pixels sees; `whole` is the task's own.

    None where that is all that is scored: some networks are built for one size. Others give more
    than the window from the least input that they take, and would be trained on its middle alone
    but tested up to its border, where what pads or stretches a map leaves its mark. They are
    trained on all of it, as far from the border as they are tested.
    """
    try:
        found = find_input_window(model, task.in_channels, len(task.classes), window)[0]
        sides = zip(found.output, whole.output, task.scored, window, strict=True)
        size = tuple(
            max(least, min(scored, output - (tested - scored)))
            for output, tested, scored, least in sides
        )
        if size != window:
            found = find_input_window(model, task.in_channels, len(task.classes), size)[0]
    except (Unsupported, InvalidSize, InvalidPart):
        return None
    return None if size == task.scored else TrainingWindow(size, found)


def blueprint(registry: Registry, variant: Variant, task: Task) -> nn.Module:
    """Build a variant for a task on the meta device."""
    with on_meta():
        return build(registry, variant, task.in_channels, len(task.classes), task.scored)


def hints_for(registry: Registry, variant: Variant, task: Task) -> list[str]:
    """Return what may help anybody's module that cannot run on a task: arguments, another size."""
    found = [hint] if (hint := unmatched(variant.architecture)) else []
    for side in USUAL_SIZES[task.dims]:
        size = (side,) * task.dims
        try:
            model = blueprint(registry, variant, replace(task, scored=size))
            taken = try_size(model, task.in_channels, size)
        except Unsupported:  # at no size
            break
        except Exception:
            continue
        if taken and taken.output == size and taken.channels == len(task.classes):
            text = "x".join(map(str, size))
            return [*found, f"it takes {format_size(size)}: --size {text}"]
    return found


def matched(
    registry: Registry,
    variant: Variant,
    task: Task,
    start: float,
    baseline: ExaminedNetwork,
    figure: str,
    window: Size = (),
) -> ExaminedNetwork:
    """Examine a variant at the width whose `params` or `macs` come nearest to the baseline's.

    The search begins at the width scale `start`, not at the variant's own. A variant that no width
    brings near is unsupported.
    """
    scalable = takes_width(registry, variant)
    found = examine(
        registry, with_width_scale(variant, start) if scalable else variant, task, window
    )
    if found.status or found.input_window is None:
        return found
    target: int = getattr(baseline, figure)
    if scalable:
        size = found.input_window.input
        any_fold = replace(task, name="", dataset_hash="", fold="")  # folds have one search
        known = {start: getattr(found, figure)}

        def figure_at_scale(scale: float) -> int | None:
            return known.get(scale) or _figure_at_width(
                registry, with_width_scale(variant, scale), any_fold, size, figure
            )

        scale = nearest_scale(figure_at_scale, target, start, doubling_step(variant))
        if scale != start:
            found = examine(registry, with_width_scale(variant, scale), task, window)
    reached: int | None = getattr(found, figure)
    if reached is None or is_within(reached, target, ACCEPTED):
        return found
    if scalable:
        why = (
            f"the nearest is {reached:,}, at width_scale {found.variant.choices.width_scale:g}; "
            "widths go in steps, finer at a larger --width-scale"
        )
    else:
        why = f"it has {reached:,}, which width_scale does not change"
    reason = (
        f"{variant.name} cannot be brought to the {target:,} {figure} of {baseline.variant.name}: "
        f"{why}. A run without --match measures it"
    )
    return replace(found, status="unsupported", reason=reason)


@functools.lru_cache(maxsize=8192)
def _figure_at_width(
    registry: Registry, variant: Variant, task: Task, size: tuple[int, ...], figure: str
) -> int | None:
    """Return the `params` or `macs` of a variant for an input of `size`.

    `None` where it cannot be built so wide.
    """
    try:
        model = blueprint(registry, in_dims(variant, task), task)
        if figure == "params":
            return sum(parameter.numel() for parameter in model.parameters()) or None
        return int(cost(model, task.in_channels, size)[figure]) or None
    except Exception:  # a part that does not take this width; `examine` says so if it comes to that
        return None


def in_dims(variant: Variant, task: Task) -> Variant:
    """Return the variant for the task's images or volumes.

    Raises Unsupported for one that is of volumes by its own choice, on images. Whether its parts
    serve as many dimensions is found when it is built.
    """
    if variant.choices.dims > task.dims:
        raise Unsupported(
            f"{variant.name} states dims={variant.choices.dims}, and {task.name} is scored as "
            "images: give a size of volumes, such as --size 32x32x32"
        )
    return replace(variant, choices=variant.choices.replace(dims=task.dims))
