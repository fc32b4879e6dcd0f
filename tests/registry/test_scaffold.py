"""What `new-plugin` writes, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from unet_bench.errors import InvalidChoice, StoreError
from unet_bench.networks.choices import SLOTS
from unet_bench.registry.scaffold import plugin_files, write_plugin

DOC = ROOT / "docs" / "plugins.md"


def test_writes_a_whole_package(tmp_path: Path) -> None:
    folder = write_plugin("Sharp-Up", tmp_path)
    assert folder == tmp_path / "unet-bench-sharp-up"
    written = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert written == plugin_files("sharp-up")
    assert "src/unet_bench_sharp_up/__init__.py" in written
    assert not any("$" in text for text in written.values())
    assert [path.name for path in tmp_path.iterdir()] == ["unet-bench-sharp-up"]


@pytest.mark.parametrize("name", ["", "9lives", "a b", "../evil", "a--b", "a/b", "é", "-a"])
def test_refuses_names_that_are_no_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidChoice, match="sharp-up"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("classic", "a plugin called 'classic' is installed already"),
        ("bilinear", "a part called 'bilinear' is"),
        ("add", "a variant called 'unet-add' is"),
    ],
)
def test_refuses_names_that_are_taken(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InvalidChoice, match=said):
        write_plugin(name, tmp_path)


def test_refuses_folders_that_are_taken(tmp_path: Path) -> None:
    write_plugin("sharp", tmp_path)
    with pytest.raises(StoreError, match="exists already"):
        write_plugin("sharp", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        write_plugin("other", tmp_path / "file")


def test_the_walk_through_shows_what_is_written() -> None:
    shown = dict(re.findall(r"```\w+ title=(\S+)\n(.*?)```", DOC.read_text(), re.S))
    files = plugin_files("sharp")
    assert set(shown) >= {name for name in files if name.endswith((".py", ".toml"))}
    for name, text in shown.items():
        assert text == files[name], name


def test_the_walk_through_tells_of_every_slot() -> None:
    rows = re.findall(r"^\| ([a-z_, ]+) \| (`registry.*?) \|", DOC.read_text(), re.M)
    assert [slot for slots, _ in rows for slot in slots.split(", ")] == list(SLOTS)
    named = {method for _, methods in rows for method in re.findall(r"`registry\.(\w+)`", methods)}
    assert named == {*SLOTS, "block"}


@pytest.mark.parametrize(
    "tool",
    [
        ["ruff", "check", "--line-length", "120"],
        pytest.param(
            ["mypy", "--strict"], marks=pytest.mark.slow
        ),  # without a cache it reads all of torch
    ],
)
def test_what_is_written_is_clean(tmp_path: Path, tool: list[str]) -> None:
    pytest.importorskip(tool[0])
    folder = write_plugin("sharp", tmp_path)
    command = [sys.executable, "-m", *tool, "src"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
