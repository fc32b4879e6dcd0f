"""Plans: which cells a suite comes to, in which order, and at odd sizes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unet_bench import pipeline, run
from unet_bench.data.dataset import Dataset
from unet_bench.errors import InvalidSuite
from unet_bench.execute.manifest import manifest
from unet_bench.execute.options import ExecutionOptions
from unet_bench.geometry.sizes import find_input_window
from unet_bench.networks.contracts import main_output
from unet_bench.plan.cells import Planned, protocol_of, require_validation
from unet_bench.plan.examine import training_window
from unet_bench.plan.tasks import LoadedTask
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Protocol, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import from_dict
from unet_bench.text_format import is_doubt
from unet_bench.train.windows import scored

TINY = {"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "batch": 1, "threads": 1}
THREE = ["unet", "unet-add", "segnet"]
TASK = Task(
    name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=(32, 32), fit="crop"
)


def planned(**options: Any) -> list[Planned]:
    with pipeline.plan(from_dict({**TINY, **options})) as made:
        return made.planned


def test_a_single_training_is_not_foreseen_to_be_shared_among_cores() -> None:
    suite = {"variants": ["unet"], "probes": ["accuracy"], "seeds": [0], "floors": False}
    four = ExecutionOptions(options={"jobs": "4"})
    with pipeline.plan(from_dict({**TINY, **suite}), None, four) as made:
        assert made.at_once == 4
        assert made.foreseen_s == pytest.approx(made.planned[0].seconds)


@pytest.mark.slow
def test_every_combination_of_axes_is_a_cell_and_cost_is_counted_once() -> None:
    cells = planned(
        variants=["unet"],
        probes=["cost", "speed", "memory", "accuracy"],
        precision=["fp32", "bf16"],
        batch=[2, 1],
        memory_format=["contiguous", "channels_last"],
        seeds=[3, 4],
    )
    counted = Counter(p.cell.probe for p in cells)
    assert counted == {"cost": 1, "speed": 8, "memory": 8, "accuracy": 8}
    assert len({p.cell.id for p in cells}) == len(cells)
    first = {
        (p.cell.setting.precision, p.cell.setting.batch)
        for p in cells
        if p.cell.probe in ("cost", "accuracy")
    }
    assert first == {("fp32", 2)}
    assert len({p.cell.setting for p in cells}) == 8


@pytest.mark.slow
def test_axes_are_rows_of_their_own(tmp_path: Path) -> None:
    options = {**TINY, "probes": ["cost", "memory"], "precision": ["fp32", "bf16"], "batch": [1, 2]}
    frame = run("unet", out=tmp_path, **options)
    rows = frame.set_index(["precision", "batch_requested"])
    assert set(rows.index) == {("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)}
    assert rows["params"].notna().sum() == 1
    assert rows["params"].notna()[("fp32", 1)]
    assert set(rows["memory_status"]) == {"ok"}
    peaks = rows["peak_memory_mib"]
    assert peaks[("bf16", 2)] < peaks[("fp32", 2)]
    assert peaks[("fp32", 1)] < peaks[("fp32", 2)]


@pytest.mark.slow
def test_replicates_are_shuffled_and_lie_apart() -> None:
    options = {"variants": [*THREE, "unet-bilinear"], "probes": ["speed"], "replicates": 4}
    cells = [p.cell for p in planned(**options)]
    assert [cell.replicate for cell in cells] == [r for r in range(4) for _ in range(4)]
    orders = {tuple(cell.variant.name for cell in cells[at : at + 4]) for at in range(0, 16, 4)}
    assert len(orders) >= 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted([*THREE, "unet-bilinear"]))}
    assert [cell.id for cell in cells] == [p.cell.id for p in planned(**options)]
    assert len({cell.id for cell in cells}) == 16


def test_replicates_are_of_timings_and_seeds_of_accuracies() -> None:
    probes = ["cost", "speed", "memory", "training", "accuracy"]
    counted = Counter(
        p.cell.probe for p in planned(variants=["unet"], probes=probes, replicates=3, seeds=[0, 1])
    )
    assert counted == {"cost": 1, "speed": 3, "memory": 1, "training": 3, "accuracy": 8}


@pytest.mark.parametrize(
    ("options", "probe", "words"),
    [
        (
            {"memory_limit": "1M", "batch": 8},
            "training",
            ["MiB, beyond the limit of 1 MiB", "--memory-limit"],
        ),
        ({"limit_tmac": 1e-9}, "speed", ["tera-MACs", "beyond the limit of 1e-09", "--limit 0"]),
    ],
)
def test_what_is_beyond_a_limit_is_skipped_with_both_figures(
    options: dict, probe: str, words: list[str]
) -> None:
    cost, timed = planned(variants=["unet"], probes=["cost", probe], **options)
    assert (cost.status, timed.status) == ("", "skipped")
    assert all(word in timed.reason for word in words), timed.reason


@pytest.mark.parametrize(
    "axis", [{"precision": ["tf32", "fp32"]}, {"runtime": ["cudagraphs", "eager"]}]
)
def test_what_is_measured_once_is_measured_at_a_setting_that_runs(axis: dict) -> None:
    cells = planned(variants=["unet"], probes=["cost", "speed"], device="cpu", **axis)
    assert [(p.cell.probe, p.status) for p in cells] == [
        ("cost", ""),
        ("speed", "unsupported"),
        ("speed", ""),
    ]


ODD = ["unet", "unet-paper", "unet-strided", "unet-bilinear", "unet-4uiiurz1", "unet-zju"]


@pytest.mark.parametrize("name", [*ODD, "resnet34-unet", "mobilenetv3-unet"])
def test_odd_sizes_are_run(context_of, name: str) -> None:
    context = context_of(name, size=(33, 47), batch=1)
    with torch.inference_mode():
        output = main_output(context.network()(context.images()))
    assert tuple(output.shape[2:]) == context.cell.input_window.output
    assert tuple(scored(output, context.cell.input_window, (33, 47)).shape[2:]) == (33, 47)


def test_odd_sizes_that_a_network_cannot_take_are_refused_with_a_reason() -> None:
    *_, segnet = planned(variants=["unet", "segnet"], probes=["cost"], size="33x47")
    assert segnet.status == "unsupported"
    assert "0.969697" in segnet.reason


def test_a_network_of_volumes_is_a_row_on_images(tmp_path: Path) -> None:
    frame = run("unet3d-paper", out=tmp_path, **TINY, probes=["cost"]).set_index("variant")
    assert frame.loc["unet3d-paper", "cost_status"] == "unsupported"
    assert frame.loc["unet", "cost_status"] == "ok"


def test_a_variant_s_own_width_is_a_part_of_the_run_s() -> None:
    _, half = planned(variants=["unet", "unet+width_scale=0.5"], probes=["cost"])
    assert half.cell.variant.choices.width_scale == 0.5 * TINY["width_scale"]


# ---- accuracy


def budget(**options: Any) -> Protocol:
    """What a budget comes to on 7 training images."""
    suite = from_dict({"probes": ["accuracy"], **options}).resolved(on_gpu=False)
    return protocol_of(suite, Recipe(), LoadedTask(TASK, None, training=7))


def test_epochs_and_images_are_counted_in_images_and_steps_in_steps() -> None:
    epochs, images, steps = budget(epochs=3), budget(images=10), budget(steps=10)
    assert (epochs.steps, epochs.images, images.steps, images.images) == (0, 21, 0, 10)
    assert [epochs.steps_of(batch) for batch in (1, 2, 4)] == [21, 11, 6]
    assert [images.steps_of(batch) for batch in (1, 4, 20)] == [10, 3, 1]
    assert [steps.steps_of(batch) for batch in (1, 4)] == [10, 10]


def test_epochs_are_of_the_training_images_of_each_fold() -> None:
    with pipeline.plan(
        from_dict({**TINY, "variants": ["unet"], "probes": ["accuracy"], "epochs": 2})
    ) as made:
        [data] = made.data.values()
        assert data
        assert {p.cell.protocol.images for p in made.planned} == {2 * len(Dataset.load(data).train)}


def test_rules_are_scored_once_whatever_networks_begin_from() -> None:
    options = {
        "variants": ["resnet34-unet"],
        "probes": ["cost", "accuracy"],
        "pretrained": ["none", "imagenet"],
    }
    counted = Counter(
        p.names[0] for p in planned(**options, seeds=[0]) if p.cell.probe == "accuracy"
    )
    rules = {"floor-majority": 1, "floor-otsu": 1, "floor-lookup": 1}
    assert counted == {"unet": 2, "resnet34-unet": 2, **rules}


@pytest.mark.slow
def test_folds_are_for_accuracy_alone() -> None:
    cells = planned(
        variants=["unet"], probes=["cost", "speed", "memory", "accuracy"], folds="3", floors=False
    )
    counted = Counter((p.cell.probe, p.cell.task.fold) for p in cells)
    first = dict.fromkeys([("cost", "0/3"), ("speed", "0/3"), ("memory", "0/3")], 1)
    assert counted == first | {("accuracy", f"{fold}/3"): 1 for fold in range(3)}
    assert len({p.cell.task.dataset_hash for p in cells}) == 1


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        ({"recipe": "paper"}, (1,)),
        ({"recipe": "paper", "batch": 3}, (3,)),
        ({"recipe": "default", "preset": "quick"}, (4,)),
    ],
)
def test_the_batch_is_the_suites_or_else_the_recipes_or_else_the_presets(
    registry: Registry, options: dict, batch: tuple[int, ...]
) -> None:
    _, suite = pipeline.with_recipe(
        from_dict({"variants": ["unet"], **options}), registry, on_gpu=False
    )
    assert suite.batch == batch


def test_without_validation_images_a_recipe_must_take_the_last_weights() -> None:
    task = LoadedTask(TASK, None, validation=0)
    with pytest.raises(
        InvalidSuite, match="t has no validation images, on which recipe default chooses"
    ):
        require_validation(Recipe(), task)
    require_validation(Recipe(select="last"), task)


def test_doubts_about_the_data_are_among_the_notes_that_a_run_keeps(tmp_path: Path) -> None:
    for number in range(6):
        for folder, pixels in (("images", 90), ("masks", (number % 2) * 254 + 1)):
            (tmp_path / folder).mkdir(exist_ok=True)
            picture = np.zeros((32, 32), np.uint8)
            picture[:16] = pixels
            Image.fromarray(picture).save(tmp_path / folder / f"{number}.png")
    options = {**TINY, "variants": ["unet"], "data": [str(tmp_path)], "probes": ["cost"]}
    with pipeline.plan(from_dict(options)) as made:
        (doubt,) = made.notes
        assert is_doubt(doubt)
        assert manifest(made, ExecutionOptions())["notes"] == [doubt]


def test_trainings_have_their_own_window_and_what_is_timed_has_not() -> None:
    """Unpadded networks get context around it."""
    cells = planned(
        variants=["unet-valid"],
        probes=["cost", "accuracy"],
        size="64x64",
        window="32x32",
        floors=False,
    )
    windows = {(p.names[0], p.cell.probe): p.cell.training_window for p in cells if not p.status}
    assert windows["unet", "cost"].size == (64, 64)
    assert windows["unet", "accuracy"].input.input == (32, 32)
    assert windows["unet-valid", "accuracy"].size == (32, 32)
    assert min(windows["unet-valid", "accuracy"].input.input) > 32
    for p in cells:
        travelled = Cell.from_json(json.loads(json.dumps(p.cell.to_json())))
        assert travelled.training_window == p.cell.training_window
        assert travelled.key("code") == p.cell.key("code")
    whole = planned(variants=["unet"], probes=["accuracy"], size="64x64", floors=False)
    [small] = [p for p in cells if p.names[0] == "unet" and p.cell.probe == "accuracy"]
    assert whole[0].cell.id == small.cell.id
    assert whole[0].cell.key("code") != small.cell.key("code")
    assert small.predicted_train_mib < whole[0].predicted_train_mib
    assert small.seconds < whole[0].seconds


class OfOneSize(nn.Module):
    """Takes images of 64 pixels a side and no others."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] != 64:
            raise ValueError("64 pixels only")
        return images.repeat(1, 2, 1, 1)


def test_a_network_of_one_size_is_trained_on_that() -> None:
    task = replace(TASK, scored=(64, 64))
    whole, _ = find_input_window(OfOneSize(), task.in_channels, 2, (64, 64))
    assert training_window(OfOneSize(), task, (32, 32), whole) is None


@pytest.mark.parametrize("name", ["unet-valid-pad", "unet-valid-resize"])
@pytest.mark.parametrize("scored", [128, 256])
def test_a_network_is_trained_as_near_to_its_border_as_it_is_tested(name: str, scored: int) -> None:
    """The least input of these gives more than a window: they were trained on its middle alone."""
    cells = planned(
        variants=["unet", "unet-valid", name], probes=["accuracy"], size=f"{scored}x{scored}",
        window="64x64", floors=False,
    )  # fmt: skip
    of = {p.names[0]: p.cell for p in cells}
    assert of["unet"].training_window.size == (64, 64)
    assert of["unet-valid"].training_window.size == (64, 64)
    cell = of[name]
    size, window = cell.training_window
    assert size == (128, 128)
    assert window.start == cell.input_window.start
    margins = [w.output[0] - s for w, s in ((window, size[0]), (cell.input_window, scored))]
    assert margins[0] == margins[1]
