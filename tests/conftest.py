"""Fixtures shared by the tests: a registry, and commands run as a user runs them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from unet_bench import plugins
from unet_bench.registry import Registry

if TYPE_CHECKING:
    from unet_bench.measure.bench import Bench

# Shared machines stall for seconds: how long an example takes is never what is tested.
settings.register_profile("unet-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unet-bench")


@pytest.fixture(scope="session")
def registry() -> Registry:
    return plugins.load().checked()


@pytest.fixture(scope="session")
def bench_of(registry: Registry) -> Callable[..., Bench]:
    """Put a variant, or anybody's `module:Class`, on a bench in this process: tiny, and for a moment."""
    from unet_bench.build import foreign_variant, with_width_scale
    from unet_bench.cells import Cell, Protocol, Setting, Task
    from unet_bench.measure.bench import Bench
    from unet_bench.plan import Subject, examine
    from unet_bench.selection import select

    @functools.cache
    def seen(name: str, task: Task) -> Subject:
        [variant] = [foreign_variant(name)] if ":" in name else select(registry, [name])
        return examine(registry, variant if variant.architecture else with_width_scale(variant, 1 / 16), task)

    def put(
        name: str = "unet", size: tuple[int, int] = (32, 32), protocol: dict[str, Any] | None = None, **setting: Any
    ) -> Bench:
        task = Task(name="t", dataset_hash="0", classes=("a", "b", "c"), in_channels=1, scored=size, fit="crop")
        own, base = seen(name, task), seen("unet", task)
        assert own.frame, own.reason
        assert base.frame
        cell = Cell(
            variant=own.variant,
            frame=own.frame,
            baseline=base.variant,
            baseline_frame=base.frame,
            task=task,
            setting=Setting(**{"batch": 2, **setting}),
            protocol=Protocol(**{"speed_s": 0.2, **(protocol or {})}),
            probe="speed",
        )
        return Bench(cell, registry)

    return put


@pytest.fixture
def unet_bench(tmp_path: Path):
    """Run `unet-bench ARGS` in an empty folder; returns the finished process, output as text."""

    def run(*args: str, timeout: float = 240, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "unet_bench", *args]
        environment = {**os.environ, "COLUMNS": "160", **(env or {})}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run
