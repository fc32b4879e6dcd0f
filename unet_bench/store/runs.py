"""Several runs side by side: their tables one below another, each row with its run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unet_bench.errors import StoreError
from unet_bench.store.columns import Column
from unet_bench.store.log import read_manifest
from unet_bench.store.probes import known_columns
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.schema import TABLES
from unet_bench.store.tables import read_tables, typed_table


@dataclass(frozen=True)
class Runs:
    """The tables of one or more runs; folders and manifests by run_id, where a run has them."""

    results: pd.DataFrame
    cells: pd.DataFrame
    classes: pd.DataFrame
    folders: Mapping[str, Path]
    manifests: Mapping[str, Mapping[str, Any]]
    # Whether verdicts are corrected for the number of variants compared with a baseline.
    corrected: bool = True

    @functools.cached_property
    def columns(self) -> Mapping[str, Column]:
        """What is known of each column: of ours, and of those that the runs' plugins measured."""
        return known_columns(self.manifests.values())


def read_runs(paths: Iterable[str | Path], *, corrected: bool = True) -> Runs:
    """Return what runs' folders hold; a results.csv, or JSON of pytest-benchmark, has no cells.

    Verdicts are `corrected` for the number of variants that are compared with a baseline. A table
    that names no run is called after its file. Raises StoreError for what is no run, or is given
    twice.
    """
    tables: dict[str, list[pd.DataFrame]] = {table: [] for table in TABLES}
    folders: dict[str, Path] = {}
    manifests: dict[str, Mapping[str, Any]] = {}
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        manifest = read_manifest(path) if RunFolder(path).manifest.is_file() else None
        found = read_tables(path, TABLES if manifest else ("results",), corrected=corrected)
        name = manifest["run_id"] if manifest else path.stem
        for table, frames in tables.items():
            frame = found[table] if table in found else typed_table(table)
            frames.append(frame.assign(run_id=frame["run_id"].fillna(name)))
        for name in dict.fromkeys(tables["results"][-1]["run_id"]):
            if name in seen:
                raise StoreError(f"{path} and {seen[name]} are both run {name}: give each run once")
            seen[name] = path
        if manifest:
            folders[manifest["run_id"]], manifests[manifest["run_id"]] = path, manifest
    if not tables["results"]:
        raise StoreError("no runs: give at least one run's folder, such as results/RUN")
    joined = {table: pd.concat(frames, ignore_index=True) for table, frames in tables.items()}
    return Runs(**joined, folders=folders, manifests=manifests, corrected=corrected)
