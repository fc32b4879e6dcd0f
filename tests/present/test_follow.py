"""A run watched from elsewhere: each row once, as it comes, until its writer ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reported import MANIFEST, cells, stored

from unet_bench.errors import StoreError
from unet_bench.host.locks import is_held
from unet_bench.present.follow import endings
from unet_bench.registry.registry import Registry
from unet_bench.store.log import Store
from unet_bench.store.run_folder import RunFolder


def test_rows_are_told_once_as_they_come_until_the_writer_ends(
    registry: Registry, tmp_path: Path
) -> None:
    rows = [*cells({"unet": {}})]
    store = Store.create(tmp_path, {"run_id": "run-1", **MANIFEST})
    store.append(rows[0])
    waiting: Iterator[int] = iter(range(9))

    def later(seconds: float) -> None:
        if next(waiting) == 0:
            store.append(*rows[1:])
        else:
            store.close()

    told = list(endings(store.path, registry, later))
    assert told[0] == "cost unet: ok 1,000,000 parameters"
    assert told[1] == "speed unet: ok 10.0 ms"
    assert [line.partition(":")[0] for line in told[3:]] == [
        "accuracy unet seed 0",
        "accuracy unet seed 1",
    ]
    assert next(waiting) == 2


def test_a_run_that_has_ended_is_told_at_once(registry: Registry, tmp_path: Path) -> None:
    failed = {**next(cells({"unet": {}})), "status": "error", "error": "no\nway", "probe": "gone"}
    path = stored(tmp_path, [failed])

    def never(seconds: float) -> None:
        raise AssertionError

    assert list(endings(path, registry, never)) == ["gone unet: error: no"]
    assert not is_held(RunFolder(path).lock)


def test_what_is_no_run_cannot_be_followed(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not the folder of a run"):
        list(endings(tmp_path, registry))
