"""Damaged, hostile and absurd files: an error of ours with a message one can read, or a right
result; nothing else.

`UNET_BENCH_FUZZ=100 pytest tests/data/test_fuzz.py` tries a hundred times as many,
and others each time.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.resources
import importlib.util
import io
import json
import os
import shutil
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.formats import (
    BOX,
    CAR,
    CATEGORIES,
    CELL,
    DECATHLON,
    GREY,
    NNUNET,
    RGB,
    TREES,
    box,
    ids,
    put,
    put_volume,
    ramp,
    write,
)
from support.fuzzing import WAIT_S, changed, damages, fuzz, ours, within

from unet_bench import limits
from unet_bench.data import brain
from unet_bench.data.check import check
from unet_bench.data.dataset import Dataset
from unet_bench.data.folder import read_folder
from unet_bench.data.sources import absolute, open_dataset
from unet_bench.errors import InvalidData, InvalidSuite
from unet_bench.registry.registry import Registry
from unet_bench.spec import recipe, suite
from unet_bench.store.run_folder import RunFolder
from unet_bench.train import trained
from unet_bench.train.checkpoint import FILE, Checkpoint

"""Characters of a message: a head, ten offenders, and how many more."""
PEAK = 2**27
"""Bytes that a bomb may take before it is refused."""

posix = pytest.mark.skipif(os.name != "posix", reason="pipes and alarms are of POSIX")


# --- what is damaged, and how ---


def inside(name: str, damaged: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """The same damage behind the checksum: of what a .gz, an .npz or the first chunks of a PNG
    hold.
    """

    def unpacked(content: bytes) -> bytes:
        return gzip.compress(damaged(gzip.decompress(content)), 1)

    def unzipped(content: bytes) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
            for number, member in enumerate(old.namelist()):
                new.writestr(
                    member, damaged(old.read(member)) if number % 3 == 0 else old.read(member)
                )
        return made.getvalue()

    def chunked(content: bytes) -> bytes:
        chunks, at = [content[:8]], 8
        while at < len(content):
            [length] = struct.unpack(">I", content[at : at + 4])
            kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
            data = (
                zlib.compress(damaged(zlib.decompress(data))) if kind == b"IDAT" else damaged(data)
            )
            chunks.append(
                struct.pack(">I", len(data))
                + kind
                + data
                + struct.pack(">I", zlib.crc32(kind + data))
            )
            at += 12 + length
        return b"".join(chunks)

    return {".gz": unpacked, ".npz": unzipped, ".png": chunked}.get(Path(name).suffix, damaged)


# --- data ---


def mixed(root: Path) -> Path:
    """Pictures of many kinds, with all that may lie beside them."""
    place = root / "mixed"
    pictures = {
        "a.png": GREY,
        "b.tif": (GREY.astype(np.uint16) * 900),
        "c.gif": GREY,
        "d.bmp": RGB,
        "e.jpg": RGB,
        "f.png": Image.fromarray(RGB).convert("P"),
    }
    for name, pixels in pictures.items():
        put(place / "images" / name, pixels)
        put(place / "masks" / f"{Path(name).stem}.{'tif' if name < 'c' else 'png'}", ids(0, 1, 255))
    for split, stems in {"train": "a\nb\nc\n", "val": "d\n", "test": "e\nf\n"}.items():
        write(place / "splits" / f"{split}.txt", stems)
    write(
        place / "dataset.json",
        json.dumps({"name": "mixed", "classes": ["background", "b"], "ignore_index": 7}),
    )
    return place


def deep(root: Path) -> Path:
    """A folder of volumes, packed and not, scaled and not, NIfTI 1 and 2."""
    place = root / "deep"
    for stem, ending in (("a", ".nii"), ("b", ".nii.gz"), ("c", ".nii"), ("d", ".nii.gz")):
        put_volume(
            place / "images" / f"{stem}{ending}",
            ramp(1).astype(np.int16),
            slope=2.0 if stem > "b" else None,
        )
        put_volume(place / "masks" / f"{stem}{ending}", box(0, 1))
    nibabel.save(nibabel.Nifti2Image(ramp(1), np.eye(4)), place / "images" / "a.nii")
    write(place / "dataset.json", json.dumps({"modality": {"0": "CT"}, "classes": 2}))
    return place


PLACES: dict[str, Callable[[Path], Path]] = {
    "mixed": mixed,
    "deep": deep,
    **{kind: TREES[kind] for kind in ("medsegbench", "decathlon", "nnunet", "tiff", "dsb")},
    **{kind: TREES[kind] for kind in ("npy", "coco", "labelme")},
}
if importlib.util.find_spec("pydicom"):
    PLACES["dicom"] = TREES["dicom"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Path]]]:
    """Each data set with its files; a test leaves them as it found them."""
    found = {}
    for kind, make in PLACES.items():
        path = make(tmp_path_factory.mktemp(kind))
        found[kind] = (path, sorted(file for file in [path, *path.rglob("*")] if file.is_file()))
    return found


@contextlib.contextmanager
def instead(file: Path, content: bytes) -> Iterator[None]:
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


def sound(data: Dataset | None) -> None:
    """What was read despite all can be used."""
    if data is not None:
        assert data.samples
        assert len(data.hash) == 12
        assert all(sample.mask.shape == sample.image.shape[:-1] for sample in data.samples)
        assert data.name.isprintable()
        assert check(data).text()


@pytest.mark.parametrize("kind", PLACES)
def test_the_data_are_sound_before_they_are_damaged(
    registry: Registry, places: Any, kind: str
) -> None:
    assert ours(lambda: open_dataset(registry, str(places[kind][0]), size=(8, 8)))


@fuzz(150)
@given(
    st.sampled_from(list(PLACES)), st.integers(0, 10**6), damages(), st.booleans(), st.booleans()
)
def test_damaged_files(
    registry: Registry,
    places: Any,
    kind: str,
    which: int,
    damaged: Callable[[bytes], bytes],
    deeper: bool,
    named: bool,
) -> None:
    path, held = places[kind]
    file = held[which % len(held)]
    damaged = inside(file.name, damaged) if deeper and file.read_bytes()[:1] != b"n" else damaged
    with instead(file, damaged(file.read_bytes())):
        reader = kind if kind in TREES else "folder"
        sound(
            ours(
                lambda: open_dataset(
                    registry, f"{reader}:{path}" if named else str(path), size=(8, 8)
                )
            )
        )


@fuzz(60)
@given(st.sampled_from(list(PLACES)), st.integers(0, 10**6), st.binary(max_size=400))
def test_files_of_anything(
    registry: Registry, places: Any, kind: str, which: int, content: bytes
) -> None:
    path, held = places[kind]
    with instead(held[which % len(held)], content):
        reader = kind if kind in TREES else "folder"
        sound(ours(lambda: open_dataset(registry, f"{reader}:{path}", size=(8, 8))))


PICTURE = {"id": 0, "file_name": "000000000000.jpg", "height": 6, "width": 10}
RUNS = {"counts": [7, 3, 50], "size": [6, 10]}
COCO = {
    "images": [PICTURE | {"id": n, "file_name": f"{n:012}.jpg"} for n in range(4)],
    "annotations": [CAR, CAR | {"segmentation": RUNS}, CAR | {"image_id": 1, "bbox": [1, 1, 3, 2]}],
    "categories": CATEGORIES,
}
LABELME: dict[str, Any] = {
    "imagePath": "a.png",
    "imageData": "",
    "imageHeight": 6,
    "imageWidth": 10,
}
LABELME["shapes"] = [CELL, CELL | {"shape_type": "circle", "points": [[1, 2], [3, 4]]}]
STATEMENTS = {"coco": "annotations/instances_train2017.json", "labelme": "a.json"}
"""The JSON files that are no dataset.json."""
STATED: dict[str, dict[str, Any]] = {
    "coco": COCO,
    "labelme": LABELME,
    "mixed": {"classes": 2, "name": "m", "ignore_index": 7, "modality": {"0": "CT"}},
    "deep": {"classes": 2, "name": "m", "ignore_index": 7, "modality": {"0": "CT"}},
    "decathlon": DECATHLON,
    "nnunet": NNUNET,
}


@fuzz(120)
@given(
    st.sampled_from(list(STATED)).flatmap(
        lambda kind: st.tuples(st.just(kind), changed(STATED[kind]))
    )
)
def test_any_statement_of_a_json_file(
    registry: Registry, places: Any, stated: tuple[str, Any]
) -> None:
    kind, value = stated
    path, _ = places[kind]
    with instead(path / STATEMENTS.get(kind, "dataset.json"), json.dumps(value).encode()):
        reader = kind if kind in TREES else "folder"
        sound(ours(lambda: open_dataset(registry, f"{reader}:{path}", size=(8, 8))))


@fuzz(60)
@given(
    st.lists(st.integers(-(2**15), 2**15 - 1) | st.integers(0, 8), min_size=8, max_size=8),
    st.sampled_from(
        [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, -1, 999]
    ),
    st.floats(width=32),
    st.floats(width=32),
    st.floats(width=32),
    st.booleans(),
)
def test_any_header_of_a_volume(
    registry: Registry,
    places: Any,
    dims: list[int],
    datatype: int,
    offset: float,
    slope: float,
    inter: float,
    packed: bool,
) -> None:
    path, _ = places["deep"]
    file = path / "images" / ("b.nii.gz" if packed else "c.nii")
    content = bytearray(gzip.decompress(file.read_bytes()) if packed else file.read_bytes())
    content[40:56] = struct.pack("<8h", *dims)
    content[70:72] = struct.pack("<h", datatype)
    content[108:120] = struct.pack("<3f", offset if slope < 0 else 352.0, slope, inter)
    with instead(file, gzip.compress(content) if packed else bytes(content)):
        sound(ours(lambda: open_dataset(registry, f"folder:{path}", size=(8, 8))))


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=60
)


@posix
@fuzz(40)
@given(NAMES, st.booleans(), st.booleans())
def test_any_name_of_a_file(name: str, listed: bool, valid: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        for stem in "abc":
            put(root / "images" / f"{stem}.png", GREY)
            put(root / "masks" / f"{stem}.png", ids(0, 1))
        try:
            for kind in ("images", "masks"):
                shutil.copy(root / kind / "a.png", root / kind / f"{name}.png")
        except (OSError, ValueError):  # the file system does not take such a name
            return
        if not valid:
            (root / "images" / f"{name}.png").write_bytes(b"nothing")
        if listed:
            with contextlib.suppress(ValueError):
                write(root / "splits" / "train.txt", f"a\n{name}\n")
                write(root / "splits" / "test.txt", "b\nc\n")
        sound(ours(lambda: read_folder(root)))
        with contextlib.suppress(OSError, ValueError):
            renamed = root.with_name(name[:40])
            root.rename(renamed)
            sound(ours(lambda: read_folder(renamed)))


@fuzz(100)
@given(
    st.text(max_size=20)
    | st.sampled_from(["~nobody/x", "a" * 5000, "folder:" + "b" * 5000, "/" * 9000, "\0/", "."])
)
def test_any_name_of_data(registry: Registry, name: str) -> None:
    ours(lambda: absolute(registry, name))
    if not os.path.exists(name):
        ours(lambda: open_dataset(registry, name, size=(8, 8)))


# --- bombs: small files that speak of much ---


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def tiff_of(pages: int, side: int) -> bytes:
    made = io.BytesIO()
    first, *rest = [Image.new("L", (side, side))] * pages
    first.save(made, "TIFF", compression="tiff_deflate", save_all=True, append_images=rest)
    return made.getvalue()


def tiff_that_claims(side: int) -> bytes:
    tags = [
        (256, side),
        (257, side),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (278, side),
        (279, side),
    ]
    made = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return made + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)


def nifti(*shape: int, extension: bytes = b"\0\0\0\0", body: int = 0) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((4, 4, 4))
    header["vox_offset"] = 352
    content = bytearray(header.binaryblock)
    content[40:56] = struct.pack("<8h", len(shape), *shape, *[1] * (7 - len(shape)))
    return gzip.compress(bytes(content) + extension + bytes(body))


def npz(claimed: str, size: int) -> bytes:
    """Training images and labels that claim a shape; the images hold `size` zeros, and nothing else
    anything.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for key in (
            "train_images",
            "val_images",
            "test_images",
            "train_label",
            "val_label",
            "test_label",
        ):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                shape = claimed if key.startswith("train") else "(0, 4, 4)"
                head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
                file.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head)
                if key == "train_images":
                    for _ in range(size // 2**20):
                        file.write(bytes(2**20))
    return made.getvalue()


BOMBS: dict[str, tuple[str, str, Callable[[], bytes], str]] = {
    "a PNG of 10^10 pixels": (
        "mixed",
        "images/a.png",
        lambda: png(10**5, 10**5),
        r"images/a.png: has 10,000,000,000 pixels, more than",
    ),
    "a TIFF of 10^10 pixels": (
        "tiff",
        "train-volume.tif",
        lambda: tiff_that_claims(10**5),
        "train-volume.tif: has 10,000,000,000 pixels, more",
    ),
    "dimensions of 10^15 voxels": (
        "deep",
        "images/b.nii.gz",
        lambda: nifti(*[32767] * 3),
        "GiB when unpacked, more",
    ),
    "dimensions of 4 GiB in 400 bytes": (
        "deep",
        "images/b.nii.gz",
        lambda: nifti(1023, 1023, 1024),
        "is too short",
    ),
    "dimensions below 0": ("deep", "images/b.nii.gz", lambda: nifti(-5, 4, 4), "images/b.nii.gz: "),
    "an extension to the end of a long file": (
        "deep",
        "images/b.nii.gz",
        lambda: nifti(*BOX, extension=b"\1\0\0\0", body=2**28),
        "",  # nobody asks for it: the volume is read
    ),
    "a .npz that claims 10^12 bytes": (
        "medsegbench",
        "",
        lambda: npz("(1000000, 1000, 1000)", 0),
        "is too short",
    ),
    "a .npz of 10^12 empty images": (
        "medsegbench",
        "",
        lambda: npz("(1000000000000, 0, 0)", 0),
        "without a pixel",
    ),
    "JSON nested too deeply": (
        "mixed",
        "dataset.json",
        lambda: b'{"name": ' + b"[" * 10**6,
        "nested too deeply",
    ),
    "JSON without an end": (
        "mixed",
        "dataset.json",
        lambda: b" " * (limits.MOST_TEXT + 1),
        "16384 KiB",
    ),
    "a list of names without an end": (
        "mixed",
        "splits/train.txt",
        lambda: b"a\n" * 2**23 + b"a",
        "16384 KiB",
    ),
    "a run-length mask of 10^18 pixels": (
        "coco",
        STATEMENTS["coco"],
        lambda: json.dumps(
            COCO
            | {"annotations": [CAR | {"segmentation": {"counts": [10**18], "size": [10**9] * 2}}]}
        ).encode(),
        "a mask of size",
    ),
    "a picture of 10^18 pixels in JSON": (
        "coco",
        STATEMENTS["coco"],
        lambda: json.dumps(COCO | {"images": [PICTURE | {"height": 10**9}]}).encode(),
        "1000000000 high, but the picture is",
    ),
    "a number without an end": (
        "mixed",
        "dataset.json",
        lambda: b'{"classes": ' + b"9" * 10**5 + b"}",
        "not JSON",
    ),
}


@contextlib.contextmanager
def taking(most: int) -> Iterator[None]:
    """Sees that no more memory is asked for; what Python and numpy ask for, whether or not they
    write to it.
    """
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak / 2**20:.0f} MiB"


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_refused_before_they_go_off(registry: Registry, places: Any, case: str) -> None:
    kind, name, make, expected = BOMBS[case]
    path, _ = places[kind]
    with instead(path / name if name else path, make()), taking(PEAK), within(WAIT_S):
        if expected:
            with pytest.raises(InvalidData, match=expected):
                open_dataset(registry, f"{kind if kind in TREES else 'folder'}:{path}", size=(8, 8))
        else:
            sound(open_dataset(registry, f"folder:{path}", size=(8, 8)))


