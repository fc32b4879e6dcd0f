"""Where volumes lie: labels come to their images, volumes to one orientation and spacing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from support.formats import BOX, box, decathlon, nnunet, put, put_volume, ramp, write

from unet_bench.data.check import check
from unet_bench.data.dataset import IGNORE, Array, Dataset, Sample, fit
from unet_bench.data.findings import Findings
from unet_bench.data.folds import given_folds
from unet_bench.data.nifti import read_volume
from unet_bench.data.sources import open_dataset
from unet_bench.data.volume import Seen, Volume, brought, canonical, depth_first, respaced
from unet_bench.errors import InvalidData, InvalidSuite
from unet_bench.predict import read_for
from unet_bench.registry.registry import Registry
from unet_bench.spec.suite import parse_spacing

SIZE = (5, 6, 7)
signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)
orders = st.permutations(range(3))
# No voxels of 1: an identity, which says no place.
spacings = st.tuples(st.floats(1.1, 6), st.floats(0.3, 6), st.floats(0.3, 6))
offsets = st.tuples(*[st.floats(-200, 200)] * 3)


def affine_of(sign: Any, order: Any, spacing: Any, offset: Any = (7.0, 8.0, 9.0)) -> Array:
    """Return an affine whose voxel axis i runs along the axis order[i] of the body."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis in range(3):
        affine[order[axis], axis] = sign[axis] * spacing[axis]
    affine[:3, 3] = offset
    return affine


def stored(volume: Volume, sign: Any, order: Any) -> Volume:
    """Return the same voxels of the same body, stored along other axes."""
    assert volume.affine is not None
    axes = tuple(slice(None, None, step) for step in sign)
    flip = np.diag([*sign, 1.0])
    flip[:3, 3] = [(side - 1) if step < 0 else 0 for side, step in zip(SIZE, sign, strict=True)]
    swap = np.eye(4)[:, [*order, 3]]
    values = volume.values[axes].transpose(order)
    return Volume(values, "labels/a.nii", volume.affine @ flip @ swap, (1.0, 1.0, 1.0))


def world(mask: Array, affine: Array) -> Array:
    """Return the sum of the places of the marked voxels, and their number."""
    at = np.argwhere(mask == 1)
    return np.append((at @ affine[:3, :3].T + affine[:3, 3]).sum(0), len(at))


def marks(seed: int = 0) -> Array:
    return (np.random.default_rng(seed).random(SIZE) < 0.4).astype(np.uint8)


@examples(max_examples=60, deadline=None)
@given(signs, orders, spacings, offsets, signs, orders)
def test_labels_stored_along_other_axes_mark_the_same_places(
    sign: Any, order: Any, spacing: Any, offset: Any, other_sign: Any, other_order: Any
) -> None:
    affine = affine_of(sign, order, spacing, offset)
    image = Volume(np.zeros((*SIZE, 1)), "images/a.nii", affine, spacing)
    truth = Volume(marks(), "labels/a.nii", affine, spacing)
    other = stored(truth, other_sign, other_order)
    found, how, _ = brought(other, image, are_labels=True)
    assert np.array_equal(found, truth.values)
    assert other.affine is not None
    assert world(other.values, other.affine) == pytest.approx(world(found, affine), abs=1e-3)
    assert how == ("same" if (*other_sign, *other_order) == (1, 1, 1, 0, 1, 2) else "turned")


