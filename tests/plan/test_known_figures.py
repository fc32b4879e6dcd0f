"""What prediction knows to the byte is not measured, unless it is asked for, and says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.reported import cells, stored

from unet_bench import pipeline, run
from unet_bench.analysis.rank import rank
from unet_bench.analysis.recommend import recommend
from unet_bench.measure.probes import known_memory
from unet_bench.present.markdown import as_markdown
from unet_bench.present.rank import rank_document
from unet_bench.present.recommend import recommend_document
from unet_bench.present.report.html import html
from unet_bench.present.table import PREDICTED_MEMORY, results_document
from unet_bench.spec.cell import Setting
from unet_bench.spec.suite import Suite, from_dict
from unet_bench.store.runs import read_runs
from unet_bench.store.tables import results_frame

TINY: dict[str, Any] = {
    **{"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "batch": [2], "threads": [1]},
    **{"speed_s": 0.01, "steps": 1, "replicates": 1},
}
PEAKS = ["peak_memory_mib", "train_peak_memory_mib"]


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        ({}, "predicted"),
        ({"preset": "quick", "variants": ("unet",)}, "predicted"),
        ({"probes": ("memory",)}, "measured"),
        ({"probes": ("cost", "memory"), "memory": "predicted"}, "predicted"),
        ({"memory": "measured"}, "measured"),
        ({"preset": "standard"}, "measured"),
    ],
)
def test_the_first_look_predicts_what_nobody_asked_to_measure(
    options: dict[str, Any], memory: str
) -> None:
    assert Suite(**options).resolved(on_gpu=False).memory == memory


def test_a_suite_that_was_stored_before_goes_on_as_it_began() -> None:
    stored_suite = Suite().resolved(on_gpu=False).to_dict()
    assert from_dict(stored_suite).resolved(on_gpu=False).memory == "predicted"
    del stored_suite["memory"]
    assert from_dict(stored_suite).resolved(on_gpu=False).memory == "measured"


@pytest.mark.parametrize(
    "changed",
    [
        {"device": "cuda:0"},
        {"precision": "bf16"},
        {"memory_format": "channels_last"},
        {"runtime": "compile"},
        {"batch_norm": "folded"},
    ],
)
def test_what_is_foreseen_less_exactly_is_measured(changed: dict[str, str]) -> None:
    exact = Setting(threads=3, batch=5)
    assert known_memory(exact, 1.0, 2.0) == {
        **dict(zip(PEAKS, (1.0, 2.0), strict=True)),
        "memory_source": "predicted",
    }
    assert known_memory(replace(exact, **changed), 1.0, 2.0) == {}


def test_a_cell_whose_figures_are_known_takes_no_time_and_is_no_cell_to_run() -> None:
    suite = from_dict({**TINY, "variants": ["unet"], "probes": ["cost", "memory"]})
    with pipeline.plan(suite) as measured:
        pass
    with pipeline.plan(replace(suite, memory="predicted")) as predicted:
        pass
    assert [p.cell.id for p in measured.planned] == [p.cell.id for p in predicted.planned]
    assert [p.status for p in measured.planned] == ["", ""]
    assert [p.status for p in predicted.planned] == ["", "ok"]
    assert predicted.planned[1].seconds == 0
    assert predicted.seconds(predicted.planned) < measured.seconds(measured.planned)


def test_fused_attention_is_not_known_beforehand() -> None:
    options = {**TINY, "variants": ["unet", "unet-transformer"], "memory": "predicted"}
    with pipeline.plan(from_dict({**options, "probes": ["memory"]})) as plan:
        assert [p.status for p in plan.planned] == ["ok", ""]
    # The same once it is known from before.
    with pipeline.plan(from_dict({**options, "probes": ["memory"]})) as plan:
        assert [p.status for p in plan.planned] == ["ok", ""]


@pytest.mark.slow
def test_the_predicted_peaks_of_unlike_networks_are_the_measured_ones(tmp_path: Path) -> None:
    names = (
        "unet,unet-paper,unet-separable,unet-instance,unet-residual,unet-dense,unet++,"
        "resnet34-unet,u2net-small,attention-unet,unet-transformer,segnet"
    )
    found = {}
    for memory in ("predicted", "measured"):
        options = {**TINY, "probes": ["memory"], "size": "64x64", "memory": memory}
        found[memory] = run(names, out=tmp_path / memory, **options)
        source = found[memory].set_index("variant")["memory_source"]
        assert source.pop("unet-transformer") == "measured"
        assert set(source) == {memory}
        assert set(found[memory]["memory_status"]) == {"ok"}
    assert len(found["measured"]) == 12
    peaks = {memory: frame.set_index("variant")[PEAKS] for memory, frame in found.items()}
    pd.testing.assert_frame_equal(peaks["predicted"], peaks["measured"])


def test_every_answer_says_that_memory_is_predicted(tmp_path: Path) -> None:
    rows = list(cells())
    for source in (None, "predicted"):
        told = [
            {**row, "memory_source": source} if "memory" in row["probe"] else row for row in rows
        ]
        run_folder = stored(tmp_path / str(source), told)
        runs = read_runs([run_folder])
        texts = [
            as_markdown(results_document(results_frame(told, {})).blocks),
            as_markdown(rank_document(rank(runs)).blocks),
            as_markdown(recommend_document(recommend(runs)).blocks),
            html(runs),
        ]
        assert [PREDICTED_MEMORY in text for text in texts] == [source == "predicted"] * 4
