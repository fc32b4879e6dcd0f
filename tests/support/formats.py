"""A small tree of files in every format that is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from unet_bench.data import splits as ways
from unet_bench.data.dataset import Array

SIZE = (6, 10)  # of a picture: height, width
BOX = (6, 5, 4)  # of a volume: X, Y, Z
GREY = np.arange(60, dtype=np.uint8).reshape(SIZE)
RGB = np.stack([GREY, GREY + 1, GREY + 2], axis=-1)


def ids(*values: int) -> Array:
    """Return a mask `H W` of these values, each in turn."""
    return np.resize(np.array(values, np.uint8), SIZE)


def put(file: Path, pixels: Array | Image.Image) -> None:
    """Save a picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file)


def write(file: Path, text: str) -> None:
    """Write a text file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def put_volume(
    file: Path,
    voxels: Array,
    slope: float | None = None,
    inter: float = 0,
    affine: Array | None = None,
) -> None:
    """Save a NIfTI volume, with scale, offset and affine in its header if they are given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nibabel.save(image, file)


def box(*values: int) -> Array:
    """Return a mask `X Y Z` of these values, each in turn."""
    return np.resize(np.array(values, np.uint8), BOX)


def ramp(scale: float) -> Array:
    """Return a volume `X Y Z` that rises by `scale` from voxel to voxel."""
    return (np.arange(np.prod(BOX), dtype=np.float32) * np.float32(scale)).reshape(BOX)


def folder(root: Path) -> Path:
    """Write images and masks side by side, masks of 0 and 255."""
    for stem in "abc":
        put(root / "pairs" / "images" / f"{stem}.jpg", RGB)
        put(root / "pairs" / "masks" / f"{stem}_mask.png", ids(0, 255))
    return root / "pairs"


def medsegbench(root: Path, **arrays: Any) -> Path:
    """Write an archive of MedSegBench; arrays given by name replace the usual ones."""
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        arrays.setdefault(f"{split}_images", np.stack([RGB] * count))
        arrays.setdefault(f"{split}_label", np.stack([ids(0, 1, 2)] * count))
    file = root / "medsegbench" / "tiny_128.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **arrays)
    return file


DECATHLON = {
    "name": "Tiny",
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "left", "2": "right"},
    "training": [
        {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
        for case in ("t_0", "t_1", "t_2", "t_3", "._t_0")
    ],
}


def decathlon(root: Path, **stated: Any) -> Path:
    """Write a task of the Medical Segmentation Decathlon; keywords change its `dataset.json`."""
    task = root / "msd" / "Task99_Tiny"
    for number in range(4):
        put_volume(task / "imagesTr" / f"t_{number}.nii.gz", ramp(10.0**number))
        put_volume(task / "labelsTr" / f"t_{number}.nii.gz", box(0, 1, 2))
    (task / "imagesTr" / "._t_0.nii.gz").write_bytes(b"not a volume")
    write(task / "dataset.json", json.dumps({**DECATHLON, **stated}))
    return task


NNUNET = {
    "channel_names": {"0": "MRI", "1": "CT"},
    "labels": {"background": 0, "organ": 1, "ignore": 2},
    "file_ending": ".nii.gz",
}


def nnunet(root: Path, **stated: Any) -> Path:
    """Write a raw data set of nnU-Net with two channels; keywords change its `dataset.json`."""
    data = root / "raw" / "Dataset001_Tiny"
    for number in range(4):
        put_volume(data / "imagesTr" / f"t_{number}_0000.nii.gz", ramp(10.0**number))
        put_volume(data / "imagesTr" / f"t_{number}_0001.nii.gz", ramp(1) - 50 + number)
        put_volume(data / "labelsTr" / f"t_{number}.nii.gz", box(0, 1, 2))
    write(data / "dataset.json", json.dumps({**NNUNET, **stated}))
    return data


