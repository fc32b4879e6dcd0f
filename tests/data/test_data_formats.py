"""Readers of standard formats: what each recognises, what it makes of the data, and how it refuses
what is broken.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.formats import (
    BOX,
    DECATHLON,
    GREY,
    RGB,
    SIZE,
    TREES,
    box,
    cityscapes,
    decathlon,
    dsb,
    folder,
    ids,
    labels,
    medsegbench,
    nnunet,
    palette,
    pet,
    put,
    put_volume,
    ramp,
    tiff,
    voc,
    write,
)
from support.paths import DATA_SETS, FILES, needs_data_set

from unet_bench.data import splits as ways
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.folder import read_folder
from unet_bench.data.sources import absolute, open_dataset
from unet_bench.errors import InvalidChoice, InvalidData, InvalidSuite, PluginFailure, UnknownName
from unet_bench.registry import Registrar
from unet_bench.registry.entries import Provider
from unet_bench.registry.registry import Registry

# --- a tiny tree of each format ---


def nnunet_pictures(
    root: Path, pixels: Array | Image.Image = RGB, channels: str = "RGB", **stated: Any
) -> Path:
    data = root / "raw" / "Dataset002_Pictures"
    for stem in "abc":
        put(data / "imagesTr" / f"{stem}_0000.png", pixels)
        put(data / "labelsTr" / f"{stem}.png", ids(0, 1))
    about = {
        "channel_names": dict(enumerate(channels)),
        "labels": {"background": 0, "cell": 1},
        "file_ending": ".png",
    }
    write(data / "dataset.json", json.dumps(about | stated))
    return data


FREE = {"folder": ["pairs"], "dsb": ["dsb2018", "dsb2018/stage1_train"]}
NOT_FREE = {  # or too large to lie here
    "medsegbench": ["medsegbench/wbc_128.npz", "medsegbench"],
    "decathlon": ["msd/Task04_Hippocampus"],
    "nnunet": ["nnunet_raw/Dataset004_Hippocampus", "nnunet_raw/Dataset501_WBC"],
    "tiff": ["isbi2012"],
    "oxford-pet": ["oxford-iiit-pet"],
    "voc": ["VOCdevkit", "VOCdevkit/VOC2012"],
}


def opened(registry: Registry, name: str | Path, **options: Any) -> Dataset:
    return open_dataset(registry, str(name), size=(8, 8), **options)


def refused(registry: Registry, name: str | Path, **options: Any) -> str:
    with pytest.raises(InvalidData) as error:
        opened(registry, name, **options)
    return str(error.value)


def sizes(data: Dataset) -> list[int]:
    return [len(held) for held in data.splits.values()]


def kinds(registry: Registry, path: Path) -> list[str]:
    return [entry.name for entry in registry.entries("reader") if entry.fits(path)]


# --- every format ---


def test_every_reader_has_a_tree_here(registry: Registry) -> None:
    assert {entry.name for entry in registry.entries("reader")} == set(TREES)


@pytest.mark.parametrize("kind", TREES)
def test_a_reader_recognises_its_own_format_and_no_other(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    assert kinds(registry, TREES[kind](tmp_path)) == [kind]


@pytest.mark.parametrize("kind", TREES)
def test_kind_and_path_means_what_the_bare_path_means(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    path = TREES[kind](tmp_path)
    data = opened(registry, path)
    assert data.hash == opened(registry, f"{kind}:{path}").hash
    assert min(sizes(data)) > 0
    assert data.split_by


@pytest.mark.parametrize("kind", sorted(set(TREES) - {"folder", "medsegbench"}))
def test_the_parent_folder_will_do_where_it_is_clear(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    path = TREES[kind](tmp_path)
    assert opened(registry, f"{kind}:{path.parent}").hash == opened(registry, path).hash


@pytest.mark.parametrize("kind", TREES)
def test_classes_of_the_caller_win(registry: Registry, tmp_path: Path, kind: str) -> None:
    path = TREES[kind](tmp_path)
    assert len(opened(registry, path, classes=24).classes) == 24
    names = tuple(f"c{number}" for number in range(24))
    assert opened(registry, path, classes=names).classes == names


@pytest.mark.parametrize("kind", TREES)
def test_bare_folders_are_refused_with_the_remedy(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    assert str(tmp_path) in refused(registry, f"{kind}:{tmp_path}")


def real_files() -> Iterator[ParameterSet]:
    """Yield format and path of real data in each format."""
    for kind, places in FREE.items():
        for place in places:
            yield pytest.param(kind, FILES / place, id=f"{kind}-{place}")
    for kind, places in NOT_FREE.items():
        for place in places:
            name = f"fixtures/{place}"
            yield pytest.param(
                kind, DATA_SETS / name, id=f"{kind}-{place}", marks=needs_data_set(name)
            )


@pytest.mark.parametrize(("kind", "path"), list(real_files()))
def test_the_real_thing(registry: Registry, kind: str, path: Path) -> None:
    assert kinds(registry, path) == [kind]
    data = opened(registry, path)
    masks = np.concatenate([sample.mask.ravel() for sample in data.samples])
    assert min(sizes(data)) > 0
    assert len(np.unique(masks[masks != IGNORE])) >= 2


@needs_data_set("msd_hippocampus")
def test_a_folder_of_volumes_as_many_keep_them(registry: Registry) -> None:
    data = opened(registry, DATA_SETS / "msd_hippocampus")
    assert [len({sample.group for sample in held}) for held in data.splits.values()] == [
        182,
        26,
        52,
    ]
    assert data.split_by == "files"
    assert data.classes == ("background", "anterior", "posterior")


# --- what `--data` means ---


def test_a_registered_name_is_no_path(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    assert opened(registry, "cells").samples[0].image.shape == (8, 8, 1)
    assert absolute(registry, "cells") == "cells"


def test_paths_become_absolute(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("pairs", "./pairs"):
        assert absolute(registry, name) == str(path)
    assert absolute(registry, "folder:pairs") == f"folder:{path}"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert absolute(registry, "voc:~/x") == f"voc:{tmp_path / 'x'}"


def test_a_path_may_hold_a_colon(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder(tmp_path).rename(tmp_path / "odd:one").parent)
    assert opened(registry, "odd:one").hash == opened(registry, "folder:odd:one").hash


def test_a_drive_is_no_kind(registry: Registry) -> None:
    assert "no such file or folder" in refused(registry, "C:\\scans")


def test_an_unknown_kind_is_told_its_neighbours(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"unknown reader 'nnunte'; did you mean nnunet\?.*list readers"
    ):
        opened(registry, f"nnunte:{tmp_path}")


def test_an_unknown_name_is_told_its_neighbours(registry: Registry) -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset 'celss'; did you mean cells\?"):
        opened(registry, "celss")


@pytest.mark.parametrize("name", ["{}/nowhere", "folder:{}/nowhere"])
def test_a_missing_path_is_named(registry: Registry, tmp_path: Path, name: str) -> None:
    assert f"{tmp_path}/nowhere: no such file or folder; mend the path" in refused(
        registry, name.format(tmp_path)
    )


def test_a_path_of_no_format_lists_the_kinds(registry: Registry, tmp_path: Path) -> None:
    message = refused(registry, tmp_path)
    assert f"name the format: KIND:{tmp_path}" in message
    assert all(kind in message for kind in TREES)


def test_a_path_of_two_formats_asks_which(registry: Registry, tmp_path: Path) -> None:
    pet(tmp_path)
    voc(tmp_path)
    assert f"looks like oxford-pet and like voc; say which: oxford-pet:{tmp_path} or" in refused(
        registry, tmp_path
    )
    assert len(opened(registry, f"voc:{tmp_path}").classes) == 21


def test_a_folder_of_two_data_sets_asks_which(registry: Registry, tmp_path: Path) -> None:
    nnunet(tmp_path)
    nnunet_pictures(tmp_path)
    assert "holds Dataset001_Tiny, Dataset002_Pictures; name one" in refused(
        registry, tmp_path / "raw"
    )


def test_registered_data_sets_know_their_classes(registry: Registry) -> None:
    with pytest.raises(InvalidSuite, match="data set 'brain' knows its own"):
        opened(registry, "brain", classes=("a", "b"))


def test_a_plugin_may_bring_a_format(tmp_path: Path) -> None:
    draft = Registrar(Provider("mine"))
    draft.reader(
        "odd",
        lambda path, **_: read_folder(folder(path)),
        recognises=lambda path: path.suffix == ".odd",
        summary="odd",
    )
    registry = Registry()
    registry.commit(draft)
    (tmp_path / "x.odd").mkdir()
    assert open_dataset(registry, str(tmp_path / "x.odd")).name == "pairs"
    assert kinds(registry, tmp_path) == []


def test_a_reader_that_cannot_say_is_named(tmp_path: Path) -> None:
    draft = Registrar(Provider("mine"))
    draft.reader("odd", "m:f", recognises=lambda path: path.nothing, summary="odd")
    registry = Registry()
    registry.commit(draft)
    with pytest.raises(
        PluginFailure, match=r"plugin mine: reader 'odd' cannot say .*AttributeError.*KIND:"
    ):
        open_dataset(registry, str(tmp_path))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may look into any folder")
def test_a_folder_that_cannot_be_looked_into_hides_no_other(
    registry: Registry, tmp_path: Path
) -> None:
    path = dsb(tmp_path)
    (path.parent / "locked").mkdir(mode=0)
    assert kinds(registry, path.parent) == ["dsb"]


def test_a_reader_must_say_what_it_recognises() -> None:
    with pytest.raises(InvalidChoice, match=r"reader 'odd'.*must be a callable"):
        Registrar(Provider("mine")).reader("odd", "m:f", recognises="nothing", summary="odd")


# --- splits ---


@given(st.integers(3, 200), st.integers(0, 9))
def test_every_way_to_split_takes_each_name_once(total: int, seed: int) -> None:
    names = [f"n{number:03}" for number in range(total)]
    problems: list[str] = []
    train, val = ways.tenth(names, seed)
    for made in (
        ways.seeded(names, seed, problems, where="x"),
        ways.in_blocks(names, problems, where="x", kind="section"),
        {"train": train, "val": val},
    ):
        assert sorted(name for held in made.values() for name in held) == names
        assert all(made.values())
    assert not problems
    assert len(val) == max(1, round(total / 10))


def test_of_a_single_name_nothing_validates() -> None:
    assert ways.tenth(["a"], 0) == (["a"], [])


@pytest.mark.parametrize(
    "kind", ["folder", "decathlon", "nnunet", "dsb", "voc", "oxford-pet", "cityscapes"]
)
def test_splits_follow_the_seed(registry: Registry, tmp_path: Path, kind: str) -> None:
    path = TREES[kind](tmp_path)

    def split(seed: int) -> list[str]:
        return [sample.group or sample.name for sample in opened(registry, path, seed=seed).val]

    assert split(0) == split(0)
    assert len({tuple(split(seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("kind", ["decathlon", "nnunet", "folder", "dsb"])
def test_one_image_or_case_is_too_few(registry: Registry, tmp_path: Path, kind: str) -> None:
    path = TREES[kind](tmp_path)
    if kind == "decathlon":
        write(
            path / "dataset.json", json.dumps({**DECATHLON, "training": [DECATHLON["training"][0]]})
        )  # type: ignore[index]
    files = {"nnunet": "*Tr/t_[123]*", "folder": "*/[bc]*", "dsb": "[bc]*"}.get(kind, "none")
    for file in list(path.glob(files)):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    message = refused(registry, path)
    assert "1 case(s)" in message or "1 image(s)" in message
    assert "three splits need at least three" in message


# --- volumes ---


def test_slices_of_a_case_share_its_group_and_split(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, decathlon(tmp_path))
    assert data.name == "Tiny"
    assert data.classes == ("background", "left", "right")
    assert sizes(data) == [8, 4, 4]
    sample = data.test[1]
    assert sample.name == f"{sample.group}/z001"
    assert sample.image.shape == (*BOX[:2], 1)
    assert np.array_equal(sample.mask, box(0, 1, 2)[..., 1])
    assert data.split_by == "cases seeded 70/10/20, seed 0"


def whole(data: Dataset, case: str) -> Array:
    """A case's slices as the volume they were."""
    return np.stack([sample.image for sample in data.samples if sample.group == case], axis=2)


