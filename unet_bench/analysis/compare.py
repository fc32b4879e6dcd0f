"""Two runs against each other, before (A) and after (B): what became faster, leaner, better, or
cannot be told.

frames ─▶ rows joined on variant and conditions ─▶ a change with its interval per figure
       ─▶ verdicts

Speed is compared by the ratio to the baseline, timed in alternating blocks of one process: on a
busy or slower machine it stays what it was, where absolute times do not. The baseline's own ratio
therefore says only 1; how far its absolute time moved is a note.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, expm1, inf, isnan, log1p
from pathlib import Path
from typing import Any, Final, Literal

import pandas as pd

from unet_bench.analysis.findings import Finding
from unet_bench.errors import InvalidSuite, StoreError, offenders, unknown
from unet_bench.stats.intervals import Interval
from unet_bench.store.figures import Network
from unet_bench.store.log import read_manifest
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.schema import BY_NAME, CONDITIONS, SIZE
from unet_bench.store.tables import read_results, records
from unet_bench.text_format import scored_size

VERDICTS: Final = (
    "FASTER",
    "SLOWER",
    "LESS",
    "MORE",
    "BETTER",
    "WORSE",
    "SAME",
    "AMBIGUOUS",
    "MISSING",
)
# A network of another width is another network, and a batch that was halved another workload.
KEY: Final = ("variant", "width_scale", *CONDITIONS, "batch_effective")
# Widths scaled to meet nothing, as in all runs of earlier versions.
_SAID_BY_NONE: Final = {"match"}
# These may differ: they are what is compared.
OWN_FACTS: Final = ("env_id", "kernel", "commit", "packages.unet-bench")

By = Literal["ratio", "latency"]
Row = Mapping[str, Any]

_EMPTY: Final = "–"


@dataclass(frozen=True)
class Kind:
    """One figure to compare, and what less, as much and more of it are called."""

    name: str
    column: str
    words: tuple[str, str, str]

    @property
    def relative(self) -> bool:
        """Whether it is compared by quotient, on the logarithm; otherwise by difference."""
        return not BY_NAME[self.column].by_difference

    @property
    def probe(self) -> str:
        """The probe that measures it."""
        return BY_NAME[self.column].probes[0]

    def figure(self, network: Network | None) -> Interval | None:
        """Return a network's figure; None where there is none that can be compared."""
        found = network.interval(self.column) if network else None
        if found is None or (self.relative and not 0 < found.value < inf):
            return None
        return found