def tiff(root: Path, pages: int = 10, labels: int = 10, values: tuple[int, ...] = (0, 255)) -> Path:
    """Write multi-page TIFFs as ISBI 2012 has them."""
    place = root / "isbi"
    place.mkdir()
    for name, count, pixels in (("volume", pages, GREY), ("labels", labels, ids(*values))):
        first, *rest = (Image.fromarray(pixels) for _ in range(count))
        first.save(place / f"train-{name}.tif", save_all=True, append_images=rest)
    return place


def dsb(root: Path) -> Path:
    """Write three cases of the Data Science Bowl 2018, a mask for each nucleus."""
    for stem in ("aa", "bb", "cc"):
        case = root / "dsb" / "stage1_train" / stem
        put(case / "images" / f"{stem}.png", np.dstack([RGB, np.full(SIZE, 255, np.uint8)]))
        for number in range(2):
            mask = np.zeros(SIZE, np.uint8)
            mask[number, :3] = 255
            put(case / "masks" / f"nucleus{number}.png", mask)
        (case / "masks" / "._nucleus0.png").write_bytes(b"not a picture")
    return root / "dsb" / "stage1_train"


def pet(root: Path) -> Path:
    """Write Oxford-IIIT Pet with its one-based trimaps."""
    place = root / "oxford-iiit-pet"
    for number in range(6):
        put(place / "images" / f"cat_{number}.jpg", RGB)
        put(place / "annotations" / "trimaps" / f"cat_{number}.png", ids(1, 2, 3))
    write(place / "annotations" / "trainval.txt", "".join(f"cat_{n} 1 1 1\n" for n in range(4)))
    write(place / "annotations" / "test.txt", "".join(f"cat_{n} 1 1 1\n" for n in (4, 5)))
    return place


def palette(indices: Array) -> Image.Image:
    """Return a picture of class indices with a palette."""
    picture = Image.fromarray(indices)
    picture.putpalette([7, 8, 9, 200, 30, 40] + [0] * 762)
    return picture


def voc(root: Path) -> Path:
    """Write VOC 2012 with palette masks."""
    year = root / "VOCdevkit" / "VOC2012"
    for number in range(7):
        put(year / "JPEGImages" / f"n{number}.jpg", RGB)
        put(year / "SegmentationClass" / f"n{number}.png", palette(ids(0, 20, 255)))
    write(year / "ImageSets" / "Segmentation" / "train.txt", "n0\nn1\nn2\nn3\n")
    write(year / "ImageSets" / "Segmentation" / "val.txt", "n4\nn5\n")
    return year.parent


def cityscapes(root: Path) -> Path:
    """Write three cities of Cityscapes."""
    place = root / "streets"
    for split, city, count in (("train", "bonn", 3), ("train", "ulm", 2), ("val", "jena", 2)):
        for number in range(count):
            stem = f"{city}_{number:06}_000019"
            put(place / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", RGB)
            put(place / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", ids(0, 7, 33, 5))
    return place


def npy(root: Path, **arrays: Any) -> Path:
    """Write stacks of images and masks; arrays given by name replace the usual ones."""
    place = root / "stacks"
    place.mkdir()
    stack = np.stack([RGB, RGB + 1, RGB + 2, RGB + 3])
    for name, array in ({"images": stack, "masks": np.stack([ids(0, 1)] * 4)} | arrays).items():
        np.save(place / f"{name}.npy", array)
    return place


SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]
"""An outline around 4 by 3 pixels."""
CATEGORIES = [
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 3, "name": "car", "supercategory": "vehicle"},
]
CAR = {"image_id": 0, "category_id": 3, "segmentation": [SQUARE], "iscrowd": 0}


