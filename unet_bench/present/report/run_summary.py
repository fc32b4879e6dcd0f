"""What was run, where, and how far it can be trusted, in words.

manifest and rows of a run ─▶ Facts; rows of all runs ─▶ warnings
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from unet_bench.analysis.audit import Count
from unet_bench.errors import command_line
from unet_bench.limits import entry, read_json
from unet_bench.present.groups import has
from unet_bench.present.table import statuses
from unet_bench.store.figures import Row, grouped
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.runs import Runs
from unet_bench.store.schema import ENDS, PROBE_COLUMNS, QUALITIES, STATUSES, gravity
from unet_bench.store.tables import records
from unet_bench.text_format import counted, is_doubt, named, scored_size

HARMLESS: Final = {"ok", "skipped", "unsupported"}
FALSE_ALARMS: Final = 0.05  # what intervals of 95 % may call different of pairs that are alike
_FIGURES: Final = {probe: {*names} - ENDS for probe, names in PROBE_COLUMNS.items()}
_PLUGIN: Final = ("plugin", "distribution", "version", "module", "source_hash")

Statement = tuple[str, str]
"""How good it is (good, note or bad), and a sentence."""


@dataclass(frozen=True)
class Facts:
    """One run: what it was, how to repeat it, and its whole environment."""

    run_id: str
    lines: tuple[tuple[str, str], ...]
    trust: tuple[Statement, ...]
    command: str
    environment: tuple[tuple[str, str], ...]
    plugins: tuple[tuple[str, ...], ...]  # name, distribution, version, module, source hash
    suite: str  # as JSON; empty where it is not known


def facts(runs: Runs) -> list[Facts]:
    """Return the facts of every run, in the order given."""
    rows, cells = (
        grouped(records(frame), itemgetter("run_id")) for frame in (runs.results, runs.cells)
    )
    names = dict.fromkeys((*runs.manifests, *rows))
    return [_facts(name, rows.get(name, []), cells.get(name, []), runs) for name in names]


def environments(rows: Sequence[Row]) -> list[str]:
    """Return the environments of several runs, where they are unlike."""
    known = [row for row in rows if row.get("env_id")]
    device_of = {row["env_id"]: row.get("device_name") or "unknown device" for row in known}
    return [f"{env} ({device})" for env, device in device_of.items()] if len(device_of) > 1 else []


def _facts(run_id: str, rows: Sequence[Row], cells: Sequence[Row], runs: Runs) -> Facts:
    manifest, folder = runs.manifests.get(run_id, {}), runs.folders.get(run_id)
    environment = _flat(manifest.get("environment") or {})
    lines = _lines(rows, manifest, environment)
    suite, plugins = manifest.get("suite"), manifest.get("plugins") or []
    limits = (("note", text) for text in _limits(rows, manifest))
    return Facts(
        run_id=run_id,
        lines=tuple((label, text) for label, text in lines.items() if text),
        trust=(_audit(folder, run_id), *_quality(rows), *_failures(rows, cells), *limits),
        command=shlex.join(map(str, manifest.get("argv") or [])),
        environment=tuple(environment.items()),
        plugins=tuple(tuple(str(one.get(name) or "") for name in _PLUGIN) for one in plugins),
        suite=json.dumps(suite, indent=2, ensure_ascii=False) if suite else "",
    )


def _lines(rows: Sequence[Row], manifest: Row, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what was measured, how, where, when and by which code."""
    networks = {row["variant"] for row in rows if not row["trivial"]}
    trivial = {row["variant"] for row in rows} - networks
    what = counted(len(networks), "network")
    if trivial:
        what += f" and {counted(len(trivial), 'trivial baseline')}"
    if tasks := _values(rows, "task"):
        what += f" on {tasks}"
    if sizes := dict.fromkeys(size for row in rows for size in scored_size(row, "")):
        what += f", {', '.join(sizes)} scored"
    preset = manifest.get("preset") or _values(rows, "preset")
    versions = {"torch": _values(rows, "torch")}
    versions |= {name: environment.get(name, "") for name in ("cuda", "python")}
    where = [
        _values(rows, "device_name") or environment.get("cpu", ""),
        _values(rows, "device"),
        *(f"{name} {version}" for name, version in versions.items() if version),
        environment.get("system", ""),
    ]
    training = (_values(rows, "recipe"), _values(rows, "budget"))
    started = str(manifest.get("started") or "")
    return {
        "What": what,
        "How": " · ".join(filter(None, (f"preset {preset}" if preset else "", *training))),
        "Where": " · ".join(filter(None, where)),
        "When": started.replace("T", " ").replace("+00:00", " UTC"),
        "Code": _values(rows, "commit") or str(manifest.get("commit") or ""),
    }


# ---- how far to trust it