_PACE: Final = ("FASTER", "SAME", "SLOWER")
_SPACE: Final = ("LESS", "SAME", "MORE")
_REST: Final = (
    Kind("memory", "peak_memory_mib", _SPACE),
    Kind("training memory", "train_peak_memory_mib", _SPACE),
    Kind("accuracy", "dice", ("WORSE", "SAME", "BETTER")),
)
KINDS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "ratio": (
        Kind("speed", "latency_ratio", _PACE),
        Kind("training step", "train_step_ratio", _PACE),
        *_REST,
    ),
    "latency": (
        Kind("speed", "latency_ms", _PACE),
        Kind("training step", "train_step_ms", _PACE),
        *_REST,
    ),
}


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
    change: float | None
    half_width: float | None
    verdict: str
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """Every comparison of two runs, and what else is to be known of them."""

    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...] = ()

    def failing(self, verdicts: Iterable[str]) -> list[Comparison]:
        """Return the comparisons with one of these verdicts, in any case. Raises UnknownName."""
        wanted = {name.upper() for name in verdicts}
        for name in sorted(wanted - set(VERDICTS)):
            raise unknown("verdict", name, VERDICTS, "unet-bench compare --help")
        return [found for found in self.comparisons if found.verdict in wanted]


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
    `compare`. Raises InvalidSuite for unlike environments or baselines, StoreError for what is no
    run.
    """
    before, after = read_results(a), read_results(b)
    if not across_environments:
        check_environments(Path(a), Path(b), before, after)
    comparisons = compare(before, after, margin, accuracy_margin, by)
    return Report(tuple(comparisons), tuple(findings(before, after, by)))


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    margin: float = 0.02,
    accuracy_margin: float = 0.01,
    by: By = "ratio",
) -> list[Comparison]:
    """Return a verdict for each figure of each variant × workload that is in either frame.

    `margin` is the relative change, `accuracy_margin` the difference in Dice, that does not matter.
    Raises InvalidSuite when ratios are to different baselines or a margin is below 0, StoreError
    for a row that is there twice.
    """
    if by not in KINDS:
        raise unknown("figure to compare by", by, KINDS, "unet-bench compare --help")
    if not (margin >= 0 and accuracy_margin >= 0):
        raise InvalidSuite(
            f"margins of {margin:g} and {accuracy_margin:g}: both must be at least 0, such as 0.02"
        )
    pairs = joined(a, b)
    if by == "ratio":
        _check_baselines(pairs.values())
    labels = workloads(pairs)
    found = (
        _compared(
            kind, str(key[0]), labels[key], pair, margin if kind.relative else accuracy_margin
        )
        for kind in KINDS[by]
        for key, pair in pairs.items()
    )
    return [comparison for comparison in found if comparison is not None]


def verdict(
    change: float,
    low: float,
    high: float,
    margin: float,
    names: tuple[str, str, str] = ("FASTER", "SAME", "SLOWER"),
) -> str:
    """Return the verdict on a change and the ends of its interval, all on one scale.

    The middle name if the whole interval lies within ±margin, an outer name if it lies wholly
    beyond on that side. Else AMBIGUOUS, also without an interval (NaN). MISSING without a change
    (NaN).
    """
    if isnan(change):
        return "MISSING"
    if -margin <= low and high <= margin:
        return names[1]
    if high < -margin:
        return names[0]
    return names[2] if low > margin else "AMBIGUOUS"


# ---- from frames to pairs of rows


Pair = tuple[Network | None, Network | None]  # of A and of B
Pairs = dict[tuple[Any, ...], Pair]


def joined(a: pd.DataFrame, b: pd.DataFrame) -> Pairs:
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
    return {
        key: (before.get(key), after.get(key))
        for key in (*before, *(key for key in after if key not in before))
    }


def _by_key(
    frame: pd.DataFrame, side: str, shared: Collection[str]
) -> dict[tuple[Any, ...], Network]:
    found: dict[tuple[Any, ...], Network] = {}
    for row in records(frame):
        key = tuple(row.get(name) if name in shared else None for name in KEY)
        if key in found:
            raise StoreError(
                f"{side} holds variant {row['variant']!r} twice under the same conditions: it "
                "cannot be told which is meant; give one run at a time"
            )
        found[key] = Network(row)
    return found


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


def workloads(pairs: Pairs) -> dict[tuple[Any, ...], str]:
    """Return, by key, the conditions that differ between the rows of a variant.

    The data's hash is named only if nothing else differs.
    """
    named = {key: dict(zip(KEY, key, strict=True)) for key in pairs}
    seen: dict[tuple[Any, str], set[Any]] = defaultdict(set)
    for key, conditions in named.items():
        for name in KEY[1:]:
            seen[key[0], name].add(conditions[name])
    varying = [
        name for name in KEY[1:] if any(len(v) > 1 for (_, of), v in seen.items() if of == name)
    ]
    labels = {key: " ".join(_words(conditions, varying)) for key, conditions in named.items()}
    alike = Counter((key[0], label) for key, label in labels.items())
    position = KEY.index("dataset_hash")
    return {
        key: f"{label} {key[position] or _EMPTY}".strip() if alike[key[0], label] > 1 else label
        for key, label in labels.items()
    }


def _words(conditions: Row, varying: Sequence[str]) -> Iterator[str]:
    for name in varying:
        value = conditions[name]
        match name:
            case "dataset_hash":
                continue
            case _ if name in SIZE:
                if name == next(side for side in SIZE if side in varying):
                    yield from scored_size(conditions, "")
            case _ if value is None:
                continue
            case "batch_requested":
                yield f"batch {value}"
            case "match":
                yield f"matched {value}"
            case "threads" | "width_scale":
                yield f"{name} {value:g}"
            case _:
                yield str(value)


# ---- from a pair of rows to a verdict


def _compared(
    kind: Kind, variant: str, workload: str, pair: Pair, margin: float
) -> Comparison | None:
    """Return the comparison of a figure; None where neither run asked for it."""
    a, b = (kind.figure(network) for network in pair)
    asked = any(one and one.row.get(f"{kind.probe}_status") for one in pair)
    if a is None and b is None and not asked:
        return None
    before, after = (None if figure is None else figure.value for figure in (a, b))
    found = Comparison(
        variant, workload, kind.name, kind.column, before, after, None, None, "MISSING"
    )
    if a is None or b is None:
        sides = zip((a, b), pair, "AB", strict=True)
        reasons = [_absence(kind, one, side) for figure, one, side in sides if figure is None]
        return replace(found, reason="; ".join(reasons))
    change = b.log().minus(a.log()) if kind.relative else b.minus(a)
    half = (change.high - change.low) / 2
    if kind.relative:
        limit, shown, reach = log1p(margin), expm1(change.value), exp(change.value) * expm1(half)
    else:
        limit, shown, reach = margin, change.value, half
    return replace(
        found,
        change=shown,
        half_width=None if isnan(half) else reach,
        verdict=verdict(*change, limit, kind.words),
        reason="no interval" if isnan(half) else "",
    )


def _absence(kind: Kind, network: Network | None, side: str) -> str:
    """Return why a side has no figure."""
    if network is None:
        return f"not in {side}"
    status, error = network.row.get(f"{kind.probe}_status"), network.row.get("error")
    first_line = str(error).strip().partition("\n")[0]
    because = f": {first_line}" if error and status != "ok" else ""
    return f"{side} {status or 'not measured'}{because}"


def findings(a: pd.DataFrame, b: pd.DataFrame, by: By) -> Iterator[Finding]:
    """Yield how far the baseline's own time moved on quiet machines, and what was not compared."""
    pairs = joined(a, b)
    labels = workloads(pairs)
    unpaired = 0
    for key, (before, after) in pairs.items():
        if before is None or after is None:
            continue
        old, new = (one.number("latency_ms") for one in (before, after))
        if not (old and new):
            continue
        ratios = [one.number("latency_ratio") for one in (before, after)]
        unpaired += by == "ratio" and ratios == [None, None]
        if before.variant == before.baseline and before.quality == after.quality == "clean":
            values = {"baseline": before.variant, "workload": labels[key], "old": old, "new": new}
            yield Finding("baseline moved", {**values, "change": new / old - 1})
    if unpaired:
        yield Finding("no ratio", {"rows": unpaired})


