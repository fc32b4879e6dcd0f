"""A fork server that begins while a run is planned, before there is a job or a log."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unet_bench import pipeline
from unet_bench.execute.local import Local
from unet_bench.execute.processes import Processes
from unet_bench.spec.suite import from_dict
from unet_bench.store.run_folder import RunFolder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


def job(folder: Path, *modules: str, block: tuple[str, ...] = ()) -> Any:
    """Return what a fork server is chosen by."""
    (folder / "logs").mkdir(exist_ok=True)
    return SimpleNamespace(run_folder=RunFolder(folder), block=block, modules=modules)


def test_the_first_job_finds_it_and_its_log(processes, tmp_path, monkeypatch) -> None:
    (tmp_path / "chatty.py").write_text("print('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    processes.begin_forking((), ("json", "chatty"))
    early = processes._forker
    found = processes._forker_for(job(tmp_path, "json"), math.inf)
    assert found is early
    assert processes._forker_for(job(tmp_path, "json"), math.inf) is early
    processes.close()
    assert RunFolder(tmp_path).log_of("forkserver").read_text() == "imported\n"


@pytest.mark.parametrize("other", [{"modules": ("json", "csv")}, {"block": ("zoo",)}])
def test_one_that_does_not_serve_a_job_is_replaced(processes, tmp_path, other) -> None:
    processes.begin_forking((), ("json",))
    early = processes._forker
    wanted = job(tmp_path, *other.get("modules", ()), block=other.get("block", ()))
    found = processes._forker_for(wanted, math.inf)
    assert found not in (None, early)
    assert early.process.poll() is not None


def test_one_that_fails_says_why_in_the_runs_log(processes, tmp_path) -> None:
    processes.begin_forking((), ("no_such_module",))
    assert processes._forker_for(job(tmp_path, "no_such_module"), math.inf) is None
    assert "no_such_module" in RunFolder(tmp_path).log_of("forkserver").read_text()
    assert str(RunFolder(tmp_path).log_of("forkserver")) in processes.notice


def test_one_that_still_imports_ends_at_once(processes, tmp_path, monkeypatch) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    processes.begin_forking((), ("slow",))
    begun = time.monotonic()
    processes.close()
    assert time.monotonic() - begun < 4


def test_only_what_runs_cells_begins_one(monkeypatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(Processes, "begin_forking", lambda _, *given: told.append(given))
    monkeypatch.setattr(Processes, "close", lambda _: told.append("closed"))
    monkeypatch.setattr(pipeline, "executor_of", lambda *_: Local(processes=Processes()))
    suite = from_dict({"variants": ["unet"], "data": ["cells"], "probes": ["cost"]})
    with pipeline.plan(suite, dry_run=True):
        assert not told
    with pipeline.plan(suite) as plan:
        [(block, modules)] = told
        assert {*plan.modules} <= {*modules}
        assert not block
    assert told[-1] == "closed"
