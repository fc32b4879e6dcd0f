"""What `new-plugin` writes, and what it refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from unet_bench.errors import InvalidChoice, StoreError
from unet_bench.scaffold import plugin_files, write_plugin

DOC = Path(__file__).parents[1] / "docs" / "plugins.md"


def test_writes_a_whole_package(tmp_path: Path) -> None:
    folder = write_plugin("Sharp-Up", tmp_path)
    assert folder == tmp_path / "unet-bench-sharp-up"
    written = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert written == plugin_files("sharp-up")
    assert "src/unet_bench_sharp_up/__init__.py" in written
    assert not any("$" in text for text in written.values())
    assert [path.name for path in tmp_path.iterdir()] == ["unet-bench-sharp-up"]


@pytest.mark.parametrize("name", ["", "9lives", "a b", "../evil", "a--b", "a/b", "é", "-a"])
def test_refuses_names_that_are_no_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidChoice, match="sharp-up"):
        write_plugin(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_refuses_what_is_taken(tmp_path: Path) -> None:
    with pytest.raises(InvalidChoice, match="installed already"):
        write_plugin("classic", tmp_path)
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


@pytest.mark.parametrize("tool", [["ruff", "check", "--line-length", "120"], ["mypy", "--strict"]])
def test_what_is_written_is_clean(tmp_path: Path, tool: list[str]) -> None:
    pytest.importorskip(tool[0])
    folder = write_plugin("sharp", tmp_path)
    command = [sys.executable, "-m", *tool, "src"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
