"""How well outlines and the parts between them agree: HD95, boundary F1, Rand F-score.

Class ids of one image each.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from unet_bench.data.dataset import IGNORE, Array

SEPARATORS: Final = ("membrane", "boundary")
TOLERANCE: Final = 0.0075  # of the image's diagonal


def separator(classes: tuple[str, ...]) -> int | None:
    """Return the first class named exactly "membrane" or "boundary".

    `rand_f1` compares the parts into which it divides the image.
    """
    return next((index for index, name in enumerate(classes) if name in SEPARATORS), None)


def outline_scores(
    predicted: Array, truth: Array, classes: int, spacing: tuple[float, ...] = ()
) -> Array:
    """Return HD95 in pixels, boundary F1, and HD95 in mm of each class, `(3, classes)`.

    They come from class ids `(*S)`; those of class 0 are NaN. HD95: of the distances from each
    outline pixel to the nearest of the other outline the 95th percentile, in the worse direction;
    in mm by `spacing`, mm along `*S`, and NaN without one. Boundary F1 (Csurka et al. 2013):
    precision and recall of outline pixels that lie within 0.75 % of the diagonal, at least one
    pixel, of the other outline. A class in neither has NaN, one in only one of them the image's
    diagonal and 0. Pixels ignored in the truth belong to no class in either (see `outlines` for
    their rim), nor do they count for the diagonal: an image that was padded has the one that it
    had.
    """
    pairs = zip(outlines(masked(predicted, truth), classes), outlines(truth, classes), strict=True)
    labelled = np.argwhere(truth != IGNORE)
    extent = np.ptp(labelled, axis=0) + 1 if len(labelled) else np.zeros(truth.ndim)
    mm = np.array(spacing or [np.nan] * truth.ndim)
    return np.array([(np.nan,) * 3, *(_agreement(*pair, extent, mm) for pair in list(pairs)[1:])]).T


def outlines(labels: Array, classes: int) -> list[Array]:
    """Return the outline of each class as positions `(P dims)`.

    It is the pixels of a class that have a neighbour of none or another class. Neighbours are the
    four beside a pixel, the six of a voxel. Beyond the image's border and under `IGNORE` there is
    no class, so that an object which is cut off there has an outline along the cut: the same as
    MONAI, which erodes the mask.
    """
    edge = np.zeros(labels.shape, dtype=bool)
    for axis in range(labels.ndim):
        line = np.moveaxis(labels, axis, 0)
        apart = (
            np.diff(
                np.pad(line, [(1, 1), *[(0, 0)] * (labels.ndim - 1)], constant_values=IGNORE),
                axis=0,
            )
            != 0
        )
        edge |= np.moveaxis(apart[:-1] | apart[1:], 0, axis)
    return [np.argwhere(edge & (labels == index)) for index in range(classes)]


def _agreement(
    predicted: Array, truth: Array, extent: Array, mm: Array
) -> tuple[float, float, float]:
    """Return HD95 in pixels, boundary F1, and HD95 in mm of two outlines `(P dims)`."""
    if not len(predicted) and not len(truth):
        return math.nan, math.nan, math.nan
    diagonal = math.hypot(*extent)
    if not len(predicted) or not len(truth):
        return diagonal, 0.0, math.hypot(*(extent * mm))
    astray, missed = _distances(predicted, truth)
    near = max(1.0, TOLERANCE * diagonal)
    precision, recall = np.mean(astray <= near), np.mean(missed <= near)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    hd95 = _hd95(astray, missed)
    if np.isnan(mm).any() or (mm == mm[0]).all():
        return hd95, float(f1), hd95 * float(mm[0])
    return hd95, float(f1), _hd95(*_distances(predicted * mm, truth * mm))


def _distances(predicted: Array, truth: Array) -> tuple[Array, Array]:
    """Return how far each of some positions is from the nearest of the others, both ways."""
    # A tree over the outline's few pixels is five times as fast as a distance transform of the
    # image.
    from scipy.spatial import KDTree

    return KDTree(truth).query(predicted)[0], KDTree(predicted).query(truth)[0]


def _hd95(astray: Array, missed: Array) -> float:
    return float(max(np.percentile(astray, 95), np.percentile(missed, 95)))


def rand_f1(predicted: Array, truth: Array, separating: int) -> float:
    """Return the foreground-restricted Rand F-score of an image `(*S)`.

    It compares the parts into which class `separating` divides the image. Parts are regions of all
    other classes, connected by their pixels' sides. Pixels of `separating` or `IGNORE` in the truth
    do not count; predicted pixels of `separating` are one part among others. NaN where the truth
    has no two pixels in one part. Arganda-Carreras et al. 2015, by scikit-image's
    `adapted_rand_error`.
    """
    from scipy.ndimage import label
    from skimage.metrics import adapted_rand_error

    true_parts, found_parts = (
        label((labels != separating) & (labels != IGNORE))[0]
        for labels in (truth, masked(predicted, truth))
    )
    if np.bincount(true_parts[true_parts > 0], minlength=1).max() < 2:
        return float("nan")
    with np.errstate(invalid="ignore"):  # of the recall, where no two pixels were found in one part
        return 1 - float(adapted_rand_error(true_parts, found_parts)[0])


def masked(predicted: Array, truth: Array) -> Array:
    """Return the prediction with `IGNORE` wherever the truth has it."""
    return np.where(truth == IGNORE, IGNORE, predicted)
