"""Masks for a user's own images: what is written, of what, and what is said of images that are
unlike those that the network was trained on.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from support.datasets import dataset
from torch import nn

from unet_bench import limits, predict
from unet_bench.data import tiff
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.decode import read_image, read_mask
from unet_bench.data.folder import read_folder
from unet_bench.data.usual import Usual
from unet_bench.data.volume import Seen
from unet_bench.errors import InvalidData, InvalidSuite, StoreError
from unet_bench.geometry.shapes import InputWindow
from unet_bench.limits import allow_pixels
from unet_bench.models.select import select
from unet_bench.predict import Outputs, Predictions, Written, _read_all, predict_files
from unet_bench.present.class_pictures import COLOURS, colours_of, overlay, viewable
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Setting, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.store.run_folder import RunFolder
from unet_bench.train import trained
from unet_bench.train.trained import Network

SIDE = 16  # of the training windows
LEVEL = 128  # of 255: brighter pixels are the object


def task_of(scored: tuple[int, ...], fit: str = "crop", channels: int = 1) -> Task:
    return Task(
        name="t",
        dataset_hash="0",
        classes=("background", "object"),
        in_channels=channels,
        scored=scored,
        fit=fit,
    )


def network(dims: int = 2, channels: int = 1, **changes: Any) -> Network:
    """Return a network which finds that pixels whose first band is above LEVEL are the object."""
    model = (nn.Conv2d if dims == 2 else nn.Conv3d)(channels, 2, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, 0] = 1
        if model.bias is not None:
            model.bias.zero_()
    deep = {"float32": (0.0, 1.0)} if dims == 3 else {}
    white = 1.0 if deep else 255.0
    sides = (SIDE,) * dims
    task = task_of(sides, channels=channels)
    facts: dict[str, Any] = {
        "model": model.eval(),
        "blueprint": model,
        "task": task,
        "input_window": InputWindow(
            input=sides, output=sides, start=(0,) * dims, context=(0,) * dims
        ),
        "mean": np.array(LEVEL / 255 * white),
        "std": np.array(white / 20),
        "image_type": "float32" if deep else "uint8",
        "seed": 0,
        "variant": "unet",
        "scale": deep or {"uint8": (0.0, 255.0)},
    }
    return Network(**{**facts, **changes})


def scene(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Array:
    """Return a grey image of bright squares on dark."""
    rng = np.random.default_rng(seed)
    image = rng.normal(60, 8, size)
    for _ in range(3):
        row, column = rng.integers(0, 20, 2)
        image[row : row + 9, column : column + 9] = rng.normal(200, 8)
    return image.clip(0, 255).astype(np.uint8)


def saved(file: Path, image: Array, **options: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file, **options)
    return file


def write(found: Predictions) -> Written:
    """Return what was written of the only image."""
    [written] = found.write()
    return written


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return saved(tmp_path / "a.png", scene())


def outputs(tmp_path: Path, **changes: Any) -> Outputs:
    return Outputs(tmp_path / "out", **changes)


# ---- masks


def test_a_mask_has_ids_as_indices_and_the_colours_of_the_report(
    picture: Path, tmp_path: Path
) -> None:
    written = write(predict_files(network(), [picture], outputs(tmp_path)))
    mask = Image.open(written.mask)
    expected = scene() > LEVEL
    assert mask.mode == "P"
    assert np.array_equal(np.array(mask), expected)
    assert np.array_equal(np.array(mask.convert("RGB")), COLOURS[expected.astype(int)])
    assert np.array_equal(read_mask(written.mask).values, expected)  # as a mask to train on


def test_a_mask_without_palette_is_grey(picture: Path, tmp_path: Path) -> None:
    written = write(predict_files(network(), [picture], outputs(tmp_path, palette=False)))
    mask = Image.open(written.mask)
    assert (mask.mode, np.array(mask).max()) == ("L", 1)


def test_colours_of_the_data_set_are_kept_if_they_tell_all_classes_apart() -> None:
    own = {"background": "#000000", "object": "#ff8000"}
    table = colours_of(("background", "object"), own)
    assert table[:2].tolist() == [[0, 0, 0], [255, 128, 0]]
    assert np.array_equal(table[2:], COLOURS[2:])
    for partial in ({"object": "#ff8000"}, {"background": "#ff8000", "object": "#ff8000"}):
        assert np.array_equal(colours_of(("background", "object"), partial), COLOURS)


def test_colours_and_statistics_are_kept_with_the_weights(
    registry: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    for number in range(6):
        image = scene(number)
        colours = np.array([[0, 0, 0], [255, 128, 0]], np.uint8)
        saved(folder / "images" / f"{number}.png", image)
        saved(folder / "masks" / f"{number}.png", colours[(image > LEVEL).astype(int)])
    labels = {"a": "#000000", "b": "#ff8000", "c": "#00ff00"}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    read_folder(folder).save(tmp_path / "set.npz")
    data = Dataset.load(tmp_path / "set.npz")
    file = RunFolder(tmp_path / "run").weights_of("unet")
    own = network()
    cell = SimpleNamespace(
        variant=select(registry, ["unet"])[0],
        task=own.task,
        input_window=own.input_window,
        seed=0,
        protocol=SimpleNamespace(recipe=Recipe()),
        setting=Setting(),
    )
    context: Any = SimpleNamespace(cell=cell)
    trained.save_network(file, context, own.model, data, {"val_dice": 0.5})
    about = file.with_suffix(".json")
    stated = trained._about(about)
    assert stated["colours"] == {"a": "#000000", "b": "#ff8000"}
    usual = trained._usual(stated)
    assert usual
    assert not [*usual.differences(data.train[0].image)]
    assert [*usual.differences(255 - data.train[0].image)]
    old = {name: value for name, value in stated.items() if name not in ("colours", "usual")}
    about.write_text(json.dumps(old))
    assert trained._usual(trained._about(about)) is None
    for wrong in ({"colours": {"a": "red"}}, {"usual": {"centre": [[1]], "deviation": [[1]]}}):
        about.write_text(json.dumps({**stated, **wrong}))
        with pytest.raises(StoreError, match=r"colours|usual"):
            trained._about(about)


def test_the_mask_is_of_the_image_as_viewers_show_it(tmp_path: Path) -> None:
    turn = Image.Exif()
    turn[274] = 6  # shown turned by 90°
    file = saved(tmp_path / "a.png", scene(), exif=turn)
    written = write(predict_files(network(), [file], outputs(tmp_path, overlay=True)))
    shown = np.rot90(scene(), -1)
    assert np.array_equal(np.array(Image.open(written.mask)), shown > LEVEL)
    assert written.overlay
    assert Image.open(written.overlay).size == shown.shape[::-1]


def test_white_counts_also_for_bits_that_the_training_images_had(tmp_path: Path) -> None:
    deep = tmp_path / "b.tif"  # 12 bits, for a network of 16
    tifffile.imwrite(deep, scene().astype(np.uint16) * 16)
    trained = network(
        image_type="float32",
        scale={"uint16": (0.0, 65535.0)},
        mean=np.array(LEVEL / 255),
        std=np.array(1 / 20),
    )
    unsaid = predict_files(trained, [deep], outputs(tmp_path))
    assert "is it of fewer bits?" in unsaid.warnings[0]
    assert "--white 4095" in unsaid.warnings[0]
    said = predict_files(trained, [deep], outputs(tmp_path), white=4095)
    assert not said.warnings
    mask = np.array(Image.open(write(said).mask))
    assert np.array_equal(mask, scene().astype(float) * 16 / 4095 > LEVEL / 255)
    assert mask.any()


def test_white_is_not_of_volumes(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="is of pictures"):
        predict_files(network(3), [tmp_path / "v.nii"], outputs(tmp_path), white=4095)


def test_images_of_16_bits_give_the_masks_of_8_bits_once_white_is_said(tmp_path: Path) -> None:
    grey = saved(tmp_path / "a.png", scene())
    deep = tmp_path / "b.tif"  # the same, as a camera of 12 bits writes it
    tifffile.imwrite(deep, scene().astype(np.uint16) * 16)
    with pytest.raises(InvalidData, match=r"b\.tif: holds 16 bits up to .*--white 4095"):
        predict_files(network(), [grey, deep], outputs(tmp_path))
    assert not (tmp_path / "out").exists()
    found = predict_files(network(), [grey, deep], outputs(tmp_path), white=4095)
    masks = [np.array(Image.open(written.mask)) for written in found.write()]
    assert masks[0].any()
    assert np.array_equal(*masks)
    for white in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidSuite, match="--white"):
            predict_files(network(), [grey], outputs(tmp_path), white=white)


@pytest.mark.parametrize("ending", [".npy", ".tif"])
def test_images_of_many_bands(ending: str, tmp_path: Path) -> None:
    image = np.stack([scene(number) for number in range(5)], axis=-1)
    file = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(file, image)
    else:
        tifffile.imwrite(file, image, photometric="minisblack", planarconfig="contig")
    written = write(predict_files(network(channels=5), [file], outputs(tmp_path, overlay=True)))
    assert np.array_equal(np.array(Image.open(written.mask)), image[..., 0] > LEVEL)
    assert written.overlay
    drawn = np.array(Image.open(written.overlay))
    is_background = image[..., 0] <= LEVEL
    assert np.array_equal(drawn[is_background], image[is_background][:, :3])


@pytest.mark.parametrize(
    ("high", "dtype", "value", "told"),
    [
        (65535, np.uint16, 200, "holds values up to 200, and the images .* is it of fewer bits"),
        (65535, np.uint16, 30000, ""),
        (4095, np.uint16, 200, "up to 200, .* from 0 to 4095: is it of fewer bits"),
    ],
)
def test_values_of_fewer_or_more_bits_than_the_training_images_are_told(
    high: float, dtype: type, value: int, told: str, tmp_path: Path
) -> None:
    pixels = np.zeros((SIDE, SIDE), dtype)
    pixels[4:8] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    deep = network(scale={"uint16": (0.0, float(high))}, image_type="float32")
    warnings = predict_files(deep, [tmp_path / "a.tif"], outputs(tmp_path)).warnings
    assert len(warnings) == bool(told)
    assert re.search(told, " ".join(warnings))


@pytest.mark.parametrize(
    ("scale", "dtype", "value", "refused"),
    [
        ({"uint16": (0.0, 255.0)}, np.uint16, 30000, "needs more bits; .*65535, or, .* 255"),
        ({"uint16": (0.0, 4095.0)}, np.uint16, 4096, "needs more bits; .*16383, or, .* 4095"),
        ({"uint16": (0.0, 65535.0)}, np.uint16, 4095, "ends at 4095, .*4095, or, .* 65535"),
        ({"float32": (0.0, 1.0)}, np.float32, 255, "another scale; .*, such as --white 255"),
        ({"float32": (-2.0, 5.0)}, np.float32, 255, "another scale; bring it to theirs$"),
        ({"float32": (-2.0, 5.0)}, np.float32, 6, ""),
        ({"uint16": (-9.0, 50.0), "float32": (-9.0, 50.0)}, np.uint16, 60, ""),
    ],
)
def test_an_image_on_another_scale_than_the_training_images_is_refused_until_white_is_said(
    scale: dict[str, tuple[float, float]], dtype: type, value: float, refused: str, tmp_path: Path
) -> None:
    pixels = np.zeros((SIDE, SIDE), dtype)
    pixels[4:8] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    deep = network(scale=scale, image_type="float32")
    if refused:
        with pytest.raises(InvalidData, match=refused):
            predict_files(deep, [tmp_path / "a.tif"], outputs(tmp_path))
    white = value if refused else None
    warnings = predict_files(deep, [tmp_path / "a.tif"], outputs(tmp_path), white=white).warnings
    assert bool(warnings) == (not refused)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_masks_of_images_that_stay_in_a_file_are_those_of_others(
    fit: str, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = scene(size=(70, 50))
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([grey] * 3).astype(dtype), photometric="rgb")
    scale = {np.dtype(dtype).name: (0.0, 255.0)}
    facts: dict[str, Any] = {"task": task_of((SIDE, SIDE), fit, 3), "scale": scale}
    if dtype is np.uint16:
        facts |= {"image_type": "float32", "mean": np.array(0.5), "std": np.array(0.05)}
    made = network(channels=3, **facts)
    masks = []
    for most in (10**6, 1000):
        monkeypatch.setattr(limits, "MAPPED", most)
        monkeypatch.setattr(limits, "MOST_PIXELS", most)
        with allow_pixels(10_000):
            chosen = Outputs(tmp_path / str(most), overlay=True, probabilities="auto")
            written = write(predict_files(made, [tmp_path / "a.tif"], chosen))
        masks.append(np.array(Image.open(written.mask)))
        assert written.probabilities
        assert np.array_equal(read_image(written.probabilities).argmax(-1), masks[-1])
    assert masks[0].any()
    assert np.array_equal(*masks)


def test_an_overlay_of_a_very_large_image_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(tmp_path / "a.png", scene())
    monkeypatch.setattr(predict, "MOST_PIXELS", 400)
    written = write(predict_files(network(), [file], outputs(tmp_path, overlay=True)))
    assert written.overlay
    assert Image.open(written.overlay).size == (15, 20)


# ---- overlays and probabilities


def test_an_overlay_tints_objects_and_draws_their_rims() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[2:7, 2:7] = 1
    drawn = overlay(np.full((9, 9, 1), 100, np.uint8), mask, COLOURS)
    orange = COLOURS[1]
    assert (drawn[mask == 0] == 100).all()
    assert np.array_equal(drawn[2, 2], orange)
    assert np.array_equal(drawn[4, 6], orange)
    assert np.array_equal(drawn[4, 4], np.round(0.65 * 100 + 0.35 * orange))


def test_what_is_not_8_bits_is_stretched_to_be_seen() -> None:
    ramp = np.linspace(0.2, 0.21, 10_000, dtype=np.float32).reshape(100, 100)
    seen = viewable(np.stack([ramp, ramp * 1000, 1 - ramp, ramp], axis=-1))
    assert seen.shape == (100, 100, 3)
    assert [seen[..., band].min() for band in range(3)] == [0, 0, 0]
    assert [seen[..., band].max() for band in range(3)] == [255, 255, 255]
    assert seen[0, 0, 2] == 255
    assert viewable(np.zeros((4, 4, 2), np.float32)).shape == (4, 4, 3)


@pytest.mark.parametrize("fit", ["crop", "resize"])
@pytest.mark.parametrize("wanted", ["auto", "tiff", "npz"])
def test_probabilities_have_the_size_of_the_image_and_agree_with_the_mask(
    wanted: str, fit: str, picture: Path, tmp_path: Path
) -> None:
    made = network(task=task_of((SIDE, SIDE), fit))
    written = write(predict_files(made, [picture], outputs(tmp_path, probabilities=wanted)))
    file = written.probabilities
    assert file
    if wanted == "npz":
        held = np.load(file, allow_pickle=False)
        values = held["probabilities"]
        assert held["classes"].tolist() == ["background", "object"]
    else:
        values = read_image(file)
        with tifffile.TiffFile(file) as held_file:
            assert held_file.series[0].shape == (2, 40, 30)
    assert (values.shape, values.dtype) == ((40, 30, 2), np.float32)
    np.testing.assert_allclose(values.sum(-1), 1, atol=1e-5)
    assert np.array_equal(values.argmax(-1), np.array(Image.open(written.mask)))


@pytest.mark.parametrize("wanted", ["nifti", "png"])
def test_probabilities_that_cannot_be_are_refused(
    wanted: str, picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSuite, match="auto"):
        predict_files(network(), [picture], outputs(tmp_path, probabilities=wanted))


# ---- volumes


def volume(tmp_path: Path) -> tuple[Path, Array]:
    """Return a NIfTI file, and the object in it `(X Y Z)`."""
    truth = np.zeros((20, 18, 17), bool)
    truth[4:12, 5:9, 6:13] = True
    voxels = np.where(truth, 900, 100).astype(np.int16)
    affine = np.array([[-0.5, 0, 0, 10], [0, 0.7, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    image: Any = nibabel.Nifti1Image(voxels, affine)  # type: ignore[no-untyped-call]
    image.header["cal_max"] = 900
    nibabel.save(image, tmp_path / "v.nii.gz")
    return tmp_path / "v.nii.gz", truth


@pytest.mark.parametrize("wanted", ["nifti", "npz"])
def test_all_of_a_volume_lies_where_it_does(wanted: str, tmp_path: Path) -> None:
    file, truth = volume(tmp_path)
    chosen = outputs(tmp_path, overlay=True, probabilities=wanted)
    written = write(predict_files(network(dims=3), [file], chosen))
    image: Any = nibabel.load(file)
    mask: Any = nibabel.load(written.mask)
    assert np.array_equal(mask.affine, image.affine)
    assert mask.header["cal_max"] == 0
    assert np.array_equal(np.asarray(mask.dataobj), truth)
    assert written.probabilities
    if wanted == "nifti":
        held: Any = nibabel.load(written.probabilities)
        affine, values = held.affine, np.asarray(held.dataobj)
    else:
        arrays = np.load(written.probabilities)
        affine, values = arrays["affine"], arrays["probabilities"]
    assert np.array_equal(affine, image.affine)
    assert values.dtype == np.float32
    assert np.array_equal(values.argmax(-1), truth)
    assert written.overlay
    assert Image.open(written.overlay).size == (20, 18)  # X to the right, Y upwards
    with pytest.raises(InvalidSuite, match="keeps no place in the scanner; give auto or npz"):
        predict_files(network(dims=3), [file], outputs(tmp_path, probabilities="tiff"))


def test_volumes_are_brought_to_the_training_volumes_and_masks_back(tmp_path: Path) -> None:
    file, truth = volume(tmp_path)
    seen = Seen(orientation="canonical", spacing=(3.0, 0.25, 0.35))  # D H W: twice as fine
    chosen = outputs(tmp_path, overlay=True, probabilities="nifti")
    written = write(predict_files(network(dims=3, volumes=seen), [file], chosen))
    mask: Any = nibabel.load(written.mask)
    found = np.asarray(mask.dataobj)
    assert np.array_equal(mask.affine, nibabel.load(file).affine)  # type: ignore[attr-defined]
    assert (found == truth).mean() > 0.97
    assert written.probabilities
    values = np.asarray(nibabel.load(written.probabilities).dataobj)  # type: ignore[attr-defined]
    assert np.array_equal(values.argmax(-1), found)


def test_a_volume_that_says_nothing_of_its_place_is_refused(tmp_path: Path) -> None:
    file, _ = volume(tmp_path)
    image: Any = nibabel.load(file)
    image.header.set_qform(None, code=0)
    header = image.header.copy()
    header["sform_code"], header["qform_code"], header["quatern_b"] = 0, 1, 9.0
    plain = tmp_path / "w.nii"
    content = header.binaryblock + bytes(4) + np.asarray(image.dataobj, np.int16).tobytes("F")
    plain.write_bytes(content)
    with pytest.raises(InvalidData, match=r"w\.nii: states no place that can be kept"):
        predict_files(network(dims=3), [plain], outputs(tmp_path))


def test_a_stack_of_slices_is_a_volume_to_a_network_of_volumes_alone(tmp_path: Path) -> None:
    stack = np.stack([scene(number, (24, 20)) for number in range(17)])
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    with pytest.raises(InvalidData, match="several pages; save each page as a file of its own"):
        predict_files(network(), [tmp_path / "s.tif"], outputs(tmp_path))
    chosen = outputs(tmp_path, overlay=True, probabilities="auto")
    written = write(predict_files(network(dims=3), [tmp_path / "s.tif"], chosen))
    assert written.mask.name == "s.tif"
    mask = tifffile.imread(written.mask)
    assert (mask.shape, mask.dtype) == (stack.shape, np.uint8)
    assert (mask == (stack > LEVEL)).mean() > 0.98
    assert written.probabilities
    assert tifffile.imread(written.probabilities).shape == (17, 2, 24, 20)
    with pytest.raises(InvalidData, match="trained on volumes; give NIfTI, or TIFF"):
        predict_files(network(dims=3), [saved(tmp_path / "a.png", scene())], outputs(tmp_path))
    with pytest.raises(InvalidData, match="trained on pictures"):
        predict_files(network(), [volume(tmp_path)[0]], outputs(tmp_path))


# ---- images unlike the training's


def warnings(tmp_path: Path, image: Array, **changes: Any) -> str:
    file = saved(tmp_path / "w.png", image)
    usual = Usual.of(scene(number)[..., None] for number in range(10))
    made = network(**{"usual": usual, **changes})
    return " ".join(predict_files(made, [file], outputs(tmp_path)).warnings)


def test_an_image_unlike_the_training_images_is_told(tmp_path: Path) -> None:
    for seed in range(10, 30):
        assert not warnings(tmp_path, scene(seed))
    bright = warnings(tmp_path, np.full((40, 30), 250, np.uint8))
    assert "w.png: the mean is 98.0% of the scale, and in the training images usually" in bright
    assert "the spread is 0.0% of the scale" in bright
    assert "mean" in warnings(tmp_path, scene() // 8)
    assert not warnings(tmp_path, scene() // 8, usual=None)  # of runs of older versions


def test_a_few_training_images_or_equal_ones_make_no_other_unusual() -> None:
    usual = Usual.of([scene()[..., None]] * 2)
    assert not [*usual.differences(scene()[..., None] + np.uint8(5))]


def test_which_band_is_unlike_is_told() -> None:
    usual = Usual.of(np.stack([scene(n)] * 3, axis=-1) for n in range(8))
    image = np.stack([scene(9), scene(9), scene(9) // 9], axis=-1)
    assert [words[:20] for words in usual.differences(image)] == [
        "the mean of band 3 i",
        "the spread of band 3",
    ]


def test_an_image_far_smaller_than_the_training_windows_is_told(tmp_path: Path) -> None:
    small = scene(size=(40, SIDE // 2 - 1))
    assert "w.png: is 40x7, and the network was trained on 16x16" in warnings(
        tmp_path, small, usual=None
    )
    assert not warnings(tmp_path, scene(size=(40, SIDE // 2)), usual=None)


# ---- files and folders


def test_a_folder_is_all_images_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for name in ("b.png", "a.JPG", ".hidden.png", "sub/c.png"):
        saved(folder / name, scene())
    (folder / "notes.txt").write_text("")
    found = predict_files(network(), [folder], outputs(tmp_path))
    assert [file.name for file in found.files] == ["a.JPG", "b.png"]
    [note] = found.notes
    assert "3 left out, which are no images: .hidden.png, notes.txt, sub" in note
    with pytest.raises(InvalidData, match=r"holds c\.png, and no image \(\.nii"):
        predict_files(network(dims=3), [folder / "sub"], outputs(tmp_path))


def test_masks_in_a_folder_are_no_images(tmp_path: Path) -> None:
    for name in ("benign (1).png", "benign (1)_mask.png", "benign (1)_mask_1.png", "x_mask.png"):
        saved(tmp_path / "mine" / name, scene())
    found = predict_files(network(), [tmp_path / "mine"], outputs(tmp_path))
    assert [file.name for file in found.files] == ["benign (1).png", "x_mask.png"]
    assert "2 left out, which are masks of others by their names: benign (1)_m" in found.notes[0]
    named = predict_files(network(), sorted((tmp_path / "mine").iterdir()), outputs(tmp_path))
    assert len(named.files) == 4, "what is named is meant"


def test_dicom_is_told_what_to_become(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    with pytest.raises(InvalidData, match=r"a\.dcm: is DICOM, .*dcm2niix"):
        predict_files(network(), [tmp_path / "a.dcm"], outputs(tmp_path))


def test_a_network_of_slices_says_that_it_is_one(tmp_path: Path) -> None:
    of_slices = replace(network(), scale={})
    file = saved(tmp_path / "a.png", scene())
    for given in (file, file.with_name("v.nii.gz")):
        given.touch()
        with pytest.raises(InvalidData, match=r"trained on slices.*--size 32x64x64"):
            predict_files(of_slices, [given], outputs(tmp_path))


def test_every_image_that_cannot_be_used_is_named(picture: Path, tmp_path: Path) -> None:
    saved(tmp_path / "rgb.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "torn.png").write_bytes(b"")
    names = ["a.png", "rgb.png", "torn.png", "none.png"]
    with pytest.raises(InvalidData) as refused:
        predict_files(network(), [tmp_path / name for name in names], outputs(tmp_path))
    for words in ("rgb.png: 3 channels", "torn.png: cannot be read", "none.png: no such file"):
        assert words in str(refused.value)
    assert "a.png" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["", "overlay"])
def test_no_output_replaces_an_image(where: str, tmp_path: Path) -> None:
    file = saved(tmp_path / where / "a.png", scene())
    with pytest.raises(InvalidData, match="would replace"):
        predict_files(network(), [file], Outputs(tmp_path, overlay=True))


@pytest.mark.parametrize("name", ["-a", "a b'\"$x", "a\nb\x1b[31m", "ä.b", "a.nii"])
def test_names_with_odd_characters(name: str, tmp_path: Path, unet_bench: Any, mine: Path) -> None:
    saved(tmp_path / "in" / f"{name}.png", scene())
    done = unet_bench("predict", str(mine), "unet", "in", "--overlay", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "\x1b" not in done.stdout
    assert sorted(os.listdir(tmp_path / "out")) == sorted([f"{name}.png", "overlay"])


def test_what_cannot_be_written_whole_is_not_there(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(draft: Path, *_: object) -> None:
        draft.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiff, "write_bands", full)
    found = predict_files(network(), [picture], outputs(tmp_path, probabilities="tiff"))
    with pytest.raises(StoreError, match="No space left"):
        write(found)
    assert os.listdir(tmp_path / "out" / "probabilities") == []


def test_large_images_are_refused_unless_they_are_allowed(picture: Path, tmp_path: Path) -> None:
    with allow_pixels(1000), pytest.raises(InvalidData, match="--max-megapixels"):
        predict_files(network(), [picture], outputs(tmp_path))


def test_pixels_of_many_images_are_not_held(tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path / "in" / f"{number}.png", scene())
    found = predict_files(network(), [tmp_path / "in"], outputs(tmp_path))
    held = _read_all(network(), found.files, None, only_doubts=True)
    assert all(one.image.base is None and not one.image.size for one in held.values())


# ---- the command


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run's folder, of which the command is given our network."""
    monkeypatch.setattr(trained, "load_network", lambda *_, **__: network())
    return tmp_path / "run"


