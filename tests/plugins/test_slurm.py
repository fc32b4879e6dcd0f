"""The slurm executor by submitit's local one: tasks are processes of this host, and there is no
queue.

The same and more on a real cluster: `tests/slurm`.
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.held import (
    ALL_OK,
    ONCE,
    TINY,
    VARIANTS,
    Held,
    gone,
    held_in,
    submissions,
    tasks_below,
    until,
)

from unet_bench import pipeline
from unet_bench.errors import InvalidSuite
from unet_bench.execute.jobs import Ended, Job, Waiting
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.signals import Terminated
from unet_bench.store.log import iterate_rows
from unet_bench_slurm.executor import MOST_TASKS, SlurmExecutor
from unet_bench_slurm.on_node import Share
from unet_bench_slurm.queue import Queue, QueueSilent, Seen, Task, parse_queue

pytest.importorskip("submitit", reason="pip install 'unet-bench[slurm]'")
pytestmark = pytest.mark.slow

OPTIONS = {"cluster": "local", "poll_s": "0.3"}
CONDUCT = ExecutionOptions(executor="slurm", options=OPTIONS)


@pytest.fixture
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with held_in(tmp_path_factory.mktemp("held")) as made:
        yield made


def test_a_suite_gives_the_same_table_as_on_this_machine(tmp_path: Path, held: Held) -> None:
    held.go()
    options = {**TINY, "steps": 2, "probes": ["cost", "accuracy"], "data": ["cells"]}
    shared = ExecutionOptions(
        executor="slurm", options={**OPTIONS, "cells_per_task": "3", "workers": "2"}
    )
    there = pipeline.run("unet,unet-add", out=tmp_path / "there", execution=shared, **options)
    here = pipeline.run("unet,unet-add", out=tmp_path / "here", **options)
    figures = ["variant", "params", "macs", "dice", "iou"]
    assert there[figures].to_dict("list") == here[figures].to_dict("list")
    assert len(submissions(tmp_path / "there")) == 2
    rows = list(iterate_rows(Path(there.attrs["path"])))
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["started"] and row["env_id"] and row["host"] for row in rows)
    assert not list(Path(there.attrs["path"]).glob("inbox/*"))
    assert not (Path(there.attrs["path"]) / "data").exists()


def test_a_task_that_is_killed_gives_killed_rows_and_its_cells_another_attempt(
    tmp_path: Path, held: Held
) -> None:
    def kill() -> None:
        [worker] = until(lambda: held.begun("unet-add"), "the second cell")
        [task] = tasks_below(tmp_path)
        task.kill()
        until(lambda: gone(worker), "the worker's end")
        held.go()

    watch = held.run(tmp_path, CONDUCT, kill)
    assert watch.statuses == [
        ALL_OK[0],
        ("unet-add", "killed"),
        ("unet-bilinear", "killed"),
        *ALL_OK[1:],
    ]
    assert "is over" in watch.rows[1]["error"]
    assert held.times("done") == ONCE
    assert len(submissions(tmp_path)) == 2


def test_a_task_whose_time_is_over_goes_on_and_measures_nothing_twice(
    tmp_path: Path, held: Held
) -> None:
    def end() -> None:
        [worker] = until(lambda: held.begun("unet-add"), "the second cell")
        [task] = tasks_below(tmp_path)
        task.send_signal(signal.SIGUSR2)
        until(lambda: len(held.begun("unet-add")) == 2, "the second cell's second begin")
        assert gone(worker)
        held.go()

    # With so short a limit submitit takes every such signal for its end: only what has a checkpoint
    # goes on.
    watch = held.run(
        tmp_path, ExecutionOptions(executor="slurm", options={**OPTIONS, "minutes": "5"}), end
    )
    assert watch.statuses == ALL_OK
    assert held.times("begun") == {**ONCE, "unet-add": 2}
    assert held.times("done") == ONCE
    assert len(submissions(tmp_path)) == 1


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
    command += [
        "--executor",
        "slurm",
        *(f"--executor-option={name}={value}" for name, value in OPTIONS.items()),
    ]
    driver = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: held.begun("unet-add"), "the second cell")
    driver.kill()
    driver.wait()
    [run] = [path.parent for path in tmp_path.glob("*/run.json")]

    soon = ExecutionOptions(executor="slurm", options=OPTIONS, time_limit_s=4)
    watch = held.resume(
        run, soon
    )  # the task lives, so there is but to wait, and the time is over before it ends
    assert watch.finished
    assert len(watch.finished.left) == 2
    assert len(tasks_below(tmp_path)) == 1

    held.go()
    watch = held.resume(run, CONDUCT)
    assert {(row["variant"], row["status"]) for row in iterate_rows(run)} == set(ALL_OK)
    assert held.times("begun") == ONCE
    assert len(submissions(tmp_path)) == 1


@pytest.mark.parametrize(("end", "lives"), [(KeyboardInterrupt(), False), (Terminated(15), True)])
def test_ctrl_c_cancels_tasks_and_a_signal_leaves_them(
    tmp_path: Path, held: Held, end: BaseException, lives
) -> None:
    def stop() -> None:
        until(lambda: held.begun("unet-add"), "the second cell")
        raise end

    with pytest.raises(type(end)):
        held.run(tmp_path, CONDUCT, stop)
    if lives:
        time.sleep(2)
        assert len(tasks_below(tmp_path)) == 1
        assert not gone(held.begun("unet-add")[0])
    else:
        until(lambda: not tasks_below(tmp_path), "the task's end", 10)
        until(lambda: gone(held.begun("unet-add")[0]), "the worker's end", 10)


def test_a_plugin_of_another_version_on_the_node_is_an_error_that_names_it(
    tmp_path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.go()
    there = shutil.copytree(held.path, tmp_path / "there")
    with (there / "heldplugin.py").open("a") as file:
        file.write("# of last week\n")
    monkeypatch.setenv("PYTHONPATH", str(there))
    watch = held.run(tmp_path, CONDUCT)
    assert [row["status"] for row in watch.rows] == ["error"] * 3
    assert "heldplugin is of another version" in watch.rows[0]["error"]
    assert not any(held.times("begun").values())


@pytest.mark.parametrize(
    ("devices", "options", "words"),
    [
        (["cuda:0"], {}, "gres=gpu:1"),
        ([], {"partitoin": "gpu"}, "these are: .*partition"),
        ([], {"minutes": "1h"}, "minutes=1h is not valid: write a whole number"),
        ([], {"cells_per_task": "0"}, "whole number above 0"),
        ([], {"poll_s": "inf"}, "number above 0"),
        ([], {"exclusive": "maybe"}, "yes or no"),
        ([], {"cluster": "pbs"}, "slurm or local"),
    ],
)
def test_what_slurm_cannot_be_asked_is_refused_with_a_remedy(devices, options, words: str) -> None:
    with pytest.raises(InvalidSuite, match=words):
        SlurmExecutor(devices, options)


def test_without_slurm_s_commands_the_executor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InvalidSuite, match="cluster=local"):
        SlurmExecutor()


def test_the_device_is_what_was_asked_of_slurm() -> None:
    local = {"cluster": "local"}
    assert SlurmExecutor([], local).device("auto") == "cpu"
    assert SlurmExecutor([], {**local, "gres": "gpu:1"}).device("auto") == "cuda"
    assert SlurmExecutor([], {**local, "gpus_per_node": "1"}).device("auto") == "cuda"
    assert SlurmExecutor([], {**local, "gpus_per_node": "1"}).device("cpu") == "cpu"
    with pytest.raises(InvalidSuite, match="mps"):
        SlurmExecutor([], local).device("mps")


def test_the_queue_s_lines_are_read() -> None:
    text = "a|12_0|RUNNING|None\na|12_11|PENDING|Resources\nb|13|CANCELLED|a|b\n"
    assert parse_queue(text) == {
        ("a", 0): Seen("12_0", "RUNNING", "None"),
        ("a", 11): Seen("12_11", "PENDING", "Resources"),
        ("b", 0): Seen("13", "CANCELLED", "a|b"),
    }


class Scripted(Queue):
    """A queue that shows the only task in these states, one after the other, and then no more."""

    def __init__(self, *states: str) -> None:
        super().__init__("local", {})
        self._states = list(states)
        self.arrays: list[list[Share]] = []  # as they were submitted
        self.cancelled: list[str] = []

    def submit(self, name: str, calls, folder: Path) -> list[str]:
        self.arrays.append(list(calls))
        return ["7"] * len(calls)

    def seen(self, names) -> dict[tuple[str, int], Seen]:
        if not self._states:
            return {}
        if (state := self._states.pop(0)) == "silent":
            raise QueueSilent("squeue fails: no controller")
        return {(name, 0): Seen("7", state, "Priority") for name in names}

    def cancel(self, tasks: Sequence[Task]) -> None:
        self.cancelled += [task.name for task in tasks]


def scripted(tmp_path: Path, *states: str) -> tuple[list[object], Scripted]:
    """What a driver with one job sees, and the queue afterwards."""
    queue = Scripted(*states)
    data = tmp_path / "temporary.npz"
    data.write_bytes(b"data")
    job = Job(stem="a", folder=str(tmp_path), cell={}, key="k", data=str(data))
    with SlurmExecutor([], {"cluster": "local", "poll_s": "0.01"}, queue) as executor:
        return list(executor.run([job], time.monotonic() + 0.5)), queue


def test_a_silent_queue_and_one_glimpse_of_an_end_end_no_task(tmp_path: Path) -> None:
    events, _ = scripted(
        tmp_path, "FAILED", "PENDING", "silent", "FAILED", "RUNNING", *["silent"] * 500
    )
    assert events == [
        Waiting("waiting for Slurm to begin a task: Priority"),
        *[Waiting("squeue fails: no controller")] * 2,
    ]


def test_a_task_that_the_queue_no_longer_knows_is_over(tmp_path: Path) -> None:
    (*_, ended), _ = scripted(tmp_path, "RUNNING", "CANCELLED")
    assert isinstance(ended, Ended)
    assert ended.result["status"] == "killed"
    assert "task 7 of Slurm is over (CANCELLED)" in ended.result["error"]


def test_nodes_find_the_data_in_the_run_s_folder_and_look_at_their_source(tmp_path: Path) -> None:
    _, queue = scripted(tmp_path, *["RUNNING"] * 1000)
    [[share]] = queue.arrays
    job = Job.from_json(share.jobs[0])
    assert job.data == str(tmp_path / "data" / "temporary.npz")
    assert Path(job.data).read_bytes() == b"data"
    assert job.remote


def test_what_was_noted_but_never_submitted_is_submitted(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    note = tmp_path / "slurm" / "submissions.json"
    note.write_text(json.dumps({"unet-bench-0": {"0": {"a": "k"}}}))
    assert len(scripted(tmp_path)[1].arrays) == 1
    note.write_text(json.dumps({"unet-bench-0": {"0": {"a": "k"}}}))
    assert not scripted(tmp_path, *["RUNNING"] * 1000)[1].arrays


def test_tasks_that_run_other_source_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slurm").mkdir()
    noted = {"unet-bench-0": {"0": {"a": "of last week"}}, "unet-bench-1": {"0": {"b": "k"}}}
    (tmp_path / "slurm" / "submissions.json").write_text(json.dumps(noted))
    _, queue = scripted(tmp_path, *["RUNNING"] * 1000)
    assert len(queue.arrays) == 1
    assert queue.cancelled == ["unet-bench-0"]


def test_large_suites_stay_below_slurm_s_limit_on_arrays(tmp_path: Path) -> None:
    queue = Scripted()
    jobs = [
        Job(stem=str(number), folder=str(tmp_path), cell={}, key="k") for number in range(25_000)
    ]
    with SlurmExecutor([], {"cluster": "local"}, queue) as executor:
        assert not list(executor.run(jobs, time.monotonic()))
    [array] = queue.arrays
    assert len(array) == math.ceil(25_000 / 25) <= MOST_TASKS
    noted = json.loads((tmp_path / "slurm" / "submissions.json").read_text())
    assert sum(len(cells) for tasks in noted.values() for cells in tasks.values()) == len(jobs)