@examples(max_examples=30, deadline=None)
@given(signs, orders, st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(1, 3)] * 3))
def test_labels_on_a_part_of_a_finer_or_coarser_grid_mark_the_same_places(
    sign: Any, order: Any, begin: Any, factor: Any
) -> None:
    """An image of which each label voxel covers `factor` voxels, and whose labels begin within."""
    affine = affine_of(sign, order, (0.5, 0.75, 2.0))
    labels = marks()
    sides = [2 + b + s * f for b, s, f in zip(begin, SIZE, factor, strict=True)]
    grid = np.diag([*map(float, factor), 1.0])
    grid[:3, 3] = [b + (f - 1) / 2 for b, f in zip(begin, factor, strict=True)]
    label = Volume(labels, "labels/a.nii", affine @ grid, (1.0, 1.0, 1.0))
    image = Volume(np.zeros((*sides, 1)), "images/a.nii", affine, (1.0, 1.0, 1.0))
    found, how, _ = brought(label, image, are_labels=True)
    assert how == "part"
    assert (found != IGNORE).sum() == labels.size * np.prod(factor)
    assert label.affine is not None
    expected = world(labels, label.affine) * np.prod(factor)
    assert world(found, affine) == pytest.approx(expected, abs=1e-3)


def placed(shape: tuple[int, ...] = SIZE, **changes: Any) -> Volume:
    affine = changes.pop("affine", affine_of((1, 1, 1), (0, 1, 2), (1.0, 1.0, 2.0)))
    return Volume(np.ones(shape, np.uint8), "labels/a.nii", affine, (1.0, 1.0, 2.0))


def moved(*by: float, scale: float = 1.0) -> Array:
    affine = affine_of((1, 1, 1), (0, 1, 2), (scale, 1.0, 2.0))
    affine[:3, 3] += by
    return affine


UNPLACED = {"no affine": None, "identity": np.eye(4), "SimpleITK": np.diag([-1.0, -1.0, 1.0, 1.0])}


@pytest.mark.parametrize(
    ("affine", "how"),
    [
        (moved(0.04, 0, 0), "same"),
        (moved(0, 0, 0, scale=1.009), "same"),
        (moved(0.5, 0, 0), "beside"),
        (moved(0, 0, -1.9), "beside"),
        (moved(0, 0, 0, scale=1.1), "beside"),
        *((affine, "unplaced") for affine in UNPLACED.values()),
    ],
)
def test_a_slip_of_the_same_shape_is_taken_voxel_by_voxel(affine: Any, how: str) -> None:
    image = Volume(np.zeros((*SIZE, 1)), "images/a.nii", moved(0, 0, 0), (1.0, 1.0, 2.0))
    label = Volume(marks(), "labels/a.nii", affine, (1.0, 1.0, 2.0))
    found, told, _ = brought(label, image, are_labels=True)
    assert (told, np.array_equal(found, label.values)) == (how, True)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (placed(affine=moved(3, 0, 0)), "lies up to 3 voxels beside it"),
        (placed(affine=moved(0, 0, 0, scale=2.0)), "lies up to 4 voxels beside it"),
        (placed((5, 6, 5), affine=moved(0, 90, 0)), "covers 0% of images/a.nii"),
        (placed((5, 6, 5), affine=None), "mask of 5x6x5 for an image of 5x6x7, and no affine"),
    ],
)
def test_labels_that_lie_elsewhere_are_refused(label: Volume, expected: str) -> None:
    image = Volume(np.zeros((*SIZE, 1)), "images/a.nii", moved(0, 0, 0), (1.0, 1.0, 2.0))
    with pytest.raises(InvalidData, match=f"labels/a.nii: .*{expected}.*save it"):
        brought(label, image, are_labels=True)


def test_an_origin_of_0_beside_another_is_no_place() -> None:
    image = Volume(np.zeros((*SIZE, 1)), "images/a.nii", SCAN, (0.8, 0.8, 3.0))
    label = Volume(marks(), "labels/a.nii", np.diag([-0.8, -0.8, 3.0, 1.0]), (0.8, 0.8, 3.0))
    found, how, _ = brought(label, image, are_labels=True)
    assert (how, np.array_equal(found, label.values)) == ("unplaced", True)
    wider = Volume(marks(), "labels/a.nii", np.diag([1.6, 1.6, 3.0, 1.0]), (1.6, 1.6, 3.0))
    with pytest.raises(InvalidData, match="voxels beside it"):
        brought(wider, image, are_labels=True)


