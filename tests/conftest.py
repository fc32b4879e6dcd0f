"""Fixtures shared by the tests: a registry, and commands run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from unet_bench import plugins
from unet_bench.registry import Registry

# Shared machines stall for seconds: how long an example takes is never what is tested.
settings.register_profile("unet-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unet-bench")


@pytest.fixture(scope="session")
def registry() -> Registry:
    return plugins.load().checked()


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