def test_each_volume_of_mr_has_its_own_range(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, decathlon(tmp_path))
    reference = ramp(1)[..., None]
    low, high = np.percentile(reference, (0.5, 99.5))
    for number in range(4):
        assert whole(data, f"t_{number}") == pytest.approx(
            np.clip((reference - low) / (high - low), 0, 1), abs=1e-5
        )
    assert data.train[0].image.dtype == np.float32


def test_all_of_ct_has_one_map_whatever_the_splits(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, decathlon(tmp_path, modality={"0": "CT"}))
    for number in range(4):
        expected = np.clip((ramp(10.0**number)[..., None] + 1024) / 4095, 0, 1)
        assert whole(data, f"t_{number}") == pytest.approx(expected, abs=1e-5)


def test_modalities_in_the_fourth_dimension_are_channels(
    registry: Registry, tmp_path: Path
) -> None:
    path = decathlon(tmp_path, modality={"0": "T1", "1": "T2"})
    for number in range(4):
        put_volume(path / "imagesTr" / f"t_{number}.nii.gz", np.stack([ramp(1), -ramp(5)], axis=-1))
    data = opened(registry, path)
    assert data.channels == 2
    assert whole(data, "t_0")[..., 1] == pytest.approx(1 - whole(data, "t_0")[..., 0], abs=1e-5)


