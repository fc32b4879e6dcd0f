"""Where a run took place: stable facts about machine and software."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from unet_bench.spec.cell import digest

PACKAGES = ("torch", "torchvision", "timm", "pluggy", "pandas", "numpy", "unet-bench")


def environment(gpus: Sequence[str]) -> dict[str, Any]:
    """Return facts that do not change between two runs on one machine.

    `env_id` is their hash. `gpus` are the models of the accelerators that torch sees, which the
    caller knows how to find. Imports torch.
    """
    import torch

    from unet_bench.host.nvml import driver_version

    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "packages": versions(),
        "gpus": list(gpus),
        "cuda": torch.version.cuda if gpus else None,
        "cudnn": cudnn_version() if gpus else None,
    }
    driver = driver_version()
    if gpus and driver:
        # What a driver fixes after its major number changes no figure.
        facts["driver"] = driver.partition(".")[0]
    about = {"kernel": platform.release(), "commit": commit(), "driver_version": driver}
    return {"env_id": digest(facts), **facts, **about}


def cudnn_version() -> int | None:
    """Return the version of the cuDNN (of MIOpen, on ROCm) that torch found.

    None where it is not what torch was built for.
    """
    import torch

    try:
        found: int | None = torch.backends.cudnn.version()
    except RuntimeError:
        return None
    return found


def versions() -> dict[str, str | None]:
    """Return installed versions of what the numbers depend on."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def cpu_model() -> str:
    """Return the processor's name, as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def device_name(device: str) -> str | None:
    """Return what people call the device; None where it may be one of unlike devices, or none.

    Starts none.
    """
    from unet_bench.host.survey import survey

    if device == "cpu":
        return cpu_model()
    if ":" in device:
        found = survey().find(device)
        return found.name if found else None
    models = {facts.name for facts in survey().usable(device)}
    return models.pop() if len(models) == 1 else None


def commit() -> str | None:
    """Return the commit that this code is at, or `None` if it is not in a repository.

    `+dirty` follows where the code was changed since. An installed copy may lie inside somebody
    else's repository: it counts only where git tracks this very file.
    """

    def git(*args: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+dirty" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None