def test_what_unpacks_to_more_than_it_may_is_refused_unread(
    registry: Registry, places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_DECODED", 2**25)
    monkeypatch.setattr(limits, "MOST_PAGES", 50)
    path, _ = places["medsegbench"]
    with (
        instead(path, npz("(32, 1024, 1024)", 33 * 2**20)),
        taking(2**24),
        pytest.raises(InvalidData, match="GiB when"),
    ):
        open_dataset(registry, str(path), size=(8, 8))
    path, _ = places["tiff"]
    for pages, side, expected in ((60, 1, "more than 50 pages"), (3, 2000, "GiB when unpacked")):
        with (
            instead(path / "train-volume.tif", tiff_of(pages, side)),
            pytest.raises(InvalidData, match=expected),
        ):
            open_dataset(registry, str(path), size=(8, 8))


def test_the_largest_volume_that_is_promised_is_not_too_large() -> None:
    assert not limits.too_large(1024**3 * 4)
    assert "4.0 GiB when unpacked, more than 4; cut it" in limits.too_large(1024**3 * 4 + 1)


# --- what is no file, and what leads elsewhere ---


@posix
@pytest.mark.parametrize(
    "name", ["images/a.png", "masks/c.png", "dataset.json", "splits/train.txt"]
)
@pytest.mark.parametrize("thing", ["pipe", "folder", "loop", "device"])
def test_what_is_no_file_is_refused_or_passed_over(
    registry: Registry, tmp_path: Path, name: str, thing: str
) -> None:
    path = mixed(tmp_path)
    file = path / name
    file.unlink()
    if thing == "pipe":
        os.mkfifo(file)
    elif thing == "folder":
        file.mkdir()
    else:
        file.symlink_to(file.name if thing == "loop" else "/dev/zero")
    data = ours(lambda: open_dataset(registry, str(path), size=(8, 8)))
    assert data is None or (name, thing) == (
        "dataset.json",
        "loop",
    )  # which is no more there than a broken link is


@posix
@pytest.mark.parametrize("read", [lambda registry, name: suite.read(name), recipe.find])
def test_a_pipe_is_no_suite_and_no_recipe(
    registry: Registry, tmp_path: Path, read: Callable[..., Any]
) -> None:
    file = tmp_path / "a.toml"
    os.mkfifo(file)
    with within(WAIT_S), pytest.raises(InvalidSuite, match="no regular file"):
        read(registry, str(file))


@pytest.mark.parametrize(
    "name", ["../secret.nii.gz", "{}/secret.nii.gz", "imagesTr/../../secret.nii.gz"]
)
@pytest.mark.parametrize("key", ["image", "label"])
def test_names_do_not_lead_out_of_the_data(
    registry: Registry, tmp_path: Path, name: str, key: str
) -> None:
    path = TREES["decathlon"](tmp_path)
    put_volume(path.parent / "secret.nii.gz", box(0, 1, 2))
    case = {
        "image": "./imagesTr/t_0.nii.gz",
        "label": "./labelsTr/t_0.nii.gz",
        key: name.format(path.parent),
    }
    write(
        path / "dataset.json",
        json.dumps({**DECATHLON, "training": [case, *DECATHLON["training"][1:4]]}),
    )
    with pytest.raises(
        InvalidData, match=r"secret.nii.gz' leads out of the folder; name files in it"
    ):
        open_dataset(registry, str(path), size=(8, 8))


def test_a_case_is_named_once(registry: Registry, tmp_path: Path) -> None:
    path = TREES["decathlon"](tmp_path)
    write(path / "dataset.json", json.dumps({**DECATHLON, "training": DECATHLON["training"] * 2}))
    with pytest.raises(InvalidData, match="names the training case t_0 more than once"):
        open_dataset(registry, str(path), size=(8, 8))


def test_nothing_is_unpickled(registry: Registry, places: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    path, _ = places["medsegbench"]
    made = io.BytesIO()
    with np.load(path) as arrays:
        np.savez(made, **{**arrays, "train_images": np.array([Trap()], object)})
    with instead(path, made.getvalue()):
        assert ours(lambda: open_dataset(registry, str(path), size=(8, 8))) is None
        assert ours(lambda: Dataset.load(path)) is None
    assert not (tmp_path / "sprung").exists()


# --- suites and recipes ---


def use(found: suite.Suite) -> None:
    for on_gpu in (False, True):
        resolved = found.resolved(on_gpu)
        resolved.sizes()
        resolved.scaled_down()
        json.dumps(resolved.to_dict())
    assert found.budget is not None
    assert suite.from_dict(found.to_dict()) == found


def texts(package: str) -> list[bytes]:
    return [
        file.read_bytes()
        for file in importlib.resources.files(package).iterdir()
        if file.name.endswith(".toml")
    ]


TOML = st.recursive(
    st.booleans().map(json.dumps)
    | st.integers().map(str)
    | st.sampled_from(
        [
            "nan",
            "inf",
            "-1",
            "0",
            "1e400",
            "0x" + "f" * 9000,
            "9" * 5000,
            "1979-05-27",
            "{a = 1}",
            '"1x2"',
        ]
    )
    | st.floats().map(str)
    | st.text(st.characters(exclude_categories=["C"]), max_size=8).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    )
    | st.just(json.dumps("9" * 5000)),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=8,
)


def stating(keys: list[str], tables: list[str]) -> st.SearchStrategy[bytes]:
    lines = st.lists(
        st.tuples(st.sampled_from([*keys, *tables, "x"]), TOML),
        max_size=4,
        unique_by=lambda pair: pair[0],
    )
    text = lines.map(lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs))
    return (
        st.tuples(text, st.sampled_from(["", *(f"[{table}]\n" for table in tables)]), text)
        .map("".join)
        .map(str.encode)
    )


