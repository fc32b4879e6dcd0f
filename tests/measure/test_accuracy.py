"""A training, whole: budgets, choice of weights, curves, checkpoints, the kept network."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from support.datasets import dataset

from unet_bench.builtin import RECIPES
from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import Dataset
from unet_bench.errors import InvalidSize, NonFinite
from unet_bench.measure import accuracy
from unet_bench.spec.recipe import Recipe, shipped
from unet_bench.train import evaluation, loop
from unet_bench.train.loop import rate

Put = Callable[..., MeasurementContext]


@pytest.fixture
def put(context_of: Callable[..., MeasurementContext], tmp_path: Path) -> Put:
    """A bench that holds the data set; keyword arguments are the protocol's."""

    def on_bench(
        name: str = "unet", data: Dataset | None = None, seed: int = 0, **protocol: Any
    ) -> MeasurementContext:
        context = context_of(
            name, protocol={"recipe": Recipe(lr=1e-2, evaluations=3), "steps": 12, **protocol}
        )
        (data or dataset()).save(tmp_path / "data.npz")
        files = {"checkpoint": tmp_path / "checkpoint", "weights": tmp_path / "weights.safetensors"}
        cell = replace(context.cell, probe="accuracy", seed=seed)
        return replace(
            context,
            cell=cell,
            data=tmp_path / "data.npz",
            samples=tmp_path / "samples.json",
            key="k",
            **files,
        )

    return on_bench


