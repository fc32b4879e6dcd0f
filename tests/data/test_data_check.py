"""`unet-bench data check`: what is in a data set, and what is in two of its splits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from unet_bench.data import brain
from unet_bench.data.check import check
from unet_bench.data.dataset import IGNORE, Dataset, Sample


def sample(name: str, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(
        name,
        rng.integers(0, 255, (40, 30, 1), np.uint8),
        (rng.random((40, 30)) > 0.75).astype(np.uint8),
    )


def dataset(**changes: object) -> Dataset:
    splits = {
        "train": (sample("a", 1), sample("b", 2)),
        "val": (sample("c", 3),),
        "test": (sample("d", 4),),
    }
    return Dataset("made", ("ground", "cell"), 1, **{**splits, **changes})  # type: ignore[arg-type]


def test_shares_and_sizes() -> None:
    half = sample("a", 1)
    half.mask[:20], half.mask[20:] = 1, IGNORE
    report = check(dataset(train=(half,)))
    assert report.sizes == {"40×30": 3}
    assert report.ignored == 600 / 3600
    cell = report.classes[1]
    truth = [s.mask for s in (half, sample("c", 3), sample("d", 4))]
    assert cell.pixels == sum((m == 1).sum() for m in truth) / sum(
        (m != IGNORE).sum() for m in truth
    )
    assert cell.images == {"train": 1, "val": 1, "test": 1}


def test_the_same_image_in_two_splits_is_found_also_brightened_and_noisy() -> None:
    first = sample("a", 1)
    noise = np.random.default_rng(9).integers(-3, 4, first.image.shape)
    near = replace(
        first, name="near", image=(0.8 * first.image + 20 + noise).clip(0, 255).astype(np.uint8)
    )
    report = check(dataset(val=(replace(first, name="twin"),), test=(near,)))
    found = {(leak.name, leak.other_name): leak.identical for leak in report.leaks}
    assert found == {("a", "twin"): True, ("a", "near"): False, ("twin", "near"): False}
    assert "a (train) is twin (val)" in report.text()
    assert not check(dataset()).leaks


def test_the_same_image_twice_in_one_split_is_no_leak() -> None:
    assert not check(dataset(train=(sample("a", 1), sample("b", 1)))).leaks


def test_a_class_that_a_split_lacks_is_noted() -> None:
    empty = sample("c", 3)
    empty.mask[:] = 0
    assert "class cell does not occur in val" in check(dataset(val=(empty,))).warnings
    three = replace(dataset(val=(empty,)), classes=("background", "cell", "rim"))
    assert "2 classes do not occur in val: cell, rim" in check(three).warnings


def test_the_brain_is_split_without_leaks() -> None:
    assert not [leak for leak in check(brain.load()).leaks if leak.identical]


def test_the_command(unet_bench, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for number in range(10):
        one = sample("x", number if number < 9 else 0)
        Image.fromarray(one.image[..., 0]).save(tmp_path / "set" / "images" / f"{number}.png")
        Image.fromarray(one.mask).save(tmp_path / "set" / "masks" / f"{number}.png")
    done = unet_bench("data", "check", "set", "--json")
    report = json.loads(done.stdout)
    assert report["counts"] == {"train": 7, "val": 1, "test": 2}
    assert done.returncode == (1 if report["leaks"] else 0)
    assert unet_bench("data", "check", "nowhere/").returncode == 2


def test_volumes_are_checked_slice_by_slice() -> None:
    def volume(name: str, seed: int) -> Sample:
        held = sample(name, seed)
        return Sample(name, np.stack([held.image] * 3), np.stack([held.mask] * 3))

    splits = {"train": (volume("a", 1),), "val": (volume("b", 2),), "test": (volume("c", 3),)}
    report = check(dataset(dims=3, **splits))
    assert report.counts == {"train": 3, "val": 3, "test": 3}
    assert not report.leaks
