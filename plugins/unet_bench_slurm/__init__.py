"""An executor for Slurm clusters, by arrays of jobs on a shared file system."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the executor `slurm`."""
    registry.executor(
        "slurm",
        "unet_bench_slurm.executor:SlurmExecutor",
        summary="a Slurm cluster, by arrays of jobs; "
        "the run's folder on a file system that nodes share",
        needs=("submitit", "pip install 'unet-bench[slurm]'"),
    )
