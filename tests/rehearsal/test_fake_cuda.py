"""What runs on a GPU, on tensors of `cuda` without data: `support/fake_cuda.py` says what is looked
for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from support.fake_cuda import Watching, believe_in_cuda, moved
from torch._subclasses.fake_tensor import FakeTensorMode

from unet_bench.geometry.shapes import InputWindow
from unet_bench.measure import folding
from unet_bench.measure.ready import cast_weights
from unet_bench.measure.trivial import Lookup, Majority, Otsu, grey_bins
from unet_bench.models.build import build
from unet_bench.models.select import select
from unet_bench.networks.contracts import main_output
from unet_bench.registry import plugins
from unet_bench.spec.recipe import find
from unet_bench.train.losses import segmentation_loss
from unet_bench.train.step import TrainingStep
from unet_bench.train.tiles import predict
from unet_bench.train.windows import Images, scored, training_batch

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext
    from unet_bench.registry.registry import Registry

pytestmark = pytest.mark.rehearsal
NAMES = [variant.name for variant in select(plugins.load().checked(), ["all"])]
RECIPES = (
    "default",
    "short",
    "paper",
    "nnunet",
    "medsegbench",
    "openvino-camvid",
    "nvidia-unet",
    "ubench",
)


@pytest.fixture(autouse=True)
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    believe_in_cuda(monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_stays_on_the_device(
    context_of: Callable[..., MeasurementContext], registry: Registry, name: str
) -> None:
    """A pass in bf16 and channels last, and the loss of a training step in it."""
    try:
        context = context_of(name, device="cuda", precision="bf16", memory_format="channels_last")
    except AssertionError as error:
        pytest.skip(str(error))
    cell, mode = context.cell, FakeTensorMode()
    model = build(
        registry,
        cell.variant,
        cell.task.in_channels,
        len(cell.task.classes),
        cell.input_window.input,
    )
    model = moved(model, mode, context.memory_format, cell.task.dims)
    shape = (cell.setting.batch, cell.task.in_channels, *cell.input_window.input)
    with mode:
        images = torch.empty(shape, device="cuda").to(memory_format=context.memory_format)
        target = torch.zeros(
            (cell.setting.batch, *cell.task.scored), dtype=torch.long, device="cuda"
        )
        step = TrainingStep(context, model.train())
        with Watching() as training:
            assert step.forward(images, target).device.type == "cuda"
        cast_weights(model.eval(), "bf16")
        with (
            Watching(model.parameters()) as inference,
            torch.inference_mode(),
            context.precision(),
        ):
            output = main_output(model(images))
    assert (output.device.type, output.dtype) == ("cuda", torch.bfloat16)
    assert not training.found()
    assert not inference.found()


def test_weights_are_cast_once_and_not_at_each_pass(
    context_of: Callable[..., MeasurementContext], registry: Registry
) -> None:
    """One cast a pass, of the image; by autocast alone there are three for a single convolution."""
    context = context_of("unet", device="cuda", precision="bf16")
    conv = torch.nn.Conv2d(1, 4, 3)
    for held, casts in ((False, 3), (True, 1)):
        mode = FakeTensorMode()
        model = moved(torch.nn.Sequential(conv), mode, torch.contiguous_format, 2)
        if held:
            cast_weights(model, "bf16")
        with mode, Watching() as watching, torch.inference_mode(), context.precision():
            model(torch.empty(1, 1, 8, 8, device="cuda"))
        assert watching.casts == casts
        conv = torch.nn.Conv2d(1, 4, 3)


@pytest.mark.parametrize("name", ["unet", "resnet34-unet", "unet-group", "segnet"])
def test_held_weights_change_no_output(
    context_of: Callable[..., MeasurementContext], name: str
) -> None:
    """To the bit, on the host, where there are values."""
    context = context_of(name, precision="bf16")
    model, images = context.network(), context.images()
    with torch.inference_mode(), context.precision():
        before = main_output(model(images))
        cast_weights(model, "bf16")
        assert torch.equal(main_output(model(images)), before)


@pytest.mark.parametrize("name", ["unet", "unet-paper", "resnet34-unet", "unet-group"])
def test_batch_norms_are_folded_on_the_device(
    context_of: Callable[..., MeasurementContext],
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """That folding changes no output is seen where there are values: `test_standin_device.py`."""
    # Tensors without data that are copied stay of one mode.
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, _: self, raising=False)
    context = context_of(name, device="cuda")
    cell, mode = context.cell, FakeTensorMode()
    model = build(
        registry,
        cell.variant,
        cell.task.in_channels,
        len(cell.task.classes),
        cell.input_window.input,
    ).eval()
    moved(model, mode, torch.contiguous_format, 2)
    with mode, Watching() as watching:
        images = torch.empty((1, cell.task.in_channels, *cell.input_window.input), device="cuda")
        assert bool(folding._fold(model, images)) == (name in ("unet", "resnet34-unet"))
        model(images)
    assert not watching.found()
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cuda"}


@pytest.mark.parametrize("name", ["unet", "unet-paper"])
@pytest.mark.parametrize("overlap", [0.0, 0.25])
def test_images_larger_than_a_tile_are_predicted_on_the_device(
    context_of: Callable[..., MeasurementContext], registry: Registry, name: str, overlap: float
) -> None:
    context = context_of(name, device="cuda")
    cell, mode = context.cell, FakeTensorMode()
    model = build(
        registry,
        cell.variant,
        cell.task.in_channels,
        len(cell.task.classes),
        cell.input_window.input,
    ).eval()
    moved(model, mode, torch.contiguous_format, 2)
    size, input_window = cell.task.scored, cell.input_window

    def call(inputs: torch.Tensor) -> torch.Tensor:
        return scored(main_output(model(inputs)), input_window, size).float()

    with mode, Watching() as watching:
        images = torch.empty((2, 1, *(side + 17 for side in size)), device="cuda")
        found = predict(call, images, input_window, size, overlap=overlap, flips=True, batch=4)
    assert found.device.type == "cuda"
    allowed = small_things_of_the_host(watching.found())
    assert not allowed, allowed


def small_things_of_the_host(found: dict[str, int]) -> dict[str, int]:
    """What is left without indices and ramps of one side, which the host makes and sends without
    waiting.
    """
    made = (
        "aten.arange",
        "aten.ones",
        "aten.mul",
        "aten.minimum",
        "aten.remainder",
        "aten.rsub",
        "aten._to_copy",
        "aten.unsqueeze",
    )
    return {
        what: count
        for what, count in found.items()
        if what.startswith("waits") or not any(m in what for m in made)
    }


@pytest.mark.parametrize("size", [(48, 48), (16, 24, 24)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", RECIPES)
def test_batches_are_made_on_the_device(
    registry: Registry, name: str, size: tuple[int, ...]
) -> None:
    recipe, dims = find(registry, name), len(size)
    more = (4,) * dims
    input_window = InputWindow(
        input=tuple(side + 8 for side in size), output=size, start=(0,) * dims, context=more
    )
    plane = tuple(side + 9 for side in size)
    with FakeTensorMode(), Watching() as watching:
        images = [torch.empty((3, *plane), device="cuda") for _ in range(4)]
        masks = [torch.zeros(plane, dtype=torch.uint8, device="cuda") for _ in range(4)]
        weights = (
            [torch.ones(plane, device="cuda") for _ in range(4)] if recipe.border_weight else None
        )
        data = Images(images, masks, weights)
        data.__dict__["foreground"] = [np.arange(50)] * 4
        for step in range(3):
            batch = training_batch(data, recipe, size, input_window, 4, 0, step)
            assert {tensor.device.type for tensor in batch if tensor is not None} == {"cuda"}
    assert not small_things_of_the_host(watching.found())


def test_losses_and_weights_of_classes_look_at_no_value() -> None:
    with FakeTensorMode(), Watching() as watching:
        logits = torch.empty((2, 3, 8, 8), device="cuda")
        target = torch.zeros((2, 8, 8), dtype=torch.long, device="cuda")
        weights = torch.ones(3, device="cuda")
        for class_weights, weight in (
            (None, None),
            (weights, None),
            (None, torch.ones((2, 8, 8), device="cuda")),
        ):
            assert (
                segmentation_loss(
                    logits, target, class_weights=class_weights, weight=weight
                ).device.type
                == "cuda"
            )
    assert not watching.found()


def test_what_is_found_on_the_host_goes_back_to_the_device() -> None:
    """Otsu's bins, for which it needs values, come back to the device that the image lies on."""
    with FakeTensorMode():
        assert grey_bins(torch.zeros((1, 1, 8, 8), device="cuda"), 2).device.type == "cuda"


@pytest.mark.parametrize(
    "kind",
    [Majority, Otsu, functools.partial(Lookup, 1)],
    ids=["majority", "otsu", "lookup"],
)
def test_trivial_baselines_score_on_the_device(kind: Callable[[int], torch.nn.Module]) -> None:
    mode = FakeTensorMode()
    model = moved(kind(3), mode, torch.contiguous_format, 2)
    with mode, Watching() as watching:
        assert model(torch.empty((2, 1, 8, 8), device="cuda")).device.type == "cuda"
    assert not watching.found()
