"""`unet-bench new-plugin NAME`: a package with one up-sampling part, registered and tested, that
passes as it is.
"""

from __future__ import annotations

import importlib.resources
import re
import tempfile
from pathlib import Path
from string import Template
from typing import Final

from unet_bench.errors import InvalidChoice, StoreError
from unet_bench.registry.plugins import load

# The file in the package → the template beside this module.
FILES: Final = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "src/$module/__init__.py": "init.py.txt",
    "src/$module/parts.py": "parts.py.txt",
    "src/$module/py.typed": "py.typed.txt",
    "tests/test_contract.py": "test_contract.py.txt",
}


def write_plugin(name: str, out: Path) -> Path:
    """Write the package `out/unet-bench-NAME`, whole or not at all. Returns its folder.

    Raises InvalidChoice for a name that is not valid or taken, StoreError when the folder cannot be
    made.
    """
    plugin = name.lower().removeprefix("unet-bench-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", plugin):
        raise InvalidChoice(
            f"plugin name {name!r} is not valid: words of letters and digits joined by '-', "
            "as in sharp-up"
        )
    for kind, taken in names_taken(plugin):
        raise InvalidChoice(f"a {kind} called {taken!r} is installed already; choose another name")
    folder = out / f"unet-bench-{plugin}"
    if folder.exists():
        raise StoreError(f"{folder} exists already; move it away, or choose another name")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as draft:
            for path, text in plugin_files(plugin).items():
                file = Path(draft) / "package" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            (Path(draft) / "package").rename(folder)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error}); choose a folder that can, with --out"
        ) from error
    return folder


def names_taken(plugin: str) -> list[tuple[str, str]]:
    """Return (kind, name) of what the package would bring, but an installed plugin already has."""
    loaded = load()
    taken = {("plugin", p.provider.plugin) for p in loaded.plugins}
    taken |= {("part", entry.name) for entry in loaded.registry.entries("up")}
    taken |= {("variant", name) for name in loaded.registry.variants()}
    brought = [("plugin", plugin), ("part", plugin), ("variant", f"unet-{plugin}")]
    return [name for name in brought if name in taken]


def plugin_files(plugin: str) -> dict[str, str]:
    """Return the text of each file of the package, by its path."""
    names = {"plugin": plugin, "module": "unet_bench_" + plugin.replace("-", "_")}
    templates = importlib.resources.files("unet_bench.registry") / "templates"
    return {
        Template(path).substitute(names): Template(
            (templates / template).read_text(encoding="utf-8")
        ).substitute(names)
        for path, template in FILES.items()
    }
