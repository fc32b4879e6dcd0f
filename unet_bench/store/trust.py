"""What a run's folder names that is code; a folder that came from elsewhere may name anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_bench.errors import InvalidSuite
from unet_bench.limits import one_line


def code_named_by(manifest: Mapping[str, Any], *, executor: bool = True) -> list[str]:
    """Return the options in a `run.json` that have code run: modules, and what executors take.

    An executor's options may be a line of shell, or the address of somebody's cluster. `executor`
    says whether they are to be used.
    """
    models = _stated(manifest, "suite", "models")
    options = _stated(manifest, "executor", "options") if executor else {}
    if isinstance(options, dict):
        options = [f"{name}={value}" for name, value in options.items()]
    named = [f"--model {model}" for model in _listed(models)]
    return named + [f"--executor-option {text}" for text in _listed(options)]


def _stated(manifest: Mapping[str, Any], part: str, name: str) -> Any:
    stored = manifest.get(part)
    return stored.get(name) if isinstance(stored, dict) else None


def _listed(value: Any) -> list[Any]:
    """Return what a list holds; what is no list, though it should be, is taken for its item."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def require_trust(path: Path, named: Sequence[str], trusted: bool) -> None:
    """Raise InvalidSuite where a run's folder names code, and nobody said that it is trusted."""
    if named and not trusted:
        raise InvalidSuite(
            f"{path} names code to run, {one_line(', '.join(named))}: it may be somebody "
            "else's and is not run unasked; look at it, then add --trust"
        )
