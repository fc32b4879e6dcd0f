"""Fixtures shared by the tests: a registry, and commands run as a user runs them."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from support.once import once
from support.processes import Lender

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers run side by side: threads that wait for one another by spinning would slow them all.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests examine every network themselves: some change in this process what is measured.
os.environ["UNET_BENCH_CACHE"] = ""
# A shell without job control has what it begins in the background ignore Ctrl-C, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from unet_bench.cli.app import main
from unet_bench.execute import local
from unet_bench.execute.local import Local
from unet_bench.registry import plugins
from unet_bench.registry.registry import Registry

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

# Shared machines stall for seconds: how long an example takes is never what is tested.
settings.register_profile("unet-bench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unet-bench")


@pytest.fixture(scope="session")
def registry() -> Registry:
    return plugins.load().checked()


@pytest.fixture(scope="session")
def context_of(registry: Registry) -> Callable[..., MeasurementContext]:
    """Put a variant, or anybody's `module:Class`, on a bench in this process: tiny, and for a
    moment.
    """
    from unet_bench.context import MeasurementContext
    from unet_bench.models.build import with_width_scale
    from unet_bench.models.foreign import foreign_variant
    from unet_bench.models.select import select
    from unet_bench.plan.examine import ExaminedNetwork, examine
    from unet_bench.spec.cell import Cell, Protocol, Setting, Task

    @functools.cache
    def seen(name: str, task: Task) -> ExaminedNetwork:
        [variant] = [foreign_variant(name)] if ":" in name else select(registry, [name])
        return examine(
            registry, variant if variant.architecture else with_width_scale(variant, 1 / 16), task
        )

    def put(
        name: str = "unet",
        size: tuple[int, int] = (32, 32),
        protocol: dict[str, Any] | None = None,
        **setting: Any,
    ) -> MeasurementContext:
        task = Task(
            name="t",
            dataset_hash="0",
            classes=("a", "b", "c"),
            in_channels=1,
            scored=size,
            fit="crop",
        )
        own, base = seen(name, task), seen("unet", task)
        assert own.input_window, own.reason
        assert base.input_window
        cell = Cell(
            variant=own.variant,
            input_window=own.input_window,
            baseline=base.variant,
            baseline_input_window=base.input_window,
            task=task,
            setting=Setting(**{"batch": 2, **setting}),
            protocol=Protocol(**{"speed_s": 0.2, **(protocol or {})}),
            probe="speed",
        )
        return MeasurementContext(cell, registry)

    return put


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have runs wait for no other process's timings: locks lie in the temporary folder.

    Its path is short, for sockets are made below it.
    """
    tmp_path_factory.getbasetemp()  # where it would be anyhow
    with (
        tempfile.TemporaryDirectory(prefix="ub-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setenv("TMPDIR", folder)
        patched.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_fork_server(own_locks: None) -> Iterator[None]:
    """Have runs in this process share a fork server; those that make their own `Local` do not."""
    lender = Lender()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local, "Local", lambda *given: Local(*given, processes=lender.processes()))
        yield
    lender.take_back()


@pytest.fixture
def unet_bench(tmp_path: Path):
    """Run `unet-bench ARGS` in an empty folder; returns the finished process, output as text.

    It is this very process unless a `fresh` one is asked for, or has an environment of its own:
    what a start costs is for the few tests whose subject it is.
    """

    def run(
        *args: str, timeout: float = 240, env: dict[str, str] | None = None, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        if not (fresh or env):
            return run_here(tmp_path, args)
        command = [sys.executable, "-P", "-m", "unet_bench", *args]
        environment = {**os.environ, "COLUMNS": "160", **(env or {})}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of a few networks through the probes of a first look, made once and only read."""

    def measure(folder: Path) -> None:
        options = "--width-scale 0.0625 --size 32x32 --batch 2 --steps 4 --speed-s 0.2 --threads 1"
        nets = "unet,unet-paper,unet-milesial,unet+bias=false"
        command = ["run", *options.split(), "--out", ".", "--data", "cells", "--variants", nets]
        done = run_here(folder, command)
        assert done.returncode == 0, done.stderr
        assert "unet-paper" in done.stdout

    [run] = once(tmp_path_factory.getbasetemp(), "finished-run", measure).iterdir()
    return run


def run_here(folder: Path, args: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `unet-bench ARGS` in this process, in a folder."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patched.chdir(folder)
        patched.setenv("COLUMNS", "160")
        patched.setattr(sys, "argv", ["unet-bench", *args])
        patched.setattr(sys, "excepthook", sys.excepthook)
        patched.setattr(sys, "path", [*sys.path])
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            forget(folder)
    return subprocess.CompletedProcess(["unet-bench", *args], code, out.getvalue(), err.getvalue())


def forget(folder: Path) -> None:
    """Have modules of a folder imported anew when they are wanted again."""
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
