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


def test_slices_of_one_volume_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    volumes = rng.integers(1, 50, (8, 2, 2))
    slices = np.repeat(volumes, 10, axis=0)
    groups = [f"volume {i // 10}" for i in range(80)]
    alone, together = (
        bootstrap_dice(slices, np.random.default_rng(1), given) for given in ((), groups)
    )
    # Of ten equal slices each, the interval is that of the volumes.
    assert together == bootstrap_dice(10 * volumes, np.random.default_rng(1))
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])
    assert np.isnan(bootstrap_dice(slices, rng, ["one head"] * 80)).all()


def test_a_class_that_a_resample_lacks_does_not_count_in_it() -> None:
    rare = np.zeros((6, 3, 3), dtype=int)
    rare[:, 1, 1] = 5
    rare[0, 2, 2] = 5
    assert bootstrap_dice(rare, np.random.default_rng(0)) == (1.0, 1.0)
    assert np.isnan(bootstrap_dice(0 * rare, np.random.default_rng(0))).all()


def coverage(draws: int, cases: int, together: bool, rng: np.random.Generator) -> float:
    """How often the interval holds the Dice of infinitely many volumes, of twelve slices each."""
    true, held = None, 0
    for draw in range(draws + 1):
        count = cases if draw else 20_000
        of_volume = np.clip(rng.normal(0.8, 0.08, count), 0.05, 0.99)
        found = np.clip(rng.normal(of_volume, 0.03, (12, count)).T, 0.01, 0.99)
        hits, missed = 1000 * found, 1000 * (1 - found)
        slices = np.stack([[0 * hits, missed], [missed, hits]]).transpose(2, 3, 0, 1)
        counts = slices.reshape(-1, 2, 2)
        if true is None:
            true = scores(counts.sum(0)).mean_dice
            continue
        groups = [i // 12 for i in range(len(counts))] if together else []
        low, high = bootstrap_dice(counts, rng, groups, resamples=400)
        held += low <= true <= high
    return held / draws


def test_the_interval_over_volumes_covers_where_that_over_their_slices_does_not() -> None:
    assert coverage(60, 8, True, np.random.default_rng(0)) >= 0.87
    assert coverage(60, 8, False, np.random.default_rng(0)) <= 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "least"), [(5, 0.89), (10, 0.91), (30, 0.93)])
def test_the_interval_over_volumes_covers_about_95_percent(cases: int, least: float) -> None:
    assert least <= coverage(1000, cases, True, np.random.default_rng(cases)) <= 0.985


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
