"""`cuda` on the host's memory, in every process of a command: what torch.cuda and its C level say
and refuse.

Torch's Python stays in place where it checks arguments, as `torch.accelerator` does; what would go
to the driver is answered here. Tensors of `cuda` are tensors of the host: that no operation mixes
the two is seen elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from types import SimpleNamespace
from typing import Any

import world

GIB = 2**30
state = SimpleNamespace(process=0, current=0)  # the process that started CUDA, and its device


def start() -> None:
    """What the first call to CUDA does in a process; contexts come with first use of a device."""
    if state.process == os.getpid():
        return
    if state.process:
        raise RuntimeError(
            "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
            "you must use the "
            "'spawn' start method"
        )
    if "olddriver" in world.FAULTS:
        raise RuntimeError(
            "The NVIDIA driver on your system is too old (found version 12040). Please update "
            "your GPU driver by "
            "downloading and installing a new version"
        )
    if not world.visible():
        raise RuntimeError("No CUDA GPUs are available")
    state.process = os.getpid()


def physical(index: int) -> int:
    if index >= len(world.visible()):
        raise RuntimeError("CUDA error: invalid device ordinal")
    return world.visible()[index]


def use(index: int | None = None) -> None:
    """Have a context on a device, as whatever computes or allocates there."""
    start()
    world.take(physical(state.current if index is None else index))


def set_device(index: int) -> None:
    use(index)
    state.current = index


def capability() -> tuple[int, int]:
    return (7, 5) if "sm75" in world.FAULTS else (6, 1) if "sm61" in world.FAULTS else (9, 0)


def install(torch: Any) -> None:
    """Put the stand-in into torch."""
    cuda, c = torch.cuda, torch._C

    def index_of(device: Any) -> int:
        return torch.accelerator._utils._get_device_index(device, optional=True)

    def properties(device: Any = None) -> SimpleNamespace:
        start()
        number = physical(index_of(device))
        major, minor = capability()
        return SimpleNamespace(
            name=world.name_of(number),
            major=major,
            minor=minor,
            total_memory=80 * GIB,
            uuid=world.uuid_of(number),
            pci_domain_id=0,
            pci_bus_id=number + 1,
            pci_device_id=0,
        )

    answers = {
        "_lazy_init": start,
        "init": start,
        "is_initialized": lambda: state.process == os.getpid(),
        "_is_in_bad_fork": lambda: bool(state.process) and state.process != os.getpid(),
        "is_available": lambda: "olddriver" not in world.FAULTS and bool(world.visible()),
        "device_count": lambda: len(world.visible()),  # NVML counts them, whatever the driver's age
        "get_device_properties": properties,
        "get_device_name": lambda device=None: properties(device).name,
        "get_device_capability": lambda device=None: capability(),
        "get_arch_list": lambda: ["sm_75", "sm_90", "sm_120"],
        "current_device": lambda: (start(), state.current)[1],
        "is_current_stream_capturing": lambda: False,
        "get_rng_state": lambda device="cuda": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda new, device="cuda": None,
        "set_per_process_memory_fraction": lambda part, device=None: use(),
        "manual_seed_all": lambda seed: None,
        "manual_seed": lambda seed: None,
        "_sleep": lambda cycles: (use(), time.sleep(cycles / 1.7e9))[1],
        "current_stream": lambda device=None: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": lambda graph, **_: contextlib.nullcontext(),
        "Stream": Stream,
        "CUDAGraph": Graph,
    }
    for name, answer in answers.items():
        setattr(cuda, name, answer)
    torch.Event = Event
    peak = {"all": {"peak": world.PEAK_MIB * 2**20}}
    of_c = {
        "_accelerator_getAccelerator": lambda: torch.device("cuda"),
        "_accelerator_isAllocatorInitialized": lambda: state.process == os.getpid(),
        "_accelerator_setDeviceIndex": set_device,
        "_accelerator_getDeviceIndex": lambda: (start(), state.current)[1],
        "_accelerator_synchronizeDevice": use,
        "_accelerator_emptyCache": lambda: None,
        "_accelerator_resetPeakStats": use,
        "_accelerator_getDeviceStats": lambda index: dict.fromkeys(
            ("allocated_bytes", "requested_bytes", "reserved_bytes"), peak
        ),
        "_accelerator_getStream": lambda index: SimpleNamespace(is_capturing=lambda: False),
        "_accelerator_getMemoryInfo": lambda index: (use(index), (70 * GIB, 80 * GIB))[1],
    }
    for name, answer in of_c.items():
        setattr(c, name, answer)
    lay_tensors_on_the_host(torch)


class Stream:
    def __init__(self, device: Any = None, **_: Any) -> None:
        use()

    def wait_stream(self, other: Any) -> None:
        pass


class Event:
    """An event of a device that does all at once: by the host's clock."""

    def __init__(self, device: Any = None, enable_timing: bool = False) -> None:
        use()

    def record(self) -> None:
        self.time = time.perf_counter()

    def elapsed_time(self, end: Any) -> float:
        return 1e3 * (end.time - self.time)


class Graph:
    def replay(self) -> None:
        pass


def lay_tensors_on_the_host(torch: Any) -> None:
    """Where `cuda` is asked for, use the device, and give the host's memory."""

    def host(value: Any) -> Any:
        named = isinstance(value, str) and value.partition(":")[0] == "cuda"
        if not (named or (isinstance(value, torch.device) and value.type == "cuda")):
            return value
        use(torch.device(value).index)
        if capability() < (7, 5):
            raise RuntimeError(
                "CUDA error: no kernel image is available for execution on the device"
            )
        return torch.device("cpu")

    class ToHost(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.device:
                return func(*args, **(kwargs or {}))
            kwargs = {name: host(value) for name, value in (kwargs or {}).items()}
            return func(*map(host, args), **kwargs)

    ToHost().__enter__()  # for as long as the process lives
    to = torch.nn.Module.to
    torch.nn.Module.to = lambda self, *args, **kwargs: to(
        self, *map(host, args), **{name: host(value) for name, value in kwargs.items()}
    )
    for kind in (torch.autocast, torch.amp.GradScaler):
        make = kind.__init__

        def made(
            self: Any, device: str = "cuda", *args: Any, make: Any = make, **kwargs: Any
        ) -> None:
            make(self, "cpu" if device == "cuda" else device, *args, **kwargs)

        kind.__init__ = made
