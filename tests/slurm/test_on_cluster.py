"""The slurm executor on a real cluster: what a queue does to tasks, and what becomes of their
cells.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.held import ALL_OK, ONCE, VARIANTS, Held, gone, held_in, submissions, until

from unet_bench.errors import InvalidSuite
from unet_bench.execute.options import ExecutionOptions
from unet_bench.store.log import iterate_rows

pytest.importorskip("submitit", reason="pip install 'unet-bench[slurm]'")

# Of submitit: below ten minutes every preemption counts as a time that is over.
OPTIONS = {"poll_s": "0.5", "minutes": "20", "cpus_per_task": "1"}
CONDUCT = ExecutionOptions(executor="slurm", options=OPTIONS)


@pytest.fixture
def held(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with held_in(tmp_path_factory.mktemp("held")) as made:
        yield made
        subprocess.run(["scancel", "--user=root"], check=False)
        until(lambda: not squeue(), "an idle cluster")


def squeue(*options: str) -> list[list[str]]:
    """Id and state of what is in the queue."""
    command = ["squeue", "--noheader", "--array", "--format=%i %T", *options]
    return [line.split() for line in subprocess.check_output(command, text=True).splitlines()]


def test_an_array_of_several_tasks_gives_every_row(tmp_path: Path, held: Held) -> None:
    held.go()
    options = {**OPTIONS, "cells_per_task": "1", "workers": "2"}
    watch = held.run(tmp_path, ExecutionOptions(executor="slurm", options=options))
    assert sorted(watch.statuses) == sorted(ALL_OK)
    assert held.times("done") == ONCE
    [name] = submissions(tmp_path)
    found = squeue("--states=all", f"--name={name}")
    assert len({id.partition("_")[0] for id, _ in found}) == 1
    assert sorted(id.partition("_")[2] for id, _ in found) == ["0", "1", "2"]


@pytest.mark.parametrize("how", ["requeue", "signal", "preemption"])
def test_a_task_that_is_requeued_goes_on_and_measures_nothing_twice(
    tmp_path: Path, held: Held, how: str
) -> None:
    def interrupt() -> None:
        [worker] = until(lambda: held.begun("unet-add"), "the second cell")
        [(id, _)] = squeue()
        if how == "requeue":
            subprocess.run(["scontrol", "requeue", id], check=True)
        elif how == "signal":
            subprocess.run(["scancel", "--signal=USR2", id], check=True)
        else:
            urgent = [
                "sbatch",
                "--partition=urgent",
                "--exclusive",
                "--output=/dev/null",
                "--wrap=sleep 1",
            ]
            subprocess.run(urgent, check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)
        until(lambda: len(held.begun("unet-add")) == 2, "the second cell's second begin")
        assert gone(worker)
        held.go()

    watch = held.run(tmp_path, CONDUCT, interrupt)
    assert watch.statuses == ALL_OK
    assert held.times("begun") == {**ONCE, "unet-add": 2}
    assert held.times("done") == ONCE
    assert len(submissions(tmp_path)) == 1


def test_a_task_that_is_cancelled_gives_killed_rows_and_the_suite_ends(
    tmp_path: Path, held: Held
) -> None:
    def cancel() -> None:
        until(lambda: held.begun("unet-add"), "the second cell")
        [(id, _)] = squeue()
        subprocess.run(["scancel", id], check=True)

    watch = held.run(
        tmp_path, ExecutionOptions(executor="slurm", options=OPTIONS, retries={}), cancel
    )
    assert watch.statuses == [ALL_OK[0], ("unet-add", "killed"), ("unet-bilinear", "killed")]
    assert "CANCELLED" in watch.rows[2]["error"]
    assert watch.rows[2]["log"]
    assert not held.times("done")["unet-bilinear"]


def test_tasks_outlive_their_driver_and_the_next_one_collects_what_they_leave(
    tmp_path: Path, held: Held
) -> None:
    command = [
        sys.executable,
        "-m",
        "unet_bench",
        "run",
        "-v",
        VARIANTS,
        "--probes",
        "held",
        "--out",
        str(tmp_path),
    ]
    command += [
        "--data",
        "cells",
        "--size",
        "32x32",
        "--width-scale",
        "0.0625",
        "--threads",
        "1",
        "--batch",
        "1",
    ]
    options = {**OPTIONS, "cells_per_task": "1", "workers": "1"}
    command += [
        "--executor",
        "slurm",
        *(f"--executor-option={name}={value}" for name, value in options.items()),
    ]
    driver = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: held.begun("unet-add"), "the second cell")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    [run] = [path.parent for path in tmp_path.glob("*/run.json")]

    soon = ExecutionOptions(executor="slurm", options=options, time_limit_s=4)
    watch = held.resume(run, soon)  # one task runs and one has not begun: there is but to wait
    assert watch.finished
    assert len(watch.finished.left) == 2
    assert sorted(state for _, state in squeue()) == ["PENDING", "RUNNING"]

    held.go()
    watch = held.resume(run, ExecutionOptions(executor="slurm", options=options))
    assert {(row["variant"], row["status"]) for row in iterate_rows(run)} == set(ALL_OK)
    assert held.times("begun") == ONCE
    assert len(submissions(tmp_path)) == 1


def test_ctrl_c_cancels_what_runs_and_what_waits(tmp_path: Path, held: Held) -> None:
    def stop() -> None:
        until(lambda: held.begun("unet-add"), "the second cell")
        raise KeyboardInterrupt

    options = {**OPTIONS, "cells_per_task": "1", "workers": "1"}
    with pytest.raises(KeyboardInterrupt):
        held.run(tmp_path, ExecutionOptions(executor="slurm", options=options), stop)
    until(lambda: not squeue(), "an empty queue", 20)
    assert gone(held.begun("unet-add")[0])


def test_what_sbatch_refuses_is_told_with_a_remedy(tmp_path: Path, held: Held) -> None:
    with pytest.raises(InvalidSuite, match=r"sbatch refuses: .*partition.*--resume"):
        held.run(
            tmp_path,
            ExecutionOptions(executor="slurm", options={**OPTIONS, "partition": "nowhere"}),
        )
