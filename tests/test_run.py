"""The main job: variants in, tables out; resumed, interrupted, on folders and anybody's module."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.datasets import image_folder

from unet_bench import read_results, run

TINY = [
    "--width-scale",
    "0.0625",
    "--size",
    "32x32",
    "--batch",
    "2",
    "--steps",
    "4",
    "--speed-s",
    "0.2",
]
TINY += ["--threads", "1", "--out", "runs"]


def only_run(path: Path) -> Path:
    (found,) = (path / "runs").iterdir()
    return found


def test_one_wide_row_a_variant_with_every_probe(finished_run: Path) -> None:
    frame = read_results(finished_run).set_index("variant")
    floors = frame[frame.index.str.startswith("floor-")]
    assert set(floors.index) == {"floor-majority", "floor-otsu", "floor-lookup"}
    assert (floors["accuracy_status"] == "ok").all()
    assert floors[["latency_ms", "params", "train_s"]].isna().all().all()
    frame = frame.drop(floors.index)
    assert set(frame.index) == {"unet", "unet-paper", "unet-milesial", "unet+bias=false"}
    assert (
        (frame[["cost_status", "speed_status", "memory_status", "accuracy_status"]] == "ok")
        .all()
        .all()
    )
    figures = [
        "params",
        "macs",
        "flop_per_byte",
        "peak_memory_mib",
        "train_peak_memory_mib",
        "predicted_memory_mib",
        "predicted_train_memory_mib",
        "dice",
        "iou",
    ]
    assert frame[figures].notna().all().all()
    assert (frame["batch_effective"] == 2).all()
    assert (frame["train_peak_memory_mib"] > frame["peak_memory_mib"]).all()
    assert tuple(frame.loc["unet-paper", ["height", "output_height", "scored_height"]]) == (
        220,
        36,
        32,
    )
    assert frame.loc["unet", "align"] == "crop"
    assert "align" in frame.loc["unet", "inactive"]
    assert (frame["width_scale"] == 0.0625).all()
    assert (frame["seeds"] == 1).all()


def test_absolute_times_are_there_unless_the_machine_was_disturbed(finished_run: Path) -> None:
    speed = read_results(finished_run, "cells").query("probe == 'speed'")
    calm = ~speed["quality"].isin(["contaminated"])
    absolute = ["latency_ms", "latency_ci_low_ms", "throughput_img_s", "throughput_mpx_s"]
    absolute += ["ceiling_tflop_s", "roofline_fraction"]
    for name in absolute:
        assert (speed[name].notna() == calm).all(), name
    assert speed.loc[calm, "latency_ratio"].notna().all()
    assert speed.loc[speed["quality"] != "clean", "evidence"].notna().all()
    kept = speed[speed["latency_ratio"].notna() & ~calm]
    width = (kept["latency_ratio_ci_high"] - kept["latency_ratio_ci_low"]) / kept["latency_ratio"]
    assert (width <= 0.1).all()
    assert set(speed["stop_reason"]) <= {"ci", "plateau", "cap"}
    counted = ["foreign_cpu_share", "steal_share", "build_s", "blocks", "measured_s"]
    assert speed[counted].notna().all().all()


def test_equal_choices_are_measured_once(finished_run: Path) -> None:
    frame = read_results(finished_run).set_index("variant")
    same = frame[frame["same_as"].notna()]
    assert dict(same["same_as"]) == {"unet+bias=false": "unet-milesial"}
    for name in ("peak_memory_mib", "dice", "latency_ms", "latency_ratio"):
        one, other = frame.loc[["unet+bias=false", "unet-milesial"], name]
        assert one is other or one == other


def test_rows_name_who_provided_the_parts(finished_run: Path) -> None:
    frame = read_results(finished_run).set_index("variant")
    assert frame.loc["unet-paper", "plugins"] == "classic"
    assert frame.loc["unet", "plugins"] == "classic"


def test_tables_and_provenance(finished_run: Path) -> None:
    classes = read_results(finished_run, "classes")
    assert set(classes["class_name"]) == {"background", "cell", "membrane"}
    manifest = json.loads((finished_run / "run.json").read_text())
    assert manifest["environment"]["packages"]["torch"]
    assert {"classic", "zoo"} <= {plugin["plugin"] for plugin in manifest["plugins"]}
    samples = json.loads(next((finished_run / "samples").glob("speed-*.json")).read_text())
    for timing in (samples["latency"], samples["throughput"]):
        assert len(timing["own"]) == len(timing["baseline"]) >= 4


def test_every_cell_column_is_documented(finished_run: Path) -> None:
    from unet_bench.store.schema import BY_NAME

    cells = read_results(finished_run, "cells")
    assert set(cells.columns) <= set(BY_NAME)


def test_show_in_every_format(unet_bench, finished_run: Path) -> None:
    assert "unet-paper" in unet_bench("show", str(finished_run)).stdout
    assert len(json.loads(unet_bench("show", str(finished_run), "--json").stdout)) == 7
    assert "| unet-paper" in unet_bench("show", str(finished_run), "--format", "md").stdout
    assert unet_bench("show", str(finished_run), "--format", "csv").stdout.count("\n") >= 6


def test_resuming_a_finished_run_measures_nothing(
    unet_bench, finished_run: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(finished_run, tmp_path / "runs" / finished_run.name)
    before = (copied / "cells.jsonl").read_bytes()
    done = unet_bench("run", "--resume", str(copied))
    assert done.returncode == 0, done.stderr
    assert "0 cells" in done.stderr
    assert (copied / "cells.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_leaves_a_resumable_run(tmp_path: Path, unet_bench) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "unet_bench",
        "run",
        *TINY,
        "-v",
        "unet",
        "--steps",
        "100000",
    ]
    command += ["--limit", "0", "--probes", "cost,accuracy", "--no-floors"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_for(
        lambda: (
            list(tmp_path.glob("runs/*/cells.jsonl"))
            and '"cost"' in next(tmp_path.glob("runs/*/cells.jsonl")).read_text()
        )
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "--resume" in said
    frame = read_results(only_run(tmp_path))
    assert frame["params"].notna().all()
    manifest = only_run(tmp_path) / "run.json"
    data = json.loads(manifest.read_text())
    data["suite"]["steps"] = 3
    manifest.write_text(json.dumps(data))
    done = unet_bench("run", "--resume", "last", "--out", "runs")
    assert done.returncode == 0, done.stderr
    assert read_results(only_run(tmp_path))["dice"].notna().all()


def wait_for(condition, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_folder_of_images_by_path(unet_bench, tmp_path: Path) -> None:
    data = image_folder(tmp_path / "mine")
    done = unet_bench(
        "run", *TINY, "-v", "unet", "--probes", "cost,accuracy", "--no-floors", "--data", str(data)
    )
    assert done.returncode == 0, done.stderr
    frame = read_results(only_run(tmp_path))
    assert frame.loc[0, "task"] == "mine"
    assert frame.loc[0, "classes"] == 2


@pytest.mark.slow
def test_anybodys_module_without_a_plugin(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "mynet.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, n_channels, n_classes, width=4):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Conv2d(n_channels, n_classes, 3, padding=1)\n"
        "    def forward(self, x): return self.body(x)\n"
        "class Half(Net):\n"
        "    def forward(self, x): return self.body(x)[..., ::2, ::2]\n"
        "def needy(in_channels, classes, mystery): ...\n"
    )
    models = ["--model", "mynet:Net", "--model", "mynet:Half"]
    done = unet_bench("run", *TINY, *models, "--probes", "cost,accuracy", "--no-floors", fresh=True)
    assert done.returncode == 0, done.stderr
    frame = read_results(only_run(tmp_path)).set_index("variant")
    assert frame.loc["mynet:Net", "accuracy_status"] == "ok"
    assert frame.loc["mynet:Half", "accuracy_status"] == "unsupported"
    assert "up-sample" in frame.loc["mynet:Half", "error"]
    assert f"imported from {tmp_path}" in done.stderr
    assert unet_bench("run", "--resume", "last", "--out", "runs", "--steps", "5").returncode == 2
    (tmp_path / "mynet.py").write_text(
        (tmp_path / "mynet.py").read_text().replace("3, padding=1", "1")
    )
    again = unet_bench("run", "--resume", "last", "--out", "runs", "--trust", fresh=True)
    assert again.returncode == 0, again.stderr
    fewer = read_results(only_run(tmp_path)).set_index("variant").loc["mynet:Net", "params"]
    assert fewer < frame.loc["mynet:Net", "params"]
    refused = unet_bench("run", *TINY, "--model", "mynet:needy", "--probes", "cost")
    assert "mystery" in refused.stderr + refused.stdout


def test_run_from_python(tmp_path: Path) -> None:
    frame = run("unet,unet-add", out=tmp_path, probes=["cost"], data=["brain"])
    assert list(frame["variant"]) == ["unet", "unet-add"]
    assert (Path(frame.attrs["path"]) / "results.csv").exists()


def test_two_tasks_and_sizes_are_rows_of_their_own(unet_bench, tmp_path: Path) -> None:
    done = unet_bench(
        "run",
        "-v",
        "unet",
        "--probes",
        "cost",
        "-d",
        "brain",
        "-d",
        "cells",
        "--size",
        "32x32,64x48",
        "--out",
        "runs",
    )
    assert done.returncode == 0, done.stderr
    frame = read_results(only_run(tmp_path))
    assert len(frame) == 4
    assert set(zip(frame["task"], frame["scored_height"], frame["scored_width"], strict=True)) == {
        ("brain", 32, 32), ("brain", 64, 48), ("cells", 32, 32), ("cells", 64, 48),
    }  # fmt: skip


PARTS = """
import torch
from torch import nn
class Wrong(nn.Module):
    def __init__(self, place):
        super().__init__()
        self.conv = nn.ConvTranspose2d(place.in_channels, place.out_channels + 1, 2, 2)
    def forward(self, x): return self.conv(x)
