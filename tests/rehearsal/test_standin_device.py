"""The probes' own code, with real values, on a device that refuses what a GPU refuses:
`support/standin_device.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from support import standin_device
from support.variants import NAMES

from unet_bench.data import brain
from unet_bench.data.dataset import fit
from unet_bench.errors import InvalidSuite, Unsupported
from unet_bench.host import device
from unet_bench.measure import accuracy, batch, clocks, cost, memory, outputs, speed, training
from unet_bench.plan.examine import examine
from unet_bench.spec.recipe import find
from unet_bench.train.loop import Training, tensors

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext
    from unet_bench.registry.registry import Registry

pytestmark = pytest.mark.rehearsal
NAME = standin_device.NAME
SIZE = (32, 32)
RECIPES = ("short", "paper", "nnunet", "openvino-camvid", "nvidia-unet", "ubench", "medsegbench")


@pytest.fixture(autouse=True)
def on_the_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    standin_device.install()
    monkeypatch.setattr(device, "KINDS", (*device.KINDS, NAME))
    # Tensors that wrap others cannot be made in inference mode.
    monkeypatch.setattr(
        torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else torch.enable_grad()
    )
    for probe in (speed, training, batch):  # other tests beside this one are no reason to wait
        monkeypatch.setattr(probe, "wait_until_quiet", lambda *_: 0.0)
    standin_device.counts.clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few small images of the brain."""
    whole = fit(brain.load(), SIZE, "crop")
    path = tmp_path_factory.mktemp("standin") / "data.npz"
    replace(whole, train=whole.train[:6], val=whole.val[:2], test=whole.test[:3]).save(path)
    return path


@pytest.fixture
def trains(
    context_of: Callable[..., MeasurementContext], registry: Registry, images: Path, tmp_path: Path
) -> Callable[..., MeasurementContext]:
    """Put a network on a bench where it is trained, for two steps and one look."""

    def put(
        name: str, recipe: str = "short", protocol: dict[str, Any] | None = None, **setting: Any
    ) -> MeasurementContext:
        stated = {
            "steps": 2,
            "recipe": replace(find(registry, recipe), evaluations=1),
            **(protocol or {}),
        }
        context = context_of(name, size=SIZE, protocol=stated, device=NAME, **setting)
        task = replace(context.cell.task, classes=brain.CLASSES)
        return replace(
            context,
            cell=replace(context.cell, task=task, probe="accuracy"),
            data=images,
            samples=tmp_path / "samples.json",
            checkpoint=tmp_path / "checkpoint",
            weights=tmp_path / "weights" / "unet.safetensors",
        )

    return put


# ---- the device itself


def test_it_refuses_what_a_gpu_refuses() -> None:
    here, there = torch.ones(3), torch.ones(3, device=NAME)
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(TypeError, match="host memory first"):
        there.numpy()
    with pytest.raises(TypeError):
        np.asarray(there)
    assert (there + 1).device == torch.device(NAME, 0)
    assert (there + torch.tensor(1.0)).cpu().tolist() == [2, 2, 2]


def test_waits_and_copies_are_counted() -> None:
    there = torch.ones(3).to(NAME)
    assert standin_device.counts["copies: to the device"] == 1
    assert float(there.sum()) == 3
    there.cpu()
    assert standin_device.counts["waits: aten._local_scalar_dense.default"] == 1
    assert standin_device.counts["copies: from the device"] >= 1


def test_a_kind_of_device_that_torch_knows_and_we_do_not_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "KINDS", ("cpu", "cuda"))
    with pytest.raises(
        InvalidSuite, match=f"torch knows devices of type {NAME}, and unet-bench does not"
    ):
        device.indexed(NAME)


# ---- probes


@pytest.mark.parametrize("name", ["unet", "unet-paper"])
@pytest.mark.parametrize(
    "setting", [{}, {"memory_format": "channels_last"}, {"batch_norm": "folded"}], ids=str
)
def test_speed_is_timed_and_waited_for(
    context_of: Callable[..., MeasurementContext], name: str, setting: dict[str, str]
) -> None:
    row = speed.probe(context_of(name, device=NAME, **setting))
    assert row["blocks"] > 0
    assert row["stop_reason"] in ("ci", "plateau", "cap")
    assert row["quality"] in ("unwatched", "contaminated")  # no NVML knows it
    assert standin_device.counts["synchronised"] > 20


def test_a_slow_down_is_waited_for_before_it_is_added(
    context_of: Callable[..., MeasurementContext],
) -> None:
    context = context_of("unet", device=NAME, protocol={"slowdown": 0.5})
    step = speed.slow_down(context, lambda: None)
    standin_device.counts.clear()
    step()
    assert standin_device.counts["synchronised"] == 1


@pytest.mark.parametrize("setting", [{}, {"memory_format": "channels_last"}], ids=str)
def test_a_training_step_is_timed_in_parts(
    context_of: Callable[..., MeasurementContext], setting: dict[str, str]
) -> None:
    row = training.probe(context_of("unet", device=NAME, **setting))
    assert row["blocks"] > 0
    assert standin_device.counts["synchronised"] > 20


def test_memory_is_of_live_bytes_where_the_allocator_keeps_no_count(
    context_of: Callable[..., MeasurementContext],
) -> None:
    row = memory.probe(context_of("unet", device=NAME))
    assert row["peak_memory_mib"] == row["live_memory_mib"]
    assert row["train_live_memory_mib"] > 0


def test_clocks_are_compared_as_far_as_the_device_has_any(
    context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clocks, "BLOCK_S", 0.02)
    row = clocks.probe(context_of("unet", device=NAME))
    assert row["profiler_saw"] == "passes"
    assert row["profiler_ms"] > 0
    assert standin_device.counts["synchronised"] > clocks.BLOCKS


