"""Scores of a split: against other libraries, against brute force, and where there is nothing to
score.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, gaussian_filter
from scipy.spatial.distance import cdist

from unet_bench.data.dataset import IGNORE
from unet_bench.store.schema import BY_NAME
from unet_bench.train.metrics import Accumulator
from unet_bench.train.outlines import outline_scores, separator

CLASSES = ("background", "cell", "membrane")
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
IDS = st.sampled_from((0, 1, 2))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth of one shape; some of the truth ignored."""
    shape = draw(SHAPES)
    truth = draw(arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 2, IGNORE))))
    return draw(arrays(np.int64, shape, elements=IDS)), truth


def tallied(
    *images: tuple[np.ndarray, np.ndarray], classes: tuple[str, ...] = CLASSES
) -> Accumulator:
    accumulator = Accumulator(classes)
    for predicted, truth in images:
        accumulator.add(predicted, truth)
    return accumulator


def blobs(seed: int, shape: tuple[int, int] = (40, 52)) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return np.argmax([gaussian_filter(rng.normal(size=shape), 3) for _ in CLASSES], axis=0)


def drawn(*rows: str) -> np.ndarray:
    """Class ids from text; `x` is ignored."""
    return np.array(
        [[IGNORE if mark == "x" else int(mark) for mark in row] for row in rows], dtype=np.uint8
    )


# ---- Dice and IoU


@pytest.mark.parametrize("every", [False, True])
def test_pooled_dice_and_iou_are_those_of_torchmetrics(every: bool) -> None:
    classification = pytest.importorskip("torchmetrics.classification")
    images = [(blobs(2 * i), blobs(2 * i + 1).astype(np.uint8)) for i in range(3)]
    for _, truth in images:
        truth[:5, 7:20] = IGNORE
    figures, records = tallied(*images).figures(), tallied(*images).per_class()
    asked = {"num_classes": 3, "average": "none", "ignore_index": IGNORE}
    dice, iou = (
        classification.MulticlassF1Score(**asked),
        classification.MulticlassJaccardIndex(**asked),
    )
    for predicted, truth in images:
        for metric in (dice, iou):
            metric.update(torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.int64)))
    first, suffix = (0, "_all_classes") if every else (1, "")
    assert figures[f"dice{suffix}"] == pytest.approx(float(dice.compute()[first:].mean()))
    assert figures[f"iou{suffix}"] == pytest.approx(float(iou.compute()[first:].mean()))
    for name, metric in (("dice", dice), ("iou", iou)):
        assert [record[name] for record in records] == pytest.approx(metric.compute().tolist())


def test_dice_and_iou_image_by_image_are_those_of_torchmetrics() -> None:
    segmentation = pytest.importorskip("torchmetrics.functional.segmentation")
    images = [(blobs(2 * i), blobs(2 * i + 1)) for i in range(4)]
    predicted, truth = (torch.from_numpy(np.stack(side)) for side in zip(*images, strict=True))
    asked = {"num_classes": 3, "include_background": False, "input_format": "index"}
    figures, records = tallied(*images).figures(), tallied(*images).per_class()
    dice = segmentation.dice_score(predicted, truth, average="none", **asked)
    iou = segmentation.mean_iou(predicted, truth, per_class=True, **asked)
    for name, found in (("dice_per_image", dice), ("iou_per_image", iou)):
        assert figures[name] == pytest.approx(float(found.mean()))
        assert [record[name] for record in records[1:]] == pytest.approx(found.mean(0).tolist())


def test_pooled_and_image_by_image_are_different_figures() -> None:
    large, small = np.ones((10, 10), dtype=np.uint8), drawn("1000000000")
    missed = np.zeros((1, 10), dtype=np.int64)
    figures = tallied((large, large), (missed, small)).figures()
    assert figures["dice"] == pytest.approx(200 / 201)
    assert figures["dice_per_image"] == pytest.approx(0.5)


def test_counts_are_of_each_image_truth_before_prediction() -> None:
    counts = tallied((drawn("012"), drawn("11x")), (drawn("22"), drawn("20"))).counts
    assert counts.dtype == np.int64
    assert counts.tolist() == [[[0, 0, 0], [1, 1, 0], [0, 0, 0]], [[0, 0, 1], [0, 0, 0], [0, 0, 1]]]


# ---- outlines


def brute_force(predicted: np.ndarray, truth: np.ndarray, index: int) -> tuple[float, float]:
    """HD95 and boundary F1 of a class by every distance there is."""
    masks = [(labels == index) & (truth != IGNORE) for labels in (predicted, truth)]
    if not any(mask.any() for mask in masks):
        return math.nan, math.nan
    rows, columns = np.nonzero(truth != IGNORE)
    diagonal = math.hypot(np.ptp(rows) + 1, np.ptp(columns) + 1) if len(rows) else 0.0
    if not all(mask.any() for mask in masks):
        return diagonal, 0.0
    distances = cdist(*(np.argwhere(mask & ~binary_erosion(mask)) for mask in masks))
    astray, missed = distances.min(1), distances.min(0)
    near = max(1, 0.0075 * diagonal)
    precision, recall = (astray <= near).mean(), (missed <= near).mean()
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return max(np.percentile(astray, 95), np.percentile(missed, 95)), f1


