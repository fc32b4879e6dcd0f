"""Where PYTHONPATH leads here and UNET_BENCH_GPU_HOST names a folder, torch finds GPUs: see
`standin_cuda.py`.

Python imports a module of this name by itself when it starts, so that every process of a command is
in the same world.
"""

import importlib.abc
import importlib.util
import os
import sys


class Patch(importlib.abc.MetaPathFinder):
    """Changes a module as soon as it is imported."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec


def with_gpus(torch):
    import standin_cuda

    standin_cuda.install(torch)


def with_a_small_roofline(ceiling):
    ceiling.SIDE["cuda"], ceiling.COPIED["cuda"] = (
        128,
        2**14,
    )  # products as large as a GPU wants them are not for a CPU


def with_short_windows(energy):
    energy.WINDOW_S, energy.LEAD_S = 0.3, 0.05  # this counter moves all the time


def with_quiet_processors(guard):
    # Other tests run beside this one: they are no part of this host, and its processors' counters
    # have nothing in them.
    guard.AT_WORK = frozenset()


def with_few_repeats(selftest):
    selftest.QUICK_REPEATS = 1


def with_small_loads(certify):
    small = {"size": "32x32", "width_scale": 0.0625, "batch": (2,), "steps": 2, "speed_s": 0.2}
    certify.LOADS = {"gpu": {**small, "threads": (1,)}}
    certify.SMALL = {"gpu": {name: small[name] for name in ("size", "width_scale", "batch")}}
    certify.CONVOLUTIONAL = ("unet", "unet-add")
    certify.EVERY_SETTING = {**certify.EVERY_SETTING, "runtime": ("eager", "cudagraphs")}
    certify.PAIRS = certify.FEWEST_PAIRS = 2
    certify.VARIANTS = certify.FEWEST_VARIANTS = 2
    certify.PART = 2
    certify.every_variant = lambda: ["unet", "unet-add", "unet-same"]
    if only := os.environ.get("UNET_BENCH_GPU_CHECK"):
        certify.STEPS = tuple(step for step in certify.STEPS if step.name in ("environment", only))


def with_thresholds_for_a_busy_host(certificate):
    certificate.REPEATABLE_WITHIN = certificate.CLOCKS_AGREE = 9.0
    certificate.HOLD = certificate.FOUND = 0.0


def with_a_profiler_of_kernels(clocks):
    def profiled(device, block):
        host_s = block()
        return clocks.Profiled(host_s, 0.97 * host_s, "kernels")

    clocks.profiled = profiled


if os.environ.get("UNET_BENCH_GPU_HOST"):
    sys.meta_path.insert(0, Patch("torch", with_gpus))
    sys.meta_path.insert(0, Patch("unet_bench.measure.ceiling", with_a_small_roofline))
    sys.meta_path.insert(0, Patch("unet_bench.measure.energy", with_short_windows))
    sys.meta_path.insert(0, Patch("unet_bench.measure.guard", with_quiet_processors))
    sys.meta_path.insert(0, Patch("unet_bench.selftest", with_few_repeats))
    sys.meta_path.insert(0, Patch("unet_bench.certify", with_small_loads))
    sys.meta_path.insert(
        0, Patch("unet_bench.analysis.certificate", with_thresholds_for_a_busy_host)
    )
    sys.meta_path.insert(0, Patch("unet_bench.measure.clocks", with_a_profiler_of_kernels))
