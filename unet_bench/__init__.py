"""unet-bench: which U-Net to use, and what each choice in it is worth."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unet_bench.measure.probe import Probe
    from unet_bench.models.build import build_model
    from unet_bench.pipeline import run
    from unet_bench.present.notebook import effects, rank, recommend, show
    from unet_bench.registry.hookspecs import hookimpl
    from unet_bench.searching import search
    from unet_bench.store.columns import Column
    from unet_bench.store.tables import read_results
    from unet_bench.train.trained import load_model

__version__ = "0.2.0"
__all__ = [
    "Column",
    "Probe",
    "build_model",
    "effects",
    "hookimpl",
    "load_model",
    "rank",
    "read_results",
    "recommend",
    "run",
    "search",
    "show",
]

_LAZY = {
    "Column": "unet_bench.store.columns",
    "Probe": "unet_bench.measure.probe",
    "build_model": "unet_bench.models.build",
    "load_model": "unet_bench.train.trained",
    "hookimpl": "unet_bench.registry.hookspecs",
    "effects": "unet_bench.present.notebook",
    "rank": "unet_bench.present.notebook",
    "read_results": "unet_bench.store.tables",
    "recommend": "unet_bench.present.notebook",
    "show": "unet_bench.present.notebook",
    "run": "unet_bench.pipeline",
    "search": "unet_bench.searching",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
