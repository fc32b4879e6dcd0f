"""Real MRI that the package carries: slices of the average of 152 heads, with their tissues.

ICBM 152 (2009a, non-linear, symmetric) as nilearn distributes it, at 2 mm; `make_brain.py` rebuilds
brain.npz from there. Copyright and permission: brain.NOTICE, which must stay beside the data.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Dataset, Sample

CLASSES: Final = ("outside", "CSF and rest", "grey matter", "white matter")

TRAIN: Final = (range(11, 34), range(58, 76))
VAL: Final = (range(36, 42),)
TEST: Final = (range(44, 56),)

PADDING: Final = ((7, 7), (6, 6))
"""Brings a slice of 98x116 to 112x128, a multiple of 16. Outside the head T1 is 0, so the padding
is true.
"""


def load(*, size: tuple[int, int] | None = None, seed: int = 0) -> Dataset:
    """Return axial slices `(112 128 1)`, uint8: 41 to train, 6 to validate, 12 to test.

    `size` and `seed` change nothing.

    Neighbouring slices are alike, and so are the two halves of this head; therefore the splits are
    slabs along z, two slices apart: z 11..33 and 58..75 train, 36..41 validate, 44..55 test. Beyond
    z 11..75 there is no white matter. Each slab is a group: the twelve test slices are one sample
    of what heads look like, not twelve.
    """
    with (
        (files("unet_bench.data") / "brain.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        head, labels = arrays["image"], arrays["mask"]

    def slices(slabs: tuple[range, ...]) -> tuple[Sample, ...]:
        return tuple(
            Sample(
                f"z{z:02}",
                _padded(head, z)[..., None],
                _padded(labels, z),
                group=f"slab z{slab[0]}..{slab[-1]}",
            )
            for slab in slabs
            for z in slab
        )

    return Dataset(
        "brain", CLASSES, 1, slices(TRAIN), slices(VAL), slices(TEST), split_by="slabs along z"
    )


def _padded(volume: Array, z: int) -> Array:
    return np.pad(volume[..., z], PADDING)
