"""unet-bench: which U-Net to use, and what each choice in it is worth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unet_bench.hookspecs import hookimpl

if TYPE_CHECKING:
    from unet_bench.build import build_model
    from unet_bench.notebook import effects, rank, recommend, show
    from unet_bench.pipeline import run
    from unet_bench.results.tables import read_results
    from unet_bench.trained import load_model

__version__ = "0.1.0"
__all__ = [
    "build_model",
    "effects",
    "hookimpl",
    "load_model",
    "rank",
    "read_results",
    "recommend",
    "run",
    "show",
]

_LAZY = {
    "build_model": "unet_bench.build",
    "load_model": "unet_bench.trained",
    "effects": "unet_bench.notebook",
    "rank": "unet_bench.notebook",
    "read_results": "unet_bench.results.tables",
    "recommend": "unet_bench.notebook",
    "show": "unet_bench.notebook",
    "run": "unet_bench.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
