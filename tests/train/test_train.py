"""Metrics, and that every variant is trained on the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unet_bench import pipeline
from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import IGNORE
from unet_bench.spec.suite import from_dict
from unet_bench.train.loop import Training, tensors
from unet_bench.train.metrics import bootstrap_dice, confusion, scores


def test_dice_and_iou_on_a_worked_example() -> None:
    truth, predicted = torch.tensor([0, 0, 1, 1, 2, IGNORE]), torch.tensor([0, 1, 1, 1, 0, 2])
    found = scores(confusion(predicted, truth, 4))
    assert found.dice[:3] == pytest.approx([0.5, 0.8, 0.0])
    assert found.iou[:3] == pytest.approx([1 / 3, 2 / 3, 0.0])
    assert np.isnan(found.dice[3])  # in neither truth nor prediction
    assert found.mean_dice == pytest.approx(0.4)
    assert found.pixels.tolist() == [2, 2, 1, 0]


@given(st.lists(st.integers(0, 30), min_size=9, max_size=9))
def test_dice_and_iou_are_two_faces_of_one_figure(values: list[int]) -> None:
    found = scores(np.array(values).reshape(3, 3))
    present = ~np.isnan(found.dice)
    assert found.dice[present] == pytest.approx(2 * found.iou[present] / (1 + found.iou[present]))


def test_bootstrap_needs_images() -> None:
    rng = np.random.default_rng(0)
    few = np.stack([np.eye(2, dtype=int) * 10] * 4)
    assert np.isnan(bootstrap_dice(few, rng)).all()
    many = rng.integers(1, 50, (30, 2, 2))
    low, high = bootstrap_dice(many, rng)
    assert low < scores(many.sum(0)).mean_dice < high


def test_every_variant_is_trained_on_the_same_pixels() -> None:
    """With and without batch norm, which is settled on batches of its own at every look at the
    validation images.
    """
    options = {
        "variants": ["unet-same"],
        "probes": ["accuracy"],
        "size": "32x32",
        "steps": 6,
        "batch": 2,
        "threads": 1,
    }
    seen: dict[str, list[torch.Tensor]] = {}
    with pipeline.plan(from_dict({**options, "data": ["cells"], "width_scale": 0.0625})) as made:
        for planned in made.planned:
            context = MeasurementContext(
                planned.cell, made.loaded.registry, next(iter(made.data.values()))
            )
            model, inputs = context.network(training=True), seen.setdefault(planned.names[0], [])

            def note(
                module: torch.nn.Module,
                given: tuple[torch.Tensor, ...],
                inputs: list[torch.Tensor] = inputs,
            ) -> None:
                if torch.is_grad_enabled():
                    inputs.append(given[0].clone())

            model.register_forward_pre_hook(note)
            Training(context, model, tensors(context, context.dataset())).run()
    assert len(seen["unet"]) == 6
    assert all(torch.equal(a, b) for a, b in zip(seen["unet"], seen["unet-same"], strict=True))