@given(pair=pairs())
def test_outline_scores_are_those_of_brute_force(pair: tuple[np.ndarray, np.ndarray]) -> None:
    records = tallied(pair).per_class()
    for record in records[1:]:
        hd95, f1 = brute_force(*pair, record["class_index"])
        found = (record["hd95_px"], record["boundary_f1"])
        assert found == ((None, None) if math.isnan(hd95) else pytest.approx((hd95, f1)))


def test_the_tolerance_grows_with_the_image() -> None:
    truth, predicted = np.zeros((2, 300, 400), dtype=np.uint8)  # a diagonal of 500: 3.75 px
    truth[100:200, 100:200], predicted[103:203, 100:200] = 1, 1
    assert tallied((predicted, truth)).figures()["boundary_f1"] == 1
    assert tallied((np.roll(predicted, 1, 0), truth)).figures()["boundary_f1"] < 1


def test_one_pixel_objects_have_outlines() -> None:
    truth, predicted = np.zeros((2, 9, 9), dtype=np.uint8)
    truth[1, 1], predicted[4, 5] = 1, 1
    figures = tallied((predicted, truth)).figures()
    assert (figures["hd95_px"], figures["boundary_f1"]) == (5, 0)
    predicted[4, 5], predicted[1, 2] = 0, 1
    figures = tallied((predicted, truth)).figures()
    assert (figures["hd95_px"], figures["boundary_f1"]) == (1, 1)


def test_a_class_in_one_of_the_two_costs_the_diagonal_and_one_in_neither_nothing() -> None:
    truth, predicted = drawn("0000", "0110", "0000"), np.zeros((3, 4), dtype=np.int64)
    background, cell, membrane = tallied((predicted, truth)).per_class()
    assert (cell["hd95_px"], cell["boundary_f1"], cell["dice_per_image"]) == (5, 0, 0)
    assert [membrane[name] for name in ("hd95_px", "boundary_f1", "dice", "iou_per_image")] == [
        None
    ] * 4
    assert background["hd95_px"] is None
    assert background["dice"] == pytest.approx(20 / 22)
    assert tallied((predicted, truth)).figures()["hd95_px"] == 5


# ---- Rand