def test_a_volume_of_one_value_is_0(registry: Registry, tmp_path: Path) -> None:
    path = decathlon(tmp_path)
    put_volume(path / "imagesTr" / "t_2.nii.gz", np.full(BOX, 7, np.int16))
    assert not whole(opened(registry, path), "t_2").any()


def test_slope_and_intercept_count(registry: Registry, tmp_path: Path) -> None:
    path = decathlon(tmp_path, modality={"0": "CT"})
    before = opened(registry, path)
    for number in range(4):
        voxels = np.arange(np.prod(BOX), dtype=np.int16).reshape(BOX)
        put_volume(path / "imagesTr" / f"t_{number}.nii.gz", voxels, slope=10.0**number, inter=0)
    assert np.allclose(whole(opened(registry, path), "t_3"), whole(before, "t_3"), atol=1e-3)


def test_labels_may_be_stored_as_fractions(registry: Registry, tmp_path: Path) -> None:
    path = decathlon(tmp_path)
    before = opened(registry, path).hash
    put_volume(path / "labelsTr" / "t_0.nii.gz", box(0, 1, 2).astype(np.float32))
    assert opened(registry, path).hash == before


def test_all_background_labels_work(registry: Registry, tmp_path: Path) -> None:
    path = decathlon(tmp_path)
    for number in range(4):
        put_volume(path / "labelsTr" / f"t_{number}.nii.gz", box(0))
    data = opened(registry, path)
    assert len(data.classes) == 3
    assert not any(sample.mask.any() for sample in data.samples)


