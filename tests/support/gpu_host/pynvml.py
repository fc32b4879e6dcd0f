"""NVML of the stand-in's world: processes are those that have a context there."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import world


class NVMLError(Exception):
    pass


class NVMLError_NotFound(NVMLError):  # noqa: N801 (as it is called there)
    pass


def nvmlInit():
    pass


def nvmlSystemGetDriverVersion():
    return "550.54.15" if "olddriver" in world.FAULTS else "580.65.06"


def nvmlDeviceGetCount():
    return world.GPUS


def nvmlDeviceGetName(handle):
    return world.name_of(handle)


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetHandleByUUID(uuid):
    for index in range(world.GPUS):
        if uuid == f"GPU-{world.uuid_of(index)}":
            return index
    raise NVMLError("Not Found")


def nvmlDeviceGetComputeRunningProcesses(handle):
    pids = world.holders(handle) + (
        [1] if "desktop" in world.FAULTS or "busy" in world.FAULTS else []
    )
    return [SimpleNamespace(pid=pid, usedGpuMemory=500 * 2**20) for pid in pids]


def nvmlDeviceGetProcessUtilization(handle, since):
    if "unsaid" in world.FAULTS:  # as vGPUs and MIG slices are
        raise NVMLError("Not Supported")
    found = [SimpleNamespace(pid=pid, smUtil=90) for pid in world.holders(handle)]
    if "desktop" in world.FAULTS:
        found.append(SimpleNamespace(pid=1, smUtil=0))
    if "busy" in world.FAULTS:
        found.append(SimpleNamespace(pid=1, smUtil=40))
    if not found:
        raise NVMLError_NotFound("no samples")
    return found


def nvmlDeviceGetUtilizationRates(handle):
    return SimpleNamespace(gpu=40 if "busy" in world.FAULTS else 0, memory=0)


def nvmlDeviceGetCurrentClocksEventReasons(handle):
    return 0x04 if "capped" in world.FAULTS else 0x01


def nvmlDeviceGetTotalEnergyConsumption(handle):
    return int(time.time() * 300_000)


def nvmlDeviceGetTemperature(handle, kind):
    return 60


def nvmlDeviceGetClockInfo(handle, kind):
    return 1700


def nvmlDeviceGetPowerUsage(handle):
    return 300_000


if "noself" in world.FAULTS:  # a driver that is not there

    def nvmlInit():
        raise NVMLError(f"Driver Not Loaded ({os.getpid()})")
