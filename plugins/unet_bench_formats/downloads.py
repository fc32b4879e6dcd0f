"""Data sets that torchvision can download; each is fetched once, whole or not at all, to
~/.cache/unet-bench.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from torchvision.datasets import OxfordIIITPet, VOCSegmentation
from torchvision.datasets.voc import DATASET_YEAR_DICT

from unet_bench.data.dataset import Dataset
from unet_bench.errors import InvalidData
from unet_bench_formats.official import read_pet, read_voc


def cache() -> Path:
    """Return where downloads stay."""
    return Path.home() / ".cache" / "unet-bench"


def load_pet(*, size: tuple[int, int], seed: int = 0) -> Dataset:
    """Return Oxford-IIIT Pet. Raises InvalidData, with the remedy, where there is no download."""
    links = [link for link, _ in OxfordIIITPet._RESOURCES]
    place = _fetched(
        "oxford-pet", lambda root: OxfordIIITPet(root, download=True), links, "oxford-iiit-pet"
    )
    return read_pet(place, seed=seed)


def load_voc(*, size: tuple[int, int], seed: int = 0) -> Dataset:
    """Return Pascal VOC 2012. Raises InvalidData, with the remedy, where there is no download."""
    links = [DATASET_YEAR_DICT["2012"]["url"]]
    place = _fetched("voc2012", lambda root: VOCSegmentation(root, download=True), links, "")
    return read_voc(place, seed=seed)


def _fetched(name: str, download: Callable[[Path], object], links: list[str], inside: str) -> Path:
    """Return the folder of a data set, downloaded unless it is there; archives belong `inside`."""
    place = cache() / name
    if place.is_dir():
        return place
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache(), prefix=f"{name}-") as partial:
            whole = Path(partial) / "data"
            download(whole)
            for archive in list(whole.rglob("*.tar*")):
                archive.unlink()
            os.replace(whole, place)
    except Exception as error:  # networks, servers and archives fail in every way there is
        raise InvalidData(
            f"data set {name!r} cannot be downloaded ({error}). Where there is a network, fetch "
            f"{' and '.join(links)}, and unpack into {place / inside}; or name a copy of yours by "
            "its format, KIND:PATH"
        ) from error
    return place
