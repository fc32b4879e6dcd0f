"""What a recipe and a protocol say, a training and its evaluation do: each field, without training
long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.datasets import dataset
from torch import nn

from unet_bench.context import MeasurementContext
from unet_bench.geometry.shapes import InputWindow
from unet_bench.measure import accuracy
from unet_bench.networks.contracts import Outputs
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import TrainingWindow
from unet_bench.spec.recipe import Recipe
from unet_bench.train import loop
from unet_bench.train.border import border_weights
from unet_bench.train.evaluation import evaluate
from unet_bench.train.loop import Training, tensors
from unet_bench.train.losses import median_frequency
from unet_bench.train.step import TrainingStep, optimiser

Put = Callable[..., MeasurementContext]
PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "lr": 1.0,
    "weight_decay": 0.0,
    "warm_up": 0.0,
}


@pytest.fixture
def put(context_of: Put) -> Put:
    """A bench for a recipe of these fields; `name` is the variant, `protocol` more of that."""

    def on_bench(
        name: str = "unet", protocol: dict[str, Any] | None = None, **recipe: Any
    ) -> MeasurementContext:
        return context_of(
            name, protocol={"recipe": Recipe(**recipe), "steps": 2, **(protocol or {})}
        )

    return on_bench


def training_of(context: MeasurementContext) -> Training:
    return Training(context, context.network(training=True), tensors(context, dataset()))


def first_loss(context: MeasurementContext) -> float:
    training = training_of(context)
    training.run()
    return training.trained.losses[0]


# ---- the loss


def test_class_weights_and_the_border_map_weigh_the_loss(put: Put) -> None:
    plain = first_loss(put(dice=0.0))
    assert first_loss(put(dice=0.0, class_weights="median-frequency")) != pytest.approx(plain)
    assert first_loss(put(dice=0.0, border_weight=10.0)) != pytest.approx(plain)


def test_class_weights_are_of_the_training_images(put: Put) -> None:
    context = put(class_weights="median-frequency")
    expected = median_frequency(tensors(context, dataset())["train"].masks, 3)
    weights = training_of(context).step.class_weights
    assert weights is not None
    assert torch.equal(weights, expected)
    assert training_of(put()).step.class_weights is None


def test_the_border_map_is_the_recipes_and_for_training_alone(put: Put) -> None:
    splits = tensors(put(border_weight=7.0, border_sigma=3.0), dataset())
    expected = border_weights(dataset().train[0].mask, 7.0, 3.0, None)
    assert splits["train"].weights is not None
    assert splits["train"].weights[0].numpy() == pytest.approx(expected)
    assert (splits["val"].weights, splits["test"].weights) == (None, None)
    assert tensors(put(), dataset())["train"].weights is None


def test_without_deep_supervision_the_main_head_alone_counts(put: Put) -> None:
    main, half = torch.zeros(2, 3, 32, 32), torch.randn(2, 3, 16, 16)

    def loss(recipe: bool, output: Any) -> float:
        context = put(deep_supervision=recipe)
        step = TrainingStep(context, nn.Identity(), call=lambda images: output)
        return float(step.forward(context.images(), context.target()))

    alone = loss(True, main)
    assert loss(False, Outputs(main, [(0.5, half)])) == alone
    full = nn.functional.interpolate(half, size=(32, 32), mode="bilinear")
    both = (alone + 0.5 * loss(True, full)) / 1.5
    assert loss(True, Outputs(main, [(0.5, half)])) == pytest.approx(both)
    assert loss(True, Outputs(main, [])) == pytest.approx(alone)


def test_a_loss_is_as_large_with_many_heads_as_with_one(put: Put) -> None:
    """Else a recipe's learning rate would be twice as high for networks with auxiliary heads."""
    context, main = put(), torch.randn(2, 3, 32, 32)
    heads = [(1.0, main), (0.5, main), (0.25, main)]

    def loss(output: Any) -> float:
        step = TrainingStep(context, nn.Identity(), call=lambda images: output)
        return float(step.forward(context.images(), context.target()))

    assert loss(Outputs(main, heads)) == pytest.approx(loss(main))


# ---- the network


def test_he_initialisation_takes_every_convolution_that_was_not_pretrained(
    put: Put, context_of: Put
) -> None:
    def begun(context: MeasurementContext) -> list[nn.Conv2d]:
        model = context.network(training=True)
        convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
        for convolution in convolutions:
            for parameter in convolution.parameters():
                nn.init.constant_(parameter, 7.0)
        Training(context, model, tensors(context, dataset()))
        return convolutions

    for convolution in begun(put("unet-paper", init="he")):
        incoming = convolution.weight[0].numel()
        expected = math.sqrt(2 / incoming)
        assert float(convolution.weight.detach().square().mean().sqrt()) == pytest.approx(
            expected, rel=0.6
        )
        assert convolution.bias is None or not convolution.bias.any()
    pretrained = context_of(
        "unet-paper", protocol={"recipe": Recipe(init="he")}, pretrained="imagenet"
    )
    for context in (put("unet-paper"), pretrained):
        assert all((convolution.weight == 7).all() for convolution in begun(context))


def test_dropout_lies_behind_the_bottleneck_while_training(put: Put) -> None:
    training = training_of(put(dropout=1.0))
    seen: list[torch.Tensor] = []
    training.model.bottleneck.register_forward_hook(
        lambda module, given, output: seen.append(output)
    )
    training.model(training.context.images())
    training.model.eval()(training.context.images())
    assert [bool(output.any()) for output in seen] == [False, True]


# ---- the step