def test_two_identities_that_differ_are_a_doubt() -> None:
    image, label = (
        Volume(marks(), where, affine)
        for where, affine in (("a", np.eye(4)), ("b", np.diag([-1.0, -1.0, 1.0, 1.0])))
    )
    assert brought(label, image, are_labels=True)[1] == "unplaced"
    assert brought(image, image, are_labels=True)[1] == "same"


# ---- on disk

SCAN = affine_of((-1, -1, 1), (0, 1, 2), (0.8, 0.8, 3.0), (90.0, 120.0, -70.0))


def scans(root: Path, label_sign: Any = (1, 1, 1), label_order: Any = (0, 1, 2)) -> Path:
    """Write a folder of volumes whose labels are stored along other axes."""
    for number in range(4):
        put_volume(root / "images" / f"s{number}.nii.gz", scan(number), affine=SCAN)
        truth = Volume(marks(number), affine=SCAN)
        label = stored(truth, label_sign, label_order)
        put_volume(root / "masks" / f"s{number}.nii.gz", label.values, affine=label.affine)
    return root


def scan(number: int) -> Array:
    return np.random.default_rng(number).random(SIZE).astype(np.float32)


def opened(registry: Registry, path: Path, **options: Any) -> Dataset:
    return open_dataset(registry, str(path), size=(4, 4, 4), **options)


def test_a_folder_brings_labels_to_their_images(registry: Registry, tmp_path: Path) -> None:
    plain = opened(registry, scans(tmp_path / "plain"))
    turned = opened(registry, scans(tmp_path / "turned", (1, -1, 1), (2, 0, 1)))
    assert turned.hash == plain.hash
    assert plain.notes == plain.doubts == ()
    assert turned.notes == (
        "4 labels are stored in another orientation than their images, and turned to it: "
        "masks/s0.nii.gz, masks/s1.nii.gz, masks/s2.nii.gz and 1 more",
    )


def test_spacing_and_orientation_are_read_and_kept(registry: Registry, tmp_path: Path) -> None:
    data = opened(registry, scans(tmp_path / "set"))
    for sample in data.samples:
        assert sample.spacing == pytest.approx((3.0, 0.8, 0.8))
        assert sample.orientation == "LPS"
    data.save(tmp_path / "a.npz")
    read = Dataset.load(tmp_path / "a.npz")
    assert read.train[0].spacing == data.train[0].spacing
    assert read.train[0].orientation == "LPS"
    flat = open_dataset(registry, str(tmp_path / "set"), size=(4, 4))
    assert flat.train[0].spacing == pytest.approx((0.8, 0.8))
    resized = fit(data, (14, 5, 3), "resize").train[0]
    assert resized.spacing == pytest.approx((1.5, 0.8, 1.6))


def test_two_affines_of_a_file_that_disagree_are_a_doubt(
    registry: Registry, tmp_path: Path
) -> None:
    path = scans(tmp_path / "set")
    for name, shift in (("s0", 0.5), ("s1", -1.0)):
        image = nibabel.Nifti1Image(scan(0), SCAN)
        other = (
            SCAN @ np.diag([1.0, shift, 1.0, 1.0]) if shift < 0 else SCAN + shift * np.eye(4, k=3)
        )
        image.header.set_qform(other, 1)
        image.header.set_sform(SCAN, 1)
        nibabel.save(image, path / "images" / f"{name}.nii.gz")
    [doubt] = opened(registry, path).doubts
    assert doubt.startswith("1 files state two places, by sform and by qform")
    assert doubt.endswith("images/s1.nii.gz")


def test_the_check_tells_spacing_and_orientation(registry: Registry, tmp_path: Path) -> None:
    data = open_dataset(registry, str(scans(tmp_path / "set")), size=(4, 4))
    text = check(data).text()
    assert "spacing: 0.8x0.8 mm (28)\norientation: LPS (28)\n" in text


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)]
)
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(ramp(1), SCAN)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    assert found.spacing == pytest.approx(np.multiply((0.8, 0.8, 3.0), factor))
    assert found.orientation == "LPS"


