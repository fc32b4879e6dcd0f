"""Scores of a split, pooled and per image; a class in neither truth nor prediction has none."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from unet_bench.data.dataset import IGNORE
from unet_bench.stats.intervals import t_975
from unet_bench.train.outlines import outline_scores, rand_f1, separator

FEWEST_GROUPS: Final = 5  # of test images; fewer do not say how others would differ


def confusion(predicted: Tensor, target: Tensor, classes: int) -> np.ndarray:
    """Return counts `(truth, prediction)` over pixels that are not ignored.

    Inputs are class ids of one shape.
    """
    valid = target != IGNORE
    pairs = target[valid] * classes + predicted[valid]
    counts = torch.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes).cpu().numpy()


@dataclass(frozen=True)
class Scores:
    """Scores per class, and their means over the foreground classes.

    NaN where a class occurs in neither truth nor prediction.
    """

    dice: np.ndarray
    iou: np.ndarray
    pixels: np.ndarray  # of each class in the truth

    @property
    def mean_dice(self) -> float:
        """Over foreground classes that occur; NaN when none does."""
        return foreground_mean(self.dice)

    @property
    def mean_iou(self) -> float:
        """Over foreground classes that occur; NaN when none does."""
        return foreground_mean(self.iou)


def foreground_mean(values: np.ndarray) -> float:
    """Return the mean without class 0 and without NaN."""
    return mean(values[1:])


def mean(values: np.ndarray) -> float:
    """Return the mean without NaN; NaN when nothing is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def scores(counts: np.ndarray) -> Scores:
    """Return Dice and IoU from counts `(*, truth, prediction)`, `(*, classes)` each."""
    counted = counts.astype(float)
    hits = np.diagonal(counted, axis1=-2, axis2=-1)
    truth, predicted = counted.sum(-1), counted.sum(-2)
    both, either = truth + predicted, truth + predicted - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = np.where(both > 0, 2 * hits / both, np.nan)
        iou = np.where(either > 0, hits / either, np.nan)
    return Scores(dice, iou, counts.sum(-1))


def bootstrap_dice(
    per_image: np.ndarray,
    rng: np.random.Generator,
    groups: Sequence[Hashable] = (),
    resamples: int = 1000,
) -> tuple[float, float]:
    """Return the 95 % interval of the pooled mean Dice over resampled test images.

    `per_image` are counts `(images, truth, prediction)`. Images with equal `groups`, the slices of
    one volume or the images of one patient, are drawn together, since they are alike; without
    groups each image stands alone. The percentiles are taken further out, as few groups need (see
    `stats.intervals.bootstrap_interval`). NaN below five groups. The interval says how far other
    images of the kind would have moved the figure, not how far another training would.
    """
    counts = _by_group(per_image, groups)
    return _interval(_resampled_dice(counts, _drawn(len(counts), rng, resamples)), len(counts))


def bootstrap_change(
    per_image: np.ndarray,
    before: np.ndarray,
    rng: np.random.Generator,
    groups: Sequence[Hashable] = (),
    resamples: int = 1000,
) -> tuple[float, float]:
    """Return the 95 % interval of a change in pooled mean Dice, on the same test images.

    Both are scored on the same resamples: see `bootstrap_dice`.
    """
    counts, others = _by_group(per_image, groups), _by_group(before, groups)
    drawn = _drawn(len(counts), rng, resamples)
    return _interval(_resampled_dice(counts, drawn) - _resampled_dice(others, drawn), len(counts))


