"""Rules that need no training: what they choose, and that they go wherever a network goes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.paths import DATA_SETS, FILES, needs_data_set

from unet_bench.data import brain, cells
from unet_bench.data.dataset import IGNORE, Dataset
from unet_bench.data.folder import read_folder
from unet_bench.geometry.sizes import find_input_window
from unet_bench.measure.trivial import (
    TrivialBaseline,
    best_map,
    best_table,
    level_edges,
    lookup,
    majority,
    otsu,
    otsu_bins,
)
from unet_bench.spec.cell import Task
from unet_bench.train.metrics import Accumulator, scores
from unet_bench.train.normalise import normalisation
from unet_bench.train.windows import Images

TRIVIAL = pytest.mark.parametrize("rule", [majority, otsu, lookup])


def made(rule, classes: int = 2, channels: int = 1) -> TrivialBaseline:
    return rule(in_channels=channels, classes=classes, dims=2, image_size=(16, 16))


def labels(model: TrivialBaseline, image: torch.Tensor) -> np.ndarray:
    return model(image[None])[0].argmax(0).numpy()


def measured(dataset: Dataset, rule) -> tuple[Accumulator, list[tuple[np.ndarray, np.ndarray]]]:
    """Fitted on the training images; test images predicted and scored."""
    mean, std = normalisation(dataset)
    train, test = (Images.of(split, mean, std) for split in (dataset.train, dataset.test))
    model = made(rule, len(dataset.classes), dataset.channels)
    model.fit(train.images, train.masks)
    pairs = [
        (labels(model, image), mask.numpy())
        for image, mask in zip(test.images, test.masks, strict=True)
    ]
    accumulator = Accumulator(dataset.classes, outlines=False)
    for pair in pairs:
        accumulator.add(*pair)
    return accumulator, pairs


# ---- what they choose


def test_majority_is_the_class_of_most_pixels_that_are_not_ignored() -> None:
    masks = [
        torch.tensor([[0, 1, 1], [2, 2, IGNORE]]),
        torch.full((2, 3), IGNORE),
        torch.tensor([[1, 0]]),
    ]
    model = made(majority, classes=3)
    model.fit([torch.zeros(1, *mask.shape) for mask in masks], masks)
    assert (labels(model, torch.randn(1, 4, 5)) == 1).all()


@given(
    steps=st.lists(st.integers(1, 60), min_size=2, max_size=4),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-9, 9),
)
def test_as_many_grey_levels_as_bins_are_told_apart(
    steps: list[int], scale: float, shift: float
) -> None:
    levels = np.cumsum(steps)
    grey = shift + scale * levels[np.arange(40).reshape(5, 8) % len(levels)]
    bins = otsu_bins(grey, len(levels))
    if np.count_nonzero(np.histogram(grey, 256)[0]) == len(levels):
        assert np.array_equal(bins, np.arange(40).reshape(5, 8) % len(levels))


def test_two_bins_are_divided_by_the_threshold_of_otsu() -> None:
    from skimage.filters import threshold_otsu

    grey = brain.load().test[5].image[..., 0].astype(float)
    # Of the histogram's bins the one with scikit-image's threshold belongs to the dark side as a
    # whole.
    width = np.ptp(grey) / 256
    bins, threshold = otsu_bins(grey, 2), threshold_otsu(grey, 256)
    assert (bins[grey > threshold + width] == 1).all()
    assert (bins[grey < threshold - width] == 0).all()


@pytest.mark.parametrize(
    "grey", [np.full((4, 4), 0.3), np.array([[0.0, 1.0]])], ids=["constant", "two of three levels"]
)
def test_an_image_of_too_few_grey_levels_is_one_bin(grey: np.ndarray) -> None:
    assert (otsu_bins(grey, 3) == 0).all()


@given(
    counts=arrays(
        np.int64, st.tuples(st.integers(1, 3), st.integers(2, 4)), elements=st.integers(0, 20)
    )
)
def test_the_map_from_bins_to_classes_has_the_greatest_mean_foreground_dice(
    counts: np.ndarray,
) -> None:
    bins, classes = counts.shape

    def dice(chosen: tuple[int, ...]) -> float:
        confusion = np.zeros((classes, classes))
        for index, predicted in enumerate(chosen):
            confusion[:, predicted] += counts[index]
        return float(np.nan_to_num(scores(confusion).mean_dice))

    best = max(dice(chosen) for chosen in itertools.product(range(classes), repeat=bins))
    assert dice(tuple(best_map(counts)[0])) == pytest.approx(best)
    if not counts[:, 1:].any():
        assert not best_map(counts)[0].any()


def test_otsu_learns_which_bin_is_which_class_and_never_from_ignored_pixels() -> None:
    grey, uneven = (
        torch.arange(3.0).repeat_interleave(4).reshape(1, 3, 4),
        torch.arange(12.0).reshape(1, 3, 4) % 5,
    )
    image = torch.cat([uneven, 2 * grey - uneven])  # grey is what the channels are in the mean
    mask = torch.tensor([2, 0, 1]).repeat_interleave(4).reshape(3, 4)
    masks = [mask, torch.where(mask == 1, IGNORE, mask), torch.where(mask == 2, IGNORE, mask)]
    model = made(otsu, classes=3, channels=2)
    model.fit([image] * 3, masks)
    assert np.array_equal(labels(model, 5 * image - 7), mask)
    assert (labels(model, torch.ones(2, 3, 4)) == 2).all()  # one bin, the darkest


@pytest.mark.parametrize(
    ("classes", "bins"), [(2, 2), (3, 3), (4, 4), (14, 4), (15, 3), (36, 3), (37, 2), (254, 1)]
)
def test_there_are_only_as_many_bins_as_maps_can_be_tried(classes: int, bins: int) -> None:
    assert len(made(otsu, classes=classes).choice) == bins


@pytest.mark.parametrize("scale", [1e-6, 1.0, 3e4])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_the_table_learns_any_class_of_any_colour_and_never_from_ignored_pixels(
    channels: int, scale: float
) -> None:
    colour = torch.arange(12).reshape(3, 4) % 4
    image = torch.stack([colour.float() if n == 2 else 0 * colour.float() for n in range(channels)])
    image = scale * (image if channels > 1 else colour.float()[None]) - 7 * scale
    classes = torch.tensor([2, 0, 1, 2])[colour]  # no order of brightness gives these
    ignored = torch.where(torch.arange(12).reshape(3, 4) < 4, IGNORE, classes)
    model = made(lookup, classes=3, channels=channels)
    model.fit([image, image], [ignored, classes])
    assert np.array_equal(labels(model, image), classes)
    stray = torch.full_like(ignored, IGNORE)
    model.fit([image, torch.flip(image, (1, 2))], [classes, stray])
    assert np.array_equal(labels(model, image), classes)


def test_a_colour_that_no_training_image_has_is_of_the_commonest_class() -> None:
    image = torch.tensor([[[0.0, 0.0, 9.0]], [[0.0, 0.0, 9.0]], [[0.0, 0.0, 9.0]]])
    model = made(lookup, classes=3, channels=3)
    model.fit([image], [torch.tensor([[2, 2, 1]])])
    unseen = torch.tensor([[[0.0, 9.0]], [[9.0, 9.0]], [[0.0, 9.0]]])
    assert labels(model, unseen).tolist() == [[2, 1]]


def test_levels_tell_eight_bits_apart_a_bright_few_and_do_not_fall_for_a_stray_extreme() -> None:
    values = np.arange(256, dtype=np.float32) / 7
    assert len(np.unique(np.digitize(values, level_edges(values, 256)))) == 256
    rng = np.random.default_rng(0)
    many = rng.normal(size=10_000).astype(np.float32)
    few = np.append(many, np.linspace(50, 60, 5)).astype(np.float32)
    assert len(np.unique(np.digitize(few[-5:], level_edges(few, 256)))) >= 4
    stray = np.append(many, 1e9).astype(np.float32)
    assert len(np.unique(np.digitize(many, level_edges(stray, 256)))) > 100
    assert (np.diff(level_edges(stray, 256)) >= 0).all()
    assert np.isinf(level_edges(np.zeros(5, dtype=np.float32), 4)).all()


@given(
    counts=arrays(
        np.int64, st.tuples(st.integers(1, 6), st.integers(2, 3)), elements=st.integers(0, 20)
    )
)
def test_the_table_is_at_least_as_good_as_the_commonest_class_of_each_entry(
    counts: np.ndarray,
) -> None:
    def dice(table: np.ndarray) -> float:
        confusion = np.zeros((counts.shape[1],) * 2)
        for index, predicted in enumerate(table):
            confusion[:, predicted] += counts[index]
        truth, predicted_pixels = confusion.sum(1), confusion.sum(0)
        hits = np.diagonal(confusion)
        return float((2 * hits / np.maximum(truth + predicted_pixels, 1))[1:].sum())

    assert dice(best_table(counts)) >= dice(counts.argmax(1)) - 1e-12


def test_a_rare_class_is_found_where_the_commonest_class_of_each_grey_would_miss_it() -> None:
    counts = np.array([[900, 0], [60, 40], [9, 6]])  # (entry, class)
    assert best_table(counts).tolist() == [0, 1, 1]
    assert best_table(counts[:, [0, 0]] * [1, 0]).tolist() == [0, 0, 0]


# ---- where they go


@TRIVIAL
def test_a_trivial_baseline_has_scores_and_an_input_window_like_a_network(rule) -> None:
    task = Task(
        name="t",
        dataset_hash="0",
        classes=("a", "b", "c"),
        in_channels=2,
        scored=(20, 28),
        fit="crop",
    )
    with torch.device("meta"):
        model = made(rule, classes=3, channels=2)
        assert model(torch.empty(4, 2, 9, 11)).shape == (4, 3, 9, 11)
    input_window, _ = find_input_window(model, task.in_channels, len(task.classes), task.scored)
    assert (input_window.input, input_window.output, input_window.context) == (
        (20, 28),
        (20, 28),
        (0, 0),
    )


@TRIVIAL
def test_a_trivial_baseline_takes_tensors_without_data(rule) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert made(rule, classes=3)(torch.empty(2, 1, 8, 8)).shape == (2, 3, 8, 8)


@TRIVIAL
def test_before_it_is_fitted_a_trivial_baseline_says_background(rule) -> None:
    assert not labels(made(rule, classes=3), torch.randn(1, 8, 8)).any()


@TRIVIAL
def test_what_was_fitted_is_kept_as_weights_are(rule) -> None:
    grey = torch.arange(12.0).reshape(1, 3, 4)
    fitted, loaded = made(rule), made(rule)
    fitted.fit([grey], [(grey[0] < 7).long()])
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded(grey[None]), fitted(grey[None]))
    assert loaded(grey[None])[0, 1].any()


# ---- published and reference figures


def iou(predicted: np.ndarray, truth: np.ndarray, index: int) -> float:
    one, other = predicted == index, truth == index
    return float((one & other).sum() / (one | other).sum())


def test_three_bins_within_the_head_are_the_tissues_of_the_brain() -> None:
    samples = brain.load().samples
    grey, truth = np.stack([s.image[..., 0] for s in samples]), np.stack([s.mask for s in samples])
    predicted, head = np.zeros(truth.shape, dtype=int), grey > 0
    predicted[head] = 1 + otsu_bins(grey[head], 3)
    assert [iou(predicted, truth, index) for index in (1, 2, 3)] == pytest.approx(
        [0.38, 0.73, 0.71], abs=0.02
    )


def test_otsu_on_the_brain_gives_each_tissue_its_bin() -> None:
    records = measured(brain.load(), otsu)[0].per_class()
    assert [record["iou"] for record in records] == pytest.approx([1.0, 0.44, 0.80, 0.93], abs=0.02)


def test_the_brain_is_a_matter_of_grey_values_and_cells_are_not() -> None:
    assert measured(brain.load(), lookup)[0].figures()["dice"] == pytest.approx(0.898, abs=0.005)
    drawn = cells.load(size=(64, 64))
    assert measured(drawn, lookup)[0].figures()["dice"] < 0.75


@needs_data_set("isbi2012_em")
def test_otsu_finds_half_of_the_membranes_in_electron_microscopy() -> None:
    figures = measured(read_folder(DATA_SETS / "isbi2012_em"), otsu)[0].figures()
    assert figures["dice"] == pytest.approx(0.53, abs=0.02)


def test_otsu_finds_most_of_the_nuclei_of_a_few_pictures() -> None:
    figures = measured(read_folder(FILES / "pairs"), otsu)[0].figures()
    assert figures["dice"] > 0.8


@needs_data_set("dsb2018")
def test_otsu_on_nuclei_is_as_published_whatever_their_polarity() -> None:
    dataset = read_folder(DATA_SETS / "dsb2018")
    accumulator, pairs = measured(replace(dataset, train=dataset.train[::8]), otsu)
    told = Accumulator(("background", "nucleus"), outlines=False)
    for predicted, truth in pairs:
        told.add(max(predicted, 1 - predicted, key=lambda one: (one == truth).sum()), truth)
    figures = told.figures()
    assert (figures["dice"], figures["iou_per_image"]) == pytest.approx((0.863, 0.783), abs=0.02)
    assert accumulator.figures()["dice"] == pytest.approx(0.863, abs=0.02)


def test_objects_that_are_bright_here_and_dark_there_are_told_by_their_extent() -> None:
    mask = torch.zeros(20, 20, dtype=torch.uint8)
    mask[4:9, 5:11] = 1
    images = [sign * (mask.float() + 0.01 * torch.rand(1, 20, 20)) for sign in (1, -1, 1, -1)]
    rule = otsu(1, 2, 2, ())
    rule.fit(images, [mask] * 4)
    for image in images:
        assert torch.equal(rule(image[None])[0].argmax(0), mask.long())
