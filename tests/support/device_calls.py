"""Torch's own Python of a device's calls, above C code that is replaced: argument checks are
torch's, nothing runs.

`calls` lists what reached the C level, with its arguments as torch's Python left them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GIB = 2**30
STATISTICS = {
    "allocated_bytes": {"all": {"peak": 7 * 2**20}},
    "requested_bytes": {"all": {"peak": 6 * 2**20}},
}
PROPERTIES = SimpleNamespace(
    name="Replaced", uuid="abcd", major=9, minor=0, total_memory=8 * GIB, gcnArchName="gfx942"
)


class Calls(list[tuple[str, tuple[Any, ...]]]):
    """What reached the C level."""

    def names(self) -> list[str]:
        return [name for name, _ in self]

    def arguments(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self if called == name]


def replace_c_level(kind: str, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Have torch believe in two devices of a kind: `cuda`, `xpu` or `mps`."""
    calls = Calls()

    def c(name: str, answer: Any = None) -> None:
        def called(*arguments: Any) -> Any:
            calls.append((name, arguments))
            return answer(*arguments) if isinstance(answer, Callable) else answer  # type: ignore[arg-type]

        monkeypatch.setattr(torch._C, name, called, raising=False)

    monkeypatch.setattr(torch._C, "_accelerator_getAccelerator", lambda: torch.device(kind))
    monkeypatch.setattr(torch._C, "_accelerator_isAllocatorInitialized", lambda: True)
    c("_accelerator_setDeviceIndex")
    c("_accelerator_synchronizeDevice")
    c("_accelerator_getDeviceIndex", 0)
    c("_accelerator_emptyCache")
    c("_accelerator_getDeviceStats", STATISTICS)
    c("_accelerator_resetPeakStats")
    c("_accelerator_getMemoryInfo", (6 * GIB, 8 * GIB))
    state = torch.zeros(16, dtype=torch.uint8)
    generator = SimpleNamespace(
        get_state=lambda: state.clone(), set_state=lambda _: calls.append(("set_state", (_,)))
    )
    if kind == "mps":
        c("_mps_get_default_generator", generator)
        c("_mps_setMemoryFraction")
        c("_mps_recommendedMaxMemory", 8 * GIB)
        return calls
    module = getattr(torch, kind)
    monkeypatch.setattr(module, "_lazy_init", lambda: None)
    monkeypatch.setattr(module, "is_initialized", lambda: True)
    monkeypatch.setattr(module, "is_available", lambda: True)
    monkeypatch.setattr(module, "device_count", lambda: 2)
    monkeypatch.setattr(module, "default_generators", (generator, generator))
    monkeypatch.setattr(module, "_get_device_properties", lambda index: PROPERTIES, raising=False)
    c(f"_{kind}_setMemoryFraction")
    c(f"_{kind}_getDevice", 0)
    return calls
