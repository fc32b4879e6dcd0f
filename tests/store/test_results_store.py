"""The run's folder: what survives a kill, a full disk, a second writer and another version."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support.growth import growth

from unet_bench.errors import StoreError
from unet_bench.store import log as module
from unet_bench.store.log import Store, iterate_rows, latest, read_manifest
from unet_bench.store.run_folder import write_text
from unet_bench.store.schema import SCHEMA_VERSION

RUN = {"run_id": "r1", "preset": "quick"}


def row(n: int = 0, **values: Any) -> dict[str, Any]:
    return {"cell_id": f"c{n}", "variant": "unet", "probe": "speed", "status": "ok", **values}


def create(out: Path, *rows: dict[str, Any]) -> Path:
    with Store.create(out, RUN) as store:
        for values in rows:
            store.append(values)
    return store.path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return list(iterate_rows(path))


def fail_with(number: int) -> Any:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def python(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


# ---- the folder


def test_create_lays_out_the_folder(tmp_path: Path) -> None:
    path = create(tmp_path / "new" / "results")
    assert path == tmp_path / "new" / "results" / "r1"
    assert read_manifest(path) == {"schema_version": SCHEMA_VERSION, **RUN}
    assert {"run.json", "cells.jsonl", "samples", "logs"} <= {
        entry.name for entry in path.iterdir()
    }


def test_create_refuses_a_folder_that_exists(tmp_path: Path) -> None:
    create(tmp_path, row())
    with pytest.raises(StoreError, match=r"cannot create .*r1: File exists; choose another name"):
        Store.create(tmp_path, {**RUN, "preset": "another"})
    assert len(read_rows(tmp_path / "r1")) == 1
    assert read_manifest(tmp_path / "r1")["preset"] == "quick"


@pytest.mark.parametrize("run_id", ["../r1", "a/b", "..", ".", "", "a\\b"])
def test_create_refuses_names_that_leave_the_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(StoreError, match="plain name"):
        Store.create(tmp_path / "results", {"run_id": run_id})
    assert not (tmp_path / "results").exists()


def test_open_goes_on(tmp_path: Path) -> None:
    path = create(tmp_path, row(0))
    with Store.open(path) as store:
        store.append(row(1))
        assert store.manifest["preset"] == "quick"
        assert [r["cell_id"] for r in iterate_rows(store.path)] == ["c0", "c1"]


def test_open_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not the folder of a run: it has no run\.json"):
        Store.open(tmp_path)
    assert not list(tmp_path.iterdir())


def test_open_refuses_a_broken_manifest(tmp_path: Path) -> None:
    path = create(tmp_path)
    (path / "run.json").write_text("{")
    with pytest.raises(StoreError, match=r"run\.json: .* is not what unet-bench writes"):
        Store.open(path)


# ---- rows


def test_rows_come_back_as_they_went(tmp_path: Path) -> None:
    values = row(
        names=["a", "b"],
        nested={"x": (1, 2)},
        text='NA, "ü"\n\r\u2028 \udcff',
        none=None,
        big=2**60,
        yes=True,
    )
    [back] = read_rows(create(tmp_path, values))
    assert back == {
        "schema_version": SCHEMA_VERSION,
        "run_id": "r1",
        **values,
        "nested": {"x": [1, 2]},
    }


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    path = create(tmp_path, row(dice=math.nan, iou=-math.inf, per_class=[{"dice": math.inf}]))
    strict = json.loads((path / "cells.jsonl").read_text(), parse_constant=fail_with(0))
    assert (strict["dice"], strict["iou"], strict["per_class"]) == (None, None, [{"dice": None}])


def test_values_that_are_not_data_are_refused(tmp_path: Path) -> None:
    with (
        Store.create(tmp_path, RUN) as store,
        pytest.raises(StoreError, match="of type PosixPath cannot be stored"),
    ):
        store.append(row(log=Path("x")))
    assert read_rows(store.path) == []


def test_latest_is_the_last_attempt(tmp_path: Path) -> None:
    rows = read_rows(create(tmp_path, row(0, attempt=1), row(1, attempt=1), row(0, attempt=2)))
    assert {cell: r["attempt"] for cell, r in latest(rows).items()} == {"c0": 2, "c1": 1}


def test_rows_load_in_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    line = json.dumps({"schema_version": 1, **row(), **{f"column_{i}": i / 7 for i in range(80)}})

    def folder(rows: int) -> Path:
        path = create(tmp_path / str(rows))
        (path / "cells.jsonl").write_text(f"{line}\n" * rows)
        return path

    assert growth(read_rows, folder, 8_000) < 1.5


def test_append_does_not_read_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.create(tmp_path, RUN) as store:
        monkeypatch.setattr(Path, "read_bytes", fail_with(errno.EIO))
        monkeypatch.setattr(Path, "open", fail_with(errno.EIO))
        store.append(row())


# ---- kills


@pytest.mark.parametrize(
    "torn", ['{"schema_version": 1, "cell', '{"schema_version": 1}', "\0\0\0", "x" * 200_000]
)
def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path, torn: str) -> None:
    path = create(tmp_path, row(0))
    whole = (path / "cells.jsonl").read_bytes()
    with (path / "cells.jsonl").open("a") as file:
        file.write(torn)
    assert [r["cell_id"] for r in read_rows(path)] == ["c0"]
    with Store.open(path) as store:
        store.append(row(1))
    assert (path / "cells.jsonl").read_bytes().startswith(whole + b'{"schema_version"')
    assert [r["cell_id"] for r in read_rows(path)] == ["c0", "c1"]


@pytest.mark.parametrize(
    "broken", ["{", "", "[1]", "7", '{"cell_id": "c"}', '{"schema_version": "x"}', "\udcff"]
)
def test_any_other_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    path = create(tmp_path, row(0), row(1))
    first, second, _ = (path / "cells.jsonl").read_bytes().split(b"\n")
    (path / "cells.jsonl").write_bytes(
        b"\n".join((first, broken.encode(errors="surrogateescape"), second, b""))
    )
    with pytest.raises(StoreError, match=r"cells\.jsonl, line 2: "):
        read_rows(path)


def test_a_killed_writer_leaves_whole_rows_and_no_lock(tmp_path: Path) -> None:
    writer = python(
        """
        import sys
        from pathlib import Path
        from unet_bench.store.log import Store
        store = Store.create(Path(sys.argv[1]), {"run_id": "r1"})
        for n in range(10**6):
            row = {"cell_id": str(n), "variant": "unet", "probe": "speed", "status": "ok"}
            store.append({**row, "filler": "x" * 5000})
            print(n, flush=True)
        """,
        tmp_path,
    )
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 5:
        pass
    writer.kill()
    said = [5, *map(int, writer.communicate()[0].split())]
    with Store.open(tmp_path / "r1") as store:
        found = [int(r["cell_id"]) for r in iterate_rows(store.path)]
        assert found == list(range(len(found)))
        assert len(found) > said[-1], "a row that was reported as stored is missing"
        store.append(row())


# ---- two writers


def test_a_second_writer_is_told_who_holds_the_run(tmp_path: Path) -> None:
    holder = python(
        """
        import sys
        from pathlib import Path
        from unet_bench.store.log import Store
        with Store.create(Path(sys.argv[1]), {"run_id": "r1"}) as store:
            store.append({"cell_id": "c0", "variant": "unet", "probe": "speed", "status": "ok"})
            print("ready", flush=True)
            sys.stdin.read()
        """,
        tmp_path,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    with pytest.raises(
        StoreError, match=f"r1 is in use by process {holder.pid}: one process writes"
    ):
        Store.open(tmp_path / "r1")
    assert len(read_rows(tmp_path / "r1")) == 1, "reading needs no lock"
    holder.communicate()
    Store.open(tmp_path / "r1").close()


# ---- a disk that says no


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (
            errno.ENOSPC,
            "No space left on device; free some space; what was finished is kept: `unet-bench "
            "run --resume",
        ),
        (errno.EIO, "Input/output error; what was finished is kept: `unet-bench run --resume"),
    ],
)
def test_a_failed_append_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    with Store.create(tmp_path, RUN) as store:
        store.append(row(0))
        with monkeypatch.context() as broken:
            broken.setattr(os, "fsync", fail_with(number))
            with pytest.raises(StoreError, match=said) as caught:
                store.append(row(1))
        assert "\n" not in str(caught.value)
        store.append(row(2))
        assert [r["cell_id"] for r in iterate_rows(store.path)] == ["c0", "c2"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on file sizes")
def test_half_a_row_is_taken_back(tmp_path: Path) -> None:
    writer = python(
        """
        import resource, sys
        from pathlib import Path
        from unet_bench.errors import StoreError
        from unet_bench.store.log import Store
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with Store.create(Path(sys.argv[1]), {"run_id": "r1"}) as store:
            rest = {"variant": "unet", "probe": "speed", "status": "ok"}
            store.append({"cell_id": "small", **rest})
            try:
                store.append({"cell_id": "x" * 2000, **rest})
            except StoreError as error:
                print(error)
            store.append({"cell_id": "after", **rest})
        """,
        tmp_path,
    )
    assert "only a part could be written" in writer.communicate()[0]
    assert [r["cell_id"] for r in read_rows(tmp_path / "r1")] == ["small", "after"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(Path, "mkdir", fail_with(number))
    with pytest.raises(
        StoreError, match=rf"cannot create .*r1: {os.strerror(number)}; \w+"
    ) as caught:
        Store.create(tmp_path, RUN)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_the_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match=r"cannot create .*results"):
        Store.create(tmp_path / "results", RUN)


def test_a_failed_replacement_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.csv"
    write_text(file, "old")
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(StoreError, match=r"cannot write .*No space left"):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.csv"]


# ---- versions


def test_newer_rows_and_runs_are_refused(tmp_path: Path) -> None:
    path = create(tmp_path, row())
    file = path / "cells.jsonl"
    newer = SCHEMA_VERSION + 1
    stated = f'"schema_version": {SCHEMA_VERSION}'
    file.write_text(file.read_text().replace(stated, f'"schema_version": {newer}'))
    told = f"line 1: schema {newer} is newer than {SCHEMA_VERSION}, .*update unet-bench"
    with pytest.raises(StoreError, match=told):
        read_rows(path)
    (path / "run.json").write_text(f'{{"schema_version": {newer}}}')
    with pytest.raises(StoreError, match=rf"run\.json: schema {newer} is newer"):
        Store.open(path)


def test_older_rows_are_migrated_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = create(tmp_path, row(ms=5))
    now = SCHEMA_VERSION
    monkeypatch.setattr(module, "SCHEMA_VERSION", now + 2)
    monkeypatch.setitem(module.MIGRATIONS, now, lambda old: {**old, "latency_ms": old["ms"]})
    monkeypatch.setitem(
        module.MIGRATIONS, now + 1, lambda old: {**old, "latency_ms": old["latency_ms"] * 2}
    )
    [new] = read_rows(path)
    assert (new["schema_version"], new["latency_ms"]) == (now + 2, 10)


def test_what_was_called_mode_is_the_runtime(tmp_path: Path) -> None:
    path = create(tmp_path, row())
    old = {"schema_version": 1, "run_id": "r1", **row(), "mode": "compile"}
    (path / "cells.jsonl").write_text(json.dumps(old) + "\n")
    [new] = read_rows(path)
    assert (new["runtime"], new["quantize"]) == ("compile", "none")
    assert "mode" not in new
