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


if os.environ.get("UNET_BENCH_GPU_HOST"):
    sys.meta_path.insert(0, Patch("torch", with_gpus))
    sys.meta_path.insert(0, Patch("unet_bench.measure.ceiling", with_a_small_roofline))
    sys.meta_path.insert(0, Patch("unet_bench.measure.energy", with_short_windows))
    sys.meta_path.insert(0, Patch("unet_bench.measure.guard", with_quiet_processors))
    sys.meta_path.insert(0, Patch("unet_bench.selftest", with_few_repeats))
