"""The two data sets that need no files: drawn cells and the brain that ships."""

from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from unet_bench.data import brain, cells, make_brain
from unet_bench.data.dataset import Array, Dataset, Sample
from unet_bench.errors import InvalidSize

BRAIN = Path(brain.__file__).with_name("brain.npz")


def occurring(samples: tuple[Sample, ...]) -> set[int]:
    return {int(value) for sample in samples for value in np.unique(sample.mask)}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return cells.load(size=(64, 96))


def test_cells_come_in_three_splits_at_the_size_asked_for(drawn: Dataset) -> None:
    assert [len(samples) for samples in drawn.splits.values()] == [48, 8, 16]
    assert {(sample.image.shape, sample.image.dtype.name) for sample in drawn.samples} == {
        ((64, 96, 1), "uint8")
    }
    assert all(occurring(samples) == {0, 1, 2} for samples in drawn.splits.values())


def test_cells_are_the_same_everywhere() -> None:
    assert cells.load(size=(32, 32)).hash == "c8c7a9a5ca3d"


def test_cells_follow_the_seed(drawn: Dataset) -> None:
    assert cells.load(size=(64, 96)).hash == drawn.hash
    assert cells.load(size=(64, 96), seed=1).hash != drawn.hash


def test_no_two_cell_images_are_equal(drawn: Dataset) -> None:
    assert len({sample.image.tobytes() for sample in drawn.samples}) == 72


@pytest.mark.parametrize("size", [(1, 7), (33, 50)])
def test_cells_take_any_size(size: tuple[int, int]) -> None:
    assert cells.load(size=size).train[0].mask.shape == size


def test_cells_refuse_no_size() -> None:
    with pytest.raises(InvalidSize, match="0x8"):
        cells.load(size=(0, 8))


def dice(guess: Array, truth: Array) -> float:
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def test_no_threshold_solves_the_cells(drawn: Dataset) -> None:
    brightness = np.concatenate([sample.image.ravel() for sample in drawn.test])
    truth = np.concatenate([sample.mask.ravel() for sample in drawn.test])
    darker = {level: brightness < level for level in range(8, 256, 8)}
    assert 0.4 < max(dice(guess, truth == 2) for guess in darker.values()) < 0.75
    assert (
        max(
            dice(high & ~low, truth == 0)
            for low, high in itertools.combinations(darker.values(), 2)
        )
        < 0.6
    )


def test_cells_touch_but_for_a_membrane(drawn: Dataset) -> None:
    across = [sample.mask[:, :-5] * 10 + sample.mask[:, 5:] for sample in drawn.train]
    between = [sample.mask[:, 2:-3] == 2 for sample in drawn.train]
    assert (
        sum(((pair == 11) & wall).sum() for pair, wall in zip(across, between, strict=True)) > 1000
    )


def numbers(samples: tuple[Sample, ...]) -> set[int]:
    return {int(sample.name.removeprefix("z")) for sample in samples}


def test_brain_splits_are_slabs_with_a_gap() -> None:
    train, val, test = (numbers(samples) for samples in brain.load().splits.values())
    assert (len(train), len(val), len(test)) == (41, 6, 12)
    assert min(train) == 11
    assert max(train) == 75
    for one, other in itertools.combinations((train, val, test), 2):
        assert min(abs(a - b) for a in one for b in other) >= 3


def test_brain_has_all_classes_in_every_split() -> None:
    data = brain.load(size=(64, 64), seed=7)
    assert data.classes == ("outside", "CSF and rest", "grey matter", "white matter")
    assert all(occurring(samples) == {0, 1, 2, 3} for samples in data.splits.values())


def test_brain_slices_are_padded_with_outside() -> None:
    with np.load(BRAIN) as arrays:
        head, labels = arrays["image"], arrays["mask"]
    for sample in brain.load().samples:
        z = int(sample.name.removeprefix("z"))
        assert sample.image.shape == (112, 128, 1)
        assert np.array_equal(sample.image[7:-7, 6:-6, 0], head[..., z])
        assert np.array_equal(sample.mask[7:-7, 6:-6], labels[..., z])
        border = np.ones(sample.mask.shape, bool)
        border[7:-7, 6:-6] = False
        assert not sample.mask[border].any()
        assert not sample.image[border].any()


def test_the_notice_lies_beside_the_brain() -> None:
    notice = BRAIN.with_suffix(".NOTICE").read_text()
    assert "Copyright (C) 1993-2009 Louis Collins" in notice
    assert "provided that the above copyright notice" in notice.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("image", "40d7981af2c5034266dcf321d86a60401206f79b1dbca81e7c939ab5c6366d71"),
        ("mask", "d0477a38da2d7640969a0f0c8ce4c7a3ef2f7e8de90957b253c816b9cd01811e"),
    ],
)
def test_brain_is_the_array_that_the_atlas_gave(name: str, digest: str) -> None:
    with np.load(BRAIN) as shipped:
        assert hashlib.sha256(shipped[name].tobytes()).hexdigest() == digest


def test_make_brain_averages_and_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    block = {
        "t1": [10, 10, 10, 10, 11, 11, 11, 0],
        "gm": [200] * 4 + [0] * 4,
        "wm": [0] * 4 + [200] * 4,
    }
    monkeypatch.setattr(
        make_brain, "_map", lambda name: np.resize(np.array(block[name], np.uint8), (2, 2, 2))
    )
    built = make_brain.build()
    assert built["image"].tolist() == [[[9]]]  # 73 / 8
    assert built["mask"].tolist() == [[[2]]]  # four grey, three white, one outside


def test_make_brain_gives_a_tie_to_the_lower_label(monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"t1": [10] * 8, "gm": [200] * 4 + [0] * 4, "wm": [0] * 4 + [200] * 4}
    monkeypatch.setattr(
        make_brain, "_map", lambda name: np.resize(np.array(block[name], np.uint8), (2, 2, 2))
    )
    assert make_brain.build()["mask"].tolist() == [[[2]]]


def test_make_brain_writes_the_same_bytes_for_the_same_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_brain, "build", lambda: {"image": np.arange(9), "mask": np.zeros(3)})
    for name, year in (("a", "0"), ("b", "1999999999")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", year)
        monkeypatch.setattr(sys, "argv", ["make_brain", "--out", str(tmp_path / name)])
        make_brain.main()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert np.load(tmp_path / "a")["image"].tolist() == list(range(9))


def test_make_brain_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install nilearn==0\.14\.1"):
        make_brain.build()