def _audit(folder: Path | None, run_id: str) -> Statement:
    """Return how far the self-test found that timings can be trusted."""
    if folder is None:
        return "note", "A table on its own: whether its timing was audited is not known."
    file = RunFolder(folder).selftest
    if not file.is_file():
        command = f"`{command_line('selftest', folder)}`"
        return "note", f"Timing was not audited in this run's folder; {command} does it."
    try:
        audit = read_json(file)
        stated = entry(audit, "false_alarms", dict)
        alarms = Count(entry(stated, "hits", int), entry(stated, "of", int))
        within = f"{entry(audit, 'repeatable_within_percent', float):g} %"
        pairs = entry(audit, "pairs", int)
        if not 0 <= alarms.hits <= alarms.of:
            raise ValueError(f"{alarms.hits} false alarms of {alarms.of}")
    except (OSError, ValueError) as error:
        return "bad", f"{file.name} of {run_id} cannot be read ({type(error).__name__}: {error})."
    text = (
        f"Self-audit: identical code timed in {pairs} pairs is repeatable within {within}; "
        f"{alarms.hits} of {counted(alarms.of, 'pair')} {'was' if alarms.hits == 1 else 'were'} "
        "called different by their own interval"
    )
    if alarms.of == 0 or alarms.share()[1] <= FALSE_ALARMS:
        return "good", f"{text}."
    excess = "more than the 5 % to expect: intervals of single ratios are too narrow"
    return "bad", f"{text}: {excess}."


def _quality(rows: Sequence[Row]) -> Iterator[Statement]:
    """Yield how many rows other work disturbed, the mildest first."""
    counts = Counter(row["quality"] for row in rows if row.get("quality"))
    disturbed = sorted({*counts} - {"clean"}, key=gravity)
    for name in disturbed:
        meaning = QUALITIES.get(name, "a quality unknown here")
        yield "bad", f"{counts[name]} of {counted(len(rows), 'row')} {name}: {meaning}."
    figures = frozenset().union(*_FIGURES.values())
    measured = [row for row in rows if any(has(row, name) for name in figures)]
    clean = sum(row.get("quality") == "clean" for row in measured)
    if disturbed or not measured:
        return
    if not counts:
        reason = "no row states its `quality`"
        yield "note", f"Whether other work disturbed the measurements is not known: {reason}."
    elif clean == len(measured):
        all_rows = f"All {clean} measured rows are" if clean > 1 else "The one measured row is"
        yield "good", f"{all_rows} clean."
    elif clean:
        others = "of the others it is not known"
        yield "note", f"{clean} of {len(measured)} measured rows are clean; {others}."


def _failures(rows: Sequence[Row], cells: Sequence[Row]) -> Iterator[Statement]:
    """Yield how many measurements have no figures, by status, with the first few named."""
    # Probe, status and what holds its figures, of each cell; without cells, of each row.
    measured = [(cell["probe"], cell["status"], cell) for cell in cells] or [
        (probe, status, row) for row in rows for probe, status in statuses(row).items()
    ]
    of_all = counted(len(measured), "measurement")
    by_status: dict[str, list[str]] = {}
    empty = []
    for probe, status, row in measured:
        name, figures = f"{row['variant']} {probe}", _FIGURES.get(probe)
        by_status.setdefault(status, []).append(name)
        if status == "ok" and figures and not any(has(row, figure) for figure in figures):
            empty.append(name)
    failed = sorted({*by_status} - {"ok"}, key=gravity)
    if empty:
        yield "bad", f"{len(empty)} of {of_all} ok, but without a figure: {_first(empty)}."
    for status in failed:
        names, meaning = by_status[status], STATUSES.get(status, "a status unknown here")
        kind = "note" if status in HARMLESS else "bad"
        yield kind, f"{len(names)} of {of_all} {status} ({meaning}): {_first(names)}."
    if measured and not failed and not empty:
        count = len(measured)
        have = f"all {count} measurements have" if count > 1 else "the one measurement has"
        yield "good", f"Nothing failed: {have} figures."


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(dict.fromkeys(names[:4])) + more


def _limits(rows: Sequence[Row], manifest: Row) -> Iterator[str]:
    """Yield how the run falls short of the real thing."""
    scales = {row["width_scale"] for row in rows if row.get("width_scale") and not row.get("match")}
    if scaled := sorted(scales - {1.0}):
        widths = ", ".join(f"{scale:g}" for scale in scaled)
        budget, size = _values(rows, "budget"), (manifest.get("suite") or {}).get("size")
        short = f", {budget} of training" if budget else ""
        small = f", {size} scored" if size else ""
        yield (
            f"Scaled down: widths × {widths}{short}{small}. Ranks may be others at full width and "
            "after full training (`--preset standard`)."
        )
    if {row["seeds"] for row in rows if row.get("seeds") and not row["trivial"]} == {1}:
        yield "One seed: how far another seed would move Dice is not known (`--seeds 0,1,2`)."
    baselines = dict.fromkeys(row["baseline"] for row in rows if row.get("baseline"))
    for variant in (row["variant"] for row in rows):
        baselines.pop(variant, None)
    if baselines:
        yield f"Ratios are to {', '.join(baselines)}, which is not in this run."
    notes = manifest.get("notes")
    if isinstance(notes, list):
        yield from (note for note in notes if isinstance(note, str) and is_doubt(note))


def _values(rows: Sequence[Row], name: str) -> str:
    """Return a column's values by commas, the first few."""
    return named(list(dict.fromkeys(str(row[name]) for row in rows if row.get(name) is not None)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values under the names that lead to them, without empty ones."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name} ")
        elif value not in (None, [], ""):
            items = value if isinstance(value, list) else [value]
            flat[f"{prefix}{name}"] = ", ".join(map(str, items))
    return flat
