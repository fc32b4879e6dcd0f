"""What an NVIDIA GPU says of itself, by the package `pynvml` (distribution nvidia-ml-py)."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

MIB: Final = 2**20
REST_S: Final = 1.1  # longer than the period over which utilisation is a mean

# NVML's bits; an idle GPU lowers its clocks too, but that slows nothing down.
THROTTLE_BITS: Final = {
    0x02: "applications_clocks",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal",
    0x40: "hw_thermal",
    0x80: "hw_power_brake",
}


def open_gpu(device: torch.device | int) -> Gpu | None:
    """Return the GPU that torch calls `device`, or `None`; never raise.

    It is found also where CUDA_VISIBLE_DEVICES renumbers GPUs. Starts CUDA in this process. `None`
    where there is no pynvml, no driver or no such GPU.
    """
    try:
        import pynvml
    except ImportError:
        return None
    import torch

    # The last three are torch's ways to say that there is no such GPU.
    with contextlib.suppress(*_errors(pynvml), AssertionError, RuntimeError, ValueError):
        pynvml.nvmlInit()
        properties = torch.cuda.get_device_properties(device)
        return Gpu(pynvml, _handle(pynvml, properties, device))
    return None


def gpu_names() -> list[str]:
    """Return the models of all NVIDIA GPUs of this host; never raise.

    It does not matter what torch was built for.
    """
    try:
        import pynvml
    except ImportError:
        return []
    with contextlib.suppress(*_errors(pynvml)):
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [_text(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    return []


def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None where there is none. Never raises."""
    try:
        import pynvml
    except ImportError:
        return None
    with contextlib.suppress(*_errors(pynvml)):
        pynvml.nvmlInit()
        return _text(pynvml.nvmlSystemGetDriverVersion())
    return None


@dataclass(frozen=True)
class Gpu:
    """One GPU. What it does not support, or the driver refuses, is `None` or empty."""

    nvml: Any
    handle: Any

    def energy_j(self) -> float | None:
        """Return the board's energy since the driver was loaded, in joules.

        It is updated every 10 to 100 ms. Volta and later.
        """
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1e3

    def temperature_c(self) -> int | None:
        """Return the temperature of the die in °C."""
        celsius: int | None = self._ask("nvmlDeviceGetTemperature", 0)  # NVML_TEMPERATURE_GPU
        return celsius

    def sm_clock_mhz(self) -> int | None:
        """Return the clock of the multiprocessors now, in MHz."""
        megahertz: int | None = self._ask("nvmlDeviceGetClockInfo", 1)  # NVML_CLOCK_SM
        return megahertz

    def power_w(self) -> float | None:
        """Return the power of the board now, in W."""
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        return None if milliwatts is None else milliwatts / 1e3

    def utilisation(self) -> int | None:
        """Return the percent of the driver's last sampling period in which any kernel ran.

        The period is up to a second; kernels of all processes count.
        """
        rates = self._ask("nvmlDeviceGetUtilizationRates")
        return None if rates is None else int(rates.gpu)

    def utilisation_by_process(self, since_s: float) -> dict[int, float] | None:
        """Return the percent of time in which each process's kernels ran, by pid.

        It is counted since a moment of the system's clock. Empty where none ran; `None` where the
        driver does not tell processes apart.
        """
        no_samples = getattr(self.nvml, "NVMLError_NotFound", None)
        try:
            samples = self.nvml.nvmlDeviceGetProcessUtilization(self.handle, int(since_s * 1e6))
        except _errors(self.nvml) as error:
            return {} if no_samples is not None and isinstance(error, no_samples) else None
        found: dict[int, list[int]] = {}
        for sample in samples:
            found.setdefault(sample.pid, []).append(sample.smUtil)
        return {pid: sum(values) / len(values) for pid, values in found.items()}

    def foreign_share(self, since_s: float) -> float | None:
        """Return the part of the time since then in which kernels of other processes ran.

        `None` where it is not known. A process that only holds a context, as an idle notebook or a
        desktop does, takes nothing. In a container this process may go by the host's pid: then the
        busiest one is taken for it.
        """
        used = self.utilisation_by_process(since_s)
        if used is None:
            return None
        if used.pop(os.getpid(), None) is None and used and os.getpid() not in self.processes():
            used.pop(max(used, key=lambda pid: used[pid]))
        return min(1.0, sum(used.values()) / 100)

    def share_at_rest(self) -> float | None:
        """Return the part of the last second in which kernels ran, while this process runs none.

        `None` where it is not known. For drivers that do not tell processes apart; it waits a
        second only where another process is there.
        """
        if len(self.processes()) <= (os.getpid() in self.processes()):
            return 0.0
        time.sleep(REST_S)
        percent = self.utilisation()
        return None if percent is None else percent / 100

    def throttle_reasons(self) -> frozenset[str]:
        """Return why the clocks are now lower than they could be: values of `THROTTLE_BITS`."""
        for name in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        ):
            mask = self._ask(name)  # the second is the older name
            if mask is not None:
                return frozenset(reason for bit, reason in THROTTLE_BITS.items() if mask & bit)
        return frozenset()

    def processes(self) -> dict[int, float | None]:
        """Return the MiB of every process that computes here, by pid.

        `None` where the driver hides them. In a container the pids may be the host's, so that this
        very process goes by another.
        """
        listed = self._ask("nvmlDeviceGetComputeRunningProcesses") or ()
        return {p.pid: None if p.usedGpuMemory is None else p.usedGpuMemory / MIB for p in listed}

    def process_memory_mib(self, pid: int) -> float | None:
        """Return the MiB that a process holds here.

        Context, libraries and the allocator's cache are included.
        """
        return self.processes().get(pid)

    def _ask(self, function: str, *args: int) -> Any:
        try:
            return getattr(self.nvml, function)(self.handle, *args)
        except _errors(self.nvml):
            return None


def _text(name: Any) -> str:
    """Return text: older versions of pynvml give bytes."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _handle(nvml: Any, properties: Any, device: torch.device | int) -> Any:
    """Return NVML's handle of a GPU, by what stays when GPUs are renumbered.

    Raises one of `_errors` where NVML has none.
    """
    uuid = getattr(properties, "uuid", None)
    if uuid is None:  # a torch that does not tell
        return nvml.nvmlDeviceGetHandleByIndex(
            device if isinstance(device, int) else device.index or 0
        )
    for kind in ("GPU", "MIG"):
        with contextlib.suppress(*_errors(nvml)):
            return nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{uuid}")
    domain, bus = properties.pci_domain_id, properties.pci_bus_id
    address = f"{domain:08x}:{bus:02x}:{properties.pci_device_id:02x}.0"
    return nvml.nvmlDeviceGetHandleByPciBusId(address)


def _errors(nvml: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions that pynvml raises.

    These are its own errors, and one outside them for an older driver; an older pynvml lacks
    functions.
    """
    return nvml.NVMLError, getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError), AttributeError
