"""A data set as a folder: read again, it is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unet_bench.data import cells
from unet_bench.data.dataset import Dataset
from unet_bench.data.sources import open_dataset
from unet_bench.data.write_folder import write_folder
from unet_bench.errors import StoreError, Unsupported
from unet_bench.registry.registry import Registry


def small(**changes: object) -> Dataset:
    found = cells.load(size=(32, 40))
    some = {name: samples[:2] for name, samples in found.splits.items()}
    return replace(found, **some, **changes)


def again(registry: Registry, folder: Path) -> Dataset:
    return open_dataset(registry, str(folder), size=(32, 40))


def assert_same(found: Dataset, written: Dataset) -> None:
    assert found.classes == written.classes
    for split, samples in written.splits.items():
        for one, other in zip(found.splits[split], samples, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.mask, other.mask)


def test_what_is_written_is_read_as_the_same(registry: Registry, tmp_path: Path) -> None:
    written = small()
    found = again(registry, write_folder(written, tmp_path / "mine"))
    assert_same(found, written)
    assert not found.doubts


def test_colours_and_pixels_that_are_ignored(registry: Registry, tmp_path: Path) -> None:
    def coloured(samples):
        return tuple(
            replace(
                one,
                image=np.concatenate([one.image, one.image // 2, 255 - one.image], -1),
                mask=np.where(np.arange(40) < 3, 255, one.mask).astype(np.uint8),
            )
            for one in samples
        )

    grey = small()
    written = replace(grey, channels=3, **{name: coloured(of) for name, of in grey.splits.items()})
    assert_same(again(registry, write_folder(written, tmp_path / "mine")), written)


def test_what_png_does_not_hold_is_refused(tmp_path: Path) -> None:
    volumes = cells.load(size=(8, 8, 8))
    with pytest.raises(Unsupported, match="3-D"):
        write_folder(volumes, tmp_path / "volumes")
    assert not (tmp_path / "volumes").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="exists"):
        write_folder(small(), tmp_path / "there")


def test_the_command_says_how_to_look(unet_bench, tmp_path: Path) -> None:
    done = unet_bench("data", "save", "cells", "mine", "--size", "32x32")
    assert done.returncode == 0, done.stderr
    assert "unet-bench data check mine" in done.stderr
    checked = unet_bench("data", "check", "mine", "--strict")
    assert checked.returncode == 0, checked.stdout


def test_shipped_slices_are_a_folder_too(registry: Registry, tmp_path: Path) -> None:
    found = open_dataset(registry, "brain", size=(64, 64))
    folder = write_folder(found, tmp_path / "brain")
    assert_same(open_dataset(registry, str(folder), size=(64, 64)), found)
