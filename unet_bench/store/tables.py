"""Tables made from the rows of a run: one row per cell, per variant × task × setting, and per
class.

rows ─▶ last attempt of each cell ─▶ grouped by variant and conditions ─▶ pooled ─▶ DataFrame ─▶ csv
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import exp, isfinite, isnan, log
from pathlib import Path
from statistics import fmean, geometric_mean, median_low
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.limits import one_line, read_json, shown
from unet_bench.spec.cell import AS_TRAINED
from unet_bench.stats.family import Error
from unet_bench.stats.intervals import Interval, mean_interval, standard_deviation, t_975
from unet_bench.stats.paired import (
    Difference,
    Measured,
    Name,
    Pairs,
    clustered_mean,
    judged,
    paired_differences,
)
from unet_bench.stats.pareto import undominated
from unet_bench.store.columns import COLUMNS, OUR_PROBE_NAMES, Column, status_column
from unet_bench.store.figures import Network, Peers, peer_groups
from unet_bench.store.log import Row, Store, iterate_rows, latest, read_manifest
from unet_bench.store.one_scale import on_one_scale
from unet_bench.store.probes import columns_of, hold_on_any_device, known_columns, probes_of
from unet_bench.store.pytest_json import benchmark_rows
from unet_bench.store.run_folder import MANIFEST, RunFolder, in_plain_words, write_text
from unet_bench.store.schema import (
    BY_NAME,
    CONDITIONS,
    ENVIRONMENT_COLUMNS,
    INTERVALS,
    PER_CLASS,
    TABLES,
    columns,
    worst_of,
)
from unet_bench.store.tidy import tidy as tidy_form

_MEASURED: Final = tuple(column.name for column in COLUMNS if column.probes)
_KNOWN: Final = frozenset((*BY_NAME, PER_CLASS))
MOST_UNDESCRIBED: Final = 1000  # columns that nobody describes
Scores = Mapping[tuple[int | None, str | None], float]  # Dice by seed and fold


def cells_frame(
    rows: Iterable[Row], manifest: Mapping[str, Any] = MappingProxyType({})
) -> pd.DataFrame:
    """Return one row per cell: its last attempt. A cell that is not `ok` has no figures."""
    none = dict.fromkeys((*_MEASURED, *columns_of(manifest)))
    emptied = [row if row["status"] == "ok" else {**row, **none} for row in _last_attempts(rows)]
    return _frame(emptied, columns_with("cells", manifest), "cells")


def results_frame(
    rows: Iterable[Row], manifest: Mapping[str, Any], *, corrected: bool = True
) -> pd.DataFrame:
    """Return one row per variant × task × setting, with every probe's figures side by side.

    What no cell states, such as the preset, is taken from the manifest's entry of the same name.
    Verdicts are `corrected` for the number of variants that are compared with a baseline.
    """
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in in_every_rung(_last_attempts(rows)):
        groups[tuple(row.get(name) for name in ("variant", *CONDITIONS))].append(row)
    scores = {key: _scores(cells) for key, cells in groups.items()}
    wide = {key: _wide_row(cells, manifest) for key, cells in groups.items()}
    pairs: dict[tuple[object, ...], dict[tuple[object, ...], Pairs]] = defaultdict(dict)
    for key, row in wide.items():
        row |= _dice_columns(scores[key])
        baseline = (row["baseline"], *key[1:])
        if key != baseline and baseline in scores:
            pairs[baseline][key] = _pairs(scores[key], scores[baseline])
    for compared in pairs.values():
        trivial = {key for key in compared if wide[key]["trivial"]}
        for key, found in difference_columns(compared, trivial, corrected=corrected).items():
            wide[key] |= found
    # Of a race the last rung first: it is the answer.
    rows = sorted(wide.values(), key=lambda row: -(row.get("rung") or 0))
    on_one_scale(rows)
    _mark_pareto(rows)
    return _frame(rows, columns_with("results", manifest), "results")


def classes_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return one row per class of every accuracy cell that is `ok`."""
    ok = (row for row in _last_attempts(rows) if row["status"] == "ok")
    split = [{**row, **of_class} for row in ok for of_class in row.get(PER_CLASS) or ()]
    known = columns("classes")
    rows = [{column.name: row.get(column.name) for column in known} for row in split]
    return _frame(rows, known, "classes")