def test_a_header_that_nobody_filled_in_states_no_spacing(tmp_path: Path) -> None:
    put_volume(tmp_path / "a.nii", ramp(1))
    found = read_volume(tmp_path / "a.nii")
    assert (found.spacing, found.is_placed) == ((), False)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_an_affine_without_sense_counts_as_none(tmp_path: Path, value: float) -> None:
    image = nibabel.Nifti1Image(ramp(1), SCAN)
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:296] = np.full(4, value, "<f4").tobytes()  # srow_x
    (tmp_path / "a.nii").write_bytes(content)
    found = read_volume(tmp_path / "a.nii")
    assert (found.affine, found.spacing) == (None, ())


# ---- canonical orientation, spacing


def places(affine: Array) -> Sample:
    """Return a sample whose image holds the place of each voxel, as three channels."""
    at = np.moveaxis(np.indices(SIZE), 0, -1)
    image = (at @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    volume = Volume(image, affine=affine, spacing=tuple(np.abs(affine[:3, :3]).max(0).tolist()))
    return Sample(
        "a",
        depth_first(volume.values),
        depth_first(marks()),
        spacing=volume.spacing_by_depth,
        orientation=volume.orientation,
    )


@examples(max_examples=40, deadline=None)
@given(signs, orders, spacings)
def test_canonical_volumes_grow_to_the_right_front_and_top(
    sign: Any, order: Any, spacing: Any
) -> None:
    sample = places(affine_of(sign, order, spacing))
    found = canonical(sample)
    for axis, body in ((0, 2), (1, 0), (2, 1)):  # D = up, H = right, W = front
        steps = np.diff(found.image[..., body], axis=axis)
        assert steps == pytest.approx(found.spacing[axis], abs=1e-3)
    assert found.orientation == "RAS"
    expected = sample.image[sample.mask == 1].sum(0)
    assert found.image[found.mask == 1].sum(0) == pytest.approx(expected, rel=1e-4, abs=1e-2)
    seen = Seen(orientation="canonical")
    volume = Volume(np.zeros((*SIZE, 1)), affine=affine_of(sign, order, spacing))
    assert np.array_equal(seen.undone(found.mask, volume), sample.mask)


def test_mixed_orientations_are_a_doubt_unless_all_become_canonical(
    registry: Registry, tmp_path: Path
) -> None:
    path = scans(tmp_path / "set")
    right = affine_of((1, -1, 1), (0, 1, 2), (0.8, 0.8, 3.0))
    for folder, values in (("images", scan(1)), ("masks", marks(1))):
        put_volume(path / folder / "s1.nii.gz", values, affine=right)
    [doubt] = opened(registry, path).doubts
    assert "2 orientations (LPS, RPS)" in doubt
    assert "--orientation canonical" in doubt
    data = opened(registry, path, orientation="canonical")
    assert (data.doubts, data.orientation) == ((), "canonical")
    by_name = {sample.name: sample for sample in data.samples}
    assert np.array_equal(by_name["s1"].mask, depth_first(marks(1)[:, ::-1]))
    assert np.array_equal(by_name["s0"].mask, depth_first(marks(0)[::-1, ::-1]))


def test_spacing_resamples_images_and_labels(registry: Registry, tmp_path: Path) -> None:
    for number in range(3):
        values = np.zeros((8, 10, 4), np.uint8)
        values[2:6, 2:6, 1:3] = 1
        affine = np.diag([1.0, 1.0, 2.0, 1.0])
        put_volume(tmp_path / "images" / f"s{number}.nii", values * 100.0, affine=affine)
        put_volume(tmp_path / "masks" / f"s{number}.nii", values, affine=affine)
    data = opened(registry, tmp_path, spacing=(1.0, 0.5, 2.0))
    assert data.spacing == (1.0, 0.5, 2.0)
    for sample in data.samples:
        assert sample.mask.shape == (8, 16, 5)
        assert sample.spacing == pytest.approx((1.0, 0.5, 2.0))
        assert sample.mask[2:6, 4:12, 1:3].all()
        assert sample.mask.sum() == 4 * 8 * 2
        assert sample.image[2:6, 5:11, 1:3, 0].min() > 0.6
        assert sample.image[sample.mask == 0].mean() < 0.2


def test_a_spacing_between_voxels_keeps_extents() -> None:
    sample = places(moved(0, 0, 0))
    found = respaced(sample, (1.5, 0.7, 3.0))
    assert found.mask.shape == (9, 7, 2)
    extents = np.multiply(found.mask.shape, found.spacing)
    assert extents == pytest.approx(np.multiply(sample.mask.shape, sample.spacing))


def test_spacing_and_orientation_need_volumes_that_state_them(
    registry: Registry, tmp_path: Path
) -> None:
    path = decathlon(tmp_path)
    with pytest.raises(InvalidData, match=r"--spacing: 4 volume\(s\) state no spacing: t_"):
        opened(registry, path, spacing=(1.0, 1.0, 1.0))
    with pytest.raises(InvalidSuite, match="holds images, and --orientation and --spacing"):
        open_dataset(registry, "brain", orientation="canonical")
    small = scans(tmp_path / "set")
    with pytest.raises(InvalidData, match=r"GiB when unpacked.*wider --spacing"):
        opened(registry, small, spacing=(0.001, 0.001, 0.001))


def test_uneven_spacings_are_noted(registry: Registry, tmp_path: Path) -> None:
    path = scans(tmp_path / "set")
    wide = affine_of((-1, -1, 1), (0, 1, 2), (0.8, 0.8, 5.0))
    for folder, values in (("images", scan(2)), ("masks", marks(2))):
        put_volume(path / folder / "s2.nii.gz", values, affine=wide)
    assert opened(registry, path).notes == (
        "voxels are from 3x0.8x0.8 mm to 5x0.8x0.8 mm large (D H W); --spacing 3x0.8x0.8 resamples "
        "all to one spacing",
    )


@pytest.mark.parametrize("text", ["1", "1x1", "1x1x0", "1x1xnan", "ax1x1", "1x1x1e9"])
def test_a_spacing_is_three_numbers(text: str) -> None:
    with pytest.raises(InvalidSuite, match="DEPTHxHEIGHTxWIDTH in mm"):
        parse_spacing(text)
    assert parse_spacing("2.5x0.8x0.8") == (2.5, 0.8, 0.8)


def test_nifti_and_tiff_are_not_mixed(registry: Registry, tmp_path: Path) -> None:
    path = scans(tmp_path / "set")
    (path / "masks" / "s1.nii.gz").unlink()
    slices = [np.zeros((5, 6), np.uint8)] * 7
    put_stack(path / "masks" / "s1.tif", slices)
    with pytest.raises(InvalidData, match=r"masks/s1.tif: for s1.nii.gz; NIfTI and TIFF"):
        opened(registry, path)
    (path / "images" / "s1.nii.gz").unlink()
    put_stack(path / "images" / "s1.tif", slices)
    with pytest.raises(InvalidData, match=r"s0.nii.gz and s1.tif are volumes as NIfTI and as TIFF"):
        opened(registry, path)


def put_stack(file: Path, slices: list[Array]) -> None:
    from PIL import Image

    first, *rest = map(Image.fromarray, slices)
    first.save(file, save_all=True, append_images=rest)


# ---- nnU-Net


def with_affines(path: Path, change: Callable[[str], Array]) -> Path:
    """Save every volume anew with the affine for its file's name."""
    for file in path.glob("*Tr/*.nii.gz"):
        values = np.asarray(nibabel.load(file).dataobj)
        put_volume(file, values, affine=change(file.name))
    return path


def test_channels_come_to_the_grid_of_the_first(registry: Registry, tmp_path: Path) -> None:
    plain = opened(registry, with_affines(nnunet(tmp_path / "a"), lambda name: SCAN))
    path = with_affines(nnunet(tmp_path / "b"), lambda name: SCAN)
    flipped = SCAN @ np.diag([-1.0, 1.0, 1.0, 1.0])
    flipped[:3, 3] = (SCAN @ [BOX[0] - 1, 0, 0, 1])[:3]
    for file in path.glob("imagesTr/*_0001.nii.gz"):
        put_volume(file, np.asarray(nibabel.load(file).dataobj)[::-1], affine=flipped)
    turned = opened(registry, path)
    assert turned.hash == plain.hash
    assert turned.notes[0].startswith("4 channel files are stored in another orientation")
    with pytest.raises(InvalidData, match=r"t_2_0001.nii.gz: has the shape of imagesTr/t_2_0000"):
        opened(registry, with_affines(path, lambda n: SCAN + 50 * ("_0001" in n) * np.eye(4, k=3)))


def labelled(tmp_path: Path, labels: dict[str, Any], *values: int) -> Path:
    path = nnunet(tmp_path, labels=labels)
    for file in path.glob("labelsTr/*"):
        put_volume(file, box(*values))
    return path


def test_gaps_in_labels_are_closed_in_order(registry: Registry, tmp_path: Path) -> None:
    stated = {"background": 0, "liver": 7, "spleen": 3, "ignore": 9}
    data = opened(registry, labelled(tmp_path, stated, 0, 3, 7, 9))
    assert data.classes == ("background", "spleen", "liver")
    assert np.array_equal(np.moveaxis(data.train[0].mask, 0, 2), box(0, 1, 2, IGNORE))
    rows = [(row.value, row.meaning) for row in data.labels]
    assert rows == [("0", "background"), ("3", "spleen"), ("7", "liver"), ("9", "ignored")]
    assert "labels with the values 0, 3, 7 are classes 0 to 2" in data.notes[0]


def test_regions_become_the_parts_that_they_have(registry: Registry, tmp_path: Path) -> None:
    stated = {
        "background": 0,
        "whole tumor": [1, 2, 3, 4],
        "tumor core": [2, 3],
        "enhancing": [3],
        "old": [4, 5],
    }
    data = opened(registry, labelled(tmp_path, stated, 0, 1, 2, 3, 4, 5))
    assert data.classes == (
        "background",
        "whole tumor, rest",
        "tumor core, rest",
        "enhancing",
        "old and whole tumor",
        "old, rest",
    )
    assert np.array_equal(np.moveaxis(data.train[0].mask, 0, 2), box(0, 1, 2, 3, 4, 5))
    assert "Dice of a class is not that of a region" in data.notes[0]


@pytest.mark.parametrize("where", ["Dataset001_Tiny", "nnUNet_preprocessed/Dataset001_Tiny"])
def test_splits_final_gives_folds(registry: Registry, tmp_path: Path, where: str) -> None:
    made = nnunet(tmp_path)
    path = tmp_path / "nnUNet_raw" / made.name
    path.parent.mkdir()
    made.rename(path)
    root = path if where == path.name else tmp_path / where
    cases = [f"t_{number}" for number in range(4)]
    folds = [{"train": cases[:3], "val": cases[3:]}, {"train": cases[1:], "val": cases[:1]}]
    write(root / "splits_final.json", json.dumps(folds))
    for size in ((4, 4, 4), (4, 4)):
        data = open_dataset(registry, str(path), size=size)
        assert "splits_final.json is there, and used by --folds splits_final" in data.notes
        for number, fold in enumerate(given_folds(data, path, "splits_final")):
            held = [{s.group or s.name for s in split} for split in fold.splits.values()]
            assert held[0] | held[1] == set(folds[number]["train"])
            assert (len(held[0]), len(held[1])) == (2, 1)
            assert held[2] == set(folds[number]["val"])
    write(root / "splits_final.json", json.dumps([{"train": ["t_0", "x"], "val": ["t_0"]}]))
    with pytest.raises(InvalidData, match=r"names x, of which there is no(.|\n)*t_0 in train and"):
        given_folds(data, path, "splits_final")
    write(root / "splits_final.json", "{}")
    with pytest.raises(InvalidData, match="must be a list of folds"):
        given_folds(data, path, "splits_final")


def test_pictures_stay_without_geometry(registry: Registry, tmp_path: Path) -> None:
    for stem in "abc":
        put(tmp_path / "images" / f"{stem}.png", np.zeros((6, 8), np.uint8))
        put(tmp_path / "masks" / f"{stem}.png", np.eye(6, 8, dtype=np.uint8))
    data = open_dataset(registry, str(tmp_path), size=(6, 8))
    assert {sample.spacing for sample in data.samples} == {()}


# ---- predict


def network(**seen: Any) -> Any:
    """Return what `read_for` asks of a network that was trained on volumes."""
    return SimpleNamespace(task=SimpleNamespace(dims=3), modalities=(), volumes=Seen(**seen))


@examples(max_examples=20, deadline=None)
@given(signs, orders, st.sampled_from(["stored", "canonical"]), st.booleans())
def test_masks_come_back_to_the_grid_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, sign: Any, order: Any, orientation: str, finer: bool
) -> None:
    file = tmp_path_factory.mktemp("scan") / "a.nii"
    truth = marks().repeat(3, 0).repeat(3, 1).repeat(3, 2)
    put_volume(file, truth.astype(np.float32), affine=affine_of(sign, order, (1.0, 1.0, 1.0)))
    seen = network(orientation=orientation, spacing=(1 / 3,) * 3 if finer else ())
    image, restored = read_for(seen, Findings(file), file)
    assert image.shape[0] in np.multiply(truth.shape, 3 if finer else 1)
    assert np.array_equal(restored(image[..., 0] > 0.5), depth_first(truth))


