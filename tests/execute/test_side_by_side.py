"""Cells that are not timed run side by side on a processor; no figure depends on it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unet_bench import run
from unet_bench.errors import InvalidSuite
from unet_bench.execute import local as local_module
from unet_bench.execute.driver import Quiet
from unet_bench.execute.local import Local, cores, free_memory_mib
from unet_bench.execute.options import ExecutionOptions
from unet_bench.plan.cells import Planned
from unet_bench.store.runs import read_runs

TINY = {
    "data": ["cells"],
    "size": "32x32",
    "width_scale": 0.0625,
    "batch": 2,
    "threads": 1,
    "steps": 3,
    "speed_s": 0.1,
    "floors": False,
}
SECOND = pd.Timedelta(seconds=1)  # to which starts are rounded
FIGURES = ["variant", "seed", "probe", "dice", "val_dice", "first_loss", "final_loss"]


@pytest.fixture(autouse=True)
def locks_of_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def measured(
    out: Path, jobs: int, probes: list[str], progress: Quiet | None = None
) -> pd.DataFrame:
    found = run(
        ["unet", "unet-add"],
        out=out,
        progress=progress,
        execution=ExecutionOptions(jobs=jobs),
        **TINY,
        probes=probes,
        seeds=[0],
    )
    # Whichever ends first, tables have the order of the plan.
    assert list(found["variant"]) == ["unet", "unet-add"]
    return read_runs([Path(found.attrs["path"])]).cells


def test_figures_do_not_depend_on_it(tmp_path: Path) -> None:
    alone = measured(tmp_path / "alone", 1, ["accuracy"])
    together = measured(tmp_path / "together", 2, ["accuracy"])
    alone, together = (frame[FIGURES].sort_values("variant") for frame in (alone, together))
    assert len(alone) == 2
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), together.reset_index(drop=True))


def test_as_many_as_there_are_cores_for() -> None:
    assert Local().at_once("cpu", 1) == cores()
    assert Local().at_once("cpu", cores()) == 1
    assert Local().at_once("cpu", 10 * cores()) == 1
    assert Local((), {"jobs": "3"}).at_once("cpu", 1) == 3
    assert Local(["cpu", "cpu"]).at_once("cpu", 1) == 2
    for jobs in ("0", "two", "9999"):
        with pytest.raises(InvalidSuite, match=r"jobs=.* from 1 to"):
            Local((), {"jobs": jobs})


def test_a_containers_share_of_the_cores_counts(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    for text, expected in (("100000 100000", 1), ("50000 100000", 1), ("max 100000", cores())):
        quota.write_text(text + "\n")
        assert cores(quota) == expected
    assert cores(tmp_path / "absent") == cores()


def test_a_containers_share_of_the_memory_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.with_name("memory.current").write_text(f"{100 << 20}\n")
    for text, least, most in ((f"{500 << 20}", 400, 400), ("50", 0, 0), ("max", 1, 1e9)):
        limit.write_text(text + "\n")
        assert least <= free_memory_mib(limit) <= most
    assert free_memory_mib(tmp_path / "absent") > 0


class Counting(Quiet):
    """Counts how many cells run at once."""

    running = most = 0

    def cell(self, planned: Planned, seconds_left: float) -> None:
        self.running += 1
        self.most = max(self.most, self.running)

    def done(self, planned: Planned, row: dict[str, Any]) -> None:
        self.running -= 1


@pytest.mark.parametrize(("free_mib", "at_once"), [(1e6, 2), (1000.0, 1), (1.0, 1)])
def test_as_many_as_there_is_memory_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: float, at_once: int
) -> None:
    monkeypatch.setattr(local_module, "free_memory_mib", lambda: free_mib)
    counting = Counting()
    cells = measured(tmp_path, 2, ["accuracy"], counting)
    assert (cells.status == "ok").all()
    assert counting.most == at_once


def test_jobs_are_of_this_host() -> None:
    with pytest.raises(InvalidSuite, match="--jobs is of this host"):
        ExecutionOptions(executor="slurm", jobs=2)


def test_what_is_timed_waits_for_an_idle_processor_and_is_not_left_for_last(tmp_path: Path) -> None:
    cells = measured(tmp_path, 2, ["cost", "speed", "accuracy"])
    ended = pd.to_datetime(cells.started) + pd.to_timedelta(cells.wall_s, unit="s")
    timed, trained = (cells.probe == name for name in ("speed", "accuracy"))
    assert (cells.status == "ok").all()
    assert ended[timed].max() <= pd.to_datetime(cells.started)[trained].min() + SECOND