def test_labels_of_a_decathlon_task_may_have_gaps(registry: Registry, tmp_path: Path) -> None:
    stated = {"3": "tumour", "0": "background", "1": "liver"}
    path = decathlon(tmp_path, labels=stated)
    for number in range(4):
        put_volume(path / "labelsTr" / f"t_{number}.nii.gz", box(0, 1, 3))
    data = opened(registry, path)
    assert data.classes == ("background", "liver", "tumour")
    assert {int(value) for sample in data.samples for value in np.unique(sample.mask)} == {0, 1, 2}
    assert [(row.value, row.meaning) for row in data.labels] == [
        ("0", "background"),
        ("1", "liver"),
        ("3", "tumour"),
    ]
    assert "labels with the values 0, 1, 3 are classes 0 to 2, in this order" in data.notes[0]
    put_volume(path / "labelsTr" / "t_0.nii.gz", box(0, 2, 3))
    with pytest.raises(InvalidData, match="values 2 are in no label of dataset"):
        opened(registry, path)


def spoilt(value: float, dtype: Any = np.float32) -> Array:
    voxels = ramp(1).astype(dtype)
    voxels[2, 2, 2] = value
    return voxels


BAD_VOLUMES: dict[str, tuple[str, Array | bytes | None, str]] = {
    "NaN": (
        "imagesTr/t_1",
        spoilt(np.nan),
        "imagesTr/t_1.nii.gz: holds voxels that are NaN or infinite",
    ),
    "infinite": (
        "imagesTr/t_1",
        spoilt(np.inf),
        "imagesTr/t_1.nii.gz: holds voxels that are NaN or infinite",
    ),
    "beyond float32": (
        "imagesTr/t_1",
        spoilt(1e300, np.float64),
        "imagesTr/t_1.nii.gz: holds voxels that are NaN",
    ),
    "damaged": ("imagesTr/t_1", b"\x1f\x8bno", "imagesTr/t_1.nii.gz: cannot be read"),
    "no image": ("imagesTr/t_1", None, "imagesTr/t_1.nii.gz: no such file"),
    "no label": ("labelsTr/t_1", None, "labelsTr/t_1.nii.gz: no such file"),
    "fraction": ("labelsTr/t_1", spoilt(0.5), "labelsTr/t_1.nii.gz: holds fractions, or NaN"),
    "stray label": ("labelsTr/t_1", box(0, 1, 9), "t_1: mask values 9 outside 0..2"),
    "negative label": (
        "labelsTr/t_1",
        box(0).astype(np.int16) - 1,
        "t_1: mask values -1 outside 0..2",
    ),
    "other size": (
        "labelsTr/t_1",
        np.zeros((6, 5, 3), np.uint8),
        "labelsTr/t_1.nii.gz: mask of 6x5x3 for an image of 6x5x4, and no affine",
    ),
    "more channels": (
        "imagesTr/t_1",
        np.zeros((*BOX, 2), np.uint8),
        "several numbers of bands: 1 in t_0, t_2, t_3; 2 in t_1; which is which",
    ),
    "five dimensions": (
        "imagesTr/t_1",
        np.zeros((*BOX, 1, 2), np.uint8),
        "imagesTr/t_1.nii.gz: has shape",
    ),
    "label channels": (
        "labelsTr/t_1",
        np.zeros((*BOX, 2), np.uint8),
        "labelsTr/t_1.nii.gz: has shape",
    ),
}


