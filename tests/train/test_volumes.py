"""Volumes: the same windows, tiles, augmentation, metrics and probes as images, one axis more."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from support.paths import DATA_SETS, needs_data_set

from unet_bench import build_model, pipeline
from unet_bench.context import MeasurementContext
from unet_bench.data import cells
from unet_bench.data.dataset import IGNORE, Dataset, Sample, fit, sliced
from unet_bench.data.sources import open_dataset
from unet_bench.errors import InvalidData, InvalidSize, InvalidSuite
from unet_bench.geometry.shapes import InputWindow
from unet_bench.geometry.sizes import find_input_window
from unet_bench.measure.trivial import Lookup, Otsu, TrivialBaseline
from unet_bench.models.select import select
from unet_bench.networks.contracts import main_output
from unet_bench.plan.examine import examine
from unet_bench.predict import Outputs, predict_files
from unet_bench.present.table import results_document
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import parse_size
from unet_bench.train import tiles
from unet_bench.train.augment import draw, interpolated, sources
from unet_bench.train.border import border_weights
from unet_bench.train.metrics import Accumulator
from unet_bench.train.normalise import normalisation
from unet_bench.train.trained import load_network
from unet_bench.train.windows import (
    Batch,
    Images,
    block,
    cut,
    scored,
    training_batch,
    window,
)

PLAIN = Recipe()
BENT = Recipe(
    rotate=30.0,
    scale_low=0.8,
    scale_high=1.3,
    elastic=2.0,
    brightness=0.2,
    contrast=0.2,
    foreground=0.5,
)
CPU = torch.device("cpu")


def noise(*size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=size).astype(np.float32))


def frame_of(low: int, high: int, size: tuple[int, ...]) -> InputWindow:
    """Of a network that loses `low` pixels before and `high` behind, along each axis."""
    whole = tuple(side + low + high for side in size)
    return InputWindow(input=whole, output=size, start=(0,) * len(size), context=(low,) * len(size))


# ---- tiles, windows, augmentation


@examples(max_examples=30)
@given(
    volume=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(4, 10), st.integers(4, 10), st.integers(4, 10)),
    low=st.integers(0, 9),
    high=st.integers(0, 9),
    overlap=st.sampled_from([0.0, 0.3, 0.6]),
    flips=st.booleans(),
)
def test_an_identity_network_returns_the_volume(volume, size, low, high, overlap, flips) -> None:
    image, frame = noise(1, 2, *volume), frame_of(low, high, size)
    seen = []

    def crop(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape[2:]))
        return x[block((low,) * 3, size)]

    found = tiles.predict(crop, image, frame, size, overlap=overlap, flips=flips, batch=3)
    assert torch.allclose(found, image, atol=1e-5)
    assert set(seen) == {frame.input}


def test_flips_are_along_all_three_axes() -> None:
    """A network that shifts its volume by a voxel along each axis shows, over all flips, the mean
    of eight shifts.
    """
    image, size = noise(1, 1, 7, 8, 9), (4, 4, 4)
    found = tiles.predict(
        lambda x: x[..., :-2, :-2, :-2], image, frame_of(1, 1, size), size, flips=True, batch=5
    )
    wide = window(image, (-1, -1, -1), (9, 10, 11))
    shifts = [wide[block((i, j, k), (7, 8, 9))] for i in (0, 2) for j in (0, 2) for k in (0, 2)]
    assert torch.allclose(found, torch.stack(shifts).mean(0), atol=1e-5)


def volumes() -> Images:
    """Noise whose mask and weights follow the volume: its sign, and twice its value."""
    made = [noise(1, 20, 24, 28), noise(1, 16, 30, 18).flip(1)]
    return Images(
        made, [(image[0] > 0).to(torch.uint8) for image in made], [2 * image[0] for image in made]
    )


@pytest.mark.parametrize("recipe", [PLAIN, BENT], ids=["plain", "bent"])
def test_a_batch_is_a_function_of_seed_and_step_whatever_the_network_needs(recipe: Recipe) -> None:
    size = (8, 12, 10)
    seen = []
    for step in range(3):
        first, again = (
            training_batch(volumes(), recipe, size, frame_of(0, 0, size), 2, 7, step)
            for _ in range(2)
        )
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))  # type: ignore[arg-type]
        wide = training_batch(volumes(), recipe, size, frame_of(5, 3, size), 2, 7, step)
        assert torch.equal(first.target, wide.target)
        assert torch.allclose(first.images, wide.images[block((5, 5, 5), size)], atol=1e-4)
        assert (first.images.shape, first.target.shape) == ((2, 1, *size), (2, *size))
        seen.append(first)
    assert not torch.equal(seen[0].target, seen[1].target)


def test_masks_and_weights_go_with_their_volumes() -> None:
    size = (8, 12, 10)
    for step in range(4):
        batch: Batch = training_batch(volumes(), PLAIN, size, frame_of(5, 3, size), 2, 7, step)
        centre = batch.images[:, 0][block((5, 5, 5), size)]
        assert torch.equal((centre > 0).long(), batch.target)
        assert torch.equal(2 * centre, batch.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [(0, 0, 0), (9, 4, 11), (15, 15, 15)])
def test_foreground_lies_in_its_windows(at: tuple[int, ...]) -> None:
    mask = torch.zeros(16, 16, 16, dtype=torch.uint8)
    mask[at] = 1
    data, size = Images([mask[None].float()], [mask]), (6, 7, 8)
    around = Recipe(foreground=1.0)
    found = [
        training_batch(data, around, size, frame_of(2, 2, size), 1, 0, step).target
        for step in range(20)
    ]
    assert all(int(target.sum()) == 1 for target in found)
    if at == (9, 4, 11):
        assert len({tuple(target[0].nonzero()[0].tolist()) for target in found}) > 5


def test_volumes_are_turned_in_the_plane_of_their_slices_and_scaled_along_all_axes() -> None:
    drawn = draw(
        Recipe(rotate=40.0, scale_low=2.0, scale_high=2.0, flip=True), np.random.default_rng(3), 3
    )
    assert len(drawn.flips) == 3
    assert drawn.matrix[0].tolist() == [0.5, 0, 0]
    assert drawn.matrix[:, 0].tolist() == [0.5, 0, 0]
    assert abs(drawn.matrix[1, 2]) > 0.01
    assert np.linalg.det(drawn.matrix) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((), (1, 2)),
        ((1.0, 1.0, 1.0), (1, 2)),
        ((5.0, 1.0, 1.0), (1, 2)),
        ((1.0, 1.0, 5.0), (0, 1)),
        ((1.0, 5.0, 1.001), (0, 2)),
        ((4.0, 1.0, 2.1), (0, 2)),
    ],
)
def test_volumes_are_turned_in_the_plane_of_most_equal_spacing(spacing: Any, plane: Any) -> None:
    drawn = draw(Recipe(rotate=40.0), np.random.default_rng(3), 3, spacing)
    changed = np.argwhere(~np.isclose(drawn.matrix, np.eye(3))).tolist()
    assert changed == [[a, b] for a in plane for b in plane]
    if spacing:  # in mm it is a rotation
        in_mm = np.diag(spacing) @ drawn.matrix @ np.diag(1 / np.array(spacing))
        assert in_mm @ in_mm.T == pytest.approx(np.eye(3))


def test_displacements_bend_a_volume_along_each_of_its_axes() -> None:
    drawn = draw(Recipe(elastic=1.0, elastic_grid=4, flip=False), np.random.default_rng(0), 3)
    plane, size = (10, 12, 14), (10, 12, 14)
    at = sources(drawn, plane, (0, 0, 0), size, frame_of(0, 0, size), CPU)
    still = torch.stack(torch.meshgrid(*map(torch.arange, size), indexing="ij"))
    moved = at - still
    assert drawn.displacements is not None
    corners = moved[:, ::9, ::11, ::13].numpy()
    assert corners == pytest.approx(drawn.displacements[:, ::3, ::3, ::3], abs=1e-4)
    assert moved.std() > 0.3
    ramp = still.float()  # of each axis, its coordinate: what is read is where it was read
    assert torch.allclose(
        interpolated(ramp, at.clamp_min(0).minimum(torch.tensor(plane)[:, None, None, None] - 1)),
        at.clamp_min(0).minimum(torch.tensor(plane)[:, None, None, None] - 1),
        atol=1e-3,
    )


# ---- networks without padding


def meta(name: str, **changes: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(name, in_channels=1, classes=2, dims=3, **changes)


def window_of(*size: int) -> tuple[int, int, tuple[int, ...]]:
    """Channels, classes and scored voxels, as `find_input_window` takes them."""
    return 1, 2, size


def task_of(*size: int) -> Task:
    return Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )


def test_the_published_input_of_the_3d_unet() -> None:
    """Çiçek et al. 2016, figure 2: 132×132×116 voxels in, 44×44×28 out, of three halvings without
    padding.
    """
    frame, where = find_input_window(
        meta("unet-paper", depth=3, base_width=2), *window_of(28, 44, 44)
    )
    assert (frame.input, frame.output, frame.context) == (
        (116, 132, 132),
        (28, 44, 44),
        (44, 44, 44),
    )
    assert where.legal


@pytest.mark.parametrize("name", ["unet-paper", "unet"])
def test_scored_voxels_line_up_with_the_volume(name: str) -> None:
    """With averaging weights, a dot in the volume is a blot in the output around the same scored
    voxel.
    """
    changes = {"norm": "none", "base_width": 2, "depth": 2}
    size, dot = (12, 20, 16), (5, 11, 7)
    frame, _ = find_input_window(meta(name, **changes), *window_of(*size))
    model = build_model(name, in_channels=1, classes=2, dims=3, **changes).eval()
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv3d, torch.nn.ConvTranspose3d)):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    volume = torch.zeros(1, 24, 30, 28)
    volume[(0, *(8 + i for i in dot))] = 1000.0
    with torch.no_grad():
        pair = torch.stack(
            [cut(torch.zeros_like(volume), (8, 8, 8), frame), cut(volume, (8, 8, 8), frame)]
        )
        out = scored(main_output(model(pair)), frame, size)
    change = (out[1] - out[0]).abs().sum(0)
    lines = [change.sum([other for other in range(3) if other != axis]) for axis in range(3)]
    centre = [float((line * torch.arange(len(line))).sum() / line.sum()) for line in lines]
    assert centre == pytest.approx(dot, abs=1.5)


def test_the_task_sets_the_dimensions_of_a_variant(registry: Registry) -> None:
    [plain], [deep] = (
        select(registry, [name]) for name in ("unet+base_width=4", "unet+base_width=4+dims=3")
    )
    examined = examine(registry, plain, task_of(16, 16, 32))
    assert (examined.variant.name, examined.variant.choices.dims, examined.status) == (
        plain.name,
        3,
        "",
    )
    assert examine(registry, plain, task_of(16, 32)).variant.choices.dims == 2
    assert examine(registry, deep, task_of(16, 16, 32)).status == ""
    refused = examine(registry, deep, task_of(16, 32))
    assert refused.status == "unsupported"
    assert "--size 32x32x32" in refused.reason


@pytest.mark.parametrize("name", ["segnet", "resnet34-unet"])
def test_what_serves_images_alone_is_unsupported_on_volumes(registry: Registry, name: str) -> None:
    [variant] = select(registry, [name])
    examined = examine(registry, variant, task_of(32, 32, 32))
    assert (examined.status, bool(examined.reason)) == ("unsupported", True)


def test_a_cell_of_volumes_travels_as_json(context_of: Any) -> None:
    cell: Cell = context_of("unet", size=(16, 16, 32)).cell
    found = Cell.from_json(json.loads(json.dumps(cell.to_json())))
    assert (found.task, found.input_window, found.id) == (cell.task, cell.input_window, cell.id)
    assert found.variant.choices.dims == 3


def test_channels_last_is_that_of_volumes(context_of: Any) -> None:
    context: MeasurementContext = context_of(
        "unet", size=(16, 16, 32), memory_format="channels_last"
    )
    assert context.images().is_contiguous(memory_format=torch.channels_last_3d)
    assert context.images().shape == (2, 1, 16, 16, 32)
    assert context.target().shape == (2, 16, 16, 32)


# ---- metrics and trivial baselines


def test_outline_scores_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(5)
    truth = (rng.random((7, 8, 9)) < 0.4).astype(np.uint8)
    predicted = (rng.random((7, 8, 9)) < 0.3).astype(np.uint8)
    truth[:2] = IGNORE
    accumulator = Accumulator(("a", "b"))
    accumulator.add(predicted, truth)
    masks = [(labels == 1) & (truth != IGNORE) for labels in (predicted, truth)]
    distances = cdist(*(np.argwhere(mask & ~binary_erosion(mask)) for mask in masks))
    hd95 = max(np.percentile(distances.min(axis), 95) for axis in (0, 1))
    precision, recall = (distances.min(1) <= 1).mean(), (distances.min(0) <= 1).mean()
    figures = accumulator.figures()
    assert figures["hd95_px"] == pytest.approx(hd95)
    assert figures["boundary_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert math.isnan(figures["rand_f1"])


def test_a_cube_that_was_moved_and_one_that_was_missed() -> None:
    truth, predicted = np.zeros((2, 10, 20, 20), dtype=np.uint8)
    truth[2:6, 4:12, 4:12], predicted[2:6, 4:12, 7:15] = 1, 1
    accumulator = Accumulator(("a", "b"))
    accumulator.add(predicted, truth)
    assert accumulator.figures()["hd95_px"] == 3
    assert accumulator.figures()["dice"] == pytest.approx(5 / 8)
    missed = Accumulator(("a", "b"))
    missed.add(np.zeros_like(truth), truth)
    assert missed.figures()["hd95_px"] == pytest.approx(30)  # the diagonal


def test_distances_in_mm_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(6)
    truth = (rng.random((5, 8, 9)) < 0.4).astype(np.uint8)
    predicted = (rng.random((5, 8, 9)) < 0.3).astype(np.uint8)
    spacing = (3.0, 0.5, 0.8)
    accumulator = Accumulator(("a", "b"))
    accumulator.add(predicted, truth, spacing)
    masks = [labels == 1 for labels in (predicted, truth)]
    distances = cdist(*(np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in masks))
    hd95 = max(np.percentile(distances.min(axis), 95) for axis in (0, 1))
    assert accumulator.figures()["hd95_mm"] == pytest.approx(hd95)
    assert accumulator.per_class()[1]["hd95_mm"] == pytest.approx(hd95)


def test_a_cube_that_was_moved_in_mm() -> None:
    truth, predicted = np.zeros((2, 10, 20, 20), dtype=np.uint8)
    truth[2:6, 4:12, 4:12], predicted[2:6, 4:12, 7:15] = 1, 1
    for spacing, expected in (((2.0, 2.0, 2.0), 6), ((5.0, 1.0, 0.5), 1.5), ((), math.nan)):
        accumulator = Accumulator(("a", "b"))
        accumulator.add(predicted, truth, spacing)
        assert accumulator.figures()["hd95_mm"] == pytest.approx(expected, nan_ok=True)
    missed = Accumulator(("a", "b"))
    missed.add(np.zeros_like(truth), truth, (2.0, 1.0, 1.0))
    diagonal = math.hypot(20, 20, 20)
    assert missed.figures()["hd95_mm"] == pytest.approx(diagonal)
    missed.add(truth, truth)  # of which nobody knows the spacing
    assert math.isnan(missed.figures()["hd95_mm"])


def test_images_keep_their_spacings_on_any_device(drawn: Dataset) -> None:
    held = [Sample("a", s.image, s.mask, spacing=(3.0, 1.0, n)) for n, s in enumerate(drawn.val)]
    images = Images.of(held, *normalisation(drawn)).to(CPU)
    assert images.spacing_of(1) == (3.0, 1.0, 1)
    assert volumes().spacing_of(1) == ()


def test_membranes_part_a_volume() -> None:
    truth = np.zeros((9, 6, 6), dtype=np.uint8)
    truth[4] = 1
    accumulator = Accumulator(("cell", "membrane"))
    accumulator.add(truth, truth)
    assert accumulator.figures()["rand_f1"] == 1
    open_wall = truth.copy()
    open_wall[4, 3, 3] = 0
    leaking = Accumulator(("cell", "membrane"))
    leaking.add(open_wall, truth)
    assert leaking.figures()["rand_f1"] < 0.8


def test_border_weights_part_touching_objects_in_volumes() -> None:
    mask = np.zeros((9, 9, 9), dtype=np.uint8)
    mask[:, :, :4], mask[:, :, 5:] = 1, 1
    weights = border_weights(mask, 10, 5, None)
    assert weights.shape == mask.shape
    assert weights[:, :, 4].min() > 5 > weights[:, :, :4].max()


@pytest.mark.parametrize("trivial", [Otsu(2), Lookup(1, 2)], ids=["otsu", "lookup"])
def test_rules_find_the_bright_block_of_a_volume(trivial: TrivialBaseline) -> None:
    image, mask = noise(1, 8, 9, 10) / 20, torch.zeros(8, 9, 10, dtype=torch.uint8)
    mask[2:5, 3:6, 4:8] = 1
    trivial.fit([image + mask], [mask])
    assert torch.equal(trivial((image + mask)[None]).argmax(1)[0], mask.long())


# ---- data


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return cells.load(size=(16, 20, 24))


def test_cells_are_drawn_as_volumes(drawn: Dataset) -> None:
    assert (drawn.dims, [len(held) for held in drawn.splits.values()]) == (3, [24, 4, 8])
    assert {(sample.image.shape, sample.mask.shape) for sample in drawn.samples} == {
        ((16, 20, 24, 1), (16, 20, 24))
    }
    shares = (
        np.bincount(np.concatenate([sample.mask.ravel() for sample in drawn.samples]))
        / 36
        / (16 * 20 * 24)
    )
    assert shares.min() > 0.1
    assert cells.load(size=(16, 20, 24)).hash == drawn.hash


def test_cells_touch_in_every_direction(drawn: Dataset) -> None:
    """A slab of volume is no stack of single pictures: neighbours along any axis mostly agree."""
    for axis in range(3):
        agree = [
            np.mean(np.diff(sample.mask.astype(int), axis=axis) == 0) for sample in drawn.samples
        ]
        assert 0.7 < np.mean(agree) < 0.95


def test_volumes_are_normalised_over_all_their_voxels(drawn: Dataset) -> None:
    mean, std = normalisation(drawn)
    voxels = np.concatenate([sample.image.ravel() for sample in drawn.train]).astype(float)
    assert (mean[0], std[0]) == (pytest.approx(voxels.mean()), pytest.approx(voxels.std()))


def test_slices_of_a_volume_stay_together(drawn: Dataset) -> None:
    flat = sliced(drawn)
    assert (flat.dims, len(flat.train)) == (2, 24 * 16)
    assert (flat.train[3].name, flat.train[3].group) == ("cells-00/z003", "cells-00")
    assert np.array_equal(flat.train[3].image, drawn.train[0].image[3])


def test_crop_grows_and_resize_resizes_volumes(drawn: Dataset) -> None:
    grown = fit(drawn, (16, 32, 8), "crop").train[0]
    assert grown.image.shape == (16, 32, 24, 1)
    assert (grown.mask == IGNORE).sum() == 16 * 12 * 24
    ramp = np.linspace(0, 1, 16, dtype=np.float32)[:, None, None, None] * np.ones(
        (1, 20, 24, 1), np.float32
    )
    volume = Sample("v", ramp, (ramp[..., 0] > 0.5).astype(np.uint8))
    held = {"train": (volume,), "val": (), "test": (Sample("w", volume.image, volume.mask),)}
    small = fit(Dataset("d", ("a", "b"), 1, **held, dims=3), (8, 10, 12), "resize").train[0]
    assert (small.image.shape, small.mask.shape) == ((8, 10, 12, 1), (8, 10, 12))
    assert small.image[:, 3, 3, 0] == pytest.approx(np.linspace(1 / 30, 29 / 30, 8), abs=0.02)
    assert small.mask[:, 3, 3].tolist() == [0] * 4 + [1] * 4


def test_data_without_volumes_are_refused_by_name(registry: Registry) -> None:
    with pytest.raises(InvalidSize, match=r"brain holds images.*--data cells"):
        open_dataset(registry, "brain", size=(32, 32, 32))


def test_sizes_of_three_numbers_are_depth_first() -> None:
    assert parse_size("16x32x64") == (16, 32, 64)
    with pytest.raises(InvalidSuite, match="DEPTHxHEIGHTxWIDTH"):
        parse_size("1x2x3x4")


def hospital(root: Path, size: tuple[int, int, int] = (14, 18, 20)) -> Path:
    """A folder of volumes, X Y Z: a bright block on noise, each scan with its own grey levels."""
    rng = np.random.default_rng(0)
    for number in range(6):
        mask = np.zeros(size, np.uint8)
        x, y, z = rng.integers(2, 6, 3)
        mask[x : x + 6, y : y + 8, z : z + 10] = 1
        image = ((mask + 0.2 * rng.random(size)) * 10.0**number).astype(np.float32)
        for folder, array in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            affine = np.diag([1.0, 2.0, 3.0 + number, 1.0])
            nibabel.save(nibabel.Nifti1Image(array, affine), root / folder / f"scan{number}.nii.gz")
    return root


def test_volumes_stay_whole_or_become_slices_by_the_size(
    registry: Registry, tmp_path: Path
) -> None:
    path = str(hospital(tmp_path))
    whole = open_dataset(registry, path, size=(16, 16, 16))
    flat = open_dataset(registry, path, size=(16, 16))
    assert (whole.dims, len(whole.samples), whole.train[0].image.shape) == (3, 6, (20, 14, 18, 1))
    assert (flat.dims, len(flat.samples), flat.train[0].image.shape) == (2, 120, (14, 18, 1))
    assert sliced(whole).hash == flat.hash
    mask = np.asarray(nibabel.load(tmp_path / "masks" / f"{whole.train[0].name}.nii.gz").dataobj)
    assert np.array_equal(whole.train[0].mask, mask.transpose(2, 0, 1))


@needs_data_set("msd_hippocampus")
def test_real_volumes_of_varied_sizes(registry: Registry) -> None:
    data = open_dataset(registry, str(DATA_SETS / "msd_hippocampus"), size=(32, 32, 32))
    assert [len(held) for held in data.splits.values()] == [182, 26, 52]
    assert len({sample.mask.shape for sample in data.samples}) > 50
    fitted = fit(data, (32, 32, 32), "crop")
    assert all(min(sample.mask.shape) >= 32 for sample in fitted.samples)
    foreground = np.mean(
        [np.mean((sample.mask > 0)[sample.mask != IGNORE]) for sample in fitted.samples]
    )
    assert foreground == pytest.approx(0.054, abs=0.01)


# ---- end to end

TINY: dict[str, Any] = {
    "width_scale": 1 / 16,
    "batch": [2],
    "threads": [1],
    "steps": 2,
    "speed_s": 0.1,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("probe", "name", "figure"),
    [
        ("speed", "unet-bilinear", "blocks"),
        ("training", "unet-deep-supervision", "blocks"),
        ("memory", "unet", "train_live_memory_mib"),
        ("batch", "unet", "largest_batch"),
    ],
)
def test_volumes_are_measured(
    registry: Registry, context_of: Any, probe: str, name: str, figure: str
) -> None:
    context: MeasurementContext = context_of(
        name, size=(16, 16, 32), protocol={"memory_limit_mib": 12.0, "speed_s": 0.1}
    )
    found = registry.find("probe", probe).load()(context)
    assert found[figure] > 1
    if probe == "speed" and math.isfinite(found["throughput_img_s"]):
        assert found["throughput_mpx_s"] == pytest.approx(
            found["throughput_img_s"] * 16 * 16 * 32 / 1e6
        )


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Images and volumes in one run."""
    options = {**TINY, "data": ["cells"], "size": "16x16x32,32x32", "probes": ["cost", "accuracy"]}
    name = "unet+base_width=32"
    return pipeline.run([name], baseline=name, out=tmp_path_factory.mktemp("run"), **options)


