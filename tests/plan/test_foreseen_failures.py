"""What a training step on tensors without data shows is told by the plan, with a way out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from unet_bench.context import MeasurementContext
from unet_bench.models.build import with_width_scale
from unet_bench.models.foreign import foreign_variant
from unet_bench.models.select import select
from unet_bench.networks.variants import Variant
from unet_bench.plan.cost import SimulatedPass, simulate_pass
from unet_bench.plan.examine import examine
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol, Setting, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.train.step import TrainingStep


def cell_of(
    registry: Registry, variant: Variant, size: tuple[int, ...], batch: int = 1
) -> Cell | None:
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )
    found = examine(registry, variant, task)
    if found.input_window is None:
        return None
    return Cell(
        variant=found.variant,
        input_window=found.input_window,
        baseline=found.variant,
        baseline_input_window=found.input_window,
        task=task,
        setting=Setting(batch=batch),
        protocol=Protocol(recipe=Recipe()),
        probe="accuracy",
    )


@pytest.mark.parametrize(
    ("name", "size", "batch", "status"),
    [
        ("unet", (16, 16), 1, "unsupported"),
        ("unet", (16, 16), 2, ""),
        ("unet", (32, 32), 1, ""),
        ("unet-instance", (16, 16), 1, ""),  # its input has context, and larger maps
    ],
)
def test_one_value_per_channel_is_told_with_a_way_out(
    registry: Registry, name: str, size: tuple[int, int], batch: int, status: str
) -> None:
    [variant] = select(registry, [name])
    cell = cell_of(registry, with_width_scale(variant, 1 / 16), size, batch)
    assert cell
    found = simulate_pass(registry, cell, training=True)
    assert found.status == status
    assert (found.mib is None) == bool(status)
    assert all(word in found.reason for word in ("--size", "--batch 2") if status)
    assert simulate_pass(registry, cell, training=False).mib


def test_what_comes_back_in_training_only_is_an_error_of_the_plan(registry: Registry) -> None:
    cell = cell_of(registry, foreign_variant("support.foreign_nets:AlikeInTraining"), (32, 32))
    assert cell
    found = simulate_pass(registry, cell, training=True)
    assert found.status == "error"
    assert "in training" in found.reason


def test_other_faults_are_told_in_their_own_words(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(context: MeasurementContext, training: bool) -> int:
        raise ValueError("an odd number of ears")

    [variant] = select(registry, ["unet-add"])
    cell = cell_of(registry, with_width_scale(variant, 1 / 16), (48, 48))
    monkeypatch.setattr("unet_bench.plan.cost.predicted_bytes", fails)
    assert cell
    found = simulate_pass(registry, cell, training=True)
    assert (found.status, "ears" in found.reason) == ("unsupported", True)

    def lacks(context: MeasurementContext, training: bool) -> int:
        raise NotImplementedError("no such operator on meta tensors")

    monkeypatch.setattr("unet_bench.plan.cost.predicted_bytes", lacks)
    other = replace(cell, setting=Setting(batch=3))
    assert simulate_pass(registry, other, training=True) == SimulatedPass()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(16, 16), (16, 16, 16)])
def test_whatever_fails_to_train_was_foreseen(registry: Registry, size: tuple[int, ...]) -> None:
    wrong = []
    for variant in select(registry, ["all"]):
        cell = cell_of(registry, with_width_scale(variant, 1 / 16), size)
        if cell is None:
            continue
        context = MeasurementContext(cell, registry)
        told = simulate_pass(registry, cell, training=True).status
        try:
            step = TrainingStep(context, context.network(training=True))
            step(context.images(), context.target())
            fault = ""
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        if bool(told) != bool(fault):
            wrong.append((variant.name, told, fault))
    assert not wrong
