"""The cluster that the other tests of this folder use: it runs jobs, and submitit gets their
results.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

submitit = pytest.importorskip("submitit", reason="pip install 'unet-bench[slurm]'")


def test_node_is_up(slurm: Path) -> None:
    command = ["sinfo", "--noheader", "--partition=main", "--format=%N %c %a"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == [
        "node0",
        "2",
        "up",
    ]


def test_array_gives_its_results(slurm: Path, tmp_path: Path) -> None:
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=5, cpus_per_task=1)
    jobs = executor.map_array(lambda x: x * x, [1, 2, 3])
    assert len({job.job_id.split("_")[0] for job in jobs}) == 1
    assert [job.result() for job in jobs] == [1, 4, 9]
