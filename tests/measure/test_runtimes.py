"""What runs networks: anybody's engine, timed and scored beside eager torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import hypot, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.reported import cells, stored
from torch import Tensor, nn

from unet_bench import run
from unet_bench.analysis.budget import Budget
from unet_bench.analysis.recommend import recommend
from unet_bench.analysis.runtimes import LOSS
from unet_bench.context import MeasurementContext
from unet_bench.errors import NotInstalled, UnknownName, Unsupported, WrongOutput
from unet_bench.measure import outputs, speed
from unet_bench.measure.ready import Ready, prepare
from unet_bench.measure.real_images import batches
from unet_bench.measure.runtime import OUR_RUNTIMES, Runtime, refusal
from unet_bench.networks.contracts import main_output
from unet_bench.plan.cells import setting_combinations
from unet_bench.present.explanation import steps
from unet_bench.present.recommend import answers
from unet_bench.present.table import results_document
from unet_bench.registry.entries import Provider
from unet_bench.registry.plugins import load
from unet_bench.registry.registrar import Registrar
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Setting
from unet_bench.spec.suite import from_dict
from unet_bench.store.runs import Runs, read_runs
from unet_bench.train.metrics import bootstrap_change

BYTES = ("none", "static-int8")


def faithful(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """An engine that computes what the network does."""
    return Ready(lambda batch: main_output(model(batch)).clone(), {"runtime_version": "1.2"})


def careless(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """An engine that is a percent off."""
    return Ready(lambda batch: main_output(model(batch)) * 1.01)


@pytest.fixture(scope="module")
def engines() -> Registry:
    """The registry with two engines of a plugin, and one whose package is not here."""
    registry = load().checked()
    draft = Registrar(Provider("engines"))
    draft.runtime(Runtime("faithful", faithful, summary="equal", quantize=BYTES))
    draft.runtime(Runtime("careless", careless, summary="not equal", quantize=BYTES))
    absent = ("no_such_package", "pip install no-such-package")
    draft.runtime(Runtime("absent", faithful, summary="not here", needs=absent))
    registry.commit(draft)
    return registry


def timed(context: MeasurementContext, engines: Registry, **setting: str) -> dict[str, Any]:
    cell = replace(context.cell, setting=replace(context.cell.setting, **setting))
    return speed.probe(replace(context, cell=cell, registry=engines))


def test_an_engine_is_timed_beside_the_same_network_in_eager(context_of, engines) -> None:
    row = timed(context_of(protocol={"speed_s": 0.2}), engines, runtime="faithful")
    ratio = [row[f"eager_ratio{end}"] for end in ("_ci_low", "", "_ci_high")]
    assert ratio == sorted(ratio) or row["quality"] != "clean"
    assert (row["eager_difference"], row["eager_agreement"]) == (0, 1)
    assert (row["runtime_version"], row["compile_s"] >= 0) == ("1.2", True)
    eager = timed(context_of(protocol={"speed_s": 0.1}), engines)
    assert eager.keys().isdisjoint({"eager_ratio", "eager_difference"})


def test_an_engine_that_computes_something_else_has_no_figures(context_of, engines) -> None:
    context = context_of(protocol={"speed_s": 0.1})
    with pytest.raises(WrongOutput, match=r"careless returns scores that are 0\.01 of the largest"):
        timed(context, engines, runtime="careless")
    rounded = timed(context, engines, runtime="careless", quantize="static-int8")
    assert rounded["eager_difference"] == pytest.approx(0.01, rel=0.01)


def test_names_of_runtimes_are_looked_up_first(engines: Registry) -> None:
    with pytest.raises(UnknownName, match="unet-bench list runtimes"):
        engines.runtime("onxruntime")
    with pytest.raises(NotInstalled, match=r"runtime absent needs .* pip install no-such-package"):
        engines.runtime("absent")
    with pytest.raises(UnknownName, match="onnxruntime"):
        run("unet", runtime="onxruntime")


def test_how_it_was_called_before_is_understood() -> None:
    assert from_dict({"mode": ["compile"]}).runtime == ("compile",)


def test_cells_of_older_runs_keep_their_ids() -> None:
    """Eager and compiled cells are what they were; a quantised one is another."""
    text = Setting(runtime="compile").canonical
    assert '"mode": "compile"' in text
    assert "quantize" not in text
    assert '"quantize": "static-int8"' in Setting(quantize="static-int8").canonical


def test_what_one_runtime_quantises_is_not_asked_of_another(engines: Registry) -> None:
    suite = from_dict({"runtime": ["eager", "faithful"], "quantize": list(BYTES), "batch": [1]})
    found = [(one.runtime, one.quantize) for one in setting_combinations(suite, engines)]
    assert found == [("eager", "none"), ("faithful", "none"), ("faithful", "static-int8")]
    alone = from_dict({"runtime": ["eager"], "quantize": ["static-int8"], "batch": [1]})
    [setting] = setting_combinations(alone, engines)
    why = refusal(setting, engines.runtime("eager"))
    assert why == "runtime eager does not run quantize static-int8: it runs none"


@pytest.mark.parametrize("runtime", OUR_RUNTIMES, ids=lambda runtime: runtime.name)
def test_torch_s_own_say_where_they_serve(runtime: Runtime) -> None:
    assert bool(runtime.refuses(Setting("cpu"))) == (runtime.name == "cudagraphs")
    assert bool(runtime.refuses(Setting("mps"))) == (runtime.name != "eager")
    assert not runtime.refuses(Setting("cuda:1", precision="bf16", memory_format="channels_last"))


def test_outputs_compare_an_engine_with_eager_too(context_of, engines) -> None:
    context = context_of(runtime="careless")
    row = outputs.probe(replace(context, registry=engines))
    assert row["output_difference"] == pytest.approx(0.01, rel=0.01)


def test_an_engine_does_not_train(context_of, engines) -> None:
    with pytest.raises(Unsupported, match="runtime faithful takes no training step"):
        prepare(replace(context_of(runtime="faithful"), registry=engines), training=True)


# ---- the images that outputs are compared on, and that ranges are found by


def test_batches_are_of_the_split_and_of_the_cells_size(context_of, tmp_path: Path) -> None:
    from unet_bench.data.cells import load as cells

    dataset = cells(size=(32, 32))
    context = replace(context_of(batch=4), data=tmp_path / "cells.npz")
    dataset.save(context.data)
    found = list(batches(context, "train", 10))
    assert [tuple(batch.shape) for batch in found] == [(4, 1, 32, 32)] * 3
    again = torch.cat(list(batches(context, "train", 10)))
    assert torch.equal(torch.cat(found), again)
    # Normalised by the training images: near 0 on the whole.
    assert abs(float(again.mean())) < 0.5
    assert not torch.equal(again, torch.cat(list(batches(context, "test", 10))))


# ---- a change in Dice


def counts(rng: np.random.Generator, hit: float) -> np.ndarray:
    """Counts of 12 images of two classes, `hit` of the foreground found."""
    pixels = rng.integers(50, 150, size=12)
    found = (pixels * hit).astype(int)
    return np.array([[[500, 20], [n - h, h]] for n, h in zip(pixels, found, strict=True)])


def test_a_change_on_the_same_images_is_known_better_than_either() -> None:
    rng = np.random.default_rng
    before, after = counts(rng(0), 0.9), counts(rng(0), 0.88)
    low, high = bootstrap_change(after, before, rng(1))
    assert -0.03 < low < high < 0
    assert bootstrap_change(before, before, rng(1)) == (0, 0)


# ---- in tables and advice


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., Runs]:
    """Make a run of two networks in eager torch, and of one in two engines."""

    def made(**int8: float) -> Runs:
        eager = [
            *cells({"unet": {}, "unet-add": {"merge": "add"}}, runtime="eager", quantize="none")
        ]
        [timing] = [row for row in eager if (row["variant"], row["probe"]) == ("unet-add", "speed")]
        engines = {"none": {"eager_ratio": 0.6}, "static-int8": {"eager_ratio": 0.3, **int8}}
        rows = [*eager]
        for quantize, figures in engines.items():
            known = {**timing, "runtime": "openvino", "quantize": quantize, "cell_id": quantize}
            ratio = figures["eager_ratio"]
            ends = {"eager_ratio_ci_low": ratio * 0.98, "eager_ratio_ci_high": ratio * 1.02}
            rows.append({**known, **ends, **figures})
            if "dice_change" in figures:
                change = figures["dice_change"]
                about = {"cell_id": f"dice-{quantize}", "probe": "deployed", "dice": 0.7 + change}
                about |= {"dice_change_ci_low": change - 1e-3, "dice_change_ci_high": change + 1e-3}
                rows.append({**known, **about, "dice_change": change})
        return read_runs([stored(tmp_path, rows)])

    return made


def test_networks_are_compared_in_eager_and_the_best_is_told_its_fastest_engine(told) -> None:
    [advice] = recommend(told(dice_change=-0.0004))
    assert advice.conditions["runtime"] == "eager"
    text = " ".join(answers([advice]))
    assert (
        "unet-add takes 0.30 (0.29 to 0.31) of eager torch's time in openvino static-int8" in text
    )
    assert "its Dice there changes by -0.0004 (-0.0014 to +0.0006)" in text


def test_an_engine_that_loses_dice_is_not_the_one_to_take(told) -> None:
    [advice] = recommend(told(dice_change=-2 * LOSS))
    assert "takes 0.60 (0.59 to 0.61) of eager torch's time in openvino;" in " ".join(
        answers([advice])
    )


def test_with_any_runtime_an_engine_is_a_candidate(told) -> None:
    """Its time is the network's over the baseline's, times what the engine takes of eager's."""
    made = told(dice_change=-0.0004)
    [advice] = recommend(made, Budget(max_latency_ms=10.5), any_runtime=True)
    names = {one.variant for one in advice.candidates.networks}
    assert names == {"unet", "unet-add", "unet-add in openvino", "unet-add in openvino static-int8"}
    int8 = next(one for one in advice.candidates.networks if one.variant.endswith("int8"))
    ratio = int8.interval("latency_ratio")
    assert ratio.value == pytest.approx(0.3 * 1.1)
    assert log(ratio.high / ratio.value) == pytest.approx(hypot(0.02, 0.02), rel=0.02)
    assert int8.number("params") == 10**6 + 1
    assert int8.number("dice") == pytest.approx(0.7 - 0.0004)
    commands = [command for _, command in steps(advice)]
    assert all(" in " not in command for command in commands)


def test_engines_of_a_network_stand_in_one_table(told) -> None:
    [heading, table, *_] = results_document(told(dice_change=0.0).results).blocks
    assert "eager" not in heading.text
    assert table.labels[:3] == ("variant", "runtime", "quantize")
    assert {"× eager", "Δ Dice"} <= set(table.labels)
    assert len(table.lines) == 4