def tampered(package: str) -> st.SearchStrategy[bytes]:
    return st.tuples(st.sampled_from(texts(package)), damages()).map(lambda pair: pair[1](pair[0]))


@fuzz(300)
@given(
    stating(list(suite.Suite.__dataclass_fields__), list(suite.PRESETS))
    | tampered("unet_bench.spec.suites")
    | st.binary(max_size=80)
)
def test_any_file_is_a_suite_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.toml"
        file.write_bytes(content)
        found = ours(lambda: suite.from_options({}, str(file)))
        if found is not None:
            ours(lambda: use(found))


@fuzz(300)
@given(
    stating(list(recipe.Recipe.__dataclass_fields__), ["base"])
    | tampered("unet_bench.spec.recipes")
    | st.binary(max_size=80)
)
def test_any_file_is_a_recipe_or_refused(registry: Registry, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "r.toml"
        file.write_bytes(content)
        found = ours(lambda: recipe.find(registry, str(file)))
        if found is not None:
            assert recipe.from_dict(found.to_dict(), recipe.Recipe()) == found


@pytest.mark.parametrize(
    "content",
    [b"a = " + b"[" * 30000, b"a" + b".a" * 4000 + b" = 1", b"#" * (limits.MOST_TOML + 1)],
    ids=len,
)
def test_toml_without_an_end_is_refused(registry: Registry, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    assert ours(lambda: suite.from_options({}, str(file))) is None
    assert ours(lambda: recipe.find(registry, str(file))) is None


# --- trained weights and checkpoints ---


@pytest.fixture(scope="module")
def kept(context_of: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that kept one tiny network."""
    run = tmp_path_factory.mktemp("kept")
    context = context_of("unet", (32, 32))
    file = RunFolder(run).weights_of("unet")
    trained.save_network(file, context, context.network(), brain.load(), {"val_dice": 0.5})
    return run


@pytest.mark.slow
@fuzz(30)
@given(damages(), st.floats(0, 0.05))
def test_damaged_weights_are_refused(
    kept: Path, damaged: Callable[[bytes], bytes], head: float
) -> None:
    [file] = (kept / "weights").glob("*.safetensors")
    whole = file.read_bytes()
    cut = int(len(whole) * head)  # most of what can go wrong is in the header
    content = damaged(whole[:cut]) + whole[cut:] if cut else damaged(whole)
    with instead(file, content):
        assert (ours(lambda: trained.load_network(kept, "unet")) is None) == (content != whole)


@fuzz(30)
@given(st.data())
def test_any_json_beside_weights(kept: Path, data: st.DataObject) -> None:
    [file] = (kept / "weights").glob("*.json")
    about = json.loads(file.read_text())
    content = json.dumps(data.draw(changed(about))).encode()
    if data.draw(st.booleans()):
        content = data.draw(damages())(file.read_bytes())
    with instead(file, content):
        network = ours(lambda: trained.load_network(kept, "unet"))
        if network is not None:
            image = np.zeros(
                (*network.task.scored[:2], network.task.in_channels), network.image_type
            )
            assert ours(lambda: network.predict(image)) is None or network.task.scored


@fuzz(150)
@given(damages(), st.booleans())
def test_a_damaged_checkpoint_is_none(damaged: Callable[[bytes], bytes], head: bool) -> None:
    tensors = {
        "model/a": torch.arange(12.0).reshape(3, 4),
        "model/b": torch.tensor(2),
        "model/c": torch.zeros(0),
    }
    tensors |= {
        "optimiser/0/half": torch.ones(3, dtype=torch.bfloat16),
        "random/cpu": torch.get_rng_state(),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        checkpoint = Checkpoint(Path(folder), "key", 1.0)
        checkpoint.save(tensors, {"step": 3})
        file = Path(folder) / FILE
        whole = file.read_bytes()
        file.write_bytes(damaged(whole[:700]) + whole[700:] if head else damaged(whole))
        with within(WAIT_S):
            found = checkpoint.load()
        if found is not None:
            assert found[1] == {"step": 3}
            assert found[0].keys() == tensors.keys()
            assert all(torch.equal(found[0][name], tensor) for name, tensor in tensors.items())


def test_a_checkpoint_survives_its_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "key", 1.0)
    checkpoint.save({"a": torch.ones(2, dtype=torch.float16)}, {"step": 3})
    found = checkpoint.load()
    assert found is not None
    assert found[1] == {"step": 3}
