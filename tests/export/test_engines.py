"""Networks in ONNX Runtime and OpenVINO: the same figures, and what eight bits change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unet_bench import run
from unet_bench.errors import StoreError, Unsupported
from unet_bench.export.eight_bits import Change, LeftInFloat, QuantizeReport
from unet_bench.export.training_images import dataset_of
from unet_bench.measure import outputs
from unet_bench.networks import as_onnx
from unet_bench.pipeline import suite_of_run
from unet_bench.store.tables import read_results
from unet_bench.train.trained import load_network

for package in ("onnx", "onnxscript", "openvino"):
    pytest.importorskip(package, reason='needs pip install "unet-bench[openvino]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "unet-bench[openvino]"')

ENGINES = ("onnxruntime", "openvino")
TINY: dict[str, Any] = {
    "data": ["cells"], "size": "32x32", "window": "32x32", "width_scale": 0.0625, "device": "cpu",
    "threads": 1, "batch": 2, "steps": 4, "examples": 0, "eval_images": 6, "speed_s": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["unet", "unet-valid-resize", "unet-attention-gate"])
def test_an_engine_computes_what_torch_does(context_of, engine: str, name: str) -> None:
    assert outputs.probe(context_of(name, runtime=engine))["output_difference"] < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["static-int8", "dynamic-int8"])
@pytest.mark.parametrize("name", ["unet", "unet-group"])
def test_eight_bits_change_little(context_of, name: str, engine: str, how: str) -> None:
    row = outputs.probe(context_of(name, runtime=engine, quantize=how))
    assert 1e-5 < row["output_difference"] < 0.3
    assert row["class_agreement"] > 0.8


def test_activations_are_unsigned_and_weights_have_seven_bits(tmp_path: Path) -> None:
    """What processors without VNNI need, told by the file: others compute either well."""
    import onnx
    import torch

    network, batch = torch.nn.Conv2d(1, 4, 3), torch.rand(1, 1, 8, 8)
    file = tmp_path / "model.onnx"
    with as_onnx.quietly():
        torch.onnx.export(network, (batch,), str(file), dynamo=True)
    made = onnx.load(as_onnx.quantized(file, "static-int8", iter([batch.numpy()])))
    values = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
    zeros = [values[n.input[2]] for n in made.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero.dtype.name for zero in zeros} == {"uint8"}
    weights = [value for value in values.values() if value.shape == (4, 1, 3, 3)]
    assert [weight.dtype.name for weight in weights] == ["int8"]
    assert abs(weights[0].astype(int)).max() <= 64


def test_what_an_engine_does_not_serve_is_told(context_of) -> None:
    with pytest.raises(Unsupported, match="openvino does not run precision bf16: it runs fp32"):
        outputs.probe(context_of(runtime="openvino", precision="bf16"))
    with pytest.raises(Unsupported, match="needs a CPU device"):
        outputs.probe(context_of(runtime="onnxruntime", device="meta"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two networks in each engine, of which the best is kept; 45 s."""
    out = tmp_path_factory.mktemp("engines")
    frame = run(
        "unet,unet-no-skip", out=out, probes=["cost", "speed", "memory", "accuracy", "deployed"],
        runtime=["eager", *ENGINES], quantize=["none", "static-int8"], **TINY,
    )  # fmt: skip
    return Path(frame.attrs["path"])


def of(finished: Path, probe: str) -> pd.DataFrame:
    cells = read_results(finished, "cells")
    mine = cells[cells["probe"] == probe]
    return mine.set_index(["variant", "runtime", "quantize"]).sort_index()


def test_kept_networks_are_scored_in_each_engine(finished: Path) -> None:
    accuracy, deployed = of(finished, "accuracy"), of(finished, "deployed")
    best = accuracy["dice"][accuracy["trivial"] != True].idxmax()[0]  # noqa: E712
    kept = deployed.loc[best]
    assert (kept["status"] == "ok").all()
    assert len(kept) == 4
    as_trained = kept.xs("none", level="quantize")
    assert (as_trained["dice_change"].abs() < 1e-3).all()
    before = kept["dice"] - kept["dice_change"]
    assert (before - accuracy.loc[best, "dice"].iloc[0]).abs().max() < 1e-6
    other = deployed.drop(index=best, level="variant")
    assert set(other["status"]) == {"skipped"}
    assert other["error"].str.contains("--keep-weights").all()


def test_files_of_eight_bits_are_smaller_and_every_timing_is_beside_eager(finished: Path) -> None:
    speed = of(finished, "speed").loc["unet"]
    assert (speed["status"] == "ok").all()
    sizes = speed["file_mib"].unstack("quantize").loc[list(ENGINES)]
    assert (sizes["static-int8"] < sizes["none"] * 0.7).all()
    assert set(speed.loc[list(ENGINES), "eager_agreement"].notna()) == {True}


