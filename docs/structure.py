"""Measure how the core's code is laid out: files, lines, how dense they are, and how many modules
import in circles.

`python docs/structure.py [FOLDER ...]` prints rows of a markdown table, one for each folder of a
package (default: ours).
"""

from __future__ import annotations

import ast
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
HEADINGS = (
    "files",
    "lines",
    "syntax nodes",
    "lines a function, median / p90",
    "syntax nodes a line of code",
    "comprehensions per 100 lines",
    "comments per 100 lines",
    "characters of a line, p90",
    "modules in import circles",
)


def measured(package: Path) -> list[str]:
    """The figures of a package, in the order of HEADINGS."""
    texts = {file: file.read_text(encoding="utf-8") for file in sorted(package.rglob("*.py"))}
    trees = {file: ast.parse(text) for file, text in texts.items()}
    lines = [line for text in texts.values() for line in text.splitlines()]
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    lengths = sorted(body_length(node) for node in nodes if isinstance(node, FUNCTIONS))
    comprehensions = sum(isinstance(node, COMPREHENSIONS) for node in nodes)
    comments = sum("#" in line and not line.lstrip().startswith(('"', "'")) for line in lines)
    return [
        str(len(texts)),
        f"{len(lines):,}",
        f"{len(nodes):,}",
        f"{statistics.median(lengths):.0f} / {lengths[int(0.9 * len(lengths))]}",
        f"{len(nodes) / len(code):.1f}",
        f"{100 * comprehensions / len(code):.1f}",
        f"{100 * comments / len(code):.1f}",
        str(sorted(map(len, code))[int(0.9 * len(code))]),
        str(len(in_circles(package, trees))),
    ]


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


def in_circles(package: Path, trees: dict[Path, ast.Module]) -> set[str]:
    """The modules that import themselves by way of others; imports within functions count, those
    for types do not.
    """
    modules = {name_of(package, file): tree for file, tree in trees.items()}
    arrows = {name: imported(tree, modules) - {name} for name, tree in modules.items()}
    reached = {name: set(targets) for name, targets in arrows.items()}
    changed = True
    while changed:
        changed = False
        for targets in reached.values():
            further = {other for target in targets for other in arrows[target]} - targets
            targets |= further
            changed = changed or bool(further)
    return {name for name, targets in reached.items() if name in targets}


def imported(tree: ast.Module, modules: dict[str, ast.Module]) -> set[str]:
    """The modules of the package that a module imports."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        deepest = [name for name in names if name in modules]
        found |= set(deepest[1:] or deepest)
    return found


def name_of(package: Path, file: Path) -> str:
    """The module that a file is."""
    return ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def table(rows: dict[str, list[str]]) -> str:
    """Rows by their name, as markdown: a line for each figure."""
    names = list(rows)
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    lines += [
        f"| {heading} | {' | '.join(rows[name][at] for name in names)} |"
        for at, heading in enumerate(HEADINGS)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    folders = [Path(name).resolve() for name in sys.argv[1:]] or [ROOT / "unet_bench"]
    print(table({folder.parent.name or folder.name: measured(folder) for folder in folders}))
