"""Where a run took place: stable facts about machine and software, for provenance and for `doctor`."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from unet_bench.cells import digest

PACKAGES = ("torch", "torchvision", "timm", "pluggy", "pandas", "numpy", "unet-bench")


def environment() -> dict[str, Any]:
    """Facts that do not change between two runs on one machine; `env_id` is their hash. Imports torch."""
    import torch

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "packages": versions(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
    }
    return {"env_id": digest(facts), **facts, "kernel": platform.release(), "commit": commit()}


def versions() -> dict[str, str | None]:
    """Installed versions of what the numbers depend on."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def device_name(device: str) -> str | None:
    """What people call the device; None for one that this machine has not."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device)) if torch.cuda.is_available() else None
    return cpu_model() if device == "cpu" else f"{platform.machine()} {device}"


def commit() -> str | None:
    """The commit that this code is at, with `+dirty` where it was changed since; `None` if it is not in a repository.

    An installed copy may lie inside somebody else's repository: it counts only where git tracks this very file.
    """

    def git(*args: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + "+dirty" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None
