"""What a plan foresees grows as the work does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from unet_bench import pipeline
from unet_bench.geometry.shapes import InputWindow
from unet_bench.host.survey import mac_rate
from unet_bench.measure.probes import OUR_PROBES
from unet_bench.networks.variants import Variant
from unet_bench.plan.cost import Sizes, work_of
from unet_bench.plan.examine import ExaminedNetwork
from unet_bench.spec.cell import Cell, Protocol, Setting, Task
from unet_bench.spec.recipe import Recipe
from unet_bench.spec.suite import from_dict
from unet_bench.train import tiles

PROBES = {probe.name: probe for probe in OUR_PROBES}
WINDOW = InputWindow(input=(64, 64), output=(64, 64), start=(0, 0), context=(0, 0))
TASK = Task(
    name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=(64, 64), fit="crop"
)
NETWORK = ExaminedNetwork(
    Variant(name="v"), WINDOW, params=10**6, macs=10**9, activations=10**6, modules=100
)
RATE = 5e10


def work(
    probe: str = "accuracy",
    network: ExaminedNetwork = NETWORK,
    baseline: ExaminedNetwork = NETWORK,
    sizes: Sizes | None = None,
    setting: Setting | None = None,
    **protocol: Any,
) -> Any:
    cell = Cell(
        variant=network.variant,
        input_window=WINDOW,
        baseline=baseline.variant,
        baseline_input_window=WINDOW,
        task=TASK,
        setting=setting or Setting(),
        protocol=Protocol(**{"recipe": Recipe(evaluations=10), **protocol}),
        probe=probe,
    )
    return work_of(PROBES[probe], cell, network, baseline, sizes or {}, RATE)


def images(split: str, count: int, side: int = 64) -> Sizes:
    return {split: ((side, side),) * count}


@pytest.mark.parametrize("figure", ["seconds", "tmac"])
def test_each_validation_image_counts_at_each_evaluation(figure: str) -> None:
    none, few, many = (getattr(work(sizes=images("val", n)), figure) for n in (0, 10, 20))
    assert many - few == pytest.approx(few - none)
    assert few > none
    once, twice, thrice = (
        getattr(work(sizes=images("val", 10), recipe=Recipe(evaluations=n)), figure)
        for n in (1, 2, 3)
    )
    assert thrice - twice == pytest.approx(twice - once)
    assert twice > once


def test_test_images_are_scored_once_however_often_validation_ones_are() -> None:
    gains = []
    for evaluations in (1, 50):
        recipe = Recipe(evaluations=evaluations)
        tested = work(sizes=images("test", 10), recipe=recipe).seconds
        gains.append(tested - work(recipe=recipe).seconds)
    assert gains[0] == pytest.approx(gains[1])


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_large_image_is_as_many_as_its_tiles(split: str) -> None:
    large = work(sizes=images(split, 1, side=256))
    many = work(sizes=images(split, 16))
    assert (large.tmac, large.seconds) == pytest.approx((many.tmac, many.seconds))


def test_overlap_and_flips_cost_tiles_of_test_images_alone() -> None:
    sizes = images("test", 4, side=256)
    plain, trained = work(sizes=sizes).tmac, work().tmac
    turned = work(sizes=sizes, flips=True).tmac
    overlapping = work(sizes=sizes, overlap=0.5).tmac
    assert turned - trained == pytest.approx(4 * (plain - trained))
    assert overlapping - trained == pytest.approx(49 / 16 * (plain - trained))
    whole = work(sizes=sizes, whole=True).tmac
    assert whole == pytest.approx(plain)
    validated = images("val", 4, side=256)
    assert work(sizes=validated, flips=True, overlap=0.5) == work(sizes=validated)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("flips", [False, True])
def test_tiles_are_counted_as_they_are_predicted(overlap: float, flips: bool) -> None:
    seen = 0

    def call(inputs: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        seen += len(inputs)
        return inputs

    size, window = (
        (16, 16),
        InputWindow(input=(16, 16), output=(16, 16), start=(0, 0), context=(0, 0)),
    )
    tiles.predict(
        call, torch.zeros(1, 1, 50, 33), window, size, overlap=overlap, flips=flips, batch=4
    )
    assert tiles.count((50, 33), size, overlap=overlap, flips=flips) == seen


def test_a_small_window_costs_what_its_own_pass_does() -> None:
    small = replace(NETWORK, training_macs=10**8, training_activations=10**5)
    assert work(network=small, steps=100).tmac == pytest.approx(work(steps=100).tmac / 10)
    assert work(network=small, steps=100).seconds < work(steps=100).seconds
    # Test images are predicted as before.
    sizes = images("test", 8)
    of_small = work(network=small, sizes=sizes).tmac - work(network=small).tmac
    assert of_small == pytest.approx(work(sizes=sizes).tmac - work().tmac)


@pytest.mark.parametrize("more", [{"modules": 1000}, {"activations": 10**8}, {"params": 10**8}])
def test_few_macs_are_not_all_that_a_step_takes(more: dict[str, int]) -> None:
    assert work(network=replace(NETWORK, **more)).seconds > 1.5 * work().seconds


def test_a_trivial_baseline_is_fitted_to_all_training_pixels_and_not_validated() -> None:
    trivial = ExaminedNetwork(Variant(name="rule", trivial=True), WINDOW, macs=0)

    def of(sizes: Sizes) -> float:
        return float(work(network=trivial, sizes=sizes, steps=0, images=0).seconds)

    none, few, many = (of(images("train", n)) for n in (0, 10, 20))
    assert many - few == pytest.approx(few - none)
    assert few > none
    assert of(images("test", 10)) > few > of(images("val", 10))


def test_seconds_of_training_are_taken_as_they_are() -> None:
    recipe = Recipe(evaluations=10)
    longer = work(steps=0, train_s=70.0, recipe=recipe).seconds
    assert longer - work(steps=0, train_s=20.0, recipe=recipe).seconds == pytest.approx(50)


def test_timed_passes_that_do_not_fit_the_budget_take_longer() -> None:
    slow = replace(NETWORK, macs=10**12)
    assert work("speed", speed_s=2.0).seconds < 2 * work("speed", speed_s=1.0).seconds
    short, long = (work("speed", slow, slow, speed_s=s).seconds for s in (1.0, 2.0))
    assert short == long  # the fewest blocks take longer than either
    assert work("speed", NETWORK, slow).seconds > work("speed").seconds  # beside the baseline


def test_more_threads_help_but_less_than_so_many_times() -> None:
    one, four = (work(setting=Setting(threads=n)).seconds for n in (1, 4))
    assert one / 4 < four < one


def test_the_rate_is_of_one_thread_and_leaves_torch_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert mac_rate(torch.device("cpu")) > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_plan_knows_the_images_that_are_scored() -> None:
    options: dict[str, Any] = {
        **{"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "batch": [1], "threads": [1]},
        **{"variants": ["unet"], "probes": ["accuracy"], "floors": False, "steps": 1},
    }
    seconds, ids = [], set()
    for scored in (1, 0):
        with pipeline.plan(from_dict({**options, "eval_images": scored})) as plan:
            [planned] = plan.planned
            seconds.append(planned.seconds)
            ids.add(planned.cell.variant.canonical())
    assert seconds[0] < seconds[1]
