"""A data set as a folder of images and masks, in the layout that people lay theirs out in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from PIL import Image

from unet_bench.data.dataset import IGNORE, Dataset, Sample
from unet_bench.errors import StoreError, Unsupported
from unet_bench.limits import one_line

CHANNELS: Final = (1, 3)


def write_folder(dataset: Dataset, folder: Path) -> Path:
    """Write `SPLIT/images/NAME.png`, `SPLIT/masks/NAME.png` and `dataset.json` into a new folder.

    Read again it has the same images, masks, classes and splits. Raises Unsupported for volumes and
    for what PNG of 8 bits does not hold, StoreError where the folder is there already or the disk
    refuses.
    """
    first = dataset.samples[0].image
    if dataset.dims != 2 or first.dtype.name != "uint8" or dataset.channels not in CHANNELS:
        held = f"{dataset.dims}-D, {dataset.channels} channels, {first.dtype}"
        raise Unsupported(
            f"{dataset.name} ({held}) cannot be written as PNG: that takes images of 8 bits with 1 "
            "or 3 channels"
        )
    if folder.exists():
        raise StoreError(f"{folder} exists: give another folder, or remove it")
    try:
        for split, samples in dataset.splits.items():
            for sample in samples:
                _write(sample, folder / split)
        text = json.dumps(_about(dataset), indent=1, ensure_ascii=False) + "\n"
        (folder / "dataset.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {one_line(str(error))}; free space") from error
    return folder


def _write(sample: Sample, folder: Path) -> None:
    image = sample.image[..., 0] if sample.image.shape[-1] == 1 else sample.image
    for kind, values in (("images", image), ("masks", sample.mask)):
        file = folder / kind / f"{sample.name.replace('/', '-')}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)


def _about(dataset: Dataset) -> dict[str, object]:
    about: dict[str, object] = {
        "name": dataset.name,
        "labels": {name: number for number, name in enumerate(dataset.classes)},
    }
    if any((sample.mask == IGNORE).any() for sample in dataset.samples):
        about["ignore"] = IGNORE
    return about
