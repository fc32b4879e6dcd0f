"""A fork server that several runs share: importing torch takes seconds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from unet_bench.execute.jobs import Job
from unet_bench.execute.processes import Forker, Processes

PRELOADED = (
    "torch",
    "unet_bench.measure.accuracy",
    "unet_bench.measure.cost",
    "unet_bench.measure.memory",
    "unet_bench.measure.speed",
    "unet_bench.measure.training",
)
OF_ONE_TEST = ("PYTEST_CURRENT_TEST", "COLUMNS")  # in the environment, and no worker looks at it


class KeptProcesses(Processes):
    """Processes whose fork server lives on when a run is over."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="unet-bench-tests-"))
        (self._folder / "logs").mkdir()

    def begin_forking(self, block: Sequence[str], modules: Sequence[str]) -> None:
        """Begin nothing: the first job will."""

    def close(self) -> None:
        """Leave the fork server to the next run."""

    def end(self) -> None:
        """End the fork server."""
        super().close()

    def _forker_for(self, job: Job, until: float) -> Forker | None:
        """Return a fork server that serves any probe, and whose log outlives the run's folder."""
        return super()._forker_for(job.at(folder=str(self._folder), modules=PRELOADED), until)


class Lender:
    """Lends the same processes to each run, as long as the environment stays the same.

    Workers have the environment that their fork server began with.
    """

    def __init__(self) -> None:
        self._kept: KeptProcesses | None = None
        self._environment: dict[str, str] = {}

    def processes(self) -> KeptProcesses:
        """Return the processes that are kept, or new ones where the environment is another."""
        environment = {name: value for name, value in os.environ.items() if name not in OF_ONE_TEST}
        if self._kept is None or environment != self._environment:
            self.take_back()
            self._kept, self._environment = KeptProcesses(), environment
        return self._kept

    def take_back(self) -> None:
        """End the processes that are kept."""
        if self._kept is not None:
            self._kept.end()
        self._kept = None
