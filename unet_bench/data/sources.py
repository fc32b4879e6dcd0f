"""What `--data` means: the name of a registered data set, `KIND:PATH`, or a path whose format is
recognised.

--data cells                        registered by a plugin
--data nnunet:~/raw/Dataset501_WBC  read by the reader `nnunet`
--data ~/scans                      read by the one reader that recognises it
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from unet_bench.errors import InvalidData, InvalidSize, InvalidSuite
from unet_bench.limits import MOST_PIXELS, allow_pixels, one_line
from unet_bench.registry.entries import NAME
from unet_bench.registry.registry import Registry

if TYPE_CHECKING:
    from unet_bench.data.dataset import Dataset

DRAWN: Final = (256, 256)
MARKS: Final = re.compile(r"[/\\~.]")
"""What makes a name that nobody registered look like a path."""


def pixels_allowed(max_megapixels: float | None) -> int:
    """Return how many pixels a picture may have, as `--max-megapixels` says it or not."""
    return MOST_PIXELS if max_megapixels is None else round(max_megapixels * 1e6)


def open_dataset(
    registry: Registry,
    name: str,
    *,
    size: tuple[int, ...] | None = None,
    classes: int | Sequence[str] | None = None,
    seed: int = 0,
    max_megapixels: float | None = None,
    orientation: str = "stored",
    spacing: tuple[float, ...] = (),
) -> Dataset:
    """Return the data set that `name` means, checked, for networks that see `size` (`*S`).

    `size` is 256x256 unless given. Data that are drawn are drawn at that size. Volumes stay whole
    for a `size` of three numbers, and are taken slice by slice for one of two. `classes` (names, or
    how many) belong to data on disk. Volumes lie as they are stored, or `canonical`, and have
    voxels of `spacing` mm (D H W) where that is given. Raises UnknownName for a name or kind that
    nobody registered, InvalidSuite for `classes` of a registered data set and a spacing or
    orientation of images, InvalidSize for a `size` of three numbers where there are no volumes, and
    InvalidData for a path that is missing, that no reader or more than one recognises, or whose
    data cannot be used.
    """
    size = size or DRAWN
    with allow_pixels(pixels_allowed(max_megapixels)):
        found = _read(registry, name, size, classes, seed)
    if found.dims == 3:
        from unet_bench.data.volume import with_geometry

        found = with_geometry(found, orientation, spacing)
    elif orientation != "stored" or spacing:
        raise InvalidSuite(
            f"data set {name} holds images, and --orientation and --spacing are of volumes: leave "
            "them out"
        )
    if len(size) == found.dims:
        return found
    if found.dims == 3:
        from unet_bench.data.dataset import sliced

        return sliced(found)
    raise InvalidSize(
        f"data set {name} holds images, and a size of three numbers is of volumes: "
        "give HEIGHTxWIDTH, or data that hold volumes, such as --data cells, which are drawn"
    )


def _read(
    registry: Registry,
    name: str,
    size: tuple[int, ...],
    classes: int | Sequence[str] | None,
    seed: int,
) -> Dataset:
    kind, path = _parsed(registry, name)
    if path is None:
        entry = registry.find("dataset", one_line(name))
        if classes:
            raise InvalidSuite(
                f"--classes belongs to data on disk; data set {name!r} knows its own"
            )
        made: Dataset = entry.load()(size=size, seed=seed)
        return made
    reader = registry.find("reader", one_line(kind) or _recognised(registry, path))
    if not os.path.exists(path):
        raise InvalidData(
            f"{one_line(str(path))}: no such file or folder; mend the path behind {kind}:"
        )
    read: Dataset = reader.load()(path, classes=classes or None, seed=seed)
    return read


def absolute(registry: Registry, name: str) -> str:
    """Return `name` with its path made absolute; a registered name as it is.

    A run can then be resumed from anywhere.
    """
    kind, path = _parsed(registry, name)
    if path is None:
        return name
    real = os.path.realpath(path)  # which a loop of links does not trouble
    return f"{kind}:{real}" if kind else real


def path_of(registry: Registry, name: str) -> Path:
    """Return where the data lie that `name` means. Raises InvalidSuite for a registered one."""
    _, path = _parsed(registry, name)
    if path is None:
        raise InvalidSuite(
            f"data set {name!r} is no folder, in which split files could lie; --folds 5 makes folds"
        )
    return path


def _parsed(registry: Registry, name: str) -> tuple[str, Path | None]:
    """Return the kind (or nothing) and the path (or None) in `name`.

    There is no path where `name` is a registered data set's, or could have been.
    """
    datasets = {entry.name for entry in registry.entries("dataset")}
    if "\0" in name:
        raise InvalidData(f"{one_line(name)}: no path holds a NUL character; mend the name")
    kind, colon, rest = name.partition(":")
    if name in datasets or (colon and f"{kind}:*" in datasets):
        return "", None
    # One letter before a colon is a drive of Windows; and a path may hold colons of its own.
    if colon and rest and len(kind) > 1 and NAME.fullmatch(kind) and not os.path.exists(name):
        return kind, Path(os.path.expanduser(rest))
    path = Path(os.path.expanduser(name))
    return "", path if os.path.exists(path) or MARKS.search(name) else None


def _recognised(registry: Registry, path: Path) -> str:
    """Return the kind of the one reader that knows the data at `path`.

    Raises InvalidData for none or several.
    """
    readers = registry.entries("reader")
    where = one_line(str(path))
    if not os.path.exists(path):
        raise InvalidData(
            f"{where}: no such file or folder; mend the path; "
            "`unet-bench list datasets` lists names"
        )
    fitting = [reader.name for reader in readers if reader.fits(path)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        named = " or ".join(f"{kind}:{where}" for kind in fitting)
        raise InvalidData(f"{where}: looks like {' and like '.join(fitting)}; say which: {named}")
    from unet_bench.data.layout import nearest

    tried = ", ".join(reader.name for reader in readers)
    near = "\n".join(f"  {line}" for line in nearest(path))
    raise InvalidData(
        f"{where}: no format is recognised (tried {tried}). The nearest folder layouts:\n{near}\n"
        f"Or name the format: KIND:{where}. What each needs: `unet-bench list readers`"
    )