class Broken(nn.Module):
    def __init__(self, place): super().__init__()
    def forward(self, x): return x.no_such_method()
def factory(place): raise KeyError("oops")
def number(place): return 7
"""
PLUGIN = """
from unet_bench import hookimpl
@hookimpl
def unet_bench_register(registry):
    for name in ("Wrong", "Broken", "factory", "number", "absent"):
        registry.up(name, f"badparts:{name}", summary="for tests")
        registry.variant(f"unet-{name}", up=name, summary="for tests")
"""


@pytest.mark.slow
def test_a_broken_part_is_a_row_that_names_its_distribution(
    unet_bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "bad-2.0.dist-info").mkdir(parents=True)
    (tmp_path / "lib" / "badparts.py").write_text(PARTS)
    (tmp_path / "lib" / "badplugin.py").write_text(PLUGIN)
    (tmp_path / "lib" / "bad-2.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bad\nVersion: 2.0\n"
    )
    (tmp_path / "lib" / "bad-2.0.dist-info" / "entry_points.txt").write_text(
        "[unet_bench]\nbad = badplugin\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "lib")
    refused = unet_bench("run", *TINY, "-v", "unet-absent", "--probes", "cost")
    assert (refused.returncode, "badparts:absent" in refused.stderr) == (2, True)
    named = "unet-Wrong,unet-Broken,unet-factory,unet-number,unet-add"
    lib = os.pathsep.join([str(tmp_path / "lib"), os.environ.get("PYTHONPATH", "")])
    done = unet_bench("run", *TINY, "-v", named, "--probes", "cost", env={"PYTHONPATH": lib})
    assert done.returncode == 1, done.stderr
    frame = read_results(only_run(tmp_path)).set_index("variant")
    assert frame.loc["unet-add", "cost_status"] == "ok"
    for name, words in {
        "unet-Wrong": "channels were promised",
        "unet-Broken": "AttributeError",
        "unet-factory": "KeyError",
        "unet-number": "no torch nn.Module",
    }.items():
        assert frame.loc[name, "cost_status"] == "error", name
        assert words in frame.loc[name, "error"]
        assert "bad (bad 2.0)" in frame.loc[name, "error"], frame.loc[name, "error"]
        assert "params" not in frame.columns or frame["params"].isna()[name]


def test_a_run_goes_on_where_it_began_unless_told_otherwise(unet_bench, tmp_path: Path) -> None:
    done = unet_bench("run", *TINY, "-v", "unet", "--probes", "cost", "--devices", "cpu,cpu")
    assert done.returncode == 0, done.stderr
    own = json.loads((only_run(tmp_path) / "run.json").read_text())["executor"]
    assert own == {"name": "local", "devices": ["cpu", "cpu"], "options": {}}
    changed = only_run(tmp_path) / "run.json"
    changed.write_text(changed.read_text().replace('"name": "local"', '"name": "nowhere"'))
    refused = unet_bench("run", "--resume", "last", "--out", "runs")
    assert (refused.returncode, "nowhere" in refused.stderr) == (2, True)
    assert (
        unet_bench("run", "--resume", "last", "--out", "runs", "--executor", "local").returncode
        == 0
    )


def test_what_is_skipped_leaves_one_row_however_often_a_run_goes_on(
    unet_bench, tmp_path: Path
) -> None:
    some = ["-v", "unet", "--probes", "cost,speed", "--memory-limit", "1K"]
    assert unet_bench("run", *TINY, *some).returncode == 0
    rows = (only_run(tmp_path) / "cells.jsonl").read_bytes()
    assert b'"skipped"' in rows
    assert unet_bench("run", "--resume", "last", "--out", "runs").returncode == 0
    assert (only_run(tmp_path) / "cells.jsonl").read_bytes() == rows