@given(pair=pairs())
@settings(max_examples=60)
def test_rand_f1_counts_pairs_of_pixels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The definition, written out: of pairs in one true part and pairs in one found part, those in
    both.
    """
    predicted, truth = pair

    def flood(labels: np.ndarray) -> np.ndarray:
        parts, count = np.zeros(labels.shape, dtype=int), 0
        for seed in zip(*np.nonzero((labels != 2) & (truth != IGNORE)), strict=True):
            count, todo = count + 1, [seed]
            while todo:
                row, col = todo.pop()
                inside = 0 <= row < labels.shape[0] and 0 <= col < labels.shape[1]
                if (
                    inside
                    and labels[row, col] != 2
                    and truth[row, col] != IGNORE
                    and not parts[row, col]
                ):
                    parts[row, col] = count
                    todo += [(row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)]
        return parts

    true, found = flood(truth), flood(predicted)
    counted = true > 0
    same_true = true[counted][:, None] == true[counted][None]
    same_found = found[counted][:, None] == found[counted][None]
    n = int(counted.sum())
    both, either = (same_true & same_found).sum() - n, same_true.sum() + same_found.sum() - 2 * n
    figure = tallied(pair).figures()["rand_f1"]
    if same_true.sum() == n:
        assert math.isnan(figure)
    else:
        assert figure == pytest.approx(2 * both / either)


def test_rand_f1_is_that_of_scikit_image_averaged_over_images() -> None:
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error

    images = [(blobs(2 * i), blobs(2 * i + 1)) for i in range(3)]
    errors = [
        adapted_rand_error(
            label(truth != 2, connectivity=1), label(predicted != 2, connectivity=1)
        )[0]
        for predicted, truth in images
    ]
    assert tallied(*images).figures()["rand_f1"] == pytest.approx(1 - np.mean(errors))


def test_a_gap_in_a_membrane_costs_rand_more_than_dice() -> None:
    truth = np.ones((21, 21), dtype=np.uint8)
    truth[10] = 2
    gap, thick = truth.copy(), truth.copy()
    gap[10, 10], thick[9] = 1, 2
    with_gap, too_thick = tallied((gap, truth)).figures(), tallied((thick, truth)).figures()
    assert with_gap["dice"] > too_thick["dice"]
    assert with_gap["rand_f1"] < 0.7 < 0.9 < too_thick["rand_f1"]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("cell", "membrane"), 1),
        (("boundary", "a"), 0),
        (("a", "Membrane"), None),
        (("a", "membranes"), None),
    ],
)
def test_only_a_membrane_or_boundary_divides_the_image(
    classes: tuple[str, ...], expected: int | None
) -> None:
    assert separator(classes) == expected
    ids = drawn("0011")
    assert math.isnan(tallied((ids, ids), classes=classes).figures()["rand_f1"]) == (
        expected is None
    )


# ---- all of them


def same(one: Accumulator, other: Accumulator) -> bool:
    return repr((one.figures(), one.per_class())) == repr((other.figures(), other.per_class()))


@given(pair=pairs(), other=st.integers(0, 2))
def test_what_is_predicted_where_the_truth_is_ignored_changes_nothing(
    pair: tuple[np.ndarray, np.ndarray], other: int
) -> None:
    predicted, truth = pair
    assert same(tallied(pair), tallied((np.where(truth == IGNORE, other, predicted), truth)))


@given(truth=arrays(np.uint8, SHAPES, elements=st.sampled_from((0, 1, 2, IGNORE))))
def test_the_truth_itself_is_perfect(truth: np.ndarray) -> None:
    figures = tallied((np.where(truth == IGNORE, 0, truth), truth)).figures()
    perfect = {name: 0 if name == "hd95_px" else 1 for name in figures}
    assert {
        name: value for name, value in figures.items() if not math.isnan(value)
    }.items() <= perfect.items()
    assert math.isnan(figures["dice"]) == (not np.isin(truth, (1, 2)).any())


def test_an_image_without_foreground_does_not_count() -> None:
    empty, full = np.zeros((6, 6), dtype=np.uint8), blobs(0)
    one, both = (
        tallied((blobs(1), full)).figures(),
        tallied((blobs(1), full), (empty, empty)).figures(),
    )
    for name in ("dice", "dice_per_image", "iou_per_image", "hd95_px", "boundary_f1"):
        assert both[name] == one[name]


@pytest.mark.parametrize("images", [0, 1], ids=["no image", "all ignored"])
def test_nothing_to_score_has_no_figures(images: int) -> None:
    nothing = (np.ones((4, 4), dtype=np.int64), np.full((4, 4), IGNORE, dtype=np.uint8))
    accumulator = tallied(*[nothing] * images)
    assert all(math.isnan(value) for value in accumulator.figures().values())
    assert {record["hd95_px"] for record in accumulator.per_class()} == {None}
    assert accumulator.counts.shape == (images, 3, 3)


def test_without_outlines_the_rest_stays_the_same() -> None:
    whole, quick = tallied((blobs(0), blobs(1))), Accumulator(CLASSES, outlines=False)
    quick.add(blobs(0), blobs(1))
    expected, found = whole.figures(), quick.figures()
    absent = {name for name, value in found.items() if math.isnan(value)}
    assert absent == {"hd95_px", "hd95_mm", "boundary_f1", "rand_f1"}
    assert {name: expected[name] for name in found.keys() - absent} == {
        n: found[n] for n in found.keys() - absent
    }
    assert quick.per_class()[1]["hd95_px"] is None


def test_figures_are_columns_of_the_accuracy_probe() -> None:
    accumulator = tallied((blobs(0), blobs(1)))
    assert all("accuracy" in BY_NAME[name].probes for name in accumulator.figures())
    assert all("classes" in BY_NAME[name].tables for name in accumulator.per_class()[0])


def test_padding_that_is_ignored_changes_no_figure() -> None:
    truth, predicted = np.zeros((2, 60, 80), dtype=np.uint8)
    truth[10:30, 10:30], predicted[13:33, 11:31] = 1, 1
    padded = np.pad(truth, 100, constant_values=IGNORE), np.pad(predicted, 100)
    assert np.array_equal(
        outline_scores(predicted, truth, 3), outline_scores(padded[1], padded[0], 3), equal_nan=True
    )


def test_hd95_is_monais() -> None:
    """Where both have the class; MONAI is among the `peers` and not always installed."""
    monai = pytest.importorskip(
        "monai.metrics", reason="MONAI is not installed; nox -s bench has it"
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, predicted = (gaussian_filter(rng.normal(size=(2, 40, 50)), (0, 4, 4)) > 0).astype(
            np.uint8
        )
        pair = [torch.from_numpy(np.stack([1 - mask, mask]))[None] for mask in (predicted, truth)]
        theirs = float(monai.compute_hausdorff_distance(*pair, percentile=95))
        assert outline_scores(predicted, truth, 2)[0, 1] == pytest.approx(theirs, abs=1e-3)
