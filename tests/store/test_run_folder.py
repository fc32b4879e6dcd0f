"""Names in a run's folder are spelled in one place, and files are put in theirs by one function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from support.paths import ROOT

from unet_bench.store.run_folder import RunFolder, cell_stem

SOURCES = [*(ROOT / "unet_bench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
FOLDER = RunFolder(Path("run"))
NAMES = {
    *(file.name for file in (FOLDER.manifest, FOLDER.cells, FOLDER.selftest, FOLDER.lock)),
    *(folder.name for folder in (FOLDER.inbox, FOLDER.logs, FOLDER.samples, FOLDER.weights)),
    *(FOLDER.checkpoint_of("x").parent.name, FOLDER.environment("x").parent.name),
}
# They rename a whole folder into place, which no file is written in any more.
OF_FOLDERS = {"downloads.py", "scaffold.py"}


def paths_joined(tree: ast.AST) -> Iterator[str]:
    """The texts that are joined to a path, by `/` or by `Path(…)`."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.right]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Path":
            parts = node.args
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def test_no_other_module_spells_a_path_of_a_run() -> None:
    assert len(NAMES) == 10
    for file in SOURCES:
        if file.name != "run_folder.py":
            joined = set(paths_joined(ast.parse(file.read_text(encoding="utf-8"))))
            assert not joined & NAMES, file


def test_no_other_module_renames_a_file_into_place() -> None:
    renaming = {file.name for file in SOURCES if "os.replace(" in file.read_text(encoding="utf-8")}
    assert renaming - OF_FOLDERS == {"files.py"}


def test_a_cells_files_are_called_alike() -> None:
    stem = cell_stem("cost", "abc")
    files = (FOLDER.result_of(stem), FOLDER.log_of(stem), FOLDER.samples_of(stem))
    assert {file.stem for file in files} == {"cost-abc"}
    assert FOLDER.checkpoint_of(stem).name == "cost-abc"
