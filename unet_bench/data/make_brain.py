"""Rebuilds brain.npz from the ICBM 152 maps that nilearn carries: `python -m
unet_bench.data.make_brain [--out PATH]`.

Needs `pip install nilearn==0.14.1` (nibabel comes with it), which unet-bench itself does not.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array

MAP: Final = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
NEEDS: Final = (
    "needs nilearn and its maps: run `pip install nilearn==0.14.1` in this Python, then try again"
)


def build() -> dict[str, Array]:
    """Return `image` (T1) and `mask` (labels 0..3) at 2 mm, both uint8 `(98 116 94)`: x, y, z."""
    t1, grey, white = (_map(name) for name in ("t1", "gm", "wm"))
    labels = np.select(
        [t1 == 0, (white >= grey) & (white >= 128), (grey > white) & (grey >= 128)], [0, 3, 2], 1
    )
    votes = np.stack([(_blocks(labels) == label).sum(axis=-1) for label in range(4)])
    # `argmax` takes the first of equals: where a block's voxels disagree evenly, the lower label
    # has it.
    return {
        "image": np.round(_blocks(t1).mean(axis=-1)).astype(np.uint8),
        "mask": votes.argmax(axis=0).astype(np.uint8),
    }


def _map(name: str) -> Array:
    """Return one map at 1 mm, `(197 233 189)`, 0..255.

    Found by path: importing nilearn takes seconds and is not needed.
    """
    package = importlib.util.find_spec("nilearn")
    if package is None or package.origin is None or not importlib.util.find_spec("nibabel"):
        raise SystemExit(f"make_brain {NEEDS}")
    file = Path(package.origin).parent / MAP.format(name)
    if not file.exists():
        raise SystemExit(f"{file} is missing; make_brain {NEEDS}")
    return np.asarray(importlib.import_module("nibabel").load(file).dataobj)


def _blocks(volume: Array) -> Array:
    """Return `(X Y Z)` as 2x2x2 blocks, `(X/2 Y/2 Z/2 8)`; an odd last layer is left out."""
    x, y, z = (side // 2 for side in volume.shape)
    cut = volume[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2)
    return cut.transpose(0, 2, 4, 1, 3, 5).reshape(x, y, z, 8)


def write(arrays: dict[str, Array], path: Path) -> None:
    """Return an .npz whose bytes depend on the arrays alone.

    numpy's own may carry the time of writing.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


def main() -> None:
    """Write brain.npz beside this file, or where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("brain.npz"))
    out = parser.parse_args().out
    write(build(), out)
    print(out)


if __name__ == "__main__":
    main()
