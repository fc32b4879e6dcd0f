"""Two runs against each other, before (A) and after (B): what became faster, leaner, better, or
cannot be told.

frames ─▶ rows joined on variant and conditions ─▶ a change with its interval per figure
       ─▶ verdicts

Speed is compared by the ratio to the baseline, timed in alternating blocks of one process: on a
busy or slower machine it stays what it was, where absolute times do not. The baseline's own ratio
therefore says only 1; how far its absolute time moved is a note. Where neither side has a ratio, as
in files of pytest-benchmark, times are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import exp, expm1, isnan, log1p
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any, Final, Literal

import pandas as pd

from unet_bench.analysis.findings import Finding
from unet_bench.errors import InvalidSuite, StoreError, offenders, unknown
from unet_bench.store.columns import Column
from unet_bench.store.figures import Network
from unet_bench.store.log import manifest_of
from unet_bench.store.probes import columns_of
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import read_results, records
from unet_bench.text_format import named, title

By = Literal["ratio", "latency"]
Key = tuple[Any, ...]  # the values of KEY
Pair = tuple[Network | None, Network | None]  # of A and of B
Words = tuple[str, str, str]  # what less, as much and more of a figure are called

BY: Final[tuple[By, ...]] = ("ratio", "latency")
# A network of another width is another network, and a batch that was halved another workload.
KEY: Final = ("variant", "width_scale", *CONDITIONS, "batch_effective")
# Widths scaled to meet nothing, as in all runs of earlier versions.
_SAID_BY_NONE: Final = {"match"}
# These may differ: they are what is compared.
OWN_FACTS: Final = ("env_id", "kernel", "commit", "packages.unet-bench")

_PACE: Final = ("FASTER", "SAME", "SLOWER")
_SPACE: Final = ("LESS", "SAME", "MORE")
_WORTH: Final[Mapping[str, Words]] = {
    "high": ("WORSE", "SAME", "BETTER"),
    "low": ("BETTER", "SAME", "WORSE"),
    "": ("CHANGED", "SAME", "CHANGED"),
}
VERDICTS: Final = (
    *("FASTER", "SLOWER", "LESS", "MORE", "BETTER", "WORSE"),
    *("CHANGED", "SAME", "AMBIGUOUS", "MISSING"),
)


@dataclass(frozen=True)
class Kind:
    """One figure to compare."""

    name: str
    column: Column
    words: Words


KINDS: Final = (
    Kind("speed", BY_NAME["latency_ms"], _PACE),
    Kind("training step", BY_NAME["train_step_ms"], _PACE),
    Kind("memory", BY_NAME["peak_memory_mib"], _SPACE),
    Kind("training memory", BY_NAME["train_peak_memory_mib"], _SPACE),
    Kind("accuracy", BY_NAME["dice"], _WORTH["high"]),
)


@dataclass(frozen=True)
class Comparison:
    """One figure of one variant × workload in both runs.

    `change` and `half_width` (of its 95 % interval) are parts of A (0.02: 2 % more), for accuracy
    plain differences.
    """

    variant: str
    workload: str  # what tells it from the other rows
    kind: str
    column: str
    a: float | None
    b: float | None
    change: float | None = None
    half_width: float | None = None
    verdict: str = "MISSING"
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """Every comparison of two runs, what else is to be known of them, and what columns mean."""

    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    columns: Mapping[str, Column]

    def failing(self, verdicts: Iterable[str]) -> list[Comparison]:
        """Return the comparisons with one of these verdicts, in any case. Raises UnknownName."""
        wanted = {name.upper() for name in verdicts}
        for name in sorted(wanted - set(VERDICTS)):
            raise unknown("verdict", name, VERDICTS, "unet-bench compare --help")
        return [one for one in self.comparisons if one.verdict in wanted]


def compare_runs(
    a: str | Path,
    b: str | Path,
    *,
    margin: float = 0.02,
    accuracy_margin: float = 0.01,
    by: By = "ratio",
    across_environments: bool = False,
) -> Report:
    """Compare two runs, each as `read_results` reads it.

    That is a run's folder, a results.csv or a JSON file of pytest-benchmark. Margins are as in
    `compare`. Raises InvalidSuite for unlike environments or baselines, and where no figure is in
    both; StoreError for what is no run.
    """
    before, after = read_results(a), read_results(b)
    manifests = manifest_of(Path(a)), manifest_of(Path(b))
    if not across_environments:
        check_environments(*manifests, before, after)
    plugins = columns_of(manifests[0]) | columns_of(manifests[1])
    report = compare(before, after, margin, accuracy_margin, by, plugins)
    if all(one.verdict == "MISSING" for one in report.comparisons):
        raise InvalidSuite(f"nothing to compare: {_why_nothing(before, after, report)}")
    return report


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    margin: float = 0.02,
    accuracy_margin: float = 0.01,
    by: By = "ratio",
    plugins: Mapping[str, Column] = MappingProxyType({}),
) -> Report:
    """Return a verdict for each figure of each variant × workload that is in either frame.

    `margin` is the relative change, `accuracy_margin` the difference in Dice, that does not matter.
    `plugins` are the columns that plugins measured; their numbers are compared, too. Raises
    InvalidSuite when ratios are to different baselines or a margin is below 0, StoreError for a row
    that is there twice.
    """
    if by not in BY:
        raise unknown("figure to compare by", by, BY, "unet-bench compare --help")
    if not (margin >= 0 and accuracy_margin >= 0):
        raise InvalidSuite(
            f"margins of {margin:g} and {accuracy_margin:g}: both must be at least 0, such as 0.02"
        )
    pairs = joined(a, b)
    if by == "ratio":
        _check_baselines(pairs.values())
    labels = workloads(pairs)
    numbers = [column for column in plugins.values() if column.dtype in ("Float64", "Int64")]
    measured = [Kind(column.label, column, _WORTH[column.better]) for column in numbers]
    comparisons = []
    for kind in (*KINDS, *measured):
        limit = accuracy_margin if kind.column.by_difference else margin
        for key, pair in pairs.items():
            column = _column(kind, pair, by)
            if _is_asked_for(column, pair):
                of = Comparison(str(key[0]), labels[key], kind.name, column.name, None, None)
                comparisons.append(_compared(of, column, kind.words, pair, limit))
    findings = (
        *_of_baselines(pairs, labels),
        *_of_figures(comparisons, margin, accuracy_margin, by),
    )
    return Report(tuple(comparisons), findings, {**BY_NAME, **plugins})


def verdict(change: float, low: float, high: float, margin: float, words: Words = _PACE) -> str:
    """Return the verdict on a change and the ends of its interval, all on one scale.

    The middle word if the whole interval lies within ±margin, an outer word if it lies wholly
    beyond on that side. Else AMBIGUOUS, also without an interval (NaN).
    """
    if -margin <= low and high <= margin:
        return words[1]
    if high < -margin:
        return words[0]
    return words[2] if low > margin else "AMBIGUOUS"


# ---- from frames to pairs of rows


def joined(a: pd.DataFrame, b: pd.DataFrame) -> dict[Key, Pair]:
    """Return the rows of A and B by variant and conditions, in A's order.

    A side without such a row is None. Raises StoreError for a row that is there twice.
    """
    # A condition that one side never states, as runs of an earlier version do, cannot tell their
    # rows apart.
    silent = [
        {n for n in KEY if len(frame) and (n not in frame or frame[n].isna().all())}
        for frame in (a, b)
    ]
    shared = set(KEY) - ((silent[0] ^ silent[1]) - _SAID_BY_NONE)
    before, after = _by_key(a, "A", shared), _by_key(b, "B", shared)
    return {key: (before.get(key), after.get(key)) for key in before | after}


def _by_key(frame: pd.DataFrame, side: str, shared: Collection[str]) -> dict[Key, Network]:
    networks: dict[Key, Network] = {}
    for network in map(Network, records(frame)):
        key = tuple(network.row.get(name) if name in shared else None for name in KEY)
        if key in networks:
            raise StoreError(
                f"{side} holds variant {network.variant!r} twice under the same conditions: "
                "which one is meant is not clear; give one run at a time"
            )
        networks[key] = network
    return networks


def _check_baselines(pairs: Iterable[Pair]) -> None:
    """Raise InvalidSuite where the ratios of a pair are to different baselines."""
    for pair in pairs:
        names = [one.baseline for one in pair if one is not None and one.baseline is not None]
        if len(set(names)) > 1:
            raise InvalidSuite(
                f"A's ratios are to {names[0]!r} and B's to {names[1]!r}: ratios to different "
                "baselines cannot be compared; compare absolute times with --by latency, or run "
                "both with one --baseline"
            )


def workloads(pairs: Collection[Key]) -> dict[Key, str]:
    """Return, by key, the conditions that differ between the rows of a variant.

    The data's hash is named only if nothing else differs.
    """
    rows = {key: dict(zip(KEY, key, strict=True)) for key in pairs}
    frame = pd.DataFrame(list(rows.values()), columns=KEY, dtype=object)
    most = frame.groupby("variant").nunique(dropna=False).max()
    varying = [name for name in KEY[1:] if most[name] > 1]
    labels = {
        key: title({name: row[name] for name in varying}, varying) for key, row in rows.items()
    }
    alike = Counter((key[0], label) for key, label in labels.items())
    for key, label in labels.items():
        if alike[key[0], label] > 1:
            labels[key] = f"{label} {rows[key]['dataset_hash'] or ''}".strip()
    return labels


# ---- from a pair of rows to a verdict


def _column(kind: Kind, pair: Pair, by: By) -> Column:
    """Return what is compared: of a time its ratio to the baseline, unless neither has one."""
    ratio = BY_NAME.get(kind.column.ratio)
    if by == "latency" or ratio is None:
        return kind.column
    times, ratios = (
        [network is not None and network.number(name) is not None for network in pair]
        for name in (kind.column.name, ratio.name)
    )
    return kind.column if all(times) and not any(ratios) else ratio


def _is_asked_for(column: Column, pair: Pair) -> bool:
    """Return whether either run has the figure or should have it."""
    names = (column.name, f"{column.probes[0]}_status")
    return any(network and network.row.get(name) is not None for network in pair for name in names)


def _compared(
    of: Comparison, column: Column, words: Words, pair: Pair, margin: float
) -> Comparison:
    """Return the comparison of a figure, filled in."""
    a, b = (network.interval(column.name) if network else None for network in pair)
    of = replace(of, a=a.value if a else None, b=b.value if b else None)
    if a is None or b is None:
        sides = zip((a, b), pair, "AB", strict=True)
        reasons = [_absence(column, one, side) for figure, one, side in sides if figure is None]
        return replace(of, reason="; ".join(reasons))
    if column.by_difference:
        change = b.minus(a)
        half = (change.high - change.low) / 2
        shown, reach = change.value, half
    elif min(a.value, b.value) > 0:
        change, margin = b.log().minus(a.log()), log1p(margin)
        half = (change.high - change.low) / 2
        shown, reach = expm1(change.value), exp(change.value) * expm1(half)
    else:
        difference = b.value - a.value
        word = verdict(difference, difference, difference, 0.0, words)
        reason = "not above 0, so that any change counts" if difference else ""
        return replace(of, verdict=word, reason=reason)
    return replace(
        of,
        change=shown,
        half_width=None if isnan(half) else reach,
        verdict=verdict(*change, margin, words),
        reason="no interval" if isnan(half) else "",
    )


def _absence(column: Column, network: Network | None, side: str) -> str:
    """Return why a side has no figure."""
    if network is None:
        return f"not in {side}"
    status, error = network.row.get(f"{column.probes[0]}_status"), network.row.get("error")
    if status == "ok":
        return f"{side} without it"
    first_line = str(error or "").strip().partition("\n")[0]
    return f"{side} {status or 'not measured'}" + (f": {first_line}" if first_line else "")


# ---- what else is to be known


def _of_baselines(pairs: Mapping[Key, Pair], labels: Mapping[Key, str]) -> Iterator[Finding]:
    """Yield how far the baseline's own time moved on quiet machines."""
    for key, (before, after) in pairs.items():
        if before is None or after is None or before.variant != before.baseline:
            continue
        old, new = before.number("latency_ms"), after.number("latency_ms")
        if old and new and before.quality == after.quality == "clean":
            values = {"baseline": before.variant, "workload": labels[key], "old": old, "new": new}
            yield Finding("baseline moved", {**values, "change": new / old - 1})


