"""Runs on a real Ray of this machine: a cluster of one node or two, with as many GPUs as it is told
to pretend.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from unet_bench import pipeline, read_results
from unet_bench.errors import InvalidSuite
from unet_bench.execute.jobs import Ended, Event, Job, Started
from unet_bench.execute.options import ExecutionOptions
from unet_bench.host import locks
from unet_bench.registry import plugins
from unet_bench_ray import executor as ray_executor
from unet_bench_ray import on_node
from unet_bench_ray.executor import RayExecutor

ray = pytest.importorskip("ray", reason="pip install 'unet-bench[ray]'")
pytestmark = pytest.mark.slow

PLUGIN = """
from unet_bench import Probe, hookimpl
@hookimpl
def unet_bench_register(registry):
    registry.probe(Probe("rays", "rays:probe", summary="for tests"))
"""
BODY = """
import os, time
from pathlib import Path
HERE = Path(__file__).parent
def note(name):
    (HERE / "notes" / name).write_text(str(os.getpid()))
def wait_for(count, pattern):
    deadline = time.monotonic() + 60
    while len(list((HERE / "notes").glob(pattern))) < count:
        assert time.monotonic() < deadline, f"no {count} of {pattern}"
        time.sleep(0.05)
def probe(bench):
"""
TINY = {
    "size": "32x32",
    "width_scale": 0.0625,
    "speed_s": 0.1,
    "threads": 1,
    "batch": 1,
    "steps": 2,
}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on the path of all nodes, with a plugin whose probe has any body, and a temporary
    folder of theirs.
    """
    path = tmp_path_factory.mktemp("rays")
    (path / "raysplugin.py").write_text(PLUGIN)
    info = path / "rays-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rays\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unet_bench]\nrays = raysplugin\n")
    # Short, since Ray has sockets there; the nodes' own, so that no other run's locks are in the
    # way.
    temporary = tempfile.mkdtemp(prefix="ray-")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(path))
        patched.setenv(
            "PYTHONDONTWRITEBYTECODE", "1"
        )  # of a file that changes more often than its time does
        patched.setenv("TMPDIR", temporary)
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.delenv("RAY_ADDRESS", raising=False)
        yield path
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(here: Path) -> Iterator[Any]:
    """A cluster that is up before any run and after it: two processors, two GPUs that are not
    there.
    """
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "num_gpus": 2,
            "include_dashboard": False,
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 2},
        },
    )
    try:
        ray.init(address=made.address, log_to_driver=False, configure_logging=False)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def jobs(here: Path) -> Callable[..., list[Job]]:
    """So many jobs of a probe with this body; what they note of themselves lies in `here /
    "notes"`.
    """
    from unet_bench.geometry.shapes import InputWindow
    from unet_bench.networks.variants import Variant
    from unet_bench.spec.cell import Cell, Protocol, Setting, Task

    size = (16, 16)
    input_window = InputWindow(input=size, output=size, start=(0, 0), context=(0, 0))
    task = Task(
        name="t", dataset_hash="0", classes=("a", "b"), in_channels=1, scored=size, fit="crop"
    )
    unet = Variant(name="unet").with_choices(base_width=4)
    cell = Cell(
        variant=unet,
        input_window=input_window,
        baseline=unet,
        baseline_input_window=input_window,
        task=task,
        setting=Setting(batch=1, threads=1),
        protocol=Protocol(),
        probe="rays",
    ).to_json()

    def make(count: int, body: str, **changes: Any) -> list[Job]:
        (here / "rays.py").write_text(BODY + "    " + body.replace("\n", "\n    "))
        shutil.rmtree(here / "notes", ignore_errors=True)
        (here / "notes").mkdir()
        stems = [f"rays-{number}" for number in range(count)]
        return [
            Job(stem=stem, folder=str(here / "run"), cell=cell, key="k", **changes)
            for stem in stems
        ]

    return make


def run_all(jobs: list[Job], until: float = float("inf")) -> list[Event]:
    with RayExecutor() as executor:
        return list(executor.run(jobs, until))


def results(events: list[Event]) -> dict[str, dict[str, Any]]:
    return {event.job.stem: event.result for event in events if isinstance(event, Ended)}


