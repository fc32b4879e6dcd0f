"""Where tests lie: in the room of what they test; what several need lies in `tests/support`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

TESTS = ROOT / "tests"
SUPPORT = TESTS / "support"
PACKAGE = ROOT / "unet_bench"
OF_NO_ROOM = {
    "bench",
    "parity",
    "plugins",
    "published",
    "rehearsal",
    "slurm",
}  # beside the package's own
OF_THE_WHOLE = {
    "tutorial",
    "answers",
    "certify",
    "docs",
    "gpu",
    "layout",
    "predict",
    "pytest_plugin",
    "run",
}
FILES = sorted(path for path in TESTS.rglob("*.py") if "files" not in path.parts)
TEST_FILES = [path for path in FILES if path.name.startswith("test_")]


def is_test(node: ast.AST) -> bool:
    """Return whether pytest takes a function or a class for a test."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name.startswith("test")
    return isinstance(node, ast.ClassDef) and node.name.startswith("Test")


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the name of each module that is imported, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def relative(path: Path) -> str:
    return str(path.relative_to(TESTS))


@pytest.mark.parametrize("path", TEST_FILES, ids=relative)
def test_every_test_lies_in_a_room(path: Path) -> None:
    rooms = OF_NO_ROOM | {folder.name for folder in PACKAGE.iterdir() if folder.is_dir()}
    if path.parent == TESTS:
        assert path.stem.removeprefix("test_") in OF_THE_WHOLE
    else:
        assert path.parent.name in rooms
        assert path.parent.parent == TESTS, "rooms have no rooms within"


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_tests_lie_in_test_files_and_import_no_other_test(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path not in TEST_FILES:
        assert not [node.name for node in ast.walk(tree) if is_test(node)]
    others = {other.stem for other in TEST_FILES} | {"conftest", "tests"}
    for name in imported(tree):
        assert not name.startswith("."), f"{name}: helpers are imported as `support.…`"
        assert not others & {*name.split(".")}, f"{name}: move what both need to tests/support"


def test_no_two_test_files_have_one_name() -> None:
    """They are no packages, so that pytest would take the one for the other."""
    names = [path.name for path in TEST_FILES]
    assert len(names) == len({*names})
