"""DICOM: series as volumes with their place, pictures, and what is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.formats import (
    AFFINE,
    BOX,
    GREY,
    RGB,
    box,
    dicom,
    ids,
    put,
    put_dicom,
    put_series,
    put_volume,
    ramp,
    write,
)

from unet_bench.data.dataset import Array, Dataset, Sample
from unet_bench.data.reading import HOUNSFIELD
from unet_bench.errors import InvalidData
from unet_bench.registry.registry import Registry
from unet_bench_formats import dicom as reader


def refused(path: Path) -> str:
    with pytest.raises(InvalidData) as error:
        reader.read(path)
    return str(error.value)


def sample(data: Dataset, name: str) -> Sample:
    return next(sample for sample in data.samples if sample.name == name)


def unit(values: Array) -> Array:
    """Return CT's values as networks see them."""
    low, high = HOUNSFIELD
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def test_a_series_is_a_volume_in_hounsfield_units_where_it_lies(tmp_path: Path) -> None:
    data = reader.read(dicom(tmp_path))
    assert data.modalities == ("CT",)
    first = sample(data, "p0")
    assert first.spacing == pytest.approx((2.0, 0.7, 0.5))
    assert first.orientation == "LPS"
    assert np.allclose(first.image[..., 0], np.moveaxis(unit(ramp(1) * 2 - 1024), 2, 0))
    assert np.array_equal(first.mask, np.moveaxis(box(0, 1, 2), 2, 0))


def test_labels_come_to_the_grid_of_their_series(tmp_path: Path) -> None:
    """Turn the labels of one case as dcm2niix does, rows from below, and those of another twice."""
    path = dicom(tmp_path)
    flipped = AFFINE.copy()
    flipped[1] = [0, 0.5, 0, 20 - 0.5 * (BOX[1] - 1)]
    put_volume(path / "masks" / "p0.nii.gz", box(0, 1, 2)[:, ::-1], affine=flipped)
    data = reader.read(path)
    assert np.array_equal(sample(data, "p0").mask, np.moveaxis(box(0, 1, 2), 2, 0))
    assert "; ".join(data.notes).count("turned") == 1
    flipped[0, 3] += 300
    put_volume(path / "masks" / "p0.nii.gz", box(0, 1, 2), affine=flipped)
    assert "p0.nii.gz" in refused(path)


def test_labels_may_be_a_series_without_endings(tmp_path: Path) -> None:
    path = dicom(tmp_path)
    for number in range(4):
        (path / "masks" / f"p{number}.nii.gz").unlink()
        put_series(path / "masks" / f"p{number}", box(0, 1, 2), Modality="OT")
    for file in sorted((path / "images" / "p0").iterdir()):
        place = path / "images" / "p0" / "study" / "series"
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.stem)
    data = reader.read(path)
    assert np.array_equal(sample(data, "p0").mask, np.moveaxis(box(0, 1, 2), 2, 0))
    assert sample(data, "p0").image.shape == (4, 6, 5, 1)


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        ("MONOCHROME1", np.uint16, lambda values: 4095 - values),
        ("MONOCHROME1", np.int16, lambda values: -1 - values),
        ("MONOCHROME2", np.int16, lambda values: values),
    ],
)
def test_stored_values_are_inverted_where_white_is_0(
    tmp_path: Path, kind: str, dtype: Any, expected: Callable[[Array], Array]
) -> None:
    stated = {"PhotometricInterpretation": kind, "RescaleSlope": None, "RescaleIntercept": None}
    put_dicom(tmp_path / "a.dcm", GREY.astype(dtype), BitsStored=12, HighBit=11, **stated)
    values = reader._read(tmp_path / "a.dcm", is_mask=False).values
    assert np.array_equal(values, expected(GREY.astype(int)))
    labels = reader._read(tmp_path / "a.dcm", is_mask=True).values
    assert np.array_equal(labels, GREY)


