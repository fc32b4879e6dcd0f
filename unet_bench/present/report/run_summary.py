"""What was run, where, and how far it can be trusted, in words.

manifest and rows of a run ─▶ Facts; rows of all runs ─▶ warnings
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unet_bench.analysis.audit import Count
from unet_bench.present.groups import has
from unet_bench.present.table import statuses
from unet_bench.store.columns import PROBES
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, GRAVITY, INTERVALS, QUALITIES, STATUSES
from unet_bench.store.tables import records
from unet_bench.text_format import scored_size

Row = Mapping[str, Any]

HARMLESS: Final = {"ok", "skipped", "unsupported"}
FALSE_ALARMS: Final = 0.05  # what intervals of 95 % may call different of pairs that are alike
_ENDS: Final = frozenset(end for ends in INTERVALS.values() for end in ends)
_FIGURES: Final = {
    probe: [
        name for name, column in BY_NAME.items() if probe in column.probes and name not in _ENDS
    ]
    for probe in PROBES
}


@dataclass(frozen=True)
class Facts:
    """One run: what it was in a line each, how to repeat it, and all that is known of its
    environment.
    """

    run_id: str
    lines: tuple[tuple[str, str], ...]
    trust: tuple[tuple[str, str], ...]  # good, note or bad; and a sentence
    command: str
    environment: tuple[tuple[str, str], ...]
    plugins: tuple[tuple[str, ...], ...]  # name, distribution, version, module, source hash
    suite: str  # as JSON; empty where it is not known


def facts(runs: Runs) -> list[Facts]:
    """The facts of every run, in the order given."""
    rows: dict[str, list[Row]] = {run_id: [] for run_id in runs.manifests}
    for row in records(runs.results):
        rows.setdefault(row["run_id"], []).append(row)
    cells: dict[str, list[Row]] = {}
    for cell in records(runs.cells):
        cells.setdefault(cell["run_id"], []).append(cell)
    return [
        _facts(
            run_id,
            of,
            cells.get(run_id, []),
            runs.manifests.get(run_id, {}),
            runs.folders.get(run_id),
        )
        for run_id, of in rows.items()
    ]


def _facts(
    run_id: str, rows: Sequence[Row], cells: Sequence[Row], manifest: Row, folder: Path | None
) -> Facts:
    environment = _flat(manifest.get("environment") or {})
    argv = manifest.get("argv") or []
    return Facts(
        run_id=run_id,
        lines=tuple((label, text) for label, text in _lines(rows, manifest, environment) if text),
        trust=(
            *_audit(folder, run_id),
            *_quality(rows),
            *_failures(rows, cells),
            *_limits(rows, manifest),
        ),
        command=shlex.join(map(str, argv)),
        environment=tuple(environment.items()),
        plugins=tuple(
            tuple(
                str(plugin.get(k) or "")
                for k in ("plugin", "distribution", "version", "module", "source_hash")
            )
            for plugin in manifest.get("plugins") or []
        ),
        suite=json.dumps(manifest["suite"], indent=2, ensure_ascii=False)
        if manifest.get("suite")
        else "",
    )


def _lines(
    rows: Sequence[Row], manifest: Row, environment: Mapping[str, str]
) -> list[tuple[str, str]]:
    networks = {row["variant"] for row in rows if not row["trivial"]}
    trivial = {row["variant"] for row in rows} - networks
    sizes = list(dict.fromkeys(size for row in rows for size in scored_size(row, "")))
    what = _count(len(networks), "network")
    if trivial:
        what += f" and {_count(len(trivial), 'trivial baseline')}"
    tasks = _values(rows, "task")
    where = _values(rows, "device_name") or environment.get("cpu", "")
    return [
        (
            "What",
            what + f" on {tasks}" * bool(tasks) + f", {', '.join(sizes)} scored" * bool(sizes),
        ),
        (
            "How",
            " · ".join(
                filter(
                    None,
                    (_preset(rows, manifest), _values(rows, "recipe"), _values(rows, "budget")),
                )
            ),
        ),
        (
            "Where",
            " · ".join(
                filter(None, (where, _values(rows, "device"), _software(rows, environment)))
            ),
        ),
        ("When", str(manifest.get("started") or "").replace("T", " ").replace("+00:00", " UTC")),
        ("Code", _values(rows, "commit") or str(manifest.get("commit") or "")),
    ]


def _preset(rows: Sequence[Row], manifest: Row) -> str:
    preset = manifest.get("preset") or _values(rows, "preset")
    return f"preset {preset}" if preset else ""


def _software(rows: Sequence[Row], environment: Mapping[str, str]) -> str:
    torch = _values(rows, "torch")
    known = [f"{name} {environment[name]}" for name in ("cuda", "python") if environment.get(name)]
    return " · ".join(
        filter(None, (f"torch {torch}" * bool(torch), *known, environment.get("system", "")))
    )


# ---- how far to trust it


def _audit(folder: Path | None, run_id: str) -> list[tuple[str, str]]:
    file = RunFolder(folder).selftest if folder else None
    if folder is None or file is None:
        return [("note", "A table on its own: whether its timing was audited is not known.")]
    if not file.is_file():
        return [
            (
                "note",
                f"Timing was not audited in this run's folder; `unet-bench selftest {folder}` does it.",
            )
        ]
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        alarms = Count(int(found["false_alarms"]["hits"]), int(found["false_alarms"]["of"]))
        sure = alarms.of > 0 and alarms.share()[1] > FALSE_ALARMS
        return [
            (
                "bad" if sure else "good",
                f"Self-audit: identical code timed in {found['pairs']} pairs is repeatable within "
                f"{found['repeatable_within_percent']:g} %; {alarms.hits} of {_count(alarms.of, 'pair')} "
                f"{'was' if alarms.hits == 1 else 'were'} called different by their own interval"
                + (
                    ": more than the 5 % that may be, so that intervals of single ratios are too narrow."
                    if sure
                    else "."
                ),
            )
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        return [
            ("bad", f"{file.name} of {run_id} cannot be read ({type(error).__name__}: {error}).")
        ]


def _quality(rows: Sequence[Row]) -> list[tuple[str, str]]:
    measured = [
        row for row in rows if any(has(row, name) for names in _FIGURES.values() for name in names)
    ]
    found = Counter(row["quality"] for row in rows if row.get("quality"))
    bad = {name: count for name, count in found.items() if name != "clean"}
    if measured and not found:
        return [
            (
                "note",
                "Whether other work disturbed the measurements is not known: no row states its `quality`.",
            )
        ]
    if not bad:
        clean = sum(row.get("quality") == "clean" for row in measured)
        if not clean:
            return []
        if clean == len(measured):
            return [
                (
                    "good",
                    f"All {clean} measured rows are clean."
                    if clean > 1
                    else "The one measured row is clean.",
                )
            ]
        return [
            (
                "note",
                f"{clean} of {len(measured)} measured rows are clean; of the others it is not known.",
            )
        ]
    return [
        (
            "bad",
            f"{count} of {_count(len(rows), 'row')} {name}: {QUALITIES.get(name, 'a quality unknown here')}.",
        )
        for name, count in sorted(bad.items(), key=lambda item: GRAVITY.get(item[0], len(GRAVITY)))
    ]


def _failures(rows: Sequence[Row], cells: Sequence[Row]) -> list[tuple[str, str]]:
    """How many cells have no figures, by status, with the first few named; of a table on its own,
    its rows.
    """
    found: dict[str, list[str]] = {}
    empty: list[str] = []
    for probe, status, row in _measurements(rows, cells):
        name = f"{row['variant']} {probe}"
        found.setdefault(status, []).append(name)
        if (
            status == "ok"
            and probe in _FIGURES
            and not any(has(row, figure) for figure in _FIGURES[probe])
        ):
            empty.append(name)
    total = sum(map(len, found.values()))
    bad = {status: names for status, names in found.items() if status != "ok"}
    if total and not bad and not empty:
        all_ = f"all {total} measurements have" if total > 1 else "the one measurement has"
        return [("good", f"Nothing failed: {all_} figures.")]
    none = [
        (
            "bad",
            f"{len(empty)} of {_count(total, 'measurement')} ok, but without a figure: {_first(empty)}.",
        )
    ]
    return none * bool(empty) + [
        (
            "note" if status in HARMLESS else "bad",
            f"{len(names)} of {_count(total, 'measurement')} {status} "
            f"({STATUSES.get(status, 'a status unknown here')}): {_first(names)}.",
        )
        for status, names in sorted(
            bad.items(), key=lambda item: GRAVITY.get(item[0], len(GRAVITY))
        )
    ]


def _measurements(rows: Sequence[Row], cells: Sequence[Row]) -> Iterator[tuple[str, str, Row]]:
    """(probe, status, what holds its figures) of each cell, or of each row where there are no
    cells.
    """
    if cells:
        yield from ((cell["probe"], cell["status"], cell) for cell in cells)
        return
    for row in rows:
        yield from ((probe, status, row) for probe, status in statuses(row).items())


def _first(names: Sequence[str]) -> str:
    return (
        f"{', '.join(dict.fromkeys(names[:4]))}{f' and {len(names) - 4} more' * (len(names) > 4)}"
    )


def _limits(rows: Sequence[Row], manifest: Row) -> list[tuple[str, str]]:
    """What makes the run less than the real thing."""
    scales = sorted(
        {row["width_scale"] for row in rows if row.get("width_scale") and not row.get("match")}
        - {1.0}
    )
    notes = []
    if scales:
        suite = manifest.get("suite") or {}
        short = f", {_values(rows, 'budget')} of training" * bool(_values(rows, "budget"))
        notes.append(
            f"Scaled down: widths × {', '.join(f'{scale:g}' for scale in scales)}{short}"
            + f", {suite['size']} scored" * bool(suite.get("size"))
            + ". Ranks may be others at full width and after full training (`--preset standard`)."
        )
    seeds = {row["seeds"] for row in rows if row.get("seeds") and not row["trivial"]}
    if seeds == {1}:
        notes.append(
            "One seed: how far another seed would move Dice is not known (`--seeds 0,1,2`)."
        )
    names = {row["variant"] for row in rows}
    lacking = dict.fromkeys(
        row["baseline"] for row in rows if row.get("baseline") and row["baseline"] not in names
    )
    if lacking:
        notes.append(f"Ratios are to {', '.join(lacking)}, which is not in this run.")
    return [("note", note) for note in notes]


def environments(rows: Sequence[Row]) -> list[str]:
    """The environments of several runs, where they are unlike."""
    found = {
        row["env_id"]: row.get("device_name") or "unknown device"
        for row in rows
        if row.get("env_id")
    }
    return [f"{env} ({device})" for env, device in found.items()] if len(found) > 1 else []


def _values(rows: Sequence[Row], name: str, most: int = 6) -> str:
    """A column's values by commas, the first few."""
    found = list(dict.fromkeys(str(row[name]) for row in rows if row.get(name) is not None))
    return ", ".join(found[:most]) + f" and {len(found) - most} more" * (len(found) > most)


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name} ")
        elif value not in (None, [], ""):
            flat[f"{prefix}{name}"] = (
                ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            )
    return flat
