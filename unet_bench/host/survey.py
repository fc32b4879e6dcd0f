"""What accelerators this host has, looked at in a process of its own.

Whoever asks a GPU anything keeps a context on it: the process that drives a run must have none. It
would be a foreign process beside every timing, and where a GPU is exclusive no worker could have
it. So a child looks, says what it saw as a line of JSON, and ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from unet_bench.errors import InvalidSuite, is_out_of_memory
from unet_bench.host.interpreter import module_command

if TYPE_CHECKING:
    import torch

TIMEOUT_S: Final = 120.0
MOST_THREADS: Final = 64  # that measure how fast a processor is
# multiply-accumulates a second, where there is nothing to measure
RATE_OF_ANOTHER_MACHINE: Final = 1e12
# The environment's names for the devices that a process is shown: of CUDA, ROCm and Intel.
VISIBILITY: Final = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)


@dataclass(frozen=True)
class DeviceFacts:
    """What is known of a device before anything is measured on it."""

    device: str  # as torch numbers it: cuda:0
    name: str = ""  # the model
    identity: str = ""  # what tells it from all others of the host
    capability: str = ""  # of an NVIDIA GPU: 9.0
    precisions: tuple[str, ...] = ()  # that it computes in natively; empty where that is not known
    mac_rate: float = RATE_OF_ANOTHER_MACHINE
    problem: str = ""  # why it cannot be measured on, and the remedy


@dataclass(frozen=True)
class Survey:
    """All accelerators of this host, and what keeps torch from those that are there."""

    accelerators: tuple[DeviceFacts, ...] = ()
    problem: str = ""

    def usable(self, kind: str = "") -> list[DeviceFacts]:
        """Return the accelerators that can be measured on, of one kind or of any."""
        return [a for a in self.accelerators if not a.problem and a.device.startswith(kind)]

    def find(self, device: str) -> DeviceFacts | None:
        """Return the accelerator of a name such as `cuda:1`.

        `cuda` is the first that can be measured on.
        """
        if ":" not in device:
            return next(iter(self.usable(device)), None)
        return next((a for a in self.accelerators if a.device == device), None)

    def names(self) -> list[str]:
        """Return the models of all accelerators."""
        return [accelerator.name for accelerator in self.accelerators]

    def problems(self) -> list[str]:
        """Return what keeps the accelerators from being used, a sentence each."""
        of_each = [
            f"{a.device} ({a.name}) cannot be used: {a.problem}"
            for a in self.accelerators
            if a.problem
        ]
        return [*([self.problem] if self.problem else []), *of_each]

    def choose(self, wanted: str) -> str:
        """Choose a device as `choose_device` does."""
        from unet_bench.host.device import indexed, kind_of

        if wanted == "auto":
            # MPS is unproven: it is chosen only when asked for.
            automatic = [a for a in self.usable() if kind_of(a.device) != "mps"]
            return kind_of(automatic[0].device) if automatic else "cpu"
        indexed(wanted)
        if wanted == "cpu" or ((found := self.find(wanted)) and not found.problem):
            return wanted
        problems = [text for text in self.problems() if wanted in text or self.problem == text]
        here = ", ".join(["cpu", *(a.device for a in self.usable())])
        reason = "; ".join([f"device {wanted!r} is not available here", *problems])
        raise InvalidSuite(f"{reason}; these are: {here}")


def survey() -> Survey:
    """Return what accelerators this process is shown. Starts none in it; imports torch."""
    return _survey(tuple(os.environ.get(name, "") for name in VISIBILITY))


@functools.cache
def _survey(shown: tuple[str, ...]) -> Survey:
    """Look once for each set of devices that the environment shows."""
    import torch

    if not _has_accelerators():
        return Survey(problem=_unsupported_gpu())
    kind = torch.accelerator.current_accelerator()
    command = module_command("unet_bench.host.survey")
    try:
        out, err, code = _run_child(command)
    except (OSError, subprocess.SubprocessError) as error:
        return Survey(problem=f"{kind} could not be examined: {error}")
    try:
        found = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        last = (err.strip().splitlines() or [f"exit code {code}"])[-1]
        return Survey(
            problem=f"{kind} could not be examined: {last}; `{' '.join(command)}` says more"
        )
    accelerators = tuple(
        DeviceFacts(**{**facts, "precisions": tuple(facts["precisions"])})
        for facts in found["accelerators"]
    )
    return Survey(accelerators, found["problem"])


def _run_child(command: list[str]) -> tuple[str, str, int]:
    """Return what a command writes to stdout and stderr, and its exit code.

    Raises OSError, and SubprocessError when it takes longer than TIMEOUT_S.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = child.communicate(timeout=TIMEOUT_S)
    except BaseException:
        # Not waited for, as `subprocess.run` would: where a driver hangs, it cannot be ended.
        child.kill()
        raise
    return out, err, child.returncode


def choose_device(wanted: str) -> str:
    """Return the device to measure on: `auto` is a GPU that can be, else the CPU.

    Raises InvalidSuite when the device is not there, or cannot be used.
    """
    return "cpu" if wanted == "cpu" else survey().choose(wanted)


