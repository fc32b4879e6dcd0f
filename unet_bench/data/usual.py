"""What images of a training set are usually like, and whether another image is unlike them.

A network gives a mask of any image, also of one such as it never saw: of another stain, exposure or
scanner. Only what is cheap is compared, so what passes may still be unlike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from unet_bench.data.dataset import Array, Scaled

PROPERTIES: Final = ("mean", "spread")
"""Of an image's values: their mean and their standard deviation, band by band."""
DEVIATIONS: Final = 3.0
"""Standard deviations over the training images, beyond which an image is unlike them."""
LEAST: Final = 0.1
"""The least that such a deviation counts, as a part of the usual spread within an image: a few
images, or all alike, must not make every other one unusual."""
LOOKED_AT: Final = 512
"""Pixels along a side that are looked at."""


@dataclass(frozen=True, eq=False)
class Usual:
    """The `PROPERTIES` of training images: mean and standard deviation over these, `(2 C)` each."""

    centre: Array
    deviation: Array

    @classmethod
    def of(cls, images: Iterable[Array]) -> Usual:
        """Return what is usual of images `(*S C)`, at least one, on the scale of the network."""
        each = np.stack([_properties(image) for image in images])
        return cls(each.mean(0), each.std(0))

    @classmethod
    def from_json(cls, stated: Mapping[str, Any], channels: int) -> Usual:
        """Return what `to_json` wrote. Raises ValueError."""
        centre, deviation = (
            np.asarray(stated[name], np.float64) for name in ("centre", "deviation")
        )
        shape = (len(PROPERTIES), channels)
        if centre.shape != shape or deviation.shape != shape:
            raise ValueError("usual has a mean and a spread for each channel")
        if not (np.isfinite(centre).all() and np.isfinite(deviation).all()) or deviation.min() < 0:
            raise ValueError("usual holds finite numbers, and no negative deviation")
        return cls(centre, deviation)

    def to_json(self) -> dict[str, Any]:
        """Return it as numbers in lists."""
        return {"centre": self.centre.tolist(), "deviation": self.deviation.tolist()}

    def differences(self, image: Array | Scaled) -> Iterator[str]:
        """Yield in words each property in which an image `(*S C)` is unlike the training images."""
        white = 255 if image.dtype == np.uint8 else 1
        values = _properties(image)
        tolerance = DEVIATIONS * np.maximum(self.deviation, LEAST * self.centre[1]) + 1e-6 * white
        distance = np.abs(values - self.centre) / tolerance
        for row, name in enumerate(PROPERTIES):
            band = int(distance[row].argmax())
            if distance[row, band] > 1:
                low = max(0.0, self.centre[row, band] - tolerance[row, band])
                high = self.centre[row, band] + tolerance[row, band]
                which = f" of band {band + 1}" if image.shape[-1] > 1 else ""
                yield (
                    f"the {name}{which} is {values[row, band] / white:.1%} of the scale, and in "
                    f"the training images usually {low / white:.1%} to {high / white:.1%}"
                )


def _properties(image: Array | Scaled) -> Array:
    """Return the `PROPERTIES` `(2 C)` of an image `(*S C)`; of a large one from some pixels."""
    steps = tuple(slice(None, None, max(1, side // LOOKED_AT)) for side in image.shape[:-1])
    seen = image[steps].astype(np.float64)
    axes = tuple(range(image.ndim - 1))
    return np.stack([seen.mean(axes), seen.std(axes)])