@pytest.mark.parametrize("case", BAD_VOLUMES)
def test_a_bad_volume_is_refused_by_name(registry: Registry, tmp_path: Path, case: str) -> None:
    stem, content, expected = BAD_VOLUMES[case]
    path = decathlon(tmp_path)
    file = path / f"{stem}.nii.gz"
    file.unlink()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        put_volume(file, content)
    assert expected in refused(registry, path)


def test_all_offenders_are_named_at_once(registry: Registry, tmp_path: Path) -> None:
    path = decathlon(tmp_path)
    put_volume(path / "imagesTr" / "t_1.nii.gz", spoilt(np.nan))
    put_volume(path / "labelsTr" / "t_2.nii.gz", box(9))
    (path / "labelsTr" / "t_3.nii.gz").unlink()
    message = refused(registry, path)
    assert "3 problem(s)" in message
    assert all(name in message for name in ("t_1", "t_2", "t_3"))


def test_nibabel_is_asked_for_by_name(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = decathlon(tmp_path)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert "needs nibabel: pip install nibabel" in refused(registry, path)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"training": None}, "names no training case that exists"),
        ({"training": ["a.nii.gz"]}, "must have an `image` and a `label`"),
        ({"labels": {"0": "a", "2": "b"}}, "values 1 are in no label of dataset.json"),
        ({"labels": {"1": "a", "2": "b"}}, "must give 0 to the background"),
        ({"labels": {"0": "a", "1": "a"}}, "must give whole numbers names, each another"),
        ({"labels": {"0": "a", "one": "b"}}, "must give whole numbers names"),
        ({"labels": None}, "must give whole numbers names"),
    ],
)
def test_a_decathlon_statement_without_sense(
    registry: Registry, tmp_path: Path, stated: Any, expected: str
) -> None:
    assert expected in refused(registry, decathlon(tmp_path, **stated))


def test_a_folder_may_hold_volumes(registry: Registry, tmp_path: Path) -> None:
    for stem in "abc":
        put_volume(tmp_path / "images" / f"{stem}.nii.gz", ramp(3))
        put_volume(tmp_path / "masks" / f"{stem}_seg.nii", box(0, 1))
    data = opened(registry, tmp_path)
    assert sizes(data) == [4, 4, 4]
    assert {sample.group for sample in data.samples} == set("abc")
    put(tmp_path / "images" / "d.png", GREY)
    put(tmp_path / "masks" / "d.png", ids(0, 1))
    assert "a volume; keep one kind" in refused(registry, tmp_path)


# --- nnU-Net ---


def test_channel_files_are_stacked_each_by_its_modality(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, nnunet(tmp_path))
    assert data.name == "Dataset001_Tiny"
    assert data.channels == 2
    mr, ct = (
        np.stack([whole(data, f"t_{n}")[..., channel] for n in range(4)]) for channel in range(2)
    )
    assert mr[0] == pytest.approx(mr[3], abs=1e-5)
    assert (ct[3] - ct[0]).max() > 5e-4