def children_of(raylet: int, words: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(raylet).children(recursive=True):
        try:
            if words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            pass
    return found


def soon(condition: Callable[[], object], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def temporary() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob(f"{locks.OWN}*"))


def test_gives_the_rows_and_files_that_a_local_run_gives(cluster: Any, tmp_path: Path) -> None:
    def run(executor: str, **options: Any) -> Any:
        execution = ExecutionOptions(executor=executor)
        options |= {"data": ["cells"], "preset": "quick", "probes": ["cost", "speed", "accuracy"]}
        return pipeline.run(
            "unet,unet-add", out=tmp_path / executor, execution=execution, **TINY, **options
        )

    on_nodes, at_home = run("ray", device="cpu"), run("local")
    statuses = [name for name in at_home if name.endswith("status")]
    assert statuses
    assert list(on_nodes) == list(at_home)
    one, other = (
        input_window.set_index("variant")[statuses].sort_index()
        for input_window in (on_nodes, at_home)
    )
    assert one.to_dict("index") == other.to_dict("index")
    path = Path(on_nodes.attrs["path"])
    cells = read_results(path, "cells")
    assert (cells["status"] == "ok").all(), cells["error"]
    assert cells[["host", "env_id", "place", "started", "wall_s"]].notna().all().all()
    assert set(cells["place"]) == {"cpu"}
    for part in ("logs", "samples"):
        names = [
            {file.name for file in (Path(input_window.attrs["path"]) / part).iterdir()}
            for input_window in (on_nodes, at_home)
        ]
        assert names[0] - {"forkserver.log"} == names[1] - {"forkserver.log"}, part
    assert any((path / "samples").iterdir())
    assert {file.stem for file in (path / "environments").iterdir()} == set(cells["env_id"])
    assert not list((path / "inbox").iterdir())
    assert not temporary()
    # The connection is not the run's to close: its fork servers end by themselves.
    assert soon(
        lambda: not children_of(raylet(cluster.head_node), "execute.forkserver"), on_node.IDLE_S + 5
    )


def test_tasks_for_gpus_have_one_each(
    cluster: Any, jobs: Callable[..., list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cells of this machine cannot touch a GPU: as far as Ray is asked, these do.
    monkeypatch.setattr(ray_executor, "kind_of", lambda job: "GPU")
    together = "note(f'{bench.samples.stem}.began')\nwait_for(2, '*.began')\n"
    found = results(
        run_all(jobs(2, together + "return {'seen': os.environ['CUDA_VISIBLE_DEVICES']}"))
    )
    assert [row["status"] for row in found.values()] == ["ok", "ok"], found
    assert sorted(row["seen"] for row in found.values()) == ["0", "1"]


def test_a_fork_server_of_another_gpus_task_is_no_matter(
    here: Path, jobs: Callable[..., list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = jobs(1, "return {'seen': os.environ['CUDA_VISIBLE_DEVICES']}")
    try:
        for name in ("0", "1"):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
            assert on_node.run_task(job.to_json(), [])[0].get("seen") == name
    finally:
        on_node.LOCAL.close()


def test_what_is_timed_has_its_node_to_itself(cluster: Any, jobs: Callable[..., list[Job]]) -> None:
    body = "began = time.time()\ntime.sleep(0.5)\nreturn {'began': began, 'ended': time.time()}"
    found = results(run_all(jobs(4, body, timed=True)))
    assert {row["status"] for row in found.values()} == {"ok"}
    spans = sorted((row["began"], row["ended"]) for row in found.values())
    assert all(before[1] <= after[0] for before, after in pairwise(spans)), spans


def test_another_source_on_a_node_is_refused_by_name(
    cluster: Any, here: Path, jobs: Callable[..., list[Job]]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(here))
        good, bad = jobs(2, "return {}")
        planned = plugins.source_hash("raysplugin")
        good, bad = (
            good.at(sources={"raysplugin": planned}),
            bad.at(sources={"raysplugin": planned}),
        )
        assert results(run_all([good]))[good.stem]["status"] == "ok"
        (here / "raysplugin.py").write_text(PLUGIN + "# of tomorrow\n")
        found = results(run_all([bad]))[bad.stem]
        (here / "raysplugin.py").write_text(PLUGIN)
    assert found["status"] == "error"
    assert "raysplugin is of another version" in found["error"]


def test_every_ending_is_a_status_and_what_came_back_is_found_again(
    cluster: Any, here: Path, jobs: Callable[..., list[Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = results(
        run_all(jobs(1, "print('its last words', flush=True)\nos.kill(os.getpid(), 9)"))
    )["rays-0"]
    assert died["status"] == "killed"
    assert "SIGKILL: its last words" in died["error"]
    assert (here / "run" / died["log"]).read_text() == "its last words\n"
    [job] = jobs(1, "time.sleep(600)", timeout_s=1)
    late = results(run_all([job]))["rays-0"]
    assert (late["status"], job.read_result()) == ("timeout", late)
    monkeypatch.setattr(ray_executor, "RETRIES", 1)
    # Ray's own process, each time that Ray tries: it is the fork server's parent.
    ray_dies = (
        "import psutil\nnote(str(os.getpid()))\nos.kill(psutil.Process().parents()[1].pid, 9)\n"
        "time.sleep(60)"
    )
    lost = results(run_all(jobs(1, ray_dies)))["rays-0"]
    assert lost["status"] == "killed"
    assert "WorkerCrashedError" in lost["error"]
    assert len(list((here / "notes").iterdir())) == ray_executor.RETRIES + 1
    for left in (
        temporary()
    ):  # by processes that could not tidy up: as soon as they are old, the next task does
        os.utime(left / locks.OWNED, (0, 0))
    assert results(run_all(jobs(1, "return {}")))["rays-0"]["status"] == "ok"
    assert not temporary()


def test_at_the_time_limit_nothing_is_left_on_the_nodes(
    cluster: Any, here: Path, jobs: Callable[..., list[Job]]
) -> None:
    many = jobs(9, "note(bench.samples.stem)\ntime.sleep(600)")
    notes = here / "notes"
    with RayExecutor() as executor:
        events = executor.run(many, time.monotonic() + 8)
        for _ in range(4):
            assert isinstance(next(events), Started)
        assert not results(list(events))
        pids = [int(note.read_text()) for note in notes.iterdir()]
        assert pids
    assert all(gone(pid) for pid in pids)
    assert not temporary()
    assert soon(lambda: not children_of(raylet(cluster.head_node), "execute.forkserver"), 2)


def test_a_lost_node_costs_time_alone(
    cluster: Any, here: Path, jobs: Callable[..., list[Job]]
) -> None:
    doomed = cluster.add_node(num_cpus=1)
    many = jobs(5, "note(f'{bench.samples.stem}.{os.getpid()}')\nwait_for(1, 'go')\nreturn {}")
    notes, lost = here / "notes", []

    def on_doomed() -> list[int]:
        pids = [int(note.suffix[1:]) for note in notes.glob("rays-*")]
        ancestors = {
            pid: [p.pid for p in psutil.Process(pid).parents()] for pid in pids if not gone(pid)
        }
        return [pid for pid, above in ancestors.items() if raylet(doomed) in above]

    def kill() -> None:
        if soon(on_doomed, 60):
            lost.extend(on_doomed())
            process = doomed.all_processes["raylet"][0].process
            process.kill()
            process.wait()  # its workers take it for alive until then
            soon(lambda: gone(lost[0]))  # they end with their node, not with their work
        (notes / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = results(run_all(many))
    finally:
        killer.join()
        cluster.remove_node(doomed, allow_graceful=False)
    assert len(lost) == 1
    assert {stem: row["status"] for stem, row in found.items()} == {job.stem: "ok" for job in many}
    tried = Counter(note.stem for note in notes.glob("rays-*"))
    assert sorted(tried.values()) == [1, 1, 1, 1, 2]


def test_goes_on_elsewhere_after_the_driver_was_killed(
    cluster: Any, tmp_path: Path, unet_bench: Any
) -> None:
    options = [
        "-v",
        "unet,unet-add",
        "--probes",
        "cost,speed",
        "--data",
        "cells",
        "--size",
        "32x32",
        "--width-scale",
        "0.0625",
        "--steps",
        "2",
    ]
    options += [
        "--speed-s",
        "0.1",
        "--threads",
        "1",
        "--batch",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "runs"),
    ]
    options += ["--executor", "ray", "--executor-option", f"address={cluster.address}"]
    command = [sys.executable, "-P", "-m", "unet_bench", "run", *options]
    driver = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )

    def rows() -> list[dict[str, Any]]:
        files = list((tmp_path / "runs").glob("*/cells.jsonl"))
        return [json.loads(line) for line in files[0].read_text().splitlines()] if files else []

    head = raylet(cluster.head_node)
    try:
        assert soon(lambda: len(rows()) >= 2 and children_of(head, "execute.forkserver"), 60)
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
        assert b"Traceback" not in driver.communicate()[1]
    before = rows()
    assert soon(lambda: not children_of(head, "execute.forkserver"))
    [path] = (tmp_path / "runs").iterdir()
    done = unet_bench("run", "--resume", str(path), "--trust")
    assert done.returncode == 0, done.stderr
    after = rows()
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert set(Counter(row["cell_id"] for row in after).values()) == {1}
    assert {row["status"] for row in after} == {"ok"}


def test_a_cluster_of_its_own_is_gone_afterwards(here: Path, tmp_path: Path) -> None:
    """In a process of its own, since this one has a cluster."""
    script = """
        import os, signal, psutil, ray
        from unet_bench_ray.executor import RayExecutor
        mine = lambda *_: None
        signal.signal(signal.SIGTERM, mine)
        with RayExecutor((), {"address": "local", "num_cpus": "1", "num_gpus": "3"}) as executor:
            assert executor.device("auto") == "cuda" and executor.device("cpu") == "cpu"
            assert any("raylet" in p.name() for p in psutil.Process().children(recursive=True))
            assert signal.getsignal(signal.SIGTERM) is mine
        assert not ray.is_initialized()
        assert not [p for p in psutil.Process().children(recursive=True) if p.status() != "zombie"]
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_a_plan_that_is_never_run_leaves_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: bool(calls))
    monkeypatch.setattr(ray, "init", lambda **_: calls.append("init"))
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    executor = RayExecutor()
    assert executor.device("cpu") == "cpu"
    del executor
    assert calls == ["init", "shutdown"]


@pytest.mark.parametrize(
    ("devices", "options", "words"),
    [
        ((), {"adress": "auto"}, "address, namespace, num_cpus, num_gpus"),
        ((), {"num_gpus": "two"}, "num_gpus=two"),
        (("cuda:0",), {}, "leave --devices out"),
    ],
)
def test_what_means_nothing_to_ray_is_refused(
    devices: tuple[str, ...], options: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidSuite, match=words):
        RayExecutor(devices, options)


def test_ray_is_not_imported_by_those_who_do_not_ask_for_it() -> None:
    script = """
import sys
from unet_bench.registry import plugins
plugins.load().registry.find("executor", "ray").load()
assert "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