def _of_figures(
    comparisons: Iterable[Comparison], margin: float, accuracy_margin: float, by: By
) -> Iterator[Finding]:
    """Yield which figures stand in for others, and why verdicts are ambiguous."""
    for (kind, column), group in grouped(comparisons).items():
        values = {"kind": kind, "of": len(group)}
        if by == "ratio" and column in BY_NAME and BY_NAME[column].ratio:
            yield Finding("no ratio", values)
        if column not in BY_NAME and any(one.verdict != "MISSING" for one in group):
            yield Finding("no error known", {"kind": kind})
        unsure = [one for one in group if one.verdict == "AMBIGUOUS"]
        halves = [one.half_width for one in unsure if one.half_width is not None]
        if halves:
            limit = accuracy_margin if column == "dice" else margin
            named_as = "wide intervals of Dice" if column == "dice" else "wide intervals"
            told = {"count": len(halves), "half": median(halves), "margin": limit}
            yield Finding(named_as, {**values, **told})
        if len(unsure) > len(halves):
            yield Finding("no intervals", {**values, "count": len(unsure) - len(halves)})


def grouped(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    """Return comparisons by kind and column, in the order of appearance."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for one in comparisons:
        groups.setdefault((one.kind, one.column), []).append(one)
    return groups


def _why_nothing(a: pd.DataFrame, b: pd.DataFrame, report: Report) -> str:
    """Return why no figure is in both runs, and what to do."""
    if not report.comparisons:
        return (
            "neither A nor B holds latency, memory or Dice; measure them in both, such as by "
            "--probes speed,memory,accuracy"
        )
    if any(one.reason not in ("not in A", "not in B") for one in report.comparisons):
        reasons = dict.fromkeys(
            f"{one.variant}, {one.kind}: {one.reason}" for one in report.comparisons
        )
        return (
            f"no figure is in both A and B:\n{offenders(list(reasons))}\n"
            "measure again what is missing, or give other runs"
        )
    of_a, of_b = ({name: _unique(frame, name) for name in KEY} for frame in (a, b))
    apart = [
        name for name in KEY if of_a[name] != of_b[name] and {*of_a[name]}.isdisjoint(of_b[name])
    ]
    lines = _unlike(of_a, of_b, apart)
    return (
        f"no row of A ({len(a)}) has the variant and conditions of a row of B ({len(b)})"
        f"{lines}\ngive two runs of the same variants, data and settings"
    )


# ---- environments


def check_environments(
    manifest_a: Mapping[str, Any], manifest_b: Mapping[str, Any], a: pd.DataFrame, b: pd.DataFrame
) -> None:
    """Raise InvalidSuite for runs that were measured on unlike machines or software.

    By the facts in both runs' run.json; without those by the frames' environment ids, or by their
    devices' names. Our own version and commit may differ, since they are what one compares.
    """
    before, after = _facts(manifest_a), _facts(manifest_b)
    if not (before and after):
        stated = (n for n in ("env_id", "device_name") if _unique(a, n) and _unique(b, n))
        known = [*stated][:1]
        before, after = ({name: _unique(frame, name) for name in known} for frame in (a, b))
    unlike = [name for name in before | after if before.get(name) != after.get(name)]
    if unlike:
        raise InvalidSuite(
            f"A and B were measured in unlike environments{_unlike(before, after, unlike)}\n"
            "run both in one, or compare all the same by --across-environments"
        )


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's environment as flat values; none if run.json states none."""
    environment = manifest.get("environment")
    flat: dict[str, Any] = {}
    for name, value in environment.items() if isinstance(environment, dict) else ():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": told for inner, told in value.items()}
        else:
            flat[name] = value
    return {name: value for name, value in flat.items() if name not in OWN_FACTS}


def _unique(frame: pd.DataFrame, name: str) -> list[str]:
    return sorted(map(str, frame[name].dropna().unique())) if name in frame else []


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return a colon and a line for each of the names, with its value in A and in B."""
    lines = [f"{name}: {_shown(a.get(name))} in A, {_shown(b.get(name))} in B" for name in names]
    return ":\n" + offenders(lines) if lines else ""


def _shown(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return named([*map(str, value)]) or "none"