def _by_group(per_image: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """Return counts `(groups, truth, prediction)`: those of a group's images summed."""
    numbers = list(dict.fromkeys(groups or range(len(per_image))))
    place = {group: i for i, group in enumerate(numbers)}
    counts = np.zeros((len(numbers), *per_image.shape[1:]))
    np.add.at(counts, [place[group] for group in groups or numbers], per_image)
    return counts


def _drawn(count: int, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Return how often each of `count` groups is in each resample."""
    picks = rng.integers(max(1, count), size=(resamples, count))
    return np.stack([np.bincount(pick, minlength=count) for pick in picks])


def _resampled_dice(counts: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return each resample's mean Dice over its foreground classes; NaN where none occurs."""
    dice = scores(np.tensordot(drawn, counts, axes=1)).dice[:, 1:]
    present = ~np.isnan(dice)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(present, dice, 0).sum(1) / present.sum(1)
    return found


def _interval(found: np.ndarray, groups: int) -> tuple[float, float]:
    """Return the 95 % interval of resampled figures; NaN below five groups."""
    found = found[~np.isnan(found)]
    if groups < FEWEST_GROUPS or not len(found):
        return float("nan"), float("nan")
    tail = NormalDist().cdf(-math.sqrt(groups / (groups - 1)) * t_975(groups - 1))
    low, high = np.quantile(found, (tail, 1 - tail))
    return float(low), float(high)


class Accumulator:
    """The scores of a split of `classes`, to which images are added one by one.

    Class 0 is the background.
    """

    def __init__(self, classes: tuple[str, ...], outlines: bool = True) -> None:
        """Find all figures, or without `outlines` only Dice and IoU.

        These take a fraction of the time; the other figures are NaN then.
        """
        self.classes = classes
        self._separator = separator(classes)
        self._with_outlines = outlines
        self._counts: list[np.ndarray] = []
        self._outline_scores: list[np.ndarray] = []  # (3, classes) an image
        self._are_in_mm = True  # all of the images
        self._rand_f1: list[float] = []

    def add(
        self, predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...] = ()
    ) -> None:
        """Score one image from class ids `(*S)`, with pixels of `spacing` mm if that is known.

        What lies where the truth is `IGNORE` changes nothing.
        """
        found, target = (torch.from_numpy(labels.astype(np.int64)) for labels in (predicted, truth))
        self._counts.append(confusion(found, target, len(self.classes)))
        if self._with_outlines:
            self._outline_scores.append(
                outline_scores(predicted, truth, len(self.classes), spacing)
            )
            self._are_in_mm &= bool(spacing)
            if self._separator is not None:
                self._rand_f1.append(rand_f1(predicted, truth, self._separator))

    @property
    def counts(self) -> np.ndarray:
        """Pixels `(images, truth, predicted)`, int64."""
        n = len(self.classes)
        return np.array(self._counts, dtype=np.int64).reshape(-1, n, n)

    def figures(self) -> dict[str, float]:
        """Return the accuracy probe's columns that say how good the predictions are.

        A figure that does not exist is NaN. Image by image, an image counts by the mean of its
        foreground classes, and one without any foreground in truth and prediction not at all. HD95
        and boundary F1 are means over all pairs of an image and a foreground class.
        """
        pooled, dice, iou = scores(self.counts.sum(0)), *self._per_image()
        hd95, boundary_f1, hd95_mm = self._outlines()
        return {
            "dice": pooled.mean_dice,
            "iou": pooled.mean_iou,
            "dice_all_classes": mean(pooled.dice),
            "iou_all_classes": mean(pooled.iou),
            "dice_per_image": mean(np.array([foreground_mean(image) for image in dice])),
            "iou_per_image": mean(np.array([foreground_mean(image) for image in iou])),
            "hd95_px": mean(hd95),
            "hd95_mm": mean(hd95_mm),
            "boundary_f1": mean(boundary_f1),
            "rand_f1": mean(np.array(self._rand_f1)),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Return one record a class; a figure that does not exist is `None`.

        Means are over images that have the class.
        """
        pooled, dice, iou = scores(self.counts.sum(0)), *self._per_image()
        hd95, boundary_f1, hd95_mm = self._outlines()

        def figure(value: float) -> float | None:
            return None if math.isnan(value) else float(value)

        return [
            {
                "class_index": i,
                "class_name": name,
                "dice": figure(pooled.dice[i]),
                "iou": figure(pooled.iou[i]),
                "dice_per_image": figure(mean(dice[:, i])),
                "iou_per_image": figure(mean(iou[:, i])),
                "hd95_px": figure(mean(hd95[:, i])),
                "hd95_mm": figure(mean(hd95_mm[:, i])),
                "boundary_f1": figure(mean(boundary_f1[:, i])),
                "pixels": int(pooled.pixels[i]),
            }
            for i, name in enumerate(self.classes)
        ]

    def _per_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Return Dice and IoU, `(images, classes)` each."""
        found = scores(self.counts)
        return found.dice, found.iou

    def _outlines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return HD95 in pixels, boundary F1 and HD95 in mm, `(images, classes)` each.

        There are no images when outlines were not asked for, and no mm where one lacks a spacing.
        """
        found = np.array(self._outline_scores).reshape(-1, 3, len(self.classes))
        in_mm = found[:, 2] if self._are_in_mm else np.full_like(found[:, 2], np.nan)
        return found[:, 0], found[:, 1], in_mm