def test_the_ignore_label_becomes_255(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, nnunet(tmp_path))
    assert data.classes == ("background", "organ")
    assert np.array_equal(
        data.train[0].mask, np.where(box(0, 1, 2) == 2, IGNORE, box(0, 1, 2))[..., 0]
    )


def test_pictures_of_nnunet_stay_pictures(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, nnunet_pictures(tmp_path))
    assert sizes(data) == [1, 1, 1]
    assert np.array_equal(data.train[0].image, RGB)
    assert data.train[0].group == ""


PICTURES: dict[str, tuple[Image.Image, str, Any]] = {
    "16 bits": (Image.fromarray(np.resize(np.array([13107, 65535], np.uint16), SIZE)), "g", [0.2]),
    "RGBA": (Image.fromarray(np.dstack([RGB, 0 * GREY + 255])), "RGB", [0, 1, 2]),
    "palette": (palette(ids(1)), "RGB", [200, 30, 40]),
    "grey": (Image.fromarray(GREY), "g", [0]),
}


@pytest.mark.parametrize("case", PICTURES)
def test_any_mode_of_picture_is_read(registry: Registry, tmp_path: Path, case: str) -> None:
    picture, channels, corner = PICTURES[case]
    data = opened(registry, nnunet_pictures(tmp_path, picture, channels))
    assert data.train[0].image[0, 0].tolist() == pytest.approx(corner)


def test_channels_of_several_depths_keep_their_values(registry: Registry, tmp_path: Path) -> None:
    path = nnunet_pictures(tmp_path, np.full(SIZE, 51, np.uint8), "gh")
    for stem in "abc":
        put(path / "imagesTr" / f"{stem}_0001.png", np.full(SIZE, 65535, np.uint16))
    pixel = opened(registry, path).train[0].image[0, 0].tolist()
    assert pixel == pytest.approx([51 / 65535, 1])


def drop(name: str) -> Callable[[Path], None]:
    return lambda path: (path / name).unlink()


def rename(name: str, other: str) -> Callable[[Path], None]:
    return lambda path: (path / name).rename(path / other) and None


BAD_NNUNET: dict[str, tuple[dict[str, Any], Callable[[Path], Any], str]] = {
    "no label": (
        {},
        drop("labelsTr/t_1.nii.gz"),
        "labelsTr: no label for the case t_1; add t_1.nii.gz",
    ),
    "no channel": (
        {},
        drop("imagesTr/t_1_0001.nii.gz"),
        "this case has 1 channel(s), dataset.json names 2",
    ),
    "unnamed channel": (
        {},
        rename("imagesTr/t_1_0001.nii.gz", "imagesTr/t_1.nii.gz"),
        "imagesTr/t_1.nii.gz: no channel in its name; call it t_1_0000.nii.gz",
    ),
    "other ending": (
        {"file_ending": ".mha"},
        lambda _: None,
        "file_ending '.mha'; convert the files",
    ),
    "no ending": ({"file_ending": None}, lambda _: None, "file_ending None; convert the files"),
    "no number": (
        {"labels": {"background": 0, "all": [1, "2"]}},
        lambda _: None,
        "labels all have no whole number",
    ),
    "twins": (
        {"labels": {"background": 0, "b": 0}},
        lambda _: None,
        "must give 0 to the background, and each other value to one label",
    ),
    "no background": (
        {"labels": {"a": 1, "b": 2}},
        lambda _: None,
        "must give 0 to the background, and each other value to one label",
    ),
    "no names": ({"channel_names": None}, lambda _: None, "no channel_names; state them"),
}


@pytest.mark.parametrize("case", BAD_NNUNET)
def test_what_nnunet_would_refuse_is_refused(registry: Registry, tmp_path: Path, case: str) -> None:
    stated, change, expected = BAD_NNUNET[case]
    path = nnunet(tmp_path, **stated)
    change(path)
    assert expected in refused(registry, path)


# --- MedSegBench ---


def test_medsegbench_keeps_its_splits(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, medsegbench(tmp_path))
    assert sizes(data) == [3, 1, 2]
    assert data.classes == ("background", "class 1", "class 2")
    assert np.array_equal(data.test[1].image, RGB)
    assert data.name == "tiny_128"


