"""What a run keeps for people to look at: a few test images, their truth, what networks made of
them, their shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_bench import pipeline, read_results
from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import Dataset, Sample
from unet_bench.errors import InvalidSuite
from unet_bench.measure import accuracy
from unet_bench.train import examples

TINY: dict[str, Any] = {
    **{"size": "32x32", "width_scale": 1 / 16, "preset": "quick", "steps": 2},
    **{"probes": ["cost", "accuracy"], "data": ["cells"]},
}


@given(wanted=st.integers(0, 9), count=st.integers(0, 40))
def test_examples_are_spread_over_all_images(wanted: int, count: int) -> None:
    numbers = examples.chosen(wanted, count)
    assert len(numbers) == len(set(numbers)) == min(wanted, count)
    assert numbers == sorted(numbers)
    if len(numbers) > 1:
        assert (numbers[0], numbers[-1]) == (0, count - 1)


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((32, 24, 1), (32, 24)),
        ((32, 24, 3), (32, 24, 3)),
        ((32, 24, 4), (32, 24)),
        ((1000, 600, 1), (250, 150)),
        ((7, 32, 24, 2), (32, 24)),  # a volume's middle slice
    ],
)
def test_a_picture_is_small_and_uses_all_greys(
    shape: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    found = examples.picture(np.random.default_rng(0).normal(1000, 5, shape))
    assert (found.shape, found.dtype) == (seen, np.uint8)
    assert (found.min(), found.max()) == (0, 255)
    assert not examples.picture(np.zeros(shape, np.uint8)).any()


def test_a_volume_is_seen_in_its_middle_slice() -> None:
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[1] = 2
    assert (examples.thinned(mask) == 2).all()


def load(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def test_a_run_keeps_the_same_test_images_of_every_network(finished_run: Path) -> None:
    cells = read_results(finished_run, "cells")
    scored = cells[(cells["probe"] == "accuracy") & cells["same_as"].isna()]
    assert len(scored) == 6  # three networks, three trivial baselines
    [inputs] = (finished_run / "samples").glob("examples-*.npz")
    images = load(inputs)
    assert set(images) == {f"{what}{i}" for what in ("image", "truth") for i in range(3)}
    for cell in scored["cell_id"]:
        predicted = load(finished_run / "samples" / f"accuracy-{cell}.npz")
        for i in range(3):
            assert (
                predicted[f"predicted{i}"].shape
                == images[f"truth{i}"].shape
                == images[f"image{i}"].shape[:2]
            )
            assert predicted[f"predicted{i}"].dtype == np.uint8
    for variant, said in [("unet", True), ("floor-otsu", False)]:
        [cell] = scored.loc[scored["variant"] == variant, "cell_id"]
        file = finished_run / "samples" / f"accuracy-{cell}.json"
        assert file.exists() == said
        assert not said or json.loads(file.read_text())["examples"] == inputs.name


def test_what_is_kept_is_what_was_scored(tmp_path: Path) -> None:
    """Of all test images the Dice is the row's."""
    path = Path(pipeline.run(["unet"], out=tmp_path, examples=100, **TINY).attrs["path"])
    truth = load(next((path / "samples").glob("examples-*.npz")))
    cells = read_results(path, "cells")
    for row in cells[cells["probe"] == "accuracy"].to_dict("records"):
        predicted = load(path / "samples" / f"accuracy-{row['cell_id']}.npz")
        assert mean_dice(truth, predicted, row["classes"]) == pytest.approx(row["dice"])


def mean_dice(
    truth: dict[str, np.ndarray], predicted: dict[str, np.ndarray], classes: int
) -> float:
    true, said = (
        np.concatenate([of[f"{name}{i}"].ravel() for i in range(len(predicted))])
        for of, name in [(truth, "truth"), (predicted, "predicted")]
    )
    true, said = true[true != 255], said[true != 255]
    either = [
        ((true == c).sum() + (said == c).sum(), (true == c) & (said == c))
        for c in range(1, classes)
    ]
    return float(np.mean([2 * hits.sum() / both for both, hits in either if both]))


def test_a_run_keeps_the_shape_of_every_network(finished_run: Path) -> None:
    cells = read_results(finished_run, "cells")
    measured = cells[(cells["probe"] == "cost") & cells["same_as"].isna()]
    for row in measured.to_dict("records"):
        file = finished_run / "samples" / f"cost-{row['cell_id']}.json"
        stages = json.loads(file.read_text())["stages"]
        assert (stages[0]["name"], stages[0]["size"]) == ("image", [row["height"], row["width"]])
        assert (stages[-1]["channels"], stages[-1]["size"]) == (
            row["classes"],
            [row["output_height"]] * 2,
        )
        assert max(stage["level"] for stage in stages) == row["depth"]


@pytest.mark.slow
def test_none_are_kept_if_none_are_wanted(tmp_path: Path) -> None:
    path = Path(pipeline.run(["unet"], out=tmp_path, examples=0, **TINY).attrs["path"])
    assert not list((path / "samples").glob("*.npz"))
    with pytest.raises(InvalidSuite, match="examples=-1 is not valid: it must be from 0"):
        pipeline.run(["unet"], out=tmp_path, examples=-1, **TINY)


def test_pictures_that_cannot_be_written_cost_no_training(
    context_of: Callable[..., MeasurementContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(examples, "_save", full)
    data = opened(tmp_path)
    context = context_of("unet", protocol={"steps": 2})
    context = replace(
        context,
        cell=replace(context.cell, probe="accuracy"),
        data=data,
        samples=tmp_path / "samples.json",
    )
    assert 0 <= accuracy.probe(context)["dice"] <= 1
    assert "no room" in capfd.readouterr().err


def opened(folder: Path) -> Path:
    """A data set as workers read it."""
    made = [
        Sample(str(n), np.full((32, 32, 1), n, np.uint8), np.full((32, 32), n % 3, np.uint8))
        for n in range(9)
    ]
    Dataset("t", ("a", "b", "c"), 1, tuple(made[:3]), tuple(made[3:6]), tuple(made[6:])).save(
        folder / "data.npz"
    )
    return folder / "data.npz"
