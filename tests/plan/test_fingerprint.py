"""A result counts while what measured it is as it was; what only shows it may change."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.paths import ROOT

from unet_bench import pipeline, read_results
from unet_bench.plan import fingerprint
from unet_bench.plan.fingerprint import MEASURING, TRAINERS, CellKeys
from unet_bench.registry import plugins
from unet_bench.spec.suite import from_dict

TINY = (
    "--size",
    "32x32",
    "--width-scale",
    "0.0625",
    "--batch",
    "1",
    "--steps",
    "2",
    "--threads",
    "1",
)


def sources() -> dict[str, set[str]]:
    """The modules whose source a cell of each probe depends on."""
    probes = ["cost", "speed", "memory", "accuracy", "deployed"]
    suite = from_dict({"variants": ["unet"], "probes": probes, "preset": "quick"})
    suite = replace(suite, runtime=("eager", "compile"))
    with pipeline.plan(suite, dry_run=True) as made:
        keys = CellKeys(made)
        return {planned.cell.probe: set(keys.sources(planned.cell)) for planned in made.planned}


def test_a_cell_depends_on_what_measures_it_and_on_nothing_that_shows_it() -> None:
    found = sources()
    measuring, trainers = (
        {f"unet_bench.{room}" for room in rooms} for rooms in (MEASURING, TRAINERS)
    )
    for probe, modules in found.items():
        assert measuring <= modules
        assert bool(trainers & modules) == (probe in ("memory", "accuracy", "deployed"))
        rooms = {module.split(".")[1] for module in modules if module.startswith("unet_bench.")}
        assert not rooms & {"cli", "present", "analysis", "execute", "store"}
        assert not modules & {"unet_bench_formats", "unet_bench_ray", "unet_bench_slurm"}
    assert "unet_bench_classic" in found["speed"]


def test_another_version_of_an_engine_measures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And only what that engine ran."""
    suite = from_dict({"variants": ["unet"], "probes": ["speed"], "preset": "quick"})
    with pipeline.plan(suite, dry_run=True) as made:
        [eager] = [planned.cell for planned in made.planned]
        engine = replace(eager, setting=replace(eager.setting, runtime="openvino"))

        def keys(version: str) -> list[str]:
            monkeypatch.setattr(fingerprint, "version", lambda package: version)
            known = CellKeys(made)
            return [known.key(eager), known.key(engine)]

        before, after = keys("1"), keys("2")
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_every_room_that_a_key_names_is_there() -> None:
    assert all(plugins.source_hash(f"unet_bench.{room}") for room in (*MEASURING, *TRAINERS))


def imported(file: Path) -> set[str]:
    """Return the modules of the package that a file imports, those for type checkers left out."""
    tree = ast.parse(file.read_text())
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in for_types:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    # The package itself only says where its public names are.
    return (found & MODULES.keys()) - {"unet_bench"}


MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "unet_bench").rglob("*.py")
}
# What measuring imports and no figure depends on: names of columns, errors, limits, how parts are
# found; a cell's hash has what is in `spec`.
OF_NO_FIGURE = ("errors", "host", "host.files", "host.locks", "limits", "registry", "spec", "store")


def test_whatever_measuring_runs_is_part_of_the_key() -> None:
    waiting = [name for name in MODULES if name.startswith("unet_bench.measure.")]
    reached: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imported(MODULES[module])
    counted = (*MEASURING, *TRAINERS)
    for module in sorted(name.removeprefix("unet_bench.") for name in reached):
        is_counted = any(module == room or module.startswith(f"{room}.") for room in counted)
        room = module if module.startswith("host") else module.partition(".")[0]
        assert is_counted or room in OF_NO_FIGURE, module


@pytest.mark.slow
def test_an_edit_of_the_page_measures_nothing_again_and_one_of_the_training_what_trains(
    tmp_path: Path,
) -> None:
    """In a copy of the package, as a user who edits it."""
    for name in ("unet_bench", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'plugins'}",
        "OMP_NUM_THREADS": "1",
    }

    def attempts(*command: str) -> Counter[str]:
        arguments = [sys.executable, "-P", "-m", "unet_bench", "run", *command]
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        cells = read_results(next((tmp_path / "results").iterdir()), "cells")
        return Counter({row["probe"]: row["attempt"] for _, row in cells.iterrows()})

    first = attempts(
        "-v", "unet", "--no-floors", "--probes", "cost,speed,accuracy", "--speed-s", "0.1", *TINY
    )
    assert first == {"cost": 1, "speed": 1, "accuracy": 1}
    for file, expected in (
        ("present/table.py", {"cost": 1, "speed": 1, "accuracy": 1}),
        ("train/losses.py", {"cost": 1, "speed": 1, "accuracy": 2}),
        ("networks/layers.py", {"cost": 2, "speed": 2, "accuracy": 3}),
    ):
        with (tmp_path / "unet_bench" / file).open("a") as source:
            source.write("# a word more\n")
        assert attempts("--resume", "last") == expected, file