def weights(context: MeasurementContext) -> dict[str, torch.Tensor]:
    assert context.weights
    return load_file(context.weights)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_figures_and_the_curve(put: Put) -> None:
    context = put()
    found = accuracy.probe(context)
    assert 0 <= found["dice"] <= 1
    assert (found["train_steps"], found["train_images"]) == (12, 24)
    assert 0 < found["data_share"] < 1
    curve = json.loads(context.samples.read_text())  # type: ignore[union-attr]
    assert len(curve["losses"]) == 12
    assert [look["step"] for look in curve["looks"]] == [4, 8, 12]
    best = max(curve["looks"], key=lambda look: (look["val_dice"], look["step"]))
    assert (found["best_step"], found["val_dice"]) == (best["step"], best["val_dice"])
    seconds = [look["seconds"] for look in curve["looks"]]
    assert seconds == sorted(seconds)
    assert all(look["val_loss"] > 0 for look in curve["looks"])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(put: Put) -> None:
    first = put()
    accuracy.probe(first)
    before = weights(first)
    accuracy.probe(put())
    assert same(before, weights(first))
    accuracy.probe(put(seed=1))
    assert not same(before, weights(first))


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [Recipe(lr=1e-2, evaluations=3), replace(shipped("paper"), select="best", evaluations=3)],
)
def test_a_killed_training_goes_on_and_ends_the_same(
    put: Put, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = accuracy.probe(put(recipe=recipe))
    unbroken = weights(put())
    curve = json.loads(put().samples.read_text())  # type: ignore[union-attr]

    class Killed(BaseException):
        pass

    def killed_at_7(self: loop.TrainingStep, *batch: Any) -> torch.Tensor:
        taken.append(1)
        if len(taken) > 7:
            raise Killed
        return original(self, *batch)

    taken: list[int] = []
    original = loop.TrainingStep.__call__
    context = put(recipe=recipe, checkpoint_s=1e-9)
    with monkeypatch.context() as patched:
        patched.setattr(loop.TrainingStep, "__call__", killed_at_7)
        with pytest.raises(Killed):
            accuracy.probe(context)
    assert context.checkpoint is not None
    assert (context.checkpoint / "state.safetensors").exists()
    (context.checkpoint / ".tmpKilled").touch()  # as a killed writer leaves it
    found = accuracy.probe(context)
    assert found["resumed_step"] == 7
    assert same(weights(context), unbroken)
    again = json.loads(context.samples.read_text())  # type: ignore[union-attr]
    assert again["losses"] == curve["losses"]
    assert found["dice"] == whole["dice"]
    assert not context.checkpoint.exists()


def test_a_checkpoint_of_another_cell_or_a_damaged_one_is_left_alone(
    put: Put, capfd: pytest.CaptureFixture
) -> None:
    context = put(steps=4)
    accuracy.probe(context)
    clean = weights(context)
    assert context.checkpoint
    other = loop.Checkpoint(context.checkpoint, "other", 1.0)
    other.save({"x": torch.zeros(1)}, {})
    assert accuracy.probe(context)["resumed_step"] is None
    context.checkpoint.mkdir(exist_ok=True)
    (context.checkpoint / "state.safetensors").write_bytes(b"torn")
    assert accuracy.probe(context)["resumed_step"] is None
    assert "cannot be used" in capfd.readouterr().err
    assert same(weights(context), clean)


def test_a_disk_that_is_full_costs_the_checkpoint_and_not_the_training(
    put: Put, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unet_bench.train.checkpoint.save_file", full)
    assert accuracy.probe(put(steps=3, checkpoint_s=1e-9))["train_steps"] == 3
    assert "No space left" in capfd.readouterr().err


def test_a_disk_that_is_full_costs_the_weights_and_not_the_figures(
    put: Put, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("unet_bench.train.trained.save_file", full)
    context = put(steps=3)
    assert accuracy.probe(context)["dice"] >= 0
    assert "could not be kept" in capfd.readouterr().err
    assert context.weights is not None
    assert not context.weights.exists()


def test_a_budget_of_seconds_ends_in_time(put: Put) -> None:
    found = accuracy.probe(put(steps=0, train_s=1.0))
    assert found["train_steps"] >= 2
    assert found["train_s"] >= 1.0
    curve = json.loads(put().samples.read_text())  # type: ignore[union-attr]
    assert 1 <= len(curve["looks"]) <= 3


def test_a_diverged_training_says_so_and_keeps_its_curve(put: Put) -> None:
    context = put(
        recipe=Recipe(optimizer="sgd", lr=1e9, clip=0.0, warm_up=0.0, evaluations=1),
        checkpoint_s=1e-9,
    )
    with pytest.raises(NonFinite):
        accuracy.probe(context)
    curve = json.loads(context.samples.read_text())  # type: ignore[union-attr]
    assert curve["losses"]
    assert curve.get("diverged") or len(curve["losses"]) == 12
    assert context.checkpoint is not None
    assert not context.checkpoint.exists()


def test_without_validation_images_the_last_weights_are_tested(put: Put) -> None:
    found = accuracy.probe(
        put(data=dataset(val=()), recipe=Recipe(lr=1e-2, evaluations=3, select="last"))
    )
    assert found["best_step"] == 12
    assert math.isnan(found["val_dice"])


def test_test_images_do_not_choose(put: Put) -> None:
    """Other test masks give other scores of the same weights."""
    context = put()
    before = accuracy.probe(context)
    chosen = weights(context)
    blank = tuple(replace(s, mask=np.ones_like(s.mask)) for s in dataset().test)
    after = accuracy.probe(put(data=dataset(test=blank)))
    assert same(chosen, weights(context))
    assert after["dice"] != before["dice"]


def test_an_unpadded_network_scores_alike_whole_and_in_tiles(put: Put) -> None:
    """Tiles that begin at multiples of 16 meet the same pooling windows as the whole image does."""
    data = dataset(
        test=tuple(replace(s, image=s.image[:32], mask=s.mask[:32]) for s in dataset().test)
    )
    data = replace(
        data, test=tuple(replace(s, image=s.image[:, :48], mask=s.mask[:, :48]) for s in data.test)
    )
    tiled = accuracy.probe(put("unet-paper", data, steps=3, recipe=Recipe(lr=1e-2, evaluations=1)))
    whole = accuracy.probe(
        put("unet-paper", data, steps=3, recipe=Recipe(lr=1e-2, evaluations=1), whole=True)
    )
    assert whole["dice"] == pytest.approx(tiled["dice"], abs=1e-6)
    assert whole["hd95_px"] == pytest.approx(tiled["hd95_px"], abs=1e-6)


def test_what_cannot_take_the_images_is_found_before_training(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise InvalidSize("no")

    monkeypatch.setattr(evaluation, "find_input_window", refuse)
    monkeypatch.setattr(loop.TrainingStep, "__call__", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(InvalidSize):
        accuracy.probe(put(whole=True))


@pytest.mark.parametrize("name", ["default", *RECIPES])
def test_every_recipe_trains(put: Put, name: str) -> None:
    recipe = Recipe() if name == "default" else shipped(name)
    found = accuracy.probe(put(recipe=replace(recipe, evaluations=1), steps=2))
    assert math.isfinite(found["final_loss"])


def test_rates_rise_then_fall() -> None:
    steps = 50
    for schedule in ("cosine", "poly", "constant"):
        recipe = Recipe(schedule=schedule, warm_up=0.1)
        rates = [rate(recipe, n / steps, (n + 1) / steps) for n in range(steps)]
        assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
        assert all(a >= b > 0 for a, b in itertools.pairwise(rates[4:]))
        assert (rates[-1] < 0.1) == (schedule != "constant")
    assert rate(Recipe(schedule="poly", warm_up=0.0, power=0.9), 0.5, 0.52) == pytest.approx(
        0.5**0.9
    )
    assert rate(Recipe(warm_up=0.0), 0.5, 0.52) == pytest.approx(0.5)


def test_mixed_precision_is_for_cuda_and_an_open_setting(put: Put) -> None:
    context = put()
    assert accuracy.mixed(context) is context
