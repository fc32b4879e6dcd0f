"""Ways in which people lay out images and masks; nothing is left out without a word."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from unet_bench.data.dataset import Array, Dataset, sliced
from unet_bench.data.folder import read_folder, recognises
from unet_bench.data.folds import seeded_folds
from unet_bench.data.layout import nearest
from unet_bench.data.sources import open_dataset
from unet_bench.errors import InvalidData
from unet_bench.registry.plugins import load

COUNT = 10


def image(number: int) -> Array:
    return np.full((8, 8), 10 * number + 5, np.uint8)


def mask(number: int) -> Array:
    found = np.zeros((8, 8), np.uint8)
    found[: number % 7 + 1] = 255
    return found


def save(file: Path, pixels: Array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def pair(number: int, image_file: Path, mask_file: Path) -> None:
    save(image_file, image(number))
    save(mask_file, mask(number))


def split_of(number: int) -> str:
    return "train" if number < 6 else "val" if number < 8 else "test"


def side_by_side(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "images" / f"{n}.png", root / "masks" / f"{n}.png")


def carvana(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "imgs" / f"{n}.png", root / "masks" / f"{n}_mask.gif")


def mmsegmentation(root: Path) -> None:
    for n in range(COUNT):
        split = split_of(n)
        pair(n, root / "img_dir" / split / f"{n}.png", root / "ann_dir" / split / f"{n}.png")


def split_folders(root: Path) -> None:
    for n in range(COUNT):
        place = root / split_of(n)
        pair(n, place / "images" / f"{n}.png", place / "masks" / f"{n}.png")


def split_folders_of_other_names(root: Path) -> None:
    names = {"train": "Training", "val": "valid", "test": "TEST"}
    for n in range(COUNT):
        place = root / names[split_of(n)]
        pair(n, place / "Images" / f"{n % 3}{n}.png", place / "labels" / f"{n % 3}{n}.png")


def folders_of_splits(root: Path) -> None:
    for n in range(COUNT):
        split = split_of(n)
        pair(n, root / "images" / split / f"{n}.png", root / "masks" / split / f"{n}.png")


def camvid(root: Path) -> None:
    for n in range(COUNT):
        split = split_of(n)
        pair(n, root / split / f"{n}.png", root / f"{split}_labels" / f"{n}_L.png")


def segnet(root: Path) -> None:
    for n in range(COUNT):
        split = split_of(n)
        pair(n, root / split / f"{n}.png", root / f"{split}annot" / f"{n}.png")


def together(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / f"{n}.jpg", root / f"{n}_mask.png")


def busi(root: Path) -> None:
    for n in range(COUNT):
        place = root / ("benign" if n % 2 else "malignant")
        pair(n, place / f"b ({n}).png", place / f"b ({n})_mask.png")


def class_folder(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "images" / f"{n}.png", root / "masks" / "0" / f"{n}.png")


def one_folder_in_capitals(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / f"{n}.png", root / f"{n}_Mask.png")


def ome(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "images" / f"{n}.ome.tif", root / "masks" / f"{n}.png")


def training_alone(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "train" / "images" / f"{n}.png", root / "train" / "masks" / f"{n}.png")
        save(root / "test" / "images" / f"{n}.png", image(n))


# Public data sets as they come; what they hold beside images and masks must not be read as masks.


def decoy(file: Path) -> None:
    save(file, np.full((8, 8), 255, np.uint8))


def drive_split(root: Path) -> None:
    for n in range(COUNT):
        split = "training" if n < 6 else "test"
        pair(
            n,
            root / split / "images" / f"{20 + n}_{split}.tif",
            root / split / "1st_manual" / f"{20 + n}_manual1.gif",
        )
        decoy(root / split / "mask" / f"{20 + n}_{split}_mask.gif")
        decoy(root / split / "2nd_manual" / f"{20 + n}_manual2.gif")


def hrf(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "images" / f"{n}_dr.png", root / "manual1" / f"{n}_dr.tif")
        decoy(root / "mask" / f"{n}_dr_mask.tif")


def stare(root: Path) -> None:
    for n in range(COUNT):
        name = f"im{n:04}"
        pair(n, root / "stare-images" / f"{name}.ppm", root / "labels-ah" / f"{name}.ah.ppm")
        decoy(root / "labels-vk" / f"{name}.vk.ppm")


def chase(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / f"Image_{n:02}L.png", root / f"Image_{n:02}L_1stHO.png")
        decoy(root / f"Image_{n:02}L_2ndHO.png")


def isic_split(root: Path) -> None:
    names = {"train": "Training", "val": "Validation", "test": "Test"}
    for n in range(COUNT):
        split = names[split_of(n)]
        pair(
            n,
            root / f"ISIC2018_Task1-2_{split}_Input" / f"ISIC_{n:07}.png",
            root / f"ISIC2018_Task1_{split}_GroundTruth" / f"ISIC_{n:07}_segmentation.png",
        )
        decoy(root / f"ISIC2018_Task1-2_{split}_Input" / f"ISIC_{n:07}_superpixels.png")


def cvc(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "Original" / f"{n}.tif", root / "Ground Truth" / f"{n}.tif")


def glas(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / f"train_{n}.bmp", root / f"train_{n}_anno.bmp")


def loveda_split(root: Path) -> None:
    for n in range(COUNT):
        place = root / split_of(n).title() / ("Rural" if n % 2 else "Urban")
        pair(n, place / "images_png" / f"{n // 2}.png", place / "masks_png" / f"{n // 2}.png")


def deepglobe(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "train" / f"{n}{n}_sat.png", root / "train" / f"{n}{n}_mask.png")
        save(root / "valid" / f"{n}{n}9_sat.png", image(n))


def flat_cityscapes(root: Path) -> None:
    for n in range(COUNT):
        name = f"ulm_{n:06}_000019"
        image_file = root / "images" / f"{name}_leftImg8bit.png"
        pair(n, image_file, root / "masks" / f"{name}_gtFine_labelIds.png")
        decoy(root / "masks" / f"{name}_gtFine_color.png")


def carvana_train(root: Path) -> None:
    for n in range(COUNT):
        name = f"0cdf5b5d0ce1_{n:02}"
        pair(n, root / "train" / f"{name}.png", root / "train_masks" / f"{name}_mask.gif")
        save(root / "test" / f"9cdf5b5d0ce1_{n:02}.png", image(n))


def split_folders_each_in_one(root: Path) -> None:
    for n in range(COUNT):
        place = root / split_of(n)
        pair(n, place / f"{n}.png", place / f"{n}_mask.png")


def prefixes(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / "images" / f"image_{n}.png", root / "masks" / f"mask_{n}.png")


def prefixes_together(root: Path) -> None:
    for n in range(COUNT):
        pair(n, root / f"volume-{n}.png", root / f"segmentation-{n}.png")


def ph2(root: Path) -> None:
    for n in range(COUNT):
        name = f"IMD{n:03}"
        case = root / name
        pair(
            n,
            case / f"{name}_Dermoscopic_Image" / f"{name}.bmp",
            case / f"{name}_lesion" / f"{name}_lesion.bmp",
        )
        decoy(case / f"{name}_roi" / f"{name}_R1_Label4.bmp")


LAYOUTS: dict[str, Callable[[Path], None]] = {
    made.__name__: made
    for made in (
        side_by_side,
        carvana,
        mmsegmentation,
        split_folders,
        split_folders_of_other_names,
        folders_of_splits,
        camvid,
        segnet,
        together,
        busi,
        class_folder,
        one_folder_in_capitals,
        ome,
        training_alone,
        drive_split,
        hrf,
        stare,
        chase,
        isic_split,
        cvc,
        glas,
        loveda_split,
        deepglobe,
        flat_cityscapes,
        carvana_train,
        split_folders_each_in_one,
        prefixes,
        prefixes_together,
        ph2,
    )
}


def number_of(pixels: Array) -> int:
    return round((float(pixels.mean()) - 5) / 10)


def is_right(data: Dataset) -> bool:
    """Return whether every image is there, with its own mask."""
    numbers = [number_of(sample.image) for sample in data.samples]
    return sorted(numbers) == list(range(COUNT)) and all(
        np.array_equal(sample.mask, mask(n) > 0)
        for sample, n in zip(data.samples, numbers, strict=True)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_people_have(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path / "set")
    data = open_dataset(load().checked(), str(tmp_path / "set"))
    assert is_right(data)
    if layout == "drive_split":
        assert {number_of(sample.image) for sample in data.test} == {6, 7, 8, 9}
        assert "4 folder(s) not read: test/2nd_manual/, test/mask/" in data.notes[0]
    elif "split" in layout or layout in ("camvid", "segnet"):
        found = {split: {number_of(s.image) for s in held} for split, held in data.splits.items()}
        assert found == {"train": {*range(6)}, "val": {6, 7}, "test": {8, 9}}


@pytest.mark.parametrize("is_together", [True, False])
def test_an_image_is_not_left_out_for_its_name_where_it_has_a_mask(
    tmp_path: Path, is_together: bool
) -> None:
    root = tmp_path / "set"
    images = root if is_together else root / "images"
    masks = root if is_together else root / "masks"
    names = ["a", "a_superpixels", *map(str, range(2, COUNT))]
    for n, name in enumerate(names):
        pair(n, images / f"{name}.png", masks / f"{name}_mask.png")
    save(images / "2_superpixels.png", image(3))
    data = read_folder(root)
    assert is_right(data)
    assert "1 file(s) not used, which are no images by their names" in data.notes[0]
    assert data.notes[0].endswith("have no masks: 2_superpixels")


PATIENTS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "images in each": lambda who, name: (f"{who}/images/{name}.png", f"{who}/masks/{name}.png"),
    "images of all": lambda who, name: (f"images/{who}/{name}.png", f"masks/{who}/{name}.png"),
    "side by side": lambda who, name: (f"{who}/{name}.png", f"{who}/{name}_mask.png"),
}


def of_patients(root: Path, layout: str, patients: int) -> None:
    """Save two slices of each of some patients."""
    for patient in range(patients):
        for number in range(2):
            files = PATIENTS[layout](f"P {patient:02}", f"slice{number}")
            pair(2 * patient + number, *(root / file for file in files))


@pytest.mark.parametrize("layout", PATIENTS)
def test_images_of_a_patient_s_folder_stay_in_one_split(tmp_path: Path, layout: str) -> None:
    of_patients(tmp_path / "set", layout, 10)
    data = open_dataset(load().checked(), str(tmp_path / "set"))
    assert [len(held) for held in data.splits.values()] == [14, 2, 4]
    assert all(sample.group == sample.name.split("/")[0] for sample in data.samples)
    assert all(np.array_equal(s.mask, mask(number_of(s.image)) > 0) for s in data.samples)
    assert any("10 folders may be of as many patients" in note for note in data.notes)
    for fold in seeded_folds(data, 5):
        held = [{sample.group for sample in split} for split in fold.splits.values()]
        assert sum(map(len, held)) == 10
    (tmp_path / "set" / "splits").mkdir()
    for split, number in (("train", 0), ("test", 1)):
        lines = "\n".join(f"P {patient:02}/slice{number}" for patient in range(10))
        (tmp_path / "set" / "splits" / f"{split}.txt").write_text(lines)
    assert len(read_folder(tmp_path / "set").test) == 10, "who states a split is believed"


def test_volumes_of_a_patient_stay_together_slice_by_slice_too(tmp_path: Path) -> None:
    for patient in range(10):
        for scan in ("before", "after"):
            for kind in ("images", "masks"):
                file = tmp_path / f"p{patient}" / kind / f"{scan}.nii.gz"
                file.parent.mkdir(parents=True, exist_ok=True)
                values = np.zeros((8, 8, 2), np.int16)
                values[2:5, 2:5] = 1
                nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 2, 1])), file)
    data = read_folder(tmp_path)
    for held in (data, sliced(data)):
        assert {sample.group for sample in held.samples} == {f"p{n}" for n in range(10)}
        assert all(sample.name.startswith(f"{sample.group}/") for sample in held.samples)


def test_few_folders_with_images_and_masks_may_be_data_sets(tmp_path: Path) -> None:
    of_patients(tmp_path, "images in each", 3)
    assert not recognises(tmp_path)
    assert "P 00: give this folder" in nearest(tmp_path)[0]


@pytest.mark.parametrize("layout", ["images of all", "side by side"])
def test_images_of_few_folders_are_divided_with_a_note(tmp_path: Path, layout: str) -> None:
    of_patients(tmp_path, layout, 3)
    data = read_folder(tmp_path)
    assert len(data.samples) == 6
    assert not any(sample.group for sample in data.samples)
    assert any("of 3 folders (P 00, P 01, P 02) are divided one by" in note for note in data.notes)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Annotations/0.xml", r"Annotations/0\.xml: XML is not read"),
        ("labels/0.txt", r"labels/0\.txt: text is not read; .*YOLO's"),
        ("labels/0.geojson", r"labels/0\.geojson: GeoJSON is not read"),
        ("train.csv", r"train\.csv: CSV is not read; .*run-length masks"),
    ],
)
def test_outlines_that_are_not_read_are_refused_with_the_remedy(
    tmp_path: Path, name: str, told: str
) -> None:
    for n in range(COUNT):
        save(tmp_path / "set" / "train_images" / f"{n}.tif", image(n))
    file = tmp_path / "set" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("x")
    with pytest.raises(InvalidData, match=rf"{told}.*draw those of each"):
        open_dataset(load().checked(), str(tmp_path / "set"))


def test_no_folder_is_to_be_renamed_to_two_names(tmp_path: Path) -> None:
    save(tmp_path / "set" / "train_images" / "0.tif", image(0))
    lines = nearest(tmp_path / "set")
    assert lines
    assert all(line.count("rename train_images/") < 2 for line in lines)


@pytest.mark.parametrize("suffix", ["-labelled", "_cp_masks", "-seg", "_labels"])
def test_masks_that_tools_write_beside_their_images(tmp_path: Path, suffix: str) -> None:
    for n in range(COUNT):
        name = f"slide [d=2,x={n},y=0,w=8,h=8]"
        pair(n, tmp_path / f"{name}.tif", tmp_path / f"{name}{suffix}.png")
        save(tmp_path / f"{name}_overlay.png", image(n))
    data = read_folder(tmp_path)
    assert is_right(data)
    assert "no images by their names" in data.notes[0]


def test_images_of_several_numbers_of_bands_are_named_together(tmp_path: Path) -> None:
    side_by_side(tmp_path)
    np.save(tmp_path / "images" / "0.npy", np.zeros((8, 8, 5), np.uint8))
    (tmp_path / "images" / "0.png").unlink()
    save(tmp_path / "masks" / "1.png", np.zeros((8, 9), np.uint8))
    with pytest.raises(InvalidData, match=r"2 problem(?s:.*) bands: 1 in 1, .*; 5 in 0; ") as error:
        read_folder(tmp_path)
    assert "1: mask of 8x9" in str(error.value)


def test_splits_of_training_and_validation_alone(tmp_path: Path) -> None:
    for n in range(COUNT):
        place = tmp_path / "set" / ("train" if n < 7 else "val")
        pair(n, place / "images" / f"{n}.png", place / "masks" / f"{n}.png")
    data = read_folder(tmp_path / "set")
    assert {number_of(sample.image) for sample in data.test} == {7, 8, 9}
    assert len(data.val) == 1
    assert "there is no test split" in data.notes[0]


def test_a_folder_a_class(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n in range(COUNT):
        save(root / "images" / f"{n}.png", image(n))
        upper, lower = mask(n), np.zeros((8, 8), np.uint8)
        lower[7] = 255
        save(root / "masks" / "vein" / f"{n}.png", lower)
        save(root / "masks" / "cell" / f"{n}.png", upper)
    data = read_folder(root)
    assert data.classes == ("background", "cell", "vein")
    for sample in data.samples:
        expected = (mask(number_of(sample.image)) > 0).astype(int)
        expected[7] = 2
        assert np.array_equal(sample.mask, expected)


def test_a_class_has_one_number_in_all_splits(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n in range(COUNT):
        place = root / split_of(n)
        save(place / "images" / f"{n}.png", image(n))
        save(place / "masks" / "vein" / f"{n}.png", mask(n))
        if split_of(n) == "train":
            save(place / "masks" / "cell" / f"{n}.png", 0 * mask(n))
    data = read_folder(root)
    assert data.classes == ("background", "cell", "vein")
    assert all(set(np.unique(sample.mask)) == {0, 2} for sample in data.samples)


def test_lungs_of_montgomery(tmp_path: Path) -> None:
    root = tmp_path / "MontgomerySet"
    for n in range(COUNT):
        name = f"MCUCXR_{n:04}_0.png"
        save(root / "CXR_png" / name, image(n))
        save(root / "ManualMask" / "leftMask" / name, mask(n))
        save(root / "ManualMask" / "rightMask" / name, np.zeros((8, 8), np.uint8))
        (root / "ClinicalReadings").mkdir(exist_ok=True)
    data = open_dataset(load().checked(), str(root))
    assert data.classes == ("background", "leftMask", "rightMask")
    assert is_right(data)


def test_a_test_set_with_fields_of_view_alone_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "DRIVE"
    drive_split(root)
    shutil.rmtree(root / "test" / "1st_manual")
    data = read_folder(root)
    assert {number_of(sample.image) for sample in data.samples} == {*range(6)}
    assert any("test/" in note for note in data.notes)


def test_a_name_that_two_images_share_but_for_its_ending_is_no_match(tmp_path: Path) -> None:
    for name in ("a_sat.png", "a_test.png"):
        save(tmp_path / "images" / name, image(1))
    save(tmp_path / "masks" / "a.png", mask(1))
    with pytest.raises(InvalidData, match="name masks as their images"):
        read_folder(tmp_path)


@pytest.mark.parametrize("suffix", ["_mask_{}", "_{}", "/part{}", "/x{}"])
def test_several_masks_of_an_image_are_laid_together(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "set"
    for n in range(COUNT):
        save(root / "images" / f"a{n}.png", image(n))
        for row in range(n % 7 + 1):
            part = np.zeros((8, 8), np.uint8)
            part[row] = 255
            save(root / "masks" / f"a{n}{suffix.format(row)}.png", part)
    data = read_folder(root)
    assert is_right(data)
    assert "have several masks" in "\n".join(data.notes)


# --- names ---


def test_names_match_across_forms_of_unicode_and_case(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n in range(COUNT):
        composed = unicodedata.normalize("NFC", f"é{n}")
        decomposed = unicodedata.normalize("NFD", f"É{n}" if n % 2 else f"é{n}")
        pair(n, root / "images" / f"{composed}.png", root / "masks" / f"{decomposed}_MASK.png")
    assert is_right(read_folder(root))


def test_case_tells_names_apart_where_both_are_there(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for n in range(COUNT):
        name = f"{'a' if n % 2 else 'A'}{n // 2}"
        pair(n, root / "images" / f"{name}.png", root / "masks" / f"{name}.png")
    if len(list((root / "images").iterdir())) < COUNT:
        pytest.skip("this file system does not tell upper from lower case")
    assert is_right(read_folder(root))


# --- split files ---


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("splits", ("train", "val", "test")),
        ("splits", ("Train", "Val", "Test")),
        ("Splits", ("training", "valid", "testing")),
        ("", ("train", "validation", "test")),
    ],
)
@pytest.mark.parametrize(
    "line", ["{}", "{}.png", "images/{}.png", "./images/{}.png masks/{}.png", "{}.png,{}.png"]
)
def test_split_files_of_usual_names_and_lines(
    tmp_path: Path, where: str, names: tuple[str, ...], line: str
) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    (root / where).mkdir(exist_ok=True)
    for name, numbers in zip(names, (range(6), (6, 7), (8, 9)), strict=True):
        text = "".join(line.format(n, n) + "\n" for n in numbers)
        (root / where / f"{name}.txt").write_text(text)
    data = read_folder(root)
    assert data.split_by == "files"
    assert [number_of(sample.image) for sample in data.test] == [8, 9]


@pytest.mark.parametrize("lists", ["ImageSets/Segmentation", "ImageSets/Main", "ImageSets"])
@pytest.mark.parametrize("folders", ["JPEGImages SegmentationClass", "images masks"])
def test_lists_of_voc_are_split_files(tmp_path: Path, folders: str, lists: str) -> None:
    images, masks = folders.split()
    for n in range(COUNT):
        pair(n, tmp_path / images / f"{n}.png", tmp_path / masks / f"{n}.png")
    (tmp_path / lists).mkdir(parents=True)
    for split in ("train", "val", "test"):
        held = [str(n) for n in range(COUNT) if split_of(n) == split]
        (tmp_path / lists / f"{split}.txt").write_text("\n".join(held))
    (tmp_path / lists / "trainval.txt").write_text("\n".join(map(str, range(8))))
    assert recognises(tmp_path)
    data = read_folder(tmp_path)
    assert [len(held) for held in data.splits.values()] == [6, 2, 2]
    assert any("trainval.txt not used" in note for note in data.notes)
    for split in ("train", "val"):
        (tmp_path / lists / f"{split}.txt").unlink()
    assert [len(held) for held in read_folder(tmp_path).splits.values()] == [8, 0, 2]


def test_voc_itself_has_a_reader_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for n in range(COUNT):
        pair(n, root / "JPEGImages" / f"{n}.png", root / "SegmentationClass" / f"{n}.png")
    assert not recognises(root)


def test_split_files_of_unknown_names_are_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    (root / "splits").mkdir()
    (root / "splits" / "part_a.txt").write_text("1\n")
    data = read_folder(root)
    assert data.split_by.startswith("seeded")
    assert "part_a.txt not used as splits" in data.notes[0]


@pytest.mark.parametrize("where", ["splits", ""])
def test_split_files_that_are_not_read_are_named(tmp_path: Path, where: str) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    (root / where).mkdir(exist_ok=True)
    (root / where / "train.csv").write_text("1\n")
    assert "train.csv not used as splits" in read_folder(root).notes[0]


def test_lines_of_split_files_may_be_remarks_and_else_get_a_remedy(tmp_path: Path) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    for split, numbers in (("train", range(6)), ("val", (6, 7)), ("test", (8, 9))):
        (root / f"{split}.txt").write_text("\n".join(["# ours", *map(str, numbers)]))
    assert [number_of(sample.image) for sample in read_folder(root).test] == [8, 9]
    (root / "val.txt").write_text("/home/me/6.png")
    with pytest.raises(InvalidData, match=r"'/home/me/6.png'; name an image a line by its stem"):
        read_folder(root)


# --- nothing is left out without a word ---


@pytest.mark.parametrize(
    ("made", "left_out"),
    [
        (side_by_side, "train/images/a.png"),
        (split_folders, "extra/images/a.png"),
        (folders_of_splits, "images/later/a.png"),
        (camvid, "later/a.png"),
        (busi, "normal/a.png"),
    ],
)
def test_folders_beside_those_that_are_read_are_named(
    tmp_path: Path, made: Callable[[Path], None], left_out: str
) -> None:
    root = tmp_path / "set"
    made(root)
    save(root / left_out, image(1))
    folder = "images/later" if "later/" in left_out[6:] else left_out.split("/")[0]
    assert any(f"1 folder(s) not read: {folder}/" in note for note in read_folder(root).notes)


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    (root / "images" / "b.png").symlink_to(".git/annex/b")
    assert "images/: 1 link(s) lead nowhere" in read_folder(root).notes[0]


def test_a_mask_of_exchanged_sides_is_called_turned(tmp_path: Path) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    save(root / "images" / "0.png", np.zeros((8, 6), np.uint8))
    save(root / "masks" / "0.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(InvalidData, match="one of them is turned"):
        read_folder(root)


def test_what_is_not_used_is_named(tmp_path: Path) -> None:
    root = tmp_path / "set"
    side_by_side(root)
    (root / "images" / ".hidden.png").write_bytes(b"")
    (root / "images" / "b.heic").write_bytes(b"")
    (root / "images" / "old").mkdir()
    save(root / "masks" / "stranger.png", mask(1))
    (root / "splits").mkdir()
    for split, numbers in (("train", "01234"), ("val", "5"), ("test", "6")):
        (root / "splits" / f"{split}.txt").write_text("\n".join(numbers))
    notes = "\n".join(read_folder(root).notes)
    for part in (
        "images/: 1 hidden file(s) not read",
        "images/: 1 file(s) of unknown endings not read: b.heic",
        "images/: 1 folder(s) not read: old/",
        "masks/: 1 mask(s) belong to no image: stranger.png",
        "3 image(s) are in no split: 7, 8, 9",
    ):
        assert part in notes


def test_an_unknown_layout_is_answered_with_the_nearest(tmp_path: Path) -> None:
    root = tmp_path / "set"
    save(root / "picture" / "a.png", image(1))
    save(root / "maskes" / "a.png", mask(1))
    assert not recognises(root)
    with pytest.raises(InvalidData) as error:
        open_dataset(load().checked(), str(root))
    message = str(error.value)
    assert "images/ masks/: " in message
    assert "rename maskes/ to masks/" in message
    assert message.count("\n  ") == 3


def test_a_folder_around_the_data_is_answered_with_the_data(tmp_path: Path) -> None:
    side_by_side(tmp_path / "set" / "set" / "set")
    with pytest.raises(InvalidData, match=r"set/set/set: give this folder"):
        open_dataset(load().checked(), str(tmp_path / "set"))
