"""The walk-through of docs/plugins.md: a stranger's package, installed by entry point, listed,
measured, tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from support.paths import ROOT

from unet_bench import read_results
from unet_bench.registry.scaffold import write_plugin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with wheels of unet-bench and of the written plugin; heavy packages come
    from this one.
    """
    path = tmp_path_factory.mktemp("fresh")
    wheels = path / "wheels"
    for source in (ROOT, write_plugin("sharp", path)):
        build = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(wheels),
            str(source),
        ]
        subprocess.run(build, check=True, capture_output=True, text=True)
    venv.create(path / "venv", with_pip=True)
    python = path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        *map(str, sorted(wheels.iterdir())),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (site / "borrowed.pth").write_text(
        sysconfig.get_paths()["purelib"] + "\n"
    )  # torch and the like; ours come first
    return python


@pytest.fixture
def fresh(python: Path, tmp_path: Path):
    """Run a module of the fresh environment, away from the repository."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-P", "-m", *args]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def test_it_is_listed_with_its_distribution(fresh) -> None:
    rows = {
        row["plugin"]: row for row in json.loads(fresh("unet_bench", "plugins", "--json").stdout)
    }
    assert rows["sharp"]["status"] == "ok"
    assert rows["sharp"]["distribution"] == "unet-bench-sharp 0.1.0"
    assert "unet-sharp" in {
        row["name"] for row in json.loads(fresh("unet_bench", "list", "variants", "--json").stdout)
    }


def test_it_is_measured_and_its_rows_name_it(fresh, tmp_path: Path) -> None:
    tiny = [
        "--width-scale",
        "0.0625",
        "--size",
        "32x32",
        "--batch",
        "2",
        "--steps",
        "2",
        "--speed-s",
        "0.2",
        "--threads",
        "1",
    ]
    done = fresh("unet_bench", "run", "-v", "unet,unet-sharp", *tiny)
    assert done.returncode == 0, done.stderr
    frame = read_results(next((tmp_path / "results").iterdir())).set_index("variant")
    assert "sharp" in frame.loc["unet-sharp", "plugins"].split(",")
    assert "sharp" not in frame.loc["unet", "plugins"].split(",")
    assert (
        frame.loc["unet-sharp", ["speed_status", "memory_status", "accuracy_status"]].eq("ok").all()
    )


def test_its_own_tests_pass(fresh, python: Path) -> None:
    package = python.parents[2] / "unet-bench-sharp"
    done = fresh("pytest", "-q", "-p", "no:cacheprovider", str(package))
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