@pytest.mark.parametrize("masks", ["png", "dcm"])
def test_single_pictures(registry: Registry, tmp_path: Path, masks: str) -> None:
    for stem in "abcd":
        put_dicom(tmp_path / "images" / f"{stem}.dcm", GREY.astype(np.uint16) * 60, Modality="DX")
        save = put if masks == "png" else put_dicom
        save(tmp_path / "masks" / f"{stem}.{masks}", ids(0, 1))
    write(tmp_path / "splits" / "train.txt", "a\nb\n")
    write(tmp_path / "splits" / "test.txt", "c\n")
    fitting = [entry.name for entry in registry.entries("reader") if entry.fits(tmp_path)]
    assert fitting == ["dicom"]
    data = reader.read(tmp_path)
    assert np.allclose(data.train[0].image[..., 0], GREY * np.float32(60 / 4095))
    assert np.array_equal(data.train[0].mask, ids(0, 1))
    assert [s.name for s in data.test] == ["c"]
    assert "1 image(s) are in no split: d" in data.notes


def test_colours_stay(tmp_path: Path) -> None:
    for stem in "abc":
        put_dicom(tmp_path / "images" / f"{stem}.dcm", RGB)
        put(tmp_path / "masks" / f"{stem}_mask.png", ids(0, 255))
    assert np.array_equal(reader.read(tmp_path).train[0].image, RGB)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"NumberOfFrames": 7}, "holds 7 frames; save the case as NIfTI, by dcm2niix"),
        ({"Rows": 60000}, "cannot be read (The number of bytes of pixel data"),
        ({"Rows": 60000, "Columns": 60000}, "more than 89,478,485 pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "stores colours as 'PALETTE COLOR'"),
        ({"RescaleSlope": 0}, "rescales by 0 and"),
        ({"ImagePositionPatient": [0, 0, 7]}, "several slices in one place"),
        ({"ImagePositionPatient": None, "InstanceNumber": None}, "and so no order"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1]}, "states the place"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, stated: dict[str, Any], expected: str
) -> None:
    path = dicom(tmp_path, **stated)
    message = refused(path)
    assert expected in message
    assert "images/p0/" in message or "p0/IM" in message


def test_compressed_files_are_refused_unopened(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = dicom(tmp_path)
    file = path / "images" / "p0" / "IM001.dcm"
    for syntax, name in (
        ("1.2.840.10008.1.2.4.90", "JPEG 2000"),
        ("1.2.840.10008.1.2.1.99", "Def"),
    ):
        content = bytearray(file.read_bytes())
        data = pydicom.dcmread(file)
        start = content.index(data.file_meta.TransferSyntaxUID.encode())
        length = content[start - 2]
        grown = syntax.encode() + b"\0" * (len(syntax) % 2)
        content[start : start + length] = grown
        content[start - 2] = len(grown)
        content[140] += len(grown) - length  # the length of the group
        before = file.read_bytes()
        file.write_bytes(bytes(content))
        assert f"is compressed ({name}" in refused(path)
        file.write_bytes(before)


def test_a_missing_slice_and_a_second_series_are_told(tmp_path: Path) -> None:
    path = dicom(tmp_path)
    (path / "images" / "p0" / "IM002.dcm").unlink()
    assert "slices lie 2 to 4 mm apart; add what is missing" in refused(path)
    shutil.rmtree(path)
    path = dicom(tmp_path)
    put_dicom(
        path / "images" / "p0" / "other.dcm", np.zeros((5, 6), np.uint16), SeriesInstanceUID="9"
    )
    assert "images/p0/: holds 2 series; keep one series a case" in refused(path)
    (path / "masks" / "p1.nii.gz").unlink()
    assert "masks/: 0 mask(s) for 1 image(s) p1" in refused(path)


def test_without_positions_numbers_are_the_order(tmp_path: Path) -> None:
    path = dicom(tmp_path)
    for number in range(4):
        voxels = ramp(1).astype(np.uint16)
        put_series(path / "images" / f"p{number}", voxels, ImagePositionPatient=None)
    data = reader.read(path)
    assert np.allclose(data.train[0].image[..., 0], np.moveaxis(unit(ramp(1)), 2, 0))
    assert data.train[0].spacing == ()
    assert data.doubts


def test_pydicom_is_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert "DICOM needs pydicom: pip install 'unet-bench[dicom]'" in refused(path)