def test_gradients_are_clipped_to_the_recipes_norm(put: Put) -> None:
    def moved(clip: float) -> float:
        context = put(clip=clip, **PLAIN)
        step = TrainingStep(context, context.network(training=True))
        before = nn.utils.parameters_to_vector(step.model.parameters()).detach().clone()
        step(context.images(), context.target())
        return float(
            (nn.utils.parameters_to_vector(step.model.parameters()) - before).detach().norm()
        )

    assert moved(0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(0.0) > 0.02


def after(steps: int, gradient: float, begin: float = 1.0, **recipe: Any) -> float:
    """Where a lone weight comes to under a constant gradient, whichever way that is computed."""
    ends = []
    for fused in (False, True):
        weight = nn.Parameter(torch.tensor([begin]))
        taken = optimiser(Recipe(**recipe), [weight], foreach=None, fused=fused)
        for _ in range(steps):
            weight.grad = torch.tensor([gradient])
            taken.step()
        ends.append(weight.item())
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)
    return ends[0]


def test_optimisers_are_those_that_recipes_name() -> None:
    decayed = {"lr": 0.1, "weight_decay": 0.01}
    assert after(1, 0.0, optimizer="adamw", **decayed) == pytest.approx(
        1 - 0.1 * 0.01
    )  # apart from the gradient
    assert after(1, 0.0, optimizer="adam", **decayed) == pytest.approx(
        1 - 0.1
    )  # part of it, and so normalised
    assert after(1, 0.0, optimizer="sgd", **decayed) == pytest.approx(1 - 0.1 * 0.01)
    halved = {**PLAIN, "momentum": 0.5}
    assert after(2, 1.0, begin=0.0, **PLAIN) == pytest.approx(-2)
    assert after(2, 1.0, begin=0.0, **halved) == pytest.approx(-1 - 1.5)
    assert after(2, 1.0, begin=0.0, nesterov=True, **halved) == pytest.approx(-1.5 - 1.75)


# ---- evaluations


def test_an_evaluation_changes_nothing_that_is_trained(put: Put) -> None:
    """Batch norm keeps the running averages of the training, as publications have it."""
    training = training_of(put("unet-milesial", dropout=0.5))
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    assert any("running_mean" in name for name in before)
    numbers = torch.random.get_rng_state()
    training.evaluate(1)
    after = training.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert training.model.training


def test_evaluations_and_checkpoints_are_no_time_of_training(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def lasting(seconds: float, original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            clock[0] += seconds
            return original(*given, **named)

        return timed

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(TrainingStep, "__call__", lasting(1, TrainingStep.__call__))
    monkeypatch.setattr(loop, "evaluate", lasting(100, loop.evaluate))
    monkeypatch.setattr(loop.Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(loop.Checkpoint, "save", lasting(1000, lambda *given: None))
    training = training_of(put(evaluations=3, protocol={"steps": 3}))
    training.run()
    assert training.trained.seconds == 3
    assert [evaluation.seconds for evaluation in training.trained.evaluations] == [1, 2, 3]


def test_a_budget_of_seconds_ends_with_the_step_that_spends_it(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, take_step = [0.0], TrainingStep.__call__

    def step_of_two_seconds(*given: Any) -> Any:
        clock[0] += 2
        return take_step(*given)

    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(TrainingStep, "__call__", step_of_two_seconds)
    training = training_of(put(protocol={"steps": 0, "train_s": 5.0}))
    training.run()
    assert (training.trained.steps, training.trained.seconds) == (3, 6.0)


# ---- test images


def test_overlap_and_flips_are_for_test_images(put: Put) -> None:
    ways: list[dict[str, Any]] = [{}, {"overlap": 0.5}, {"flips": True}]
    model = put().network()
    found: dict[str, list[float]] = {"test": [], "evaluations": []}
    for way in ways:
        context = put(protocol=way)
        test = tensors(context, dataset())["test"]
        found["test"].append(accuracy.tested(context, model, test, dataset()).figures()["dice"])
        found["evaluations"].append(evaluate(context, model, test)[1])
    assert len(set(found["test"])) == len(ways)
    assert len(set(found["evaluations"])) == 1


def test_rules_without_training_see_test_images_whole_and_once(
    put: Put, registry: Registry, tmp_path: Path
) -> None:
    dataset().save(tmp_path / "data.npz")

    def otsu(**way: Any) -> MeasurementContext:
        context = put(protocol=way)
        [trivial] = [
            variant for variant in registry.trivial_baselines() if variant.name == "floor-otsu"
        ]
        return replace(
            context,
            cell=replace(context.cell, variant=trivial, probe="accuracy"),
            data=tmp_path / "data.npz",
        )

    whole = accuracy.probe(otsu(whole=True))
    assert accuracy.probe(otsu(flips=True, overlap=0.5))["dice"] == whole["dice"]
    context = otsu()
    splits, model = tensors(context, dataset()), context.network()
    model.fit(splits["train"].images, splits["train"].masks)
    tiled = accuracy.tested(context, model, splits["test"], dataset()).figures()
    assert tiled["dice"] != whole["dice"]  # tiles matter


def test_a_small_window_is_trained_on_and_whole_images_are_scored(put: Put) -> None:
    context = put("unet")
    window = InputWindow(input=(16, 16), output=(16, 16), start=(0, 0), context=(0, 0))
    cell = replace(context.cell, small_window=TrainingWindow((16, 16), window))
    seen = []
    training = training_of(replace(context, cell=cell))
    training.model.register_forward_pre_hook(
        lambda module, given: seen.append((module.training, tuple(given[0].shape[2:])))
    )
    training.run()
    assert {size for trained, size in seen if trained} == {(16, 16)}
    assert {size for trained, size in seen if not trained} == {(32, 32)}
