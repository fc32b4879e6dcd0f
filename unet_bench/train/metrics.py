"""Dice and IoU from counts, pooled over a set; classes absent from truth and prediction have none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unet_bench.data.dataset import IGNORE


def confusion(predicted: Tensor, target: Tensor, classes: int) -> np.ndarray:
    """Counts `(truth, prediction)` over pixels that are not ignored; inputs are class ids of one shape."""
    valid = target != IGNORE
    pairs = target[valid] * classes + predicted[valid]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes).cpu().numpy()


@dataclass(frozen=True)
class Scores:
    """Per class, NaN where a class occurs in neither truth nor prediction; means over the foreground classes."""

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
    """The mean without class 0 and without NaN."""
    present = values[1:][~np.isnan(values[1:])]
    return float(present.mean()) if present.size else float("nan")


def scores(counts: np.ndarray) -> Scores:
    """Dice and IoU from counts `(truth, prediction)`."""
    hits, truth, predicted = np.diagonal(counts).astype(float), counts.sum(1).astype(float), counts.sum(0).astype(float)
    both, either = truth + predicted, truth + predicted - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        dice, iou = np.where(both > 0, 2 * hits / both, np.nan), np.where(either > 0, hits / either, np.nan)
    return Scores(dice, iou, counts.sum(1))


def bootstrap_dice(per_image: np.ndarray, rng: np.random.Generator, resamples: int = 1000) -> tuple[float, float]:
    """95 % percentile interval of the pooled mean Dice over resampled test images; NaN below five images.

    It says how far other images of the kind would have moved the figure, not how far another training would.
    """
    n = len(per_image)
    if n < 5:
        return float("nan"), float("nan")
    picks = rng.integers(n, size=(resamples, n))
    means = [scores(per_image[pick].sum(0)).mean_dice for pick in picks]
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)
