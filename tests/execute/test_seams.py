"""Executors and readers come by the same hook as anything else: a stranger's of some twenty lines
each are run, and a run needs none of ours but `local` and `folder`.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unet_bench import pipeline, read_results
from unet_bench.data.sources import open_dataset
from unet_bench.errors import InvalidSuite, UnknownName
from unet_bench.execute.options import ExecutionOptions
from unet_bench.execute.remote import write_files
from unet_bench.registry import plugins

TINY: dict[str, Any] = {
    "size": "32x32",
    "width_scale": 0.0625,
    "threads": 1,
    "batch": 1,
    "probes": ["cost"],
    "preset": "quick",
}
REGISTRATION = """
    from unet_bench import hookimpl

    @hookimpl
    def unet_bench_register(registry):
        registry.executor("far", "stranger_executor:Far", summary="as if on another host")
        registry.reader(
            "stack", "stranger_reader:read", recognises="stranger_reader:recognises", summary="s"
        )
"""
EXECUTOR = """
    import math, time
    from pathlib import Path
    from unet_bench.errors import InvalidSuite
    from unet_bench.execute.jobs import Ended, Started
    from unet_bench.execute.local import Local
    from unet_bench.execute.remote import receive, run_remote

    class Far:
        remote = True
        ending_s = 1.0

        def __init__(self, devices=(), options=None):
            if devices or options:
                raise InvalidSuite("executor far takes no devices and options: leave them out")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def at_once(self, device, threads):
            return 1

        def device(self, wanted):
            return "cpu"

        def run(self, jobs, until=math.inf):
            for job in jobs:
                if time.monotonic() >= until:
                    return
                yield Started(job)
                result, files = run_remote(job, Local(), Path(job.data).read_bytes)
                yield Ended(job, receive(job, result, files))
"""
READER = """
    import numpy as np
    from unet_bench.data.findings import Findings
    from unet_bench.data.labels import declare, label
    from unet_bench.data.reading import pictures
    from unet_bench.data.splits import seeded

    def recognises(path):
        return (path / "scans.npy").is_file()

    def read(path, *, classes=None, seed=0):
        found = Findings(path)
        scans, labels = (np.load(path / f"{name}.npy") for name in ("scans", "labels"))
        names = [f"scan{number:03}" for number in range(len(scans))]
        splits = seeded(names, seed, found, where="scans.npy")
        images, masks = dict(zip(names, scans[..., None])), dict(zip(names, labels))
        labelled = label(masks, declare(classes, {}, found), found)
        return pictures(path.name, images, labelled, splits, "seeded", found)
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin with an executor and a reader, for this process and its workers."""
    modules = {"plugin": REGISTRATION, "executor": EXECUTOR, "reader": READER}
    for name, code in modules.items():
        (tmp_path / f"stranger_{name}.py").write_text(textwrap.dedent(code))
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unet_bench]\nstranger = stranger_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Data in the stranger's format."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (10, 32, 32), dtype=np.uint8)
    np.save(folder / "scans.npy", 200 * labels + rng.integers(0, 50, labels.shape, dtype=np.uint8))
    np.save(folder / "labels.npy", labels)
    return folder


def test_a_strangers_executor_runs_cells_on_a_strangers_data(
    tmp_path: Path, stranger: None, stack: Path
) -> None:
    execution = ExecutionOptions(executor="far")
    table = pipeline.run(
        "unet,unet-add", out=tmp_path / "runs", execution=execution, data=[str(stack)], **TINY
    )
    assert set(table["task"]) == {"scans"}
    run = Path(table.attrs["path"])
    cells = read_results(run, "cells")
    assert (cells["status"] == "ok").all(), cells["error"]
    assert cells["env_id"].notna().all()
    assert {file.stem for file in (run / "environments").iterdir()} == set(cells["env_id"])
    assert len(list((run / "samples").glob("cost-*.json"))) == 2
    assert not list((run / "inbox").iterdir())
    with pytest.raises(InvalidSuite, match="leave them out"):
        pipeline.run("unet", execution=ExecutionOptions(executor="far", options={"a": "b"}), **TINY)


@pytest.mark.slow
def test_without_our_plugins_of_executors_and_formats_a_run_goes_on_as_before(
    tmp_path: Path,
) -> None:
    block = ("formats", "ray", "slurm")
    registry = plugins.load(block).checked()
    assert [entry.name for entry in registry.entries("executor")] == ["local"]
    assert [entry.name for entry in registry.entries("reader")] == ["folder"]
    with pytest.raises(UnknownName, match="unknown reader 'nnunet'"):
        open_dataset(registry, f"nnunet:{tmp_path}")
    table = pipeline.run("unet", out=tmp_path, data=["cells"], block=block, **TINY)
    assert list(table["cost_status"]) == ["ok"]


@pytest.mark.parametrize(
    "name", ["../x", "/x", "logs/../../x", "cells.jsonl", "inbox/x", "C:/x", "logs\\..\\..\\x"]
)
def test_a_node_writes_nowhere_but_into_the_folders_of_a_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="none of a run's"):
        write_files(tmp_path, {name: b""})
    assert not list(tmp_path.iterdir())