def coco(root: Path, *annotations: dict[str, Any], **stated: Any) -> Path:
    """Write three pictures and COCO's JSON; keywords change the JSON.

    The first picture has these annotations, or a car; the others have none.
    """
    place = root / "coco"
    images = []
    for number in range(4):
        put(place / "train2017" / f"{number:012}.jpg", RGB)
        about = {"id": number, "file_name": f"{number:012}.jpg", "height": 6, "width": 10}
        images.append(about)
    made = {"images": images, "annotations": annotations or [CAR], "categories": CATEGORIES}
    write(place / "annotations" / "instances_train2017.json", json.dumps(made | stated))
    return place


def shape(label: str, *points: tuple[float, float], kind: str = "polygon") -> dict[str, Any]:
    """Return a shape as LabelMe saves it."""
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}}


CELL = shape("cell", (2, 1), (6, 1), (6, 4), (2, 4))


def labelme(root: Path, *shapes: dict[str, Any], **stated: Any) -> Path:
    """Write four pictures with a JSON file each; the first has these shapes, or a cell."""
    place = root / "labelme"
    for number, stem in enumerate("abcd"):
        put(place / f"{stem}.png", RGB)
        about = {"version": "5.4", "imagePath": f"{stem}.png", "imageData": None}
        about |= {"imageHeight": 6, "imageWidth": 10}
        held = list(shapes or [CELL]) if not number else [CELL]
        more = stated if not number else {}
        write(place / f"{stem}.json", json.dumps(about | {"shapes": held} | more))
    return place


def put_dicom(file: Path, pixels: Array, **stated: Any) -> None:
    """Save a picture as DICOM; keywords change what it states. Skips the test without pydicom."""
    pydicom = pytest.importorskip("pydicom")
    kind = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    about = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2",
        "Modality": "CT",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if kind == "RGB" else 1,
        "PlanarConfiguration": 0,
        "PhotometricInterpretation": kind,
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    data = pydicom.Dataset()
    for name, value in (about | stated).items():
        if value is not None:
            setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    file.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(file, enforce_file_format=True)


def put_series(folder: Path, voxels: Array, mm: float = 2.0, **stated: Any) -> None:
    """Save voxels `X Y Z` as a series, the slices named against their order."""
    for z in range(voxels.shape[2]):
        place = {
            "ImagePositionPatient": [-30.0, -20.0, 100 + mm * z],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.7],
            "InstanceNumber": z + 1,
        }
        file = folder / f"IM{voxels.shape[2] - z:03}.dcm"
        put_dicom(file, np.ascontiguousarray(voxels[..., z].T), **(place | stated))


AFFINE = np.array([[-0.7, 0, 0, 30], [0, -0.5, 0, 20], [0, 0, 2, 100], [0, 0, 0, 1.0]])
"""Where the series of `put_series` lie, as NIfTI says it: to the right, front and top."""


def dicom(root: Path, **stated: Any) -> Path:
    """Write four cases with a series each, and their labels as NIfTI; keywords change the first."""
    place = root / "scans"
    for number in range(4):
        voxels = (ramp(1) + number).astype(np.uint16)
        more = stated if not number else {}
        slope = {"RescaleSlope": 2, "RescaleIntercept": -1024}
        put_series(place / "images" / f"p{number}", voxels, **(slope | more))
        put_volume(place / "masks" / f"p{number}.nii.gz", box(0, 1, 2), affine=AFFINE)
    return place


TREES: dict[str, Callable[[Path], Path]] = {
    "folder": folder,
    "medsegbench": medsegbench,
    "decathlon": decathlon,
    "nnunet": nnunet,
    "tiff": tiff,
    "dsb": dsb,
    "oxford-pet": pet,
    "voc": voc,
    "cityscapes": cityscapes,
    "npy": npy,
    "coco": coco,
    "labelme": labelme,
    "dicom": dicom,
}


def labels(mask: Array, *counts: int) -> dict[str, Array]:
    """Return masks for MedSegBench splits, `counts` of them in each."""
    return {
        f"{s}_label": np.stack([mask] * n)
        for s, n in zip(ways.SPLITS, counts or (1, 1, 1), strict=True)
    }