@pytest.mark.slow
def test_volumes_and_images_lie_in_one_frame(frame: pd.DataFrame) -> None:
    assert set(frame["accuracy_status"]) == {"ok"}, frame["error"].tolist()
    networks = frame[~frame["variant"].str.startswith("floor-")]
    assert (networks["cost_status"] == "ok").all()
    deep, flat = (
        networks[networks["scored_depth"].notna()],
        networks[networks["scored_depth"].isna()],
    )
    sides = [
        "input_depth",
        "height",
        "width",
        "output_depth",
        "scored_depth",
        "scored_height",
        "scored_width",
        "dims",
    ]
    assert deep[sides].to_numpy().tolist() == [[16, 16, 32, 16, 16, 16, 32, 3]]
    assert (flat[sides].isna().sum(axis=1).tolist(), flat["dims"].tolist()) == ([3], [2])
    assert deep["params"].iloc[0] > 2 * flat["params"].iloc[0]
    assert len(frame) == 8  # the trivial baselines beside each


@pytest.mark.slow
def test_images_and_volumes_have_tables_of_their_own(frame: pd.DataFrame) -> None:
    shown = str(results_document(frame).rendered("md"))
    assert "scored 16×16×32" in shown
    assert "scored 32×32" in shown


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hospital(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def kept(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a folder of volumes, whose networks were kept; it learns that bright is 1."""
    changes = {
        **TINY,
        "steps": 30,
        "data": [str(scans)],
        "size": "16x16x16",
        "probes": ["accuracy"],
        "batch": [4],
        "orientation": "canonical",
        "spacing": "3x1x2",
    }
    out = tmp_path_factory.mktemp("kept")
    found = pipeline.run(
        ["unet+depth=2"],
        baseline="unet+depth=2",
        out=out,
        keep_weights=True,
        overlap=0.5,
        **changes,
    )
    row = found.loc[found["variant"] == "unet+depth=2"].iloc[0]
    assert float(row["dice"]) > 0.8
    assert float(row["hd95_mm"]) >= float(row["hd95_px"]) > 0
    return Path(found.attrs["path"])


@pytest.mark.slow
def test_masks_of_volumes_lie_where_their_images_do(
    kept: Path, scans: Path, tmp_path: Path
) -> None:
    images = [scans / "images" / f"scan{number}.nii.gz" for number in (0, 5)]
    found = predict_files(load_network(kept, "unet+depth=2"), images, Outputs(tmp_path / "out"))
    written = [made.mask for made in found.write()]
    assert [file.name for file in written] == ["scan0.nii.gz", "scan5.nii.gz"]
    for file, image in zip(written, images, strict=True):
        mask: Any = nibabel.load(file)
        truth = np.asarray(nibabel.load(scans / "masks" / image.name).dataobj)
        assert (mask.shape, mask.get_data_dtype()) == (truth.shape, np.uint8)
        assert np.array_equal(mask.affine, nibabel.load(image).affine)  # type: ignore[attr-defined]
        found = np.asarray(mask.dataobj)
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7


@pytest.mark.slow
def test_pictures_are_no_volumes(kept: Path, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"")
    network = load_network(kept, "unet+depth=2")
    with pytest.raises(InvalidData, match="trained on volumes; give NIfTI"):
        predict_files(network, [picture], Outputs(tmp_path / "out"))