def test_memory_of_an_engine_is_not_torch_s_to_measure(finished: Path) -> None:
    memory = of(finished, "memory")
    assert set(memory.index.get_level_values("runtime")) == {"eager"}
    assert set(memory["status"]) == {"ok"}


# ---- a folder to ship, in eight bits


@pytest.fixture(scope="module")
def best(finished: Path) -> str:
    accuracy = of(finished, "accuracy")
    return str(accuracy["dice"][~accuracy["trivial"].astype(bool)].idxmax()[0])


@pytest.mark.parametrize("how", ["static-int8", "dynamic-int8"])
def test_a_folder_of_eight_bits_is_smaller_and_says_what_changed(
    unet_bench, finished: Path, best: str, how: str, tmp_path: Path
) -> None:
    for words, out in ((["--json"], "plain"), (["--quantize", how], "int8")):
        done = unet_bench("export", str(finished), best, "--out", str(tmp_path / out), *words)
        assert done.returncode == 0, done.stderr
    assert "of the pixels of 16 training images keep their class" in done.stderr
    plain, int8 = (tmp_path / name / "model.onnx" for name in ("plain", "int8"))
    assert int8.stat().st_size < 0.7 * plain.stat().st_size
    about = json.loads((tmp_path / "int8" / "model.json").read_text())
    assert (about["quantize"], about["agreement"] > 0.9) == (how, True)
    metadata = onnxruntime.InferenceSession(str(int8)).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["unet_bench"])["quantize"] == how


def test_eight_bits_need_the_images_it_was_trained_on(
    finished: Path, best: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = suite_of_run(finished)
    monkeypatch.setattr(
        "unet_bench.export.training_images.suite_of_run", lambda _: replace(suite, data=("brain",))
    )
    with pytest.raises(StoreError, match="the images of cells are not those that"):
        dataset_of(finished, load_network(finished, best))


# ---- the slot to blame


def test_each_slot_is_left_in_float_by_itself(unet_bench, finished: Path, best: str) -> None:
    done = unet_bench("quantize-report", str(finished), best, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rows = {row["in_float"]: row for row in told["rows"]}
    names = list(rows)
    assert (names[0], names[-1]) == ("nothing", "all")
    assert {"encoder_block", "decoder_block", "up", "head"} <= rows.keys()
    assert (rows["all"]["same_class"], rows["all"]["lost"]) == (1, 0)
    assert rows["nothing"]["same_class"] < 1
    sizes = {name: row["file_mib"] for name, row in rows.items()}
    assert sizes["nothing"] < sizes["decoder_block"] < sizes["all"]
    assert told["images"].endswith("validation images of cells")


def test_slots_are_left_in_float_in_a_folder(
    unet_bench, finished: Path, best: str, tmp_path: Path
) -> None:
    words = ("export", str(finished), best, "--quantize", "static-int8", "--in-float")
    done = unet_bench(*words, "head,up", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["in_float"] == ["head", "up"]
    done = unet_bench(*words, "heads", "--out", str(tmp_path / "other"))
    assert done.returncode == 2
    assert "did you mean head" in done.stderr
    assert not (tmp_path / "other").exists()


def line(slot: str, lost: float, regained: float) -> LeftInFloat:
    return LeftInFloat(
        slot,
        0.8,
        lost=Change(lost, lost - 0.001, lost + 0.001),
        regained=Change(regained, regained - 0.001, regained + 0.001),
        same_class=0.99,
        mib=1.0,
    )


def test_few_images_blame_no_slot(finished: Path, best: str) -> None:
    nan = float("nan")
    few = [
        replace(one, lost=Change(one.lost.dice, nan, nan), regained=Change(0.01, nan, nan))
        for one in (line("nothing", -0.02, 0), line("gate", -0.02, 0.01), line("all", 0, 0.02))
    ]
    network = load_network(finished, best)
    report = QuantizeReport(network, finished, "static-int8", "3 images", tuple(few))
    assert report.guilty == []
    assert "-0.0200; to blame a slot takes five images" in report.answer()
    assert "nan" not in str(report)


@pytest.mark.parametrize(
    ("lost", "words", "command"),
    [
        (-0.020, "gate left in float brings back +0.0150 (+0.0140 to +0.0160)", "--in-float gate"),
        (-0.002, "loses nothing to speak of in eight bits", "--quantize static-int8"),
    ],
)
def test_a_report_names_the_slot_where_something_is_lost(
    finished: Path, best: str, lost: float, words: str, command: str
) -> None:
    lines = (line("nothing", lost, 0), line("gate", lost, 0.015), line("all", 0, -lost))
    network = load_network(finished, best)
    report = QuantizeReport(network, finished, "static-int8", "32 images", lines)
    assert words in report.answer()
    assert report.step()[1].endswith(command)
    assert "gate" in str(report)