def columns_with(table: str, manifest: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the columns of a table of a run, those of its plugins' probes at the end."""
    if table == "classes":
        return columns(table)
    measured = tuple(columns_of(manifest).values())
    if table == "results":
        others = (probe for probe in probes_of(manifest) if probe not in OUR_PROBE_NAMES)
        measured += tuple(status_column(probe) for probe in others)
    return (*columns(table), *measured)


def write_tables(store: Store) -> None:
    """Write cells.csv, results.csv and classes.csv anew, and which log they are of.

    Raises StoreError.
    """
    folder, log = store.folder, store.folder.cells
    rows = [*latest(iterate_rows(store.path)).values()]
    origin = {log.name: {"bytes": log.stat().st_size, "sha256": _sha256(log)}}
    for table in TABLES:
        file = folder.table(table)
        write_text(file, csv_text(_table_of(table, rows, store.manifest)))
        origin[file.name] = {"sha256": _sha256(file)}
    write_text(folder.origin, json.dumps(origin, indent=2) + "\n")


def read_results(
    path: str | Path, table: str = "results", *, corrected: bool = True, tidy: bool = False
) -> pd.DataFrame:
    """Return a table of the run's folder, of a csv file, or of pytest-benchmark's JSON.

    Each column has its type; columns that the file lacks are empty. Verdicts are `corrected` for
    the number of variants that are compared. `tidy`: of results a row for each figure, see
    `unet_bench.store.tidy`. Raises StoreError if nothing is there. `read_tables` says what is read.
    """
    columns(table)  # raises for another table
    found = read_tables(path, [table], corrected=corrected)[table]
    if not tidy:
        return found
    if table != "results":
        raise InvalidSuite(f"table={table!r} has no tidy form: leave out tidy, or read the results")
    manifests = []
    with suppress(StoreError):  # a table on its own has no run.json beside it
        manifests.append(read_manifest(Path(path) if Path(path).is_dir() else Path(path).parent))
    return tidy_form(found, known_columns(manifests))


def read_tables(
    path: str | Path, tables: Iterable[str] = TABLES, *, corrected: bool = True
) -> dict[str, pd.DataFrame]:
    """Return several tables as `read_results` does, having read the run's log once.

    What the log says counts: the csv files of a folder are read only where it has no log. A csv
    that is named is read as it is, unless it is, byte for byte, what its run wrote: then its
    folder is.
    """
    path, tables = Path(path), list(tables)
    if path.suffix == ".json" and path.is_file() and tables == ["results"]:
        return {"results": results_frame(benchmark_rows(path), {})}
    if path.is_file() and not _is_as_written(path):
        manifest: Mapping[str, Any] = {}
        with suppress(StoreError):  # a table on its own has no run.json beside it
            manifest = read_manifest(path.parent)
        read = {table: _read_csv(path, columns_with(table, manifest)) for table in tables}
        if "results" in read:
            read["results"] = _judged_again(read["results"], corrected)
        return read
    folder = RunFolder(path.parent if path.is_file() else path)
    if not folder.manifest.is_file() and not folder.table(tables[0]).is_file():
        raise StoreError(
            f"no results at {path}: give the folder of a run, which holds {MANIFEST}, or a csv file"
        )
    manifest = read_manifest(folder.path) if folder.manifest.is_file() else {}
    rows = [*latest(iterate_rows(folder.path)).values()]
    frames = {}
    for table in tables:
        file = folder.table(table)
        if file.is_file() and not folder.cells.is_file():
            frame = _read_csv(file, columns_with(table, manifest))
            frames[table] = _judged_again(frame, corrected) if table == "results" else frame
        else:
            frames[table] = _table_of(table, rows, manifest, corrected=corrected)
    return frames


def _judged_again(results: pd.DataFrame, corrected: bool) -> pd.DataFrame:
    """Return a table that was read as csv with verdicts by today's rule.

    What a table has of each difference, its interval and pairs, is enough for the rule.
    """
    verdict, needed = "dice_verdict", "dice_pairs_needed"
    families: dict[tuple[Any, ...], dict[int, Measured]] = defaultdict(dict)
    for n, row in enumerate(records(results)):
        if measured := _measured_difference(row):
            baseline = tuple(row.get(name) for name in ("run_id", *CONDITIONS, "baseline"))
            families[baseline][n] = measured
    found: dict[int, Difference] = {}
    for family in families.values():
        found |= judged(family, corrected=corrected)
    changed = {verdict: results[verdict].astype(object), needed: results[needed].astype(object)}
    for n, of in found.items():
        changed[verdict].iloc[n], changed[needed].iloc[n] = of.verdict, of.pairs_needed
    return results.assign(
        **{name: column.astype(results[name].dtype) for name, column in changed.items()}
    )


def _measured_difference(row: Row) -> Measured | None:
    """Return a row's difference to the baseline, its error by Student's t; None without."""
    names = ("dice_difference", *INTERVALS["dice_difference"], "dice_pairs")
    figures: list[Any] = [row.get(name) for name in names]
    difference, low, high, pairs = figures
    if None in figures or pairs < 2:
        return None
    folds = pairs // (row.get("seeds") or 1)
    units = folds if folds > 1 else pairs
    standard = (high - low) / 2 / t_975(units - 1)
    return Measured(Interval(difference, low, high), Error(standard, units), pairs)


def _is_as_written(file: Path) -> bool:
    """Return whether a csv is, byte for byte, what its run wrote, and the run's log is there."""
    folder = RunFolder(file.parent)
    if not folder.cells.is_file():
        return False
    try:
        return bool(read_json(folder.origin)[file.name]["sha256"] == _sha256(file))
    except (OSError, ValueError, LookupError, TypeError):  # an older run's has none beside it
        return False


def _sha256(file: Path) -> str:
    with in_plain_words("read", file), file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def mean_columns(values: Sequence[tuple[Hashable, float]]) -> Row:
    """Return mean, interval and spread of Dice by (cluster, Dice); there must be one."""
    spread = standard_deviation([dice for _, dice in values]) if len(values) > 1 else None
    return dict(zip(("dice", *INTERVALS["dice"]), clustered_mean(values), strict=True)) | {
        "dice_sd": spread
    }


def difference_columns(
    pairs: Mapping[Name, Pairs], trivial: Collection[Name], *, corrected: bool
) -> dict[Name, Row]:
    """Return the differences of variants to one baseline, in pairs of (cluster, difference).

    A variant without pairs has none. A `trivial` baseline has one seed: with one pair it has no
    verdict, where a network is not separable yet.
    """
    paired = {name: of for name, of in pairs.items() if of}
    figure = ("dice_difference", *INTERVALS["dice_difference"])
    return {
        name: {
            "dice_pairs": found.pairs,
            **dict(zip(figure, found.interval, strict=True)),
            "dice_verdict": None if name in trivial and found.pairs == 1 else found.verdict,
            "dice_pairs_needed": found.pairs_needed,
        }
        for name, found in paired_differences(paired, corrected=corrected).items()
    }


def typed_frame(rows: Sequence[Row], dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows with these columns and types; missing or non-finite values are empty."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not isfinite(value) else value

    typed = {
        name: pd.array([plain(row.get(name)) for row in rows], dtype=cast(Any, t))
        for name, t in dtypes.items()
    }
    return pd.DataFrame(typed)


def typed_table(table: str) -> pd.DataFrame:
    """Return the table `cells`, `results` or `classes` without rows."""
    return _frame([], columns(table), table)


def csv_text(frame: pd.DataFrame) -> str:
    """Return the frame as csv: floats in full, an empty field where there is no value."""
    return frame.to_csv(index=False, lineterminator="\n")


def _table_of(
    table: str, rows: list[Row], manifest: Mapping[str, Any], *, corrected: bool = True
) -> pd.DataFrame:
    if table == "results":
        return results_frame(rows, manifest, corrected=corrected)
    return cells_frame(rows, manifest) if table == "cells" else classes_frame(rows)


# ---- several cells into one row


def _last_attempts(rows: Iterable[Row]) -> list[Row]:
    """Return the last attempt of each cell, `trivial` filled in where the row does not state it.

    They come in the order of the plan, not in that in which cells ended; where rows of older runs
    do not state it, in that of the log.
    """
    last = [
        row | {"trivial": _named_as_trivial(row.get("variant"))}
        if row.get("trivial") is None
        else row
        for row in latest(rows).values()
    ]
    return sorted(last, key=lambda row: row.get("position") or 0)


def in_every_rung(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, and what holds for all rungs of a race with each rung that it is of.

    These are figures that no training moves, such as latency, of the networks that reached the
    rung, and trivial baselines.
    """
    budgets: dict[object, dict[int, object]] = defaultdict(dict)  # by race and rung
    reached: dict[object, set[int]] = defaultdict(set)  # rungs, by race and variant
    for row in rows:
        if rung := row.get("rung"):
            budgets[race_of(row)][rung] = row.get("budget")
            reached[race_of(row), row["variant"]].add(rung)
    found: list[Row] = []
    for row in rows:
        rungs = budgets.get(race_of(row), {}) if budgets else {}
        if row.get("rung") or not rungs:
            found.append(row)
            continue
        own = rungs.keys() if row["trivial"] else reached[race_of(row), row["variant"]]
        for rung in sorted(own | {min(rungs)}):
            found.append({**row, "rung": rung, "budget": rungs[rung]})
    return found


def race_of(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what rows of one race have in common: all conditions but how long is trained."""
    return tuple(row.get(name) for name in ("run_id", *CONDITIONS) if name != "budget")


def _named_as_trivial(variant: object) -> bool:
    """Return whether a name was kept for trivial baselines before rows had the column `trivial`."""
    return str(variant).startswith("floor-")


def _wide_row(cells: list[Row], manifest: Mapping[str, Any]) -> Row:
    extra, anywhere = columns_of(manifest), hold_on_any_device(manifest)
    by_probe: dict[str, list[Row]] = {}
    for cell in cells:
        by_probe.setdefault(cell["probe"], []).append(cell)
    cells = []
    for probe, of_probe in by_probe.items():
        cells += of_probe if probe in anywhere else _unmixed(of_probe, (*_MEASURED, *extra))
    ok = [cell for cell in cells if cell["status"] == "ok"]
    values = _values_by_name(cells)
    row: Row = {
        column.name: _common_value(column.name, values, manifest) for column in columns("results")
    }
    known = {**BY_NAME, **extra}
    measured = values if len(ok) == len(cells) else _values_by_name(ok)
    names = dict.fromkeys((*_MEASURED, *extra, *_undescribed(ok)))
    row |= {name: pooled(known.get(name), measured.get(name, ())) for name in names}
    for figure in INTERVALS:
        if not figure.startswith("dice"):  # whose seeds and folds are told apart
            row |= _interval_columns(figure, measured.get(figure, ()))
    for probe in dict.fromkeys((*OUR_PROBE_NAMES, *by_probe)):
        row[f"{probe}_status"] = worst_of(cell["status"] for cell in by_probe.get(probe, ()))
    row |= {
        name: ", ".join(dict.fromkeys(map(str, values.get(name, ())))) or None
        for name in ENVIRONMENT_COLUMNS
    }
    row["batch_effective"] = min(values.get("batch_effective", ()), default=None)
    row["quality"] = worst_of(cell.get("quality") for cell in cells)
    row["evidence"] = _evidence(cells, row["quality"])
    row["seeds"] = len({cell["seed"] for cell in ok if cell.get("dice") is not None}) or None
    row["replicates"] = sum(cell.get("latency_ratio") is not None for cell in ok) or None
    return row


def _unmixed(cells: list[Row], measured: Sequence[str]) -> list[Row]:
    """Return the cells of one probe, without figures where they ran on unlike devices."""
    ok = (cell for cell in cells if cell["status"] == "ok")
    devices = dict.fromkeys(_values(ok, "device_name"))
    if len(devices) < 2:
        return cells
    evidence = f"replicates on {', '.join(devices)}"
    emptied = dict.fromkeys(measured) | {"quality": "mixed", "evidence": evidence}
    return [{**cell, **emptied} if cell["status"] == "ok" else cell for cell in cells]


def _scores(cells: Iterable[Row]) -> Scores:
    found = (
        (cell.get("seed"), cell.get("fold"), cell.get("dice"))
        for cell in cells
        if cell["status"] == "ok"
    )
    return {(seed, fold): dice for seed, fold, dice in found if dice is not None and isfinite(dice)}


def _dice_columns(own: Scores) -> Row:
    """Return the Dice over seeds and folds; a single one keeps the interval its probe gave it."""
    return mean_columns([(fold, dice) for (_, fold), dice in own.items()]) if len(own) > 1 else {}


def _pairs(own: Scores, baseline: Scores) -> Pairs:
    return [
        (fold, dice - baseline[seed, fold])
        for (seed, fold), dice in own.items()
        if (seed, fold) in baseline
    ]


def _evidence(cells: Iterable[Row], quality: str | None) -> str | None:
    """Return what was seen in the cells that the row's quality comes from, by probe."""
    seen = {
        c["probe"]: c["evidence"]
        for c in cells
        if c.get("quality") == quality and c.get("evidence")
    }
    return "; ".join(f"{probe}: {evidence}" for probe, evidence in seen.items()) or None


def _common_value(
    name: str, values: Mapping[str, Sequence[Any]], manifest: Mapping[str, Any]
) -> object:
    if name in values:
        return values[name][0]
    given = manifest.get(name)
    return given if isinstance(given, str | int | float) else None


def _values_by_name(cells: Iterable[Row]) -> dict[str, list[Any]]:
    """Return the values of each column in the cells that have any."""
    values: dict[str, list[Any]] = {}
    for cell in cells:
        for name, value in cell.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return values


def _values(cells: Iterable[Row], name: str) -> list[Any]:
    return [cell[name] for cell in cells if cell.get(name) is not None]


def _undescribed(rows: Iterable[Row]) -> list[str]:
    """Return the columns that the table does not know: a plugin's probe may bring its own."""
    return [
        name for name in dict.fromkeys(name for row in rows for name in row) if name not in _KNOWN
    ]


_POOL: Final[Mapping[str, Callable[[Sequence[Any]], object]]] = {
    "MiB": max,  # a peak is the highest seen
    "×": geometric_mean,
    "Float64": fmean,
    "Int64": median_low,
}


def pooled(column: Column | None, values: Sequence[Any]) -> object:
    """Return one figure of several processes or seeds; where they are no numbers, the first."""
    if not values:
        return None
    if not all(isinstance(value, int | float) for value in values):
        return values[0]
    if column is None:
        return fmean(values)
    pool = _POOL.get(column.unit) or _POOL.get(column.dtype)
    return pool(values) if pool else values[0]


def _interval_columns(figure: str, values: Sequence[float]) -> Row:
    """Return the figure and its interval over processes or seeds.

    A single one keeps the interval its probe gave it.
    """
    if len(values) < 2:
        return {}
    is_ratio = BY_NAME[figure].unit == "×"
    joined = (
        tuple(map(exp, mean_interval([log(value) for value in values])))
        if is_ratio
        else mean_interval(values)
    )
    return dict(zip((figure, *INTERVALS[figure]), joined, strict=True))


def _mark_pareto(rows: list[Row]) -> None:
    """Mark the networks that no other beats in Dice, latency and peak memory.

    Only networks that may be compared and have all three figures take part. Figures are those that
    `rank` compares: latency by the ratio to the baseline, where they were timed side by side.
    """
    needed = ("dice", "latency_ms", "peak_memory_mib")
    complete = [
        row
        for row in rows
        if not row["trivial"] and all(Network(row).figure(name) is not None for name in needed)
    ]
    for group in peer_groups(complete).values():
        peers = Peers(tuple(map(Network, group)))
        scaled = [[*peers.scaled(network).values()] for network in peers.networks]
        compared = [(row, of) for row, of in zip(group, scaled, strict=True) if None not in of]
        points = [[figure.interval.value for figure in of if figure] for _, of in compared]
        if points:
            on_front = undominated(np.array(points).T[:, :, None])[:, 0]
            for (row, _), marked in zip(compared, on_front, strict=True):
                row["pareto"] = bool(marked)


# ---- rows and csv into frames


def _frame(rows: Sequence[Row], known: Sequence[Column], source: str) -> pd.DataFrame:
    """Return the rows with the known columns, then whatever else the rows hold."""
    named = set[str]().union(*rows)
    empty = {
        dtype: pd.array([None] * len(rows), dtype=cast(Any, dtype))
        for dtype in {column.dtype for column in known}
    }
    found: dict[str, Any] = {
        column.name: _typed(column, [row.get(column.name) for row in rows], source)
        if column.name in named
        else empty[column.dtype]
        for column in known
    }
    undescribed = [name for name in _undescribed(rows) if name not in found]
    if len(undescribed) > MOST_UNDESCRIBED:
        raise StoreError(
            f"{source}: the rows have {len(undescribed):,} columns that no plugin describes, more "
            f"than {MOST_UNDESCRIBED:,}; such as {shown(undescribed[0])}: delete the rows that are "
            "not the run's"
        )
    for name in undescribed:
        values = [row.get(name) for row in rows]
        plain = [_text(value) if isinstance(value, str) else value for value in values]
        found[_text(name)] = pd.Series(plain).convert_dtypes()
    return pd.DataFrame(found)


def _read_csv(file: Path, known: Iterable[Column]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            file,
            dtype={column.name: object for column in known},
            dtype_backend="numpy_nullable",
            keep_default_na=False,
            na_values=[""],
        )
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{file} cannot be read as csv: {error}; write it again or give another"
        ) from error
    if "mode" in frame and "runtime" not in frame:  # of schema 1
        named = frame.rename(columns={"mode": "runtime"})
        quantize = pd.Series(AS_TRAINED, frame.index, name="quantize", dtype=object)
        frame = pd.concat([named, quantize], axis=1)
    if "variant" not in frame:
        raise StoreError(
            f"{file} has no column variant: it is no table of a run; give a results.csv"
        )
    absent = [None] * len(frame)
    typed = {
        c.name: _typed(c, list(frame[c.name]) if c.name in frame else absent, str(file))
        for c in known
    }
    if "trivial" in typed:
        typed["trivial"] = typed["trivial"].fillna(frame["variant"].map(_named_as_trivial))
    return pd.DataFrame(
        {**typed, **{str(name): frame[name] for name in frame if name not in typed}}
    )


def _typed(column: Column, values: list[Any], source: str) -> Any:
    """Return the values as an array of the column's type; each different one is looked at once."""
    dtype = cast(Any, column.dtype)
    parse = _listed if column.name in _LISTED else _PARSE[column.dtype]
    try:
        # Equal values of different types, as 1 and True, are looked at one by one.
        different, places = values, None
        if len({*map(type, values)} - {type(None)}) < 2:
            objects = np.array(values, dtype=object)
            places, uniques = pd.factorize(objects, use_na_sentinel=False)
            different = list(uniques)
        parsed = [None if _is_empty(value) else parse(value) for value in different]
        found = pd.array(parsed, dtype=dtype)
        return found if places is None else found.take(places)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise StoreError(
            f"{source}: column {column.name} takes {dtype} only: {one_line(str(error))}; "
            "correct or empty it"
        ) from error


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and isnan(value))


def _text(value: object) -> str:
    """Return text as a csv can hold it: what is not Unicode is escaped.

    Lone carriage returns, which progress bars print, would break its line.
    """
    text = str(value).replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "backslashreplace").decode()


def _listed(value: object) -> str:
    """Return numbers by slashes; of one alone pandas makes 1.0."""
    return re.sub(r"^(\d+)\.0$", r"\1", _text(value))


def _number(value: Any) -> float | None:
    number = float(value)
    return number if isfinite(number) else None


def _whole(value: Any) -> int:
    if isinstance(value, str) and "." in value:  # pandas writes 8.0 where a field of it is empty
        value = float(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _boolean(value: object) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


_LISTED: Final = ("encoder_widths", "decoder_widths", "blocks_per_level")
_PARSE: Final[Mapping[str, Callable[[Any], object]]] = {
    "string": _text,
    "Float64": _number,
    "Int64": _whole,
    "boolean": _boolean,
}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain Python values, with None where there is no value."""
    names = [str(name) for name in frame]
    empty = cast(Any, None)  # which the stubs of pandas do not know of
    columns = [
        column.to_numpy(dtype=object, na_value=empty).tolist() for _, column in frame.items()
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
