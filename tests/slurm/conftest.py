"""A Slurm cluster on this machine for the tests of this folder. cluster.sh says what it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).with_name("cluster.sh")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nobody's plain `pytest` is to start daemons. The hook is called with the items of all
    folders.
    """
    if os.environ.get("UNET_BENCH_SLURM") == "1":
        return
    for item in items:
        if CLUSTER.parent in item.path.parents:
            item.add_marker(
                pytest.mark.skip(
                    reason="starts a Slurm cluster: set UNET_BENCH_SLURM=1, or nox -s slurm"
                )
            )


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """The folder of a running cluster, which SLURM_CONF names for every command and submitit."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    if not shutil.which("slurmctld", path=path):
        pytest.skip("no slurmctld: apt-get install slurm-wlm munge")
    # Not pytest's folder: the sockets below must have names shorter than 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        subprocess.run(
            [CLUSTER, "start", folder], check=True, timeout=90, stdout=subprocess.DEVNULL
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            yield folder
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True, timeout=90)
        shutil.rmtree(folder, ignore_errors=True)