def test_medsegbench_may_be_grey_black_and_white_or_empty(
    registry: Registry, tmp_path: Path
) -> None:
    path = medsegbench(
        tmp_path, **{f"{s}_images": GREY[None] for s in ways.SPLITS}, **labels(ids(0, 255))
    )
    data = opened(registry, path)
    assert data.channels == 1
    assert data.train[0].mask[0, :2].tolist() == [0, 1]
    empty = medsegbench(tmp_path, **labels(ids(0), 3, 1, 2))
    assert not opened(registry, empty, classes=2).train[0].mask.any()
    assert "hold only 0, the background" in refused(registry, empty)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (
            {"val_images": np.array([{"a": 1}], object)},
            "cannot be read (Object arrays cannot be loaded",
        ),
        (
            {"val_label": np.zeros((2, *SIZE), np.uint8)},
            "val: images (1, 6, 10, 3) and labels (2, 6, 10)",
        ),
        (
            {"val_label": np.zeros((1, *SIZE), np.float32)},
            "val: holds uint8 and float32; save uint8 images",
        ),
        (
            {"val_label": np.full((1, *SIZE), 77, np.uint8)},
            "labels: values 0, 1, 2, 77 are not class ids",
        ),
        (
            {"val_images": np.zeros((1, 9, 9, 3), np.uint8)},
            "val/00000: mask of 6x10 for an image of 9x9",
        ),
        (
            {"val_images": np.full((1, *SIZE, 3), np.nan, np.float32)},
            "val: holds float32 and uint8",
        ),
    ],
)
def test_bad_arrays_are_refused(
    registry: Registry, tmp_path: Path, arrays: dict[str, Array], expected: str
) -> None:
    assert expected in refused(registry, medsegbench(tmp_path, **arrays))


def test_a_damaged_archive_is_refused(registry: Registry, tmp_path: Path) -> None:
    path = medsegbench(tmp_path)
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[:200] + b"\0" * 300 + whole_file[500:])
    assert "cannot be read" in refused(registry, path)
    path.write_bytes(whole_file[:300])
    assert "cannot be read" in refused(registry, f"medsegbench:{path}")


# --- multi-page TIFF ---


def test_isbi_labels_are_turned_round_and_split_in_blocks(
    registry: Registry, tmp_path: Path
) -> None:
    data = opened(registry, tiff(tmp_path))
    assert data.classes == ("cell", "membrane")
    assert data.train[0].mask[0, :2].tolist() == [1, 0]
    assert [sample.name[-2:] for sample in data.samples] == [f"{number:02}" for number in range(10)]
    assert sizes(data) == [7, 1, 2]


def test_other_labels_of_a_stack_are_class_ids(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, tiff(tmp_path, values=(0, 1, 2, 255)))
    assert data.classes == ("background", "class 1", "class 2")
    assert data.train[0].mask[0, :4].tolist() == [0, 1, 2, IGNORE]


def test_stacks_of_unequal_length_are_refused(registry: Registry, tmp_path: Path) -> None:
    assert "train-volume has 5 page(s), train-labels 4" in refused(registry, tiff(tmp_path, 5, 4))


def test_too_few_sections_are_refused(registry: Registry, tmp_path: Path) -> None:
    assert "1 section(s); three splits need at least three" in refused(
        registry, tiff(tmp_path, 1, 1)
    )


def test_a_broken_stack_is_refused(registry: Registry, tmp_path: Path) -> None:
    path = tiff(tmp_path)
    (path / "train-labels.tif").write_bytes(b"no")
    assert "train-labels.tif: cannot be read" in refused(registry, path)


# --- instances ---


def test_instances_are_merged(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, dsb(tmp_path))
    assert data.classes == ("background", "nucleus")
    assert data.channels == 3
    assert data.train[0].mask.sum() == 6
    assert data.train[0].mask[:2, :3].all()


def test_bad_instances_are_refused_all_at_once(registry: Registry, tmp_path: Path) -> None:
    path = dsb(tmp_path)
    shutil.rmtree(path / "aa" / "masks")
    put(path / "bb" / "images" / "other.png", GREY)
    message = refused(registry, path)
    assert "aa/masks: holds no mask" in message
    assert "bb/images: holds 2 images; keep one" in message


def test_instances_of_another_size_are_refused(registry: Registry, tmp_path: Path) -> None:
    path = dsb(tmp_path)
    put(path / "aa" / "masks" / "nucleus1.png", np.zeros((2, 2), np.uint8))
    assert "aa/masks/nucleus1.png: of another size than nucleus0.png" in refused(registry, path)


