"""The stand-in's world: which GPUs there are, what is wrong with them, and which processes have
contexts on them.

It lies in a folder that all processes of a command share; `contexts/GPU-PID` is a context,
`events.log` tells of each.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

FOLDER = Path(os.environ["UNET_BENCH_GPU_HOST"])
FAULTS = [fault for fault in os.environ.get("UNET_BENCH_GPU_FAULTS", "").split(",") if fault]
GPUS = int(next((fault[5:] for fault in FAULTS if fault.startswith("gpus=")), "1"))
# what the allocator counts, whatever is computed
PEAK_MIB = int(next((fault[5:] for fault in FAULTS if fault.startswith("peak=")), "123"))
STARTED = time.time()


def uuid_of(physical: int) -> str:
    return f"{physical:08d}-aaaa-bbbb-cccc-dddddddddddd"


def name_of(physical: int) -> str:
    return f"Stand-in GPU {chr(65 + physical)}"


def visible() -> list[int]:
    """The GPUs this process is shown, by CUDA's rules: all before the first that is not there."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return list(range(GPUS))
    found: list[int] = []
    for entry in (part.strip() for part in shown.split(",")):
        numbers = [n for n in range(GPUS) if entry == str(n) or entry == f"GPU-{uuid_of(n)}"]
        if not numbers:
            break
        found += numbers
    return found


def log(text: str) -> None:
    with (FOLDER / "events.log").open("a") as file:
        file.write(f"{os.getpid()} {text}\n")


def holders(physical: int) -> list[int]:
    """The living processes that have a context on a GPU."""
    found = []
    for file in (FOLDER / "contexts").glob(f"{physical}-*"):
        pid = int(file.name.partition("-")[2])
        if alive(pid):
            found.append(pid)
        else:
            file.unlink(missing_ok=True)
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def take(physical: int) -> None:
    """Give this process a context on a GPU, or refuse it as a driver does."""
    others = [pid for pid in holders(physical) if pid != os.getpid()]
    if "exclusive" in FAULTS and others:
        log(f"refused {physical}: held by {others}")
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable")
    if "full" in FAULTS:
        raise RuntimeError("CUDA error: out of memory")
    file = FOLDER / "contexts" / f"{physical}-{os.getpid()}"
    if not file.exists():
        file.touch()
        log(f"context {physical} in {role()}")


def role() -> str:
    """What this process is to a command: the command itself, the fork server, one of its workers,
    or another child.
    """
    command = Path("/proc/self/cmdline").read_text()
    if "execute.forkserver" in command:
        return "fork server" if os.getsid(0) == os.getpid() else "worker"
    return next((name for name in ("survey", "worker") if name in command), "command")
