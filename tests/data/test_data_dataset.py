"""The shape of data: what a `Dataset` refuses, its hash, its file, and fitting to a size."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unet_bench.data.dataset import IGNORE, Dataset, Sample, fit
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Labelled
from unet_bench.data.reading import pictures
from unet_bench.errors import InvalidChoice, InvalidData, InvalidSize


def sample(
    name: str = "a", size: tuple[int, int] = (6, 8), channels: int = 1, dtype: Any = np.uint8
) -> Sample:
    rng = np.random.default_rng(len(name) + ord(name[0]))
    image = rng.integers(0, 255, (*size, channels)).astype(np.uint8)
    scaled = image if dtype is np.uint8 else (image / 255).astype(dtype)
    return Sample(name, scaled, rng.integers(0, 2, size).astype(np.uint8))


def dataset(**changes: Any) -> Dataset:
    given = {"train": (sample("a"), sample("b")), "val": (sample("c"),), "test": (sample("d"),)}
    return Dataset(
        **{"name": "tiny", "classes": ("background", "thing"), "channels": 1, **given, **changes}
    )


def masked(value: int) -> Sample:
    return replace(sample("x"), mask=np.full((6, 8), value, np.uint8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("only",)}, "give 2 to 255 different names"),
        ({"classes": ("twin", "twin")}, "give 2 to 255 different names"),
        ({"test": ()}, "the test split is empty"),
        ({"val": (sample("a"),)}, "a: 2 samples of this name"),
        ({"channels": 3}, r"a: image of shape \(6, 8, 1\)"),
        ({"dims": 3}, r"a: image of shape \(6, 8, 1\)"),
        ({"val": (sample("x", dtype=np.float32),)}, "images of types float32, uint8"),
        ({"val": (sample("x", dtype=np.float64),)}, "x: image of type float64"),
        (
            {"val": (replace(sample("x"), image=np.full((6, 8, 1), np.nan, np.float32)),)},
            "x: image with values that",
        ),
        (
            {"val": (replace(sample("x"), mask=np.zeros((8, 6), np.uint8)),)},
            "x: mask of 8x6 for an image of 6x8",
        ),
        (
            {"val": (replace(sample("x"), mask=np.zeros((6, 8), np.int64)),)},
            "x: mask of type int64",
        ),
        (
            {"val": (replace(sample("x"), mask=np.full((6, 8), -1)),)},
            r"x: mask values -1 outside 0\.\.1",
        ),
        ({"val": (masked(2),)}, r"x: mask values 2 outside 0\.\.1"),
    ],
)
def test_contradictions_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        dataset(**changes)


def test_all_offenders_are_named_at_once() -> None:
    with pytest.raises(InvalidData, match=r"(?s)p: mask.*q: mask"):
        dataset(val=(replace(masked(7), name="p"),), test=(replace(masked(7), name="q"),))


def test_ignore_is_no_stray_value() -> None:
    partly = masked(0)
    partly.mask[0] = IGNORE
    assert dataset(val=(partly,)).val[0].mask.max() == IGNORE
    with pytest.raises(InvalidData, match="the val split has no labelled pixel"):
        dataset(val=(masked(IGNORE),))


def test_a_volume_is_a_sample_of_three_sizes() -> None:
    volume = Sample("v", np.zeros((4, 5, 6, 1), np.float32), np.zeros((4, 5, 6), np.uint8))
    held = {split: (replace(volume, name=split),) for split in ("train", "val", "test")}
    assert dataset(**held, dims=3).samples[2].name == "test"


def flat(name: str, value: int) -> Sample:
    return Sample(name, np.full((2, 3, 1), value, np.uint8), np.zeros((2, 3), np.uint8))


def test_hash_is_the_same_on_every_platform() -> None:
    data = dataset(train=(flat("a", 1),), val=(flat("b", 2),), test=(flat("c", 3),))
    assert data.hash == "72c6247b34fb"


def test_hash_ignores_memory_layout() -> None:
    turned = replace(sample("a"), image=np.asfortranarray(sample("a").image))
    assert dataset(train=(turned, sample("b"))).hash == dataset().hash


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ("background", "other")},
        {"train": (sample("b"), sample("a"))},
        {"train": (sample("a"),)},
        {"val": (sample("d"),), "test": (sample("c"),)},
        {"val": (replace(sample("c"), name="e"),)},
        {"val": (replace(sample("c"), mask=np.zeros((6, 8), np.uint8)),)},
        {"val": (replace(sample("c"), image=np.zeros((6, 8, 1), np.uint8)),)},
    ],
)
def test_hash_sees_contents_classes_and_splits(changes: dict[str, Any]) -> None:
    assert dataset(**changes).hash != dataset().hash


def test_hash_does_not_depend_on_the_name() -> None:
    assert dataset(name="other", split_by="hand").hash == dataset().hash


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_load_reads_what_save_wrote(tmp_path: Path, dtype: Any) -> None:
    held = {split: (sample(split, (5, 9), 3, dtype),) for split in ("train", "val", "test")}
    data = dataset(**held, channels=3, classes=("ground", "Zelle é"), split_by="hand")
    data.save(tmp_path / "data.npz")
    read = Dataset.load(tmp_path / "data.npz")
    assert (read.hash, read.name, read.classes, read.split_by) == (
        data.hash,
        "tiny",
        data.classes,
        "hand",
    )
    assert np.array_equal(read.test[0].image, data.test[0].image)
    assert read.test[0].image.dtype == dtype
    assert os.listdir(tmp_path) == ["data.npz"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "data.npz"
    dataset().save(file)
    monkeypatch.setattr(np, "savez", lambda file, **_: file.write(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dataset(name="new").save(file)
    assert Dataset.load(file).name == "tiny"
    assert os.listdir(tmp_path) == ["data.npz"]


def test_load_refuses_what_save_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not a zip")
    np.savez(tmp_path / "other.npz", image=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", meta=np.array({"name": "x"}, object))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("absent.npz", "text.npz", "other.npz", "pickle.npz", "array.npy"):
        with pytest.raises(InvalidData, match=f"{name}: not a data set"):
            Dataset.load(tmp_path / name)


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (5, np.uint8), (2, np.float32)]
)
def test_resize_gives_every_image_the_size(channels: int, dtype: Any) -> None:
    held = {split: (sample(split, (9, 21), channels, dtype),) for split in ("train", "val", "test")}
    data = fit(dataset(**held, channels=channels), (16, 12), "resize")
    assert {(held.image.shape, held.image.dtype.name) for held in data.samples} == {
        ((16, 12, channels), np.dtype(dtype).name)
    }
    assert {held.mask.shape for held in data.samples} == {(16, 12)}


def test_resize_averages_images_and_never_mixes_classes() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (32, 16))
    mask = np.tile(np.array([0, 2, IGNORE, 2], np.uint8), (32, 8))
    data = dataset(classes=("a", "b", "c"), val=(Sample("x", stripes[..., None], mask),))
    resized = fit(data, (8, 9), "resize").val[0]
    assert abs(resized.image.astype(int) - 100).max() < 25
    assert set(np.unique(resized.mask)) <= {0, 2, IGNORE}


def test_resize_keeps_image_and_mask_together() -> None:
    image = np.zeros((40, 60, 1), np.uint8)
    image[10:30, 30:50] = 255
    data = dataset(val=(Sample("x", image, (image[..., 0] > 0).astype(np.uint8)),))
    resized = fit(data, (80, 90), "resize").val[0]
    assert ((resized.image[..., 0] > 127) == resized.mask).mean() > 0.97


def test_resize_leaves_images_of_the_size_alone() -> None:
    data = dataset()
    assert fit(data, (6, 8), "resize").train[0] is data.train[0]


def test_crop_mirrors_small_images_and_leaves_large_ones() -> None:
    small, large = sample("s", (5, 4)), sample("l", (12, 20))
    data = fit(dataset(val=(small,), test=(large,)), (8, 6), "crop")
    grown = data.val[0]
    assert data.test[0] is large
    assert np.array_equal(grown.image[1:6, 1:5], small.image)
    assert np.array_equal(grown.image[0, 1:5], small.image[1])
    assert np.array_equal(grown.mask[1:6, 1:5], small.mask)
    assert (grown.mask == IGNORE).sum() == 8 * 6 - 5 * 4


def test_crop_grows_one_side_only_when_one_is_short() -> None:
    assert fit(dataset(), (30, 2), "crop").train[0].image.shape == (30, 8, 1)


def test_crop_mirrors_more_than_once_from_a_single_row() -> None:
    data = dataset(val=(sample("x", (1, 3)),))
    assert fit(data, (8, 16), "crop").val[0].image.shape == (8, 16, 1)


def test_fit_refuses_other_ways_and_sizes() -> None:
    with pytest.raises(InvalidChoice, match="resize, crop"):
        fit(dataset(), (8, 8), "stretch")  # type: ignore[arg-type]
    with pytest.raises(InvalidSize, match="0x8"):
        fit(dataset(), (0, 8), "crop")


def test_a_reader_that_finds_nothing_is_told_so(tmp_path: Path) -> None:
    empty = Labelled(("background", "object"), {})
    with pytest.raises(InvalidData, match="holds no image with a mask"):
        pictures("none", {}, empty, {"train": [], "val": [], "test": []}, "", Findings(tmp_path))
