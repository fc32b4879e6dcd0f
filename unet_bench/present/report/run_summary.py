"""What was run, where, and how far it can be trusted, in words.

manifest and rows of a run ─▶ Facts; rows of all runs ─▶ warnings
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from unet_bench.analysis.audit import Count
from unet_bench.errors import command_line
from unet_bench.present.groups import has
from unet_bench.present.table import statuses
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.runs import Runs
from unet_bench.store.schema import ENDS, PROBE_COLUMNS, QUALITIES, STATUSES, gravity
from unet_bench.store.tables import records
from unet_bench.text_format import counted, named, scored_size

Row = Mapping[str, Any]

HARMLESS: Final = {"ok", "skipped", "unsupported"}
FALSE_ALARMS: Final = 0.05  # what intervals of 95 % may call different of pairs that are alike
_FIGURES: Final = {probe: {*names} - ENDS for probe, names in PROBE_COLUMNS.items()}

Said = tuple[str, str]
"""How good it is (good, note or bad), and a sentence."""


@dataclass(frozen=True)
class Facts:
    """One run: what it was, how to repeat it, and its whole environment."""

    run_id: str
    lines: tuple[tuple[str, str], ...]
    trust: tuple[Said, ...]
    command: str
    environment: tuple[tuple[str, str], ...]
    plugins: tuple[tuple[str, ...], ...]  # name, distribution, version, module, source hash
    suite: str  # as JSON; empty where it is not known


def facts(runs: Runs) -> list[Facts]:
    """Return the facts of every run, in the order given."""
    rows: dict[str, list[Row]] = {run_id: [] for run_id in runs.manifests}
    for row in records(runs.results):
        rows.setdefault(row["run_id"], []).append(row)
    cells: dict[str, list[Row]] = {}
    for cell in records(runs.cells):
        cells.setdefault(cell["run_id"], []).append(cell)
    return [_facts(run_id, of, cells.get(run_id, []), runs) for run_id, of in rows.items()]


def environments(rows: Sequence[Row]) -> list[str]:
    """Return the environments of several runs, where they are unlike."""
    known = [row for row in rows if row.get("env_id")]
    found = {row["env_id"]: row.get("device_name") or "unknown device" for row in known}
    return [f"{env} ({device})" for env, device in found.items()] if len(found) > 1 else []


def _facts(run_id: str, rows: Sequence[Row], cells: Sequence[Row], runs: Runs) -> Facts:
    manifest, folder = runs.manifests.get(run_id, {}), runs.folders.get(run_id)
    environment = _flat(manifest.get("environment") or {})
    lines = _lines(rows, manifest, environment)
    trust = [_audit(folder, run_id), *_quality(rows), *_failures(rows, cells)]
    suite = manifest.get("suite")
    about = ("plugin", "distribution", "version", "module", "source_hash")
    plugins = (
        tuple(str(plugin.get(name) or "") for name in about)
        for plugin in manifest.get("plugins") or []
    )
    return Facts(
        run_id=run_id,
        lines=tuple((label, text) for label, text in lines.items() if text),
        trust=(*trust, *(("note", note) for note in _limits(rows, manifest))),
        command=shlex.join(map(str, manifest.get("argv") or [])),
        environment=tuple(environment.items()),
        plugins=tuple(plugins),
        suite=json.dumps(suite, indent=2, ensure_ascii=False) if suite else "",
    )


def _lines(rows: Sequence[Row], manifest: Row, environment: Mapping[str, str]) -> dict[str, str]:
    networks = {row["variant"] for row in rows if not row["trivial"]}
    trivial = {row["variant"] for row in rows} - networks
    sizes = dict.fromkeys(size for row in rows for size in scored_size(row, ""))
    what = counted(len(networks), "network")
    if trivial:
        what += f" and {counted(len(trivial), 'trivial baseline')}"
    if tasks := _values(rows, "task"):
        what += f" on {tasks}"
    if sizes:
        what += f", {', '.join(sizes)} scored"
    preset = manifest.get("preset") or _values(rows, "preset")
    torch = _values(rows, "torch")
    software = [f"torch {torch}" if torch else ""]
    for name in ("cuda", "python"):
        software.append(f"{name} {environment[name]}" if environment.get(name) else "")
    device = (_values(rows, "device_name") or environment.get("cpu", ""), _values(rows, "device"))
    how = (f"preset {preset}" if preset else "", _values(rows, "recipe"), _values(rows, "budget"))
    started = str(manifest.get("started") or "")
    return {
        "What": what,
        "How": _joined(how),
        "Where": _joined((*device, *software, environment.get("system", ""))),
        "When": started.replace("T", " ").replace("+00:00", " UTC"),
        "Code": _values(rows, "commit") or str(manifest.get("commit") or ""),
    }


def _joined(words: Iterable[str]) -> str:
    return " · ".join(filter(None, words))


# ---- how far to trust it


def _audit(folder: Path | None, run_id: str) -> Said:
    """Return how far the self-test found that timings can be trusted."""
    if folder is None:
        return "note", "A table on its own: whether its timing was audited is not known."
    file = RunFolder(folder).selftest
    if not file.is_file():
        command = f"`{command_line('selftest', folder)}`"
        return "note", f"Timing was not audited in this run's folder; {command} does it."
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        alarms = Count(int(found["false_alarms"]["hits"]), int(found["false_alarms"]["of"]))
        within = f"{found['repeatable_within_percent']:g} %"
        pairs = found["pairs"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        return "bad", f"{file.name} of {run_id} cannot be read ({type(error).__name__}: {error})."
    are_too_many = alarms.of > 0 and alarms.share()[1] > FALSE_ALARMS
    told = (
        f"Self-audit: identical code timed in {pairs} pairs is repeatable within {within}; "
        f"{alarms.hits} of {counted(alarms.of, 'pair')} {'was' if alarms.hits == 1 else 'were'} "
        "called different by their own interval"
    )
    if not are_too_many:
        return "good", f"{told}."
    excess = "more than the 5 % that may be, so that intervals of single ratios are too narrow"
    return "bad", f"{told}: {excess}."


def _quality(rows: Sequence[Row]) -> Iterator[Said]:
    """Yield how many rows other work disturbed, the mildest first."""
    figures = frozenset().union(*_FIGURES.values())
    measured = [row for row in rows if any(has(row, name) for name in figures)]
    found = Counter(row["quality"] for row in rows if row.get("quality"))
    clean = sum(row.get("quality") == "clean" for row in measured)
    bad = sorted({*found} - {"clean"}, key=gravity)
    for name in bad:
        meaning = QUALITIES.get(name, "a quality unknown here")
        yield "bad", f"{found[name]} of {counted(len(rows), 'row')} {name}: {meaning}."
    if bad or not measured:
        return
    if not found:
        said = "no row states its `quality`"
        yield "note", f"Whether other work disturbed the measurements is not known: {said}."
    elif clean == len(measured):
        all_ = f"All {clean} measured rows are" if clean > 1 else "The one measured row is"
        yield "good", f"{all_} clean."
    elif clean:
        others = "of the others it is not known"
        yield "note", f"{clean} of {len(measured)} measured rows are clean; {others}."


def _failures(rows: Sequence[Row], cells: Sequence[Row]) -> Iterator[Said]:
    """Yield how many measurements have no figures, by status, with the first few named."""
    found: dict[str, list[str]] = {}
    empty: list[str] = []
    for probe, status, row in _measurements(rows, cells):
        name = f"{row['variant']} {probe}"
        found.setdefault(status, []).append(name)
        figures = _FIGURES.get(probe)
        if status == "ok" and figures and not any(has(row, figure) for figure in figures):
            empty.append(name)
    total = sum(map(len, found.values()))
    of_all = counted(total, "measurement")
    bad = sorted({*found} - {"ok"}, key=gravity)
    if empty:
        yield "bad", f"{len(empty)} of {of_all} ok, but without a figure: {_first(empty)}."
    for status in bad:
        names, meaning = found[status], STATUSES.get(status, "a status unknown here")
        kind = "note" if status in HARMLESS else "bad"
        yield kind, f"{len(names)} of {of_all} {status} ({meaning}): {_first(names)}."
    if total and not bad and not empty:
        all_ = f"all {total} measurements have" if total > 1 else "the one measurement has"
        yield "good", f"Nothing failed: {all_} figures."


def _measurements(rows: Sequence[Row], cells: Sequence[Row]) -> Iterator[tuple[str, str, Row]]:
    """Yield (probe, status, what holds its figures) of each cell; without cells, of each row."""
    for cell in cells:
        yield cell["probe"], cell["status"], cell
    for row in () if cells else rows:
        for probe, status in statuses(row).items():
            yield probe, status, row


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(dict.fromkeys(names[:4])) + more


def _limits(rows: Sequence[Row], manifest: Row) -> Iterator[str]:
    """Yield how the run falls short of the real thing."""
    own = [row for row in rows if not row.get("match")]
    scales = sorted({row["width_scale"] for row in own if row.get("width_scale")} - {1.0})
    if scales:
        widths = ", ".join(f"{scale:g}" for scale in scales)
        budget, size = _values(rows, "budget"), (manifest.get("suite") or {}).get("size")
        short = f", {budget} of training" if budget else ""
        small = f", {size} scored" if size else ""
        yield (
            f"Scaled down: widths × {widths}{short}{small}. Ranks may be others at full width and "
            "after full training (`--preset standard`)."
        )
    if {row["seeds"] for row in rows if row.get("seeds") and not row["trivial"]} == {1}:
        yield "One seed: how far another seed would move Dice is not known (`--seeds 0,1,2`)."
    names = {row["variant"] for row in rows}
    baselines = dict.fromkeys(row["baseline"] for row in rows if row.get("baseline"))
    if lacking := [name for name in baselines if name not in names]:
        yield f"Ratios are to {', '.join(lacking)}, which is not in this run."


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
