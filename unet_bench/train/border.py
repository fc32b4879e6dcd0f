"""The weight map that parts touching objects (Ronneberger et al. 2015, eq. 2)."""

from __future__ import annotations

from typing import Final

import numpy as np

from unet_bench.data.dataset import IGNORE

# sigmas; a pair of objects that lie farther apart together adds less than 2e-8 w0
REACH: Final = 6.0


def border_weights(mask: np.ndarray, w0: float, sigma: float, separator: int | None) -> np.ndarray:
    """Return weights `(*S)` float32 of a mask `(*S)`: `w_c(x) + w0 exp(-(d1 + d2)² / 2 sigma²)`.

    `w_c` makes every class that occurs weigh alike in this mask, with a mean of 1. `d1` and `d2`
    are the distances [px] to the nearest and second nearest object; the term stands only outside of
    objects, and where there are two. Objects are connected pixels of the foreground or, where a
    class `separator` parts them (a membrane), of everything else. Pixels that do not share a side
    are not connected. Ignored pixels belong to no object and have weight 0.
    """
    from scipy import ndimage

    valid = mask != IGNORE
    weights = _balance(mask, valid)
    labels, count = ndimage.label(valid & (mask != (0 if separator is None else separator)))
    if w0 and count > 1:
        weights += w0 * np.exp(
            -((_two_nearest(labels, count, REACH * sigma)) ** 2) / (2 * sigma**2)
        )
    return np.where(valid, weights, 0).astype(np.float32)


def _balance(mask: np.ndarray, valid: np.ndarray) -> np.ndarray:
    counts = np.bincount(mask[valid], minlength=IGNORE + 1)
    each = valid.sum() / max(1, np.count_nonzero(counts)) / np.maximum(counts, 1)
    return np.asarray(each[mask], dtype=np.float64)


def _two_nearest(labels: np.ndarray, count: int, reach: float) -> np.ndarray:
    """Return `d1 + d2` outside of objects, exact where it is at most `reach`.

    Elsewhere it is more than that.
    """
    from scipy import ndimage

    first, closest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    total = np.full(labels.shape, np.inf)
    # Per object, the pixels that it is the nearest to: their second nearest is the nearest of all
    # others, to be looked for no farther around them than it matters.
    nearest = np.where((labels == 0) & (first <= reach), labels[tuple(closest)], 0)
    margin = int(np.ceil(reach))
    for label, box in enumerate(ndimage.find_objects(nearest, count), start=1):
        if box is None:
            continue
        around = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        others = (labels[around] != 0) & (labels[around] != label)
        if others.any():
            second = ndimage.distance_transform_edt(~others)
            own = nearest[around] == label
            total[around][own] = first[around][own] + second[own]
    return total
