"""Cross-validation: every sample is tested once, and what belongs together stays together."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.datasets import image_folder

from unet_bench.data.dataset import Dataset, Sample
from unet_bench.data.folds import given_folds, seeded_folds
from unet_bench.errors import InvalidData, InvalidSuite
from unet_bench.pipeline import plan
from unet_bench.spec.suite import from_dict


def made(groups: list[int]) -> Dataset:
    """Volumes of so many slices; the first goes to train, the second to val, others to test."""
    image = np.zeros((4, 4, 1), np.uint8)
    volumes = [
        tuple(Sample(f"v{v}/{z}", image, image[..., 0], f"v{v}") for z in range(slices))
        for v, slices in enumerate(groups)
    ]
    return Dataset("d", ("a", "b"), 1, volumes[0], volumes[1], sum(volumes[2:], ()))


@given(st.lists(st.integers(1, 4), min_size=3, max_size=9), st.integers(3, 9))
def test_each_sample_is_tested_once_and_volumes_stay_whole(groups: list[int], count: int) -> None:
    dataset = made(groups)
    if count > len(groups):
        with pytest.raises(InvalidSuite, match=f"folds={count}"):
            seeded_folds(dataset, count)
        return
    folds = seeded_folds(dataset, count)
    names = sorted(sample.name for sample in dataset.samples)
    assert sorted(sample.name for fold in folds for sample in fold.test) == names
    assert sorted(sample.name for fold in folds for sample in fold.val) == names
    for fold in folds:
        assert sorted(sample.name for sample in fold.samples) == names
        held = [{sample.group for sample in split} for split in fold.splits.values()]
        assert all(not a & b for a, b in itertools.combinations(held, 2))


def test_given_folds_are_taken_from_files(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 1), np.uint8)
    one = [Sample(name, image, image[..., 0]) for name in "abcd"]
    dataset = Dataset("d", ("a", "b"), 1, tuple(one[:2]), tuple(one[2:3]), tuple(one[3:]))
    (tmp_path / "splits").mkdir()
    for fold, (train, val) in enumerate((("a\nb\n", "c\nd\n"), ("c\nd", "a\nb"))):
        (tmp_path / "splits" / f"nv_fold{fold}_train.txt").write_text(train)
        (tmp_path / "splits" / f"nv_fold{fold}_val.txt").write_text(val)
    folds = given_folds(dataset, tmp_path, "nv")
    assert [[s.name for s in fold.train] for fold in folds] == [["a", "b"], ["c", "d"]]
    assert [[s.name for s in fold.test] for fold in folds] == [["c", "d"], ["a", "b"]]
    assert not folds[0].val
    (tmp_path / "splits" / "nv_fold1_train.txt").write_text("c\nx\n")
    with pytest.raises(InvalidData, match=r"splits/nv_fold1_train\.txt: no image has the stem 'x'"):
        given_folds(dataset, tmp_path, "nv")
    with pytest.raises(InvalidData, match="has no other_fold0_train"):
        given_folds(dataset, tmp_path, "other")


@pytest.mark.slow
def test_a_run_knows_its_folds_by_the_files_content_and_refuses_a_choice_without_validation(
    tmp_path: Path,
) -> None:
    data = image_folder(tmp_path / "mine")
    (data / "splits").mkdir()

    def parted(first: str, second: str) -> None:
        for fold, (train, val) in enumerate(((first, second), (second, first))):
            (data / "splits" / f"mine_fold{fold}_train.txt").write_text("\n".join(train))
            (data / "splits" / f"mine_fold{fold}_val.txt").write_text("\n".join(val))

    def hashes(recipe: str) -> set[str]:
        suite = {
            "variants": ["unet"],
            "data": [str(data)],
            "folds": "mine",
            "probes": ["accuracy"],
            "size": "32x32",
        }
        with plan(from_dict({**suite, "recipe": recipe, "floors": False})) as made:
            assert [p.cell.task.fold for p in made.planned] == ["0/2", "1/2"]
            return {p.cell.task.dataset_hash for p in made.planned}

    (tmp_path / "last.toml").write_text('select = "last"\n')
    last = str(tmp_path / "last.toml")
    parted("0123", "4567")
    first = hashes(last)
    assert (len(first), hashes(last)) == (1, first)
    parted("0124", "3567")
    assert hashes(last) != first
    with pytest.raises(InvalidSuite, match="mine has no validation images"):
        hashes("default")
