"""A runtime: what runs a network, torch itself or an engine that it is exported to.

Like a probe it is an object: plan, worker and tables ask it, and none knows one by its name. It
imports no torch: what makes a network ready is named, `"module:function"`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final

from unet_bench.spec.cell import AS_TRAINED, Setting

if TYPE_CHECKING:
    from unet_bench.measure.ready import Ready


@dataclass(frozen=True)
class Runtime:
    """One way to run a network, and where it serves. What is left empty is not limited.

    `make_ready(context, model, images)` is given the built network, in evaluation mode unless it is
    to be trained, and the batch `(N C *S)` that it will be run on; it returns a `Ready`.
    """

    name: str
    make_ready: str | Callable[..., Ready]  # text: "module:function"
    _: KW_ONLY
    summary: str
    cite: str = ""
    needs: tuple[str, str] | None = None  # a module of another package, and what installs it
    devices: tuple[str, ...] = ()  # kinds of device
    precisions: tuple[str, ...] = ()
    memory_formats: tuple[str, ...] = ()
    quantize: tuple[str, ...] = (AS_TRAINED,)  # how it may quantise what it is given
    in_torch: bool = False  # torch sees its memory and its kernels
    trains: bool = False  # takes training steps, too
    ready_s: float = 0.0  # about how long it takes to make a network ready

    def refuses(self, setting: Setting) -> str:
        """Return why it does not run so; empty where it does."""
        kind = setting.device.partition(":")[0]
        if self.devices and kind not in self.devices:
            needed = " or ".join(name.upper() for name in self.devices)
            return (
                f"runtime {self.name} needs a {needed} device, and this runs on "
                f"{setting.device}; use eager"
            )
        served = {
            "precision": self.precisions,
            "memory_format": self.memory_formats,
            "quantize": self.quantize,
        }
        for axis, taken in served.items():
            if taken and (value := getattr(setting, axis)) not in taken:
                takes = ", ".join(taken)
                return f"runtime {self.name} does not run {axis} {value}: it runs {takes}"
        return ""


OUR_RUNTIMES: Final = (
    Runtime(
        "eager",
        "unet_bench.measure.in_torch:eager",
        summary="torch, one operator after the other",
        in_torch=True,
        trains=True,
    ),
    Runtime(
        "compile",
        "unet_bench.measure.in_torch:compiled",
        summary="torch.compile, which fuses operators",
        devices=("cpu", "cuda", "xpu"),
        in_torch=True,
        trains=True,
        ready_s=30.0,
    ),
    Runtime(
        "cudagraphs",
        "unet_bench.measure.in_torch:captured",
        summary="all operators as one CUDA graph, which is replayed",
        devices=("cuda",),
        in_torch=True,
    ),
)


def refusal(
    setting: Setting, runtime: Runtime, native: Sequence[str] = (), *, training: bool = False
) -> str:
    """Return why a combination of settings cannot be run, or trained, anywhere; else empty.

    `native` are the precisions that the device computes in itself; none where that is not known.
    """
    if setting.precision == "tf32" and setting.device.partition(":")[0] != "cuda":
        return f"precision tf32 needs a CUDA device, and this runs on {setting.device}; use fp32"
    if native and setting.precision not in native:
        return (
            f"precision {setting.precision} is not native to this GPU, and would be emulated: "
            "NVIDIA's have bf16 and tf32 from compute capability 8.0 (Ampere) on; use fp32 or fp16"
        )
    return runtime.refuses(setting) or (cannot_train(setting, runtime) if training else "")


def cannot_train(setting: Setting, runtime: Runtime) -> str:
    """Return why no training step can be taken at a setting; empty where one can."""
    if not runtime.trains:
        return f"runtime {runtime.name} takes no training step; use eager or compile"
    if setting.batch_norm == "folded":
        return "batch norm cannot be folded while training; use batch_norm kept"
    return ""
