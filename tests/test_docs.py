"""Docs say what the code does: generated parts are fresh, commands are those that CI runs, links
lead somewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from unet_bench.registry import plugins

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"]


@pytest.mark.slow
def test_generated_parts_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_readmes_test_command() -> None:
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    (command,) = [line for line in readme.splitlines() if line.endswith(".venv/bin/pytest")]
    assert command in ci.splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_functions_that_the_architecture_names_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([a-z_/]+\.py):(\w+)`", page)
    assert len(named) > 20
    for file, name in named:
        source = (ROOT / "unet_bench" / file).read_text()
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), (file, name)


def test_folders_packaging_and_installed_metadata_name_the_same_plugins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "__init__.py").exists()
    }
    packaged = {
        Path(p).name for p in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    } - {"unet_bench"}
    declared = project["project"]["entry-points"]["unet_bench"]
    installed = {
        e.name: e.value
        for e in plugins.find()
        if plugins.provider_of(e).distribution == "unet-bench"
    }
    assert folders == packaged
    assert folders == set(declared.values()) - {"unet_bench.builtin"}
    assert installed == declared, "the installed entry points are old: pip install -e . again"
    assert not (ROOT / "plugins" / "__init__.py").exists()


def test_the_hook_and_every_kind_of_registration_are_documented() -> None:
    from unet_bench.registry import Registrar
    from unet_bench.registry.entries import Provider

    registry = Registrar(Provider("mine"))
    text = (ROOT / "docs" / "plugins.md").read_text()
    public = (name for name in dir(registry) if not name.startswith("_"))
    methods = [name for name in public if callable(getattr(registry, name))]
    assert {"up", "probe", "variant"} <= set(methods)
    missing = [
        name for name in methods if f"registry.{name}" not in text and f"`{name}`" not in text
    ]
    assert not missing


def test_the_example_beside_the_hook_is_complete(tmp_path: Path) -> None:
    from unet_bench.registry import hookspecs

    (code,) = re.findall(r"```python\n(.*?)```", str(hookspecs.__doc__), re.S)
    (tmp_path / "sharp.py").write_text(code)
    (tmp_path / "sharp-1.0.dist-info").mkdir()
    (tmp_path / "sharp-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: sharp\nVersion: 1.0\n"
    )
    (tmp_path / "sharp-1.0.dist-info" / "entry_points.txt").write_text(
        "[unet_bench]\nsharp = sharp\n"
    )
    build = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); from unet_bench import build_model;"
        "model = build_model('unet-sharp', in_channels=1, classes=2, base_width=4);"
        "print(tuple(model(torch.zeros(1, 1, 32, 32)).shape))"
    )
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "(1, 2, 32, 32)", done.stderr


def test_every_option_of_an_executor_is_documented() -> None:
    from unet_bench_ray.executor import OPTIONS as OF_RAY
    from unet_bench_slurm.options import OPTIONS as OF_SLURM

    text = (ROOT / "docs" / "reliability.md").read_text()
    assert not [name for name in (*OF_RAY, *OF_SLURM) if f"`{name}`" not in text]