def test_predict_doubts_volumes_unlike_those_of_the_training(tmp_path: Path) -> None:
    put_volume(tmp_path / "a.nii", ramp(1), affine=SCAN)
    put_volume(tmp_path / "b.nii", ramp(1))
    seen = {"orientations": ("RAS",), "least": (1.0, 0.8, 0.8), "most": (1.5, 0.8, 0.8)}
    found = Findings(tmp_path)
    read_for(network(**seen), found, tmp_path / "a.nii")
    assert "lies LPS, and the volumes that the network was trained on RAS" in found.doubts[0]
    assert "voxels of 3x0.8x0.8 mm" in found.doubts[1]
    assert "from 1x0.8x0.8 mm to 1.5x0.8x0.8 mm" in found.doubts[1]
    read_for(
        network(orientations=("LPS",), least=(2.5, 0.8, 0.8), most=(2.5, 0.8, 0.8)),
        found,
        tmp_path / "a.nii",
    )
    assert len(found.doubts) == 2
    with pytest.raises(InvalidData, match=r"b\.nii: states no spacing, by which"):
        read_for(network(spacing=(1.0, 1.0, 1.0)), found, tmp_path / "b.nii")


def test_what_a_network_has_seen_is_that_of_its_training_volumes(
    registry: Registry, tmp_path: Path
) -> None:
    data = opened(registry, scans(tmp_path / "set"))
    seen = Seen.of(data)
    assert (seen.orientation, seen.spacing, seen.orientations) == ("stored", (), ("LPS",))
    assert seen.least == seen.most == pytest.approx((3.0, 0.8, 0.8))
    assert Seen.of(data, is_resized=True).least == ()
    resampled = opened(registry, tmp_path / "set", spacing=(1.0, 1.0, 1.0))
    assert Seen.of(resampled).spacing == (1.0, 1.0, 1.0)
