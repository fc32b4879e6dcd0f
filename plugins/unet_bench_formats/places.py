"""Where data of these formats lie, told by names alone; no torch."""

from __future__ import annotations

from pathlib import Path

from unet_bench.data.reading import find_all


def is_pet(path: Path) -> bool:
    """Return whether `path` is oxford-iiit-pet, or holds it."""
    return bool(find_all(path, pet))


def pet(path: Path) -> bool:
    """Return whether `path` is oxford-iiit-pet, which torchvision wants so called."""
    folders = ("images", "annotations/trimaps")
    return path.name == "oxford-iiit-pet" and all((path / folder).is_dir() for folder in folders)


def is_voc(path: Path) -> bool:
    """Return whether `path` is a year of VOC, the VOCdevkit that holds it, or what holds that."""
    return bool(find_all(devkit(path), voc))


def devkit(path: Path) -> Path:
    """Return the VOCdevkit in `path`, or `path`."""
    return path / "VOCdevkit" if (path / "VOCdevkit").is_dir() else path


def voc(path: Path) -> bool:
    """Return whether `path` is a year of VOC with masks, in a VOCdevkit as torchvision wants it."""
    inside = path.name.startswith("VOC2") and path.resolve().parent.name == "VOCdevkit"
    return inside and (path / "SegmentationClass").is_dir()


def is_cityscapes(path: Path) -> bool:
    """Return whether `path` holds leftImg8bit/ and gtFine/, or a folder in it does."""
    return bool(find_all(path, cityscapes))


def cityscapes(path: Path) -> bool:
    """Return whether `path` holds leftImg8bit/ and gtFine/."""
    return all((path / folder).is_dir() for folder in ("leftImg8bit", "gtFine"))