@pytest.mark.parametrize(
    "setting",
    [{"memory_format": "channels_last"}, {"batch_norm": "folded"}],
    ids=str,
)
def test_outputs_are_compared_on_the_device(
    context_of: Callable[..., MeasurementContext], setting: dict[str, str]
) -> None:
    row = outputs.probe(context_of("unet", device=NAME, **setting))
    assert row["output_difference"] < 1e-4
    assert row["class_agreement"] > 0.99


def test_cost_does_not_touch_the_device(context_of: Callable[..., MeasurementContext]) -> None:
    assert cost.probe(context_of("unet", device=NAME))["params"] > 0
    assert not +standin_device.counts


def test_the_best_batch_is_tried(
    context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST", 4)
    row = batch.probe(context_of("unet", device=NAME, protocol={"speed_s": 0.08}))
    assert (row["largest_batch"], row["stop_reason"]) == (4, "cap")


@pytest.mark.parametrize("recipe", RECIPES)
def test_trainings_run_and_are_scored(
    trains: Callable[..., MeasurementContext], recipe: str
) -> None:
    context = trains(
        "unet", recipe, {"flips": recipe == "paper", "overlap": 0.25 * (recipe == "paper")}
    )
    row = accuracy.probe(context)
    assert 0 <= row["dice"] <= 1
    assert row["train_steps"] == 2


@pytest.mark.parametrize("name", ["floor-majority", "floor-otsu", "floor-lookup"])
def test_what_needs_no_training_is_scored(
    trains: Callable[..., MeasurementContext], registry: Registry, name: str
) -> None:
    context = trains("unet")
    [trivial] = [variant for variant in registry.trivial_baselines() if variant.name == name]
    seen = examine(registry, trivial, context.cell.task)
    row = accuracy.probe(
        replace(
            context,
            cell=replace(context.cell, variant=seen.variant, input_window=seen.input_window),
        )
    )
    assert 0 <= row["dice"] <= 1


def test_images_are_predicted_whole(trains: Callable[..., MeasurementContext]) -> None:
    assert 0 <= accuracy.probe(trains("unet", protocol={"whole": True}))["dice"] <= 1


def test_each_batch_that_is_scored_waits_twice(trains: Callable[..., MeasurementContext]) -> None:
    """Once for the figures of the whole batch, once for its classes; not for every image."""
    context = trains("unet", batch=3)
    train = Training(context, context.network(training=True), tensors(context, context.dataset()))
    standin_device.counts.clear()
    accuracy.tested(
        context, train.model, tensors(context, context.dataset())["test"], context.dataset()
    )
    waits = {
        name: count
        for name, count in standin_device.counts.items()
        if name.startswith("waits") and count
    }
    assert waits == {"waits: tolist": 1}
    assert standin_device.counts["copies: from the device"] == 1


def test_a_killed_training_goes_on_from_its_checkpoint(
    trains: Callable[..., MeasurementContext],
) -> None:
    context = trains("unet", protocol={"steps": 4, "checkpoint_s": 1e-9})
    whole = accuracy.probe(replace(context, checkpoint=None))
    first = Training(context, context.network(training=True), tensors(context, context.dataset()))

    class Killed(Exception):
        pass

    def kill(step: int, read: Callable[[], None] = first.read) -> None:
        read()
        if first.trained.steps == 3:
            raise Killed

    first.read = lambda: kill(0)  # type: ignore[method-assign]
    with pytest.raises(Killed):
        first.run()
    row = accuracy.probe(context)
    assert row["resumed_step"] == 2
    assert row["final_loss"] == pytest.approx(whole["final_loss"], rel=1e-4)
    assert row["dice"] == pytest.approx(whole["dice"], abs=1e-3)


def test_a_kept_network_predicts_there_as_on_the_host(
    trains: Callable[..., MeasurementContext], tmp_path: Path
) -> None:
    from unet_bench.train.trained import load_network

    context = trains("unet")
    accuracy.probe(context)
    image = context.dataset().test[0].image
    here, there = (
        load_network(tmp_path, "unet", device=where).predict(image) for where in ("cpu", NAME)
    )
    assert isinstance(there, np.ndarray)
    assert (here == there).mean() > 0.99


# ---- networks; that every other one stays on the device as well: `test_fake_cuda.py`

LAST = (
    "unet",
    "unet-paper",
    "unet-bilinear",
    "unet-group",
    "resnet34-unet",
    "swin-unet",
    "attention-unet",
    "u2net",
)


@pytest.mark.parametrize(
    ("name", "memory_format"),
    [(name, "contiguous") for name in NAMES] + [(name, "channels_last") for name in LAST],
)
def test_networks_are_trained_and_folded_there(
    context_of: Callable[..., MeasurementContext], name: str, memory_format: str
) -> None:
    """All of it lies on the device, and no operation fetches a value from it."""
    from unet_bench.measure.folding import fold_batch_norm
    from unet_bench.networks.contracts import main_output
    from unet_bench.train.step import TrainingStep

    try:
        context = context_of(name, device=NAME, memory_format=memory_format)
    except AssertionError as error:
        pytest.skip(str(error))
    model = context.network(training=True)
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {NAME}
    images, target, step = context.images(), context.target(), TrainingStep(context, model)
    standin_device.counts.clear()
    loss = step(images, target)
    assert loss.device.type == NAME
    assert not +standin_device.counts
    model.eval()
    with torch.no_grad():
        assert main_output(model(images)).device.type == NAME
    assert not +standin_device.counts
    if memory_format == "contiguous":
        try:
            fold_batch_norm(model, images[:1])
        except Unsupported as error:
            assert "the output changes" in str(error)