# ---- environments


def check_environments(path_a: Path, path_b: Path, a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Raise InvalidSuite for runs that were measured on unlike machines or software.

    By the facts in both runs' run.json; without those by the frames' environment ids, or by their
    devices' names. Our own version and commit may differ, since they are what one compares.
    """
    before, after = _facts(path_a), _facts(path_b)
    if before is None or after is None:
        known = [
            name for name in ("env_id", "device_name") if _unique(a, name) and _unique(b, name)
        ][:1]
        before, after = ({name: _unique(frame, name) for name in known} for frame in (a, b))
    unlike = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if unlike:
        lines = offenders(
            [
                f"{name}: {_shown(before.get(name))} in A, {_shown(after.get(name))} in B"
                for name in unlike
            ]
        )
        raise InvalidSuite(
            f"A and B were measured in unlike environments:\n{lines}\n"
            "run both in one; or, to compare in spite of it, add --across-environments"
        )


def _facts(path: Path) -> dict[str, Any] | None:
    """Return a run's environment as flat values; None if there is none.

    It is read from the run.json in the folder or beside the csv.
    """
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".json" or not RunFolder(folder).manifest.is_file():
        return None
    environment = read_manifest(folder).get("environment")
    if not isinstance(environment, dict):
        return None
    flat: dict[str, Any] = {}
    for name, value in environment.items():
        flat |= (
            {f"{name}.{inner}": v for inner, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return {name: value for name, value in flat.items() if name not in OWN_FACTS}


def _unique(frame: pd.DataFrame, name: str) -> list[str]:
    return sorted(map(str, frame[name].dropna().unique())) if name in frame else []


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