def test_json_says_what_was_written(
    mine: Path, unet_bench: Any, picture: Path, tmp_path: Path
) -> None:
    saved(tmp_path / "small.png", scene(size=(7, 40)))
    options = ["--overlay", "--probabilities", "npz", "--json"]
    done = unet_bench("predict", str(mine), "unet", "a.png", "small.png", *options)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["classes"] == [
        {"id": 0, "name": "background", "colour": "#20262d"},
        {"id": 1, "name": "object", "colour": "#e69f00"},
    ]
    assert answer["images"][0] == {
        "image": "a.png",
        "mask": os.path.join("predictions", "a.png"),
        "overlay": os.path.join("predictions", "overlay", "a.png"),
        "probabilities": os.path.join("predictions", "probabilities", "a.npz"),
    }
    for written in answer["images"]:
        assert all((tmp_path / file).is_file() for file in written.values())
    [warning] = answer["warnings"]
    assert "small.png: is 7x40" in warning
    assert f"warning: {warning}" in done.stderr


def test_what_is_refused_exits_with_2(mine: Path, unet_bench: Any, picture: Path) -> None:
    for options in (["none.png"], ["a.png", "--overlap", "2"], ["a.png", "--probabilities", "x"]):
        done = unet_bench("predict", str(mine), "unet", *options, "--json")
        assert (done.returncode, done.stdout) == (2, "")
    done = unet_bench("predict", str(mine), "unet", "a.png", "--max-megapixels", "0.0001")
    assert done.returncode == 2
    assert "allow more by --max-megapixels" in done.stderr


def test_a_data_set_keeps_what_its_values_were_taken_for(tmp_path: Path) -> None:
    data = dataset()
    assert Dataset.load(_saved(data, tmp_path)).labels == data.labels


def _saved(data: Dataset, tmp_path: Path) -> Path:
    data.save(tmp_path / "d.npz")
    return tmp_path / "d.npz"