def facts_of(device: str, *, here: bool = True) -> DeviceFacts:
    """Return what is known of a device that a suite asks for.

    Of one that is not on this host that is next to nothing.
    """
    import torch

    if not here:
        return DeviceFacts(device)
    if device == "cpu":
        return DeviceFacts(
            "cpu", precisions=("fp32", "fp16", "bf16"), mac_rate=mac_rate(torch.device("cpu"))
        )
    return survey().find(device) or DeviceFacts(device)


def _has_accelerators() -> bool:
    """Return whether torch was built for accelerators that are here.

    NVML is asked, not the driver.
    """
    import torch

    if torch.accelerator.current_accelerator() is None:
        return False
    return torch.accelerator.device_count() > 0


def _unsupported_gpu() -> str:
    """Return what to do about an NVIDIA GPU that this torch was not built for.

    Empty where there is none.
    """
    import torch

    from unet_bench.host.nvml import gpu_names

    if torch.version.cuda or torch.version.hip or not (names := gpu_names()):
        return ""
    return (
        f"{names[0]} is here, and torch {torch.__version__} was built without CUDA: "
        "install torch as https://pytorch.org/get-started/locally says for CUDA"
    )


# ---- in the child


def look_at_accelerators() -> Survey:
    """Return what accelerators torch sees, each of them tried. Starts them."""
    import torch

    kind = torch.accelerator.current_accelerator()
    if kind is None:
        return Survey()
    try:
        count = torch.accelerator.device_count()
        torch.accelerator.set_device_index(0)
    except Exception as error:
        return Survey(problem=f"{kind.type} cannot be started: {with_remedy(error)}")
    rates: dict[str, float] = {}
    return Survey(
        tuple(_try_accelerator(torch.device(kind.type, index), rates) for index in range(count))
    )


def _try_accelerator(device: torch.device, rates: dict[str, float]) -> DeviceFacts:
    """Look at an accelerator and compute something on it.

    `rates` are those of models that were measured already.
    """
    import torch

    from unet_bench.host.device import identity_of, name_of, precisions, select

    name = device.type
    try:
        select(device)
        name = name_of(device)
        capability = ""
        if device.type == "cuda" and not torch.version.hip:
            capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        if name not in rates:
            rates[name] = mac_rate(device)
        return DeviceFacts(
            str(device), name, identity_of(device), capability, precisions(device), rates[name]
        )
    except Exception as error:
        return DeviceFacts(str(device), name, problem=with_remedy(error))


def with_remedy(error: Exception) -> str:
    """Return what an error of a device's says, in a line, with what to do about it."""
    import torch

    message = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if "driver" in message and "too old" in message:
        return (
            f"{message}; this torch is built for CUDA {torch.version.cuda}: "
            "a newer driver, or a torch for an older CUDA"
        )
    if "no kernel image" in message or "not compatible" in message:
        built_for = ", ".join(torch.cuda.get_arch_list())
        return (
            f"{message}; this torch is built for {built_for}: "
            "install a torch that is built for this GPU"
        )
    if "busy or unavailable" in message:
        return (
            f"{message}; another process uses it exclusively (nvidia-smi -q -d COMPUTE): "
            "end that, or choose another GPU"
        )
    if is_out_of_memory(error):
        return f"{message}; other processes hold its memory (nvidia-smi lists them)"
    return message


def mac_rate(device: torch.device) -> float:
    """Return multiply-accumulates a second in a small padded convolution.

    Times are predicted with it. On a CPU it is the rate of one thread while every core is busy:
    others of ours keep them so meanwhile, and only the thread's own time counts. So the load of the
    moment hardly matters, and cells that run side by side are as fast.
    """
    import torch

    from unet_bench.host.device import is_accelerator, synchroniser

    conv, sync = torch.nn.Conv2d(64, 64, 3, padding=1).to(device), synchroniser(device)
    image = torch.zeros(4, 64, 64, 64, device=device)
    clock = time.perf_counter if is_accelerator(device) else time.thread_time
    others = 0 if is_accelerator(device) else min(_cores(), MOST_THREADS) - 1
    measured, threads, seconds = threading.Event(), torch.get_num_threads(), []

    @torch.inference_mode()
    def convolve() -> None:
        torch.set_num_threads(1)
        while not measured.is_set():
            conv(image)

    with ThreadPoolExecutor(max(1, others)) as pool, torch.inference_mode():
        for _ in range(others):
            pool.submit(convolve)
        try:
            torch.set_num_threads(1)
            for _ in range(10):
                sync()
                start = clock()
                conv(image)
                sync()
                seconds.append(clock() - start)
        finally:
            measured.set()
            torch.set_num_threads(threads)
    macs = 4 * 64 * 64 * 64 * 64 * 9
    return macs / min(seconds[2:])  # by the third all threads run


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


if __name__ == "__main__":
    # What torch's plugins print must not be taken for the answer.
    with contextlib.redirect_stdout(sys.stderr):
        seen = json.dumps(asdict(look_at_accelerators()))
    print(seen, flush=True)
    os._exit(0)  # a driver that hangs when it is left must not hold up who waits