# --- torchvision's ---


def test_trimaps_count_from_0(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, pet(tmp_path))
    assert data.classes == ("background", "pet", "border")
    assert data.train[0].mask[0, :3].tolist() == [1, 0, 2]
    assert [sample.name for sample in data.test] == ["cat_4", "cat_5"]
    assert sizes(data) == [3, 1, 2]


def test_the_official_validation_set_of_voc_tests(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, voc(tmp_path))
    assert sizes(data) == [3, 1, 2]
    assert [sample.name for sample in data.test] == ["n4", "n5"]
    assert "official val tests" in data.split_by
    assert data.classes[20] == "tvmonitor"
    assert data.train[0].mask[0, :3].tolist() == [0, 20, IGNORE]


def test_cityscapes_is_scored_on_its_19_classes(registry: Registry, tmp_path: Path) -> None:
    path = cityscapes(tmp_path)
    (path / "leftImg8bit" / "val" / "jena" / "._jena_000000_000019_leftImg8bit.png").write_bytes(
        b"no"
    )
    data = opened(registry, path)
    assert (data.classes[0], data.classes[18], len(data.classes)) == ("road", "bicycle", 19)
    assert data.train[0].mask[0, :4].tolist() == [IGNORE, 0, 18, IGNORE]
    assert [sample.name[:4] for sample in data.test] == ["jena", "jena"]


@pytest.mark.parametrize(
    ("tree", "file", "expected"),
    [
        (pet, "annotations/trimaps/cat_5.png", "trimaps/cat_5.png: no such file"),
        (pet, "annotations/test.txt", "torchvision does not find the data set there"),
        (voc, "VOC2012/JPEGImages/n4.jpg", "JPEGImages/n4.jpg: no such file"),
        (
            voc,
            "VOC2012/ImageSets/Segmentation/val.txt",
            "torchvision does not find the data set there",
        ),
    ],
)
def test_missing_files_are_named(
    registry: Registry, tmp_path: Path, tree: Callable[[Path], Path], file: str, expected: str
) -> None:
    path = tree(tmp_path)
    (path / file).unlink()
    assert expected in refused(registry, path)


@pytest.mark.parametrize(
    ("tree", "file"),
    [
        (pet, "annotations/trimaps/cat_5.png"),
        (cityscapes, "gtFine/val/jena/jena_000001_000019_gtFine_labelIds.png"),
    ],
)
def test_stray_labels_are_named(
    registry: Registry, tmp_path: Path, tree: Callable[[Path], Path], file: str
) -> None:
    path = tree(tmp_path)
    put(path / file, ids(1, 99))
    assert f"{Path(file).name}: values 99 are none of this format's labels" in refused(
        registry, path
    )


def test_a_damaged_picture_is_named(registry: Registry, tmp_path: Path) -> None:
    path = voc(tmp_path)
    (path / "VOC2012" / "JPEGImages" / "n4.jpg").write_bytes(b"no")
    assert "JPEGImages/n4.jpg: cannot be read" in refused(registry, path)


DOWNLOADED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "oxford-pet": (pet, "torchvision.datasets.oxford_iiit_pet"),
    "voc2012": (voc, "torchvision.datasets.voc"),
}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_without_a_network_it_is_said_what_to_do(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    message = refused(registry, name)
    assert "no route to host" in message
    assert "fetch https://" in message
    assert f"unpack into {tmp_path / '.cache' / 'unet-bench' / name}" in message
    assert not any((tmp_path / ".cache" / "unet-bench").iterdir())


@pytest.mark.parametrize("name", DOWNLOADED)
def test_with_a_network_it_is_fetched_once(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tree, module = DOWNLOADED[name]
    fetched = []

    def fetch(url: str, download_root: str, **_: Any) -> None:
        if not fetched:
            tree(Path(download_root).parent if name == "oxford-pet" else Path(download_root))
        fetched.append(url)
        (Path(download_root) / "archive.tar.gz").write_bytes(b"large")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(f"{module}.download_and_extract_archive", fetch)
    first = opened(registry, name)
    count = len(fetched)
    assert opened(registry, name).hash == first.hash
    assert len(fetched) == count > 0
    assert not list((tmp_path / ".cache").rglob("*.tar.gz"))
