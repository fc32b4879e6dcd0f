"""The commands as a user types them: start-up, listings, refusals. No traceback for anything a user
can cause.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from support.datasets import image_folder
from support.paths import ROOT

from unet_bench.cli.app import app
from unet_bench.cli.runs import meant
from unet_bench.errors import StoreError

FIRST = ROOT / "results" / "reference" / "first-cpu"

LIGHT = [
    f"show {ROOT / 'results' / 'reference' / 'quick-cpu'}",
    "--help",
    "--version",
    "run --help",
    "plugins",
    "list variants",
    "list parts",
    "list probes",
    "list executors",
    "list runtimes",
    "list presets",
    "list suites",
]


def test_looking_imports_neither_torch_nor_timm() -> None:
    """All in one process: what the first of them imports is there for the others, too."""
    code = f"""
import contextlib, io, sys
from unet_bench.cli.app import main
for command in {LIGHT!r}:
    sys.argv = ["unet-bench", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        try: main()
        except SystemExit as end: assert not end.code, (command, end.code)
    assert told.getvalue().strip(), command
    heavy = {{"torch", "torchvision", "timm", "matplotlib"}} & set(sys.modules)
    assert not heavy, (command, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_package(unet_bench) -> None:
    for word in ("--version", "-V"):
        done = unet_bench(word)
        assert (done.returncode, done.stdout) == (0, f"unet-bench {version('unet-bench')}\n")


def test_last_is_the_run_begun_last(
    unet_bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="no run in results"):
        meant(Path("last"))
    for age, name in enumerate(("newer", "older")):
        copy = Path("results", name)
        shutil.copytree(FIRST, copy, ignore=shutil.ignore_patterns("*.html"))
        os.utime(copy / "run.json", (1e9 - age, 1e9 - age))
    assert meant(Path("last")) == Path("results/newer")
    assert unet_bench("show", "last").stdout == unet_bench("show", "results/newer").stdout
    Path("last").mkdir()  # then it is what is meant
    assert meant(Path("last")) == Path("last")


def test_what_lies_beside_runs_is_left_out_and_named(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about them")
    (tmp_path / "empty").mkdir()
    beside = [str(tmp_path / "README.md"), str(tmp_path / "empty")]
    done = unet_bench("show", str(FIRST), *beside)
    assert done.returncode == 0, done.stderr
    assert "unet-shallow" in done.stdout
    assert all(path in done.stderr for path in beside)
    for path in beside:  # alone it is what was meant
        assert unet_bench("show", path).returncode == 2
    assert unet_bench("show", str(FIRST), str(tmp_path / "nowhere")).returncode == 2


def test_list_as_json_names_providers_and_sources(unet_bench) -> None:
    rows = json.loads(unet_bench("list", "parts", "--json").stdout)
    up = {row["name"]: row for row in rows if row["kind"] == "up"}
    assert up["transpose"]["plugin"] == "classic"
    assert "1505.04597" in up["transpose"]["cite"]


def test_geometry_of_the_paper(unet_bench) -> None:
    said = unet_bench("geometry", "unet-paper").stdout
    for figure in ("388×388", "92×92", "88×88", "40×40", "16×16", "4×4", "188, 204"):
        assert figure in said
    bad = unet_bench("geometry", "unet-paper", "--size", "150")
    assert (bad.returncode, "188" in bad.stderr) == (2, True)


def test_doctor(unet_bench) -> None:
    report = json.loads(unet_bench("doctor", "--json").stdout)
    assert report["packages"]["torch"]
    assert {"core", "classic"} <= {row["plugin"] for row in report["plugins"]}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("run -v unet-bilinaer", ["unet-bilinear", "unet-bench list variants"]),
        ("run -v unet --data brian", ["brain", "unet-bench list datasets"]),
        ("run -v unet --probes cost,sped", ["speed", "unet-bench list probes"]),
        ("run --base unet --vary up=bilinaer", ["bilinear", "unet-bench list parts"]),
        ("run --base unet --vary uo=bilinear", ["up", "unet-bench list parts"]),
        ("run --preset quik", ["quick", "unet-bench list presets"]),
        ("run --device cuda:99", ["cpu"]),
        ("run --precision fp7", ["fp16"]),
        ("run --size 12x", ["HEIGHTxWIDTH"]),
        ("run --batch 0", ["from 1 to"]),
        ("run --seeds a", ["whole number"]),
        ("run --precision ,", ["--precision is empty"]),
        ("run --suite nowhere.toml", ["nowhere.toml"]),
        ("run --data ./nowhere", ["nowhere", "no such file or folder"]),
        ("run --resume nowhere", ["nowhere"]),
        ("run --block clasic", ["classic", "unet-bench plugins"]),
        ("run --baseline unett -v unet", ["unet"]),
        ("run --model nowhere:Net", ["nowhere"]),
        ("run -v unet --classes 3", ["--classes"]),
        ("show nowhere", ["nowhere"]),
        ("list things", ["variants"]),
        ("run --nonsense", ["--nonsense"]),
    ],
)
def test_mistakes_are_refused_with_a_remedy_and_nothing_is_written(
    unet_bench, tmp_path: Path, args: str, words
) -> None:
    done = unet_bench(*args.split())
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(unet_bench) -> None:
    assert "Traceback" in unet_bench("run", "-v", "unett", "--debug").stderr


def test_all_offending_files_are_named_before_anything_runs(unet_bench, tmp_path: Path) -> None:
    data = image_folder(tmp_path / "data", masks=6)
    (data / "images" / "0.png").write_bytes(b"not an image")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(data / "masks" / "1.png")
    done = unet_bench("run", "-v", "unet", "--data", str(data))
    assert done.returncode == 2
    for stem in ("0.png", "1", "6", "7"):
        assert stem in done.stderr
    assert not (tmp_path / "results").exists()


def test_an_unwritable_folder_is_one_line(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = unet_bench("run", "-v", "unet", "--probes", "cost", "--out", "file/results")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "file" in done.stderr


def test_plan_predicts_and_writes_nothing(unet_bench, tmp_path: Path) -> None:
    done = unet_bench("plan", "-v", "unet,unet-paper,unet-milesial+align=resize", "--json")
    rows = {(row["variant"], row["probe"]): row for row in json.loads(done.stdout)}
    assert rows["unet-paper", "speed"]["input"] == [316, 316]
    assert rows["unet-paper", "speed"]["output"] == [132, 132]
    assert rows["unet", "accuracy"]["predicted_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_beyond_the_limit_is_skipped_with_the_figures(unet_bench) -> None:
    rows = json.loads(unet_bench("plan", "-v", "unet", "--steps", "99999", "--json").stdout)
    (accuracy,) = [row for row in rows if row["probe"] == "accuracy" and row["variant"] == "unet"]
    assert accuracy["status"] == "skipped"
    assert "--limit 0" in accuracy["reason"]
    rows = json.loads(
        unet_bench("plan", "-v", "unet", "--steps", "99999", "--limit", "0", "--json").stdout
    )
    statuses = {row["probe"]: row["status"] for row in rows}
    assert statuses.pop("memory") == "ok"  # known beforehand
    assert set(statuses.values()) == {"to run"}


@pytest.mark.parametrize(
    "args",
    [
        "run --base all --vary up=bilinear",
        "run --base unet --vary up=,",
        "run --baseline unet-* -v unet",
        "run --seeds ²",
        "run --seeds 99999999999999999999999",
        "run --size ²x²",
        "run --device meta",
        "run --threads 100000",
        "run --speed-s nan",
        "run --width-scale inf",
        "run --data . --classes 1",
    ],
)
def test_odd_values_are_refused(unet_bench, args: str) -> None:
    done = unet_bench(*args.split())
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr


def test_a_csv_of_something_else_is_no_table(unet_bench, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert "results.csv" in unet_bench("show", "other.csv").stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
def test_no_room_for_the_data_is_one_line(tmp_path: Path) -> None:
    import resource

    done = subprocess.run(
        [sys.executable, "-P", "-m", "unet_bench", "run", "-v", "unet", "--probes", "cost"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000)),
    )
    assert (done.returncode, "Traceback" in done.stderr, "TMPDIR" in done.stderr) == (
        2,
        False,
        True,
    ), done.stderr
    assert not list(tmp_path.iterdir())


def test_square_brackets_in_the_help_are_of_what_may_be_left_out() -> None:
    def options(command: Any) -> Iterator[Any]:
        for inner in getattr(command, "commands", {}).values():
            yield from options(inner)
        yield from command.params

    bracketed = [
        one.name
        for one in options(typer.main.get_command(app))
        if (one.metavar or "").startswith("[") and one.param_type_name == "option"
    ]
    assert not bracketed, "an option that needs a value looks as if it did not"


@pytest.mark.parametrize("shown", [True, False])
def test_a_report_is_opened_where_there_is_a_browser(
    unet_bench, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or shown)
    done = unet_bench("report", str(finished_run), "-f", "md", "-o", "page.md", "--open")
    assert (done.returncode, len(asked)) == (0, 1)
    assert asked[0].startswith("file:///")
    assert asked[0].endswith("/page.md")
    assert ("no browser could be started" in done.stderr) != shown
