"""What differs between kinds of device, said here and nowhere else; the rest is one path, by
`torch.accelerator`.

A device's index is always stated: torch takes `cuda` for "the current one" in some calls and
refuses it in others.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from unet_bench.errors import InvalidSuite

# kinds that can be measured on; ROCm's devices are called cuda
KINDS: Final = ("cpu", "cuda", "xpu", "mps")
SERVED: Final = ("cuda", "xpu")  # whose allocators `torch.accelerator` asks
PLANNED: Final = ("meta",)  # where nothing is computed
# Which of a host's devices a process sees is said in the environment, before it touches one.
VISIBLE: Final[Mapping[str, str]] = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK"}
# Number formats of an NVIDIA GPU's tensor cores; before 8.0 (Ampere) torch computes bf16 by way of
# fp32.
AMPERE: Final = (8, 0)


def indexed(name: str) -> torch.device:
    """Return the device of a name, with its index: `cuda` is the first of those that are visible.

    Raises InvalidSuite for a kind of device that torch may know, but nothing here can wait for.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidSuite(
            f"device {name!r} is not valid: write one of {', '.join(KINDS)}, or cuda:1"
        ) from error
    if device.type not in (*KINDS, *PLANNED):
        raise InvalidSuite(
            f"torch knows devices of type {device.type}, and unet-bench does not: "
            f"it could not wait for them, and its times would be wrong; "
            f"use one of {', '.join(KINDS)}"
        )
    return (
        device if device.type in ("cpu", *PLANNED) else torch.device(device.type, device.index or 0)
    )


def kind_of(name: str) -> str:
    """Return the kind of device that a name such as `cuda:1` is of."""
    return name.partition(":")[0]


def is_accelerator(device: torch.device) -> bool:
    """Return whether work on the device is queued, and has to be waited for."""
    return device.type not in ("cpu", *PLANNED)


def visible_variable(kind: str) -> str | None:
    """Return the environment variable that limits which devices of a kind a process sees.

    None if there is none.
    """
    return "HIP_VISIBLE_DEVICES" if kind == "cuda" and torch.version.hip else VISIBLE.get(kind)


def select(device: torch.device) -> None:
    """Make the device this process's current one, which starts it."""
    if is_accelerator(device):
        torch.accelerator.set_device_index(device)


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Return what waits until the device has done all it was given."""
    if not is_accelerator(device):
        return lambda: None
    return functools.partial(torch.accelerator.synchronize, device)


def timed_events(device: torch.device) -> tuple[torch.Event, torch.Event] | None:
    """Return two events that tell what time passed on the device between them.

    None where it has none; where CUDA or XPU refuse theirs, that is raised.
    """
    if not is_accelerator(device):
        return None
    events: tuple[torch.Event, torch.Event] | None = None
    with _if_served(device):
        start, end = (torch.Event(device, enable_timing=True) for _ in range(2))
        start.record()
        end.record()
        synchroniser(device)()
        start.elapsed_time(end)  # some have events that do not tell the time
        events = start, end
    return events


# ---- number formats


def precisions(device: torch.device) -> tuple[str, ...]:
    """Return the number formats that the device computes in natively. Starts the device."""
    if device.type != "cuda":
        return ("fp32", "fp16", "bf16")
    if torch.version.hip:
        return ("fp32", "fp16", "bf16") + (("tf32",) if torch.cuda.is_tf32_supported() else ())
    properties = torch.cuda.get_device_properties(device)
    recent = (properties.major, properties.minor) >= AMPERE
    return ("fp32", "tf32", "fp16", "bf16") if recent else ("fp32", "fp16")


def mixed_precision(device: torch.device) -> str:
    """Return the half precision in which a training is quickest and safest.

    That is bf16, or fp16 where bf16 is emulated.
    """
    return "bf16" if "bf16" in precisions(device) else "fp16"


def allow_tf32(allowed: bool) -> None:
    """Let matrix products and convolutions in fp32 round their inputs to TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextlib.contextmanager
def exact_fp32() -> Iterator[None]:
    """Compute fp32 as fp32 within the context, whatever the process otherwise allows."""
    allowed = torch.backends.cudnn.allow_tf32
    allow_tf32(False)
    try:
        yield
    finally:
        allow_tf32(allowed)


@contextlib.contextmanager
def without_algorithm_search() -> Iterator[None]:
    """Take cuDNN's first choice of algorithm within the context.

    Otherwise it would search anew at every new size of image.
    """
    searching = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = searching


# ---- memory


def _if_served(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Return a context that passes over allocators which `torch.accelerator` does not serve.

    Those of CUDA and XPU it serves: what they raise is a failure, and is raised.
    """
    return contextlib.nullcontext() if device.type in SERVED else contextlib.suppress(RuntimeError)


def empty_cache(device: torch.device) -> None:
    """Give back what the device's allocator holds for later."""
    if is_accelerator(device):
        with _if_served(device):
            torch.accelerator.empty_cache()


def memory_statistics(device: torch.device) -> Mapping[str, int]:
    """Return what the device's allocator counted, such as `allocated_bytes.all.peak`.

    Empty if it does not count.
    """
    found: Mapping[str, int] = {}
    if is_accelerator(device):
        with _if_served(device):
            found = torch.accelerator.memory_stats(device)
    return found


def reset_peak(device: torch.device) -> None:
    """Have the allocator's peaks begin at what is held now."""
    with _if_served(device):
        torch.accelerator.reset_peak_memory_stats(device)


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on the device.

    None where it shares the host's memory, or does not say.
    """
    found: int | None = None
    if is_accelerator(device):
        with _if_served(device):
            found = torch.accelerator.get_memory_info(device)[0]
    return found


def limit_memory(device: torch.device, limit: int) -> None:
    """Have the device's allocator refuse what is beyond `limit` bytes.

    Where it cannot, nothing is limited.
    """
    restrict = getattr(module_of(device), "set_per_process_memory_fraction", None)
    if restrict is None:
        return
    if device.type == "mps":
        restrict(min(1.0, limit / torch.mps.recommended_max_memory()))
    else:
        restrict(min(1.0, limit / torch.accelerator.get_memory_info(device)[1]), device)


# ---- random numbers


def random_state(device: torch.device) -> Tensor | None:
    """Return the state of the device's own random numbers; None where they are the host's."""
    if not is_accelerator(device):
        return None
    state: Tensor = (
        torch.mps.get_rng_state()
        if device.type == "mps"
        else module_of(device).get_rng_state(device)
    )
    return state


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Put back what `random_state` returned."""
    if device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        module_of(device).set_rng_state(state, device)


def module_of(device: torch.device) -> Any:
    """Return torch's module for a kind of accelerator, such as `torch.cuda`."""
    return torch.get_device_module(device)


# ---- what it is


def name_of(device: torch.device) -> str:
    """Return the model of an accelerator. Starts the device."""
    ask = getattr(module_of(device), "get_device_name", None)
    return str(ask(device)) if ask else f"{platform.machine()} {device.type}"


def names_of_all(kind: str) -> list[str]:
    """Return the models of all accelerators of a kind that are visible. Starts them."""
    return [name_of(torch.device(kind, index)) for index in range(torch.accelerator.device_count())]


def identity_of(device: torch.device) -> str:
    """Return a lasting identity that tells an accelerator from all others of its host.

    Empty if it has none.
    """
    properties = getattr(module_of(device), "get_device_properties", None)
    return str(getattr(properties(device), "uuid", "")) if properties else ""
