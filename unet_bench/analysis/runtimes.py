"""Which runtime runs a network fastest, and what that costs in Dice.

rows of one network by runtime ─▶ those that lose no Dice to speak of ─▶ the fastest
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import exp, hypot, isfinite, log
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.findings import Finding
from unet_bench.spec.cell import Setting
from unet_bench.store.figures import PEERS, Network, Row
from unet_bench.store.runs import Runs
from unet_bench.store.schema import CONDITIONS, INTERVALS, RUNTIME
from unet_bench.store.tables import records, typed_frame

LOSS: Final = 0.003  # of Dice, which a quicker runtime may cost at most, its interval included


def alike_but_for_runtime(key: Sequence[Any]) -> tuple[Any, ...]:
    """Return of `PEERS` values those that do not say which runtime it was."""
    return tuple(value for name, value in zip(PEERS, key, strict=True) if name not in RUNTIME)


def main_groups(keys: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return, for all that is alike but for the runtime, the key in which networks are compared.

    That is eager torch's, where trainings are scored, or else the first.
    """
    as_trained = (Setting.runtime, Setting.quantize)
    chosen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for key in keys:
        named = dict(zip(PEERS, key, strict=True))
        is_eager = tuple(named[name] for name in RUNTIME) == as_trained
        family = alike_but_for_runtime(key)
        if is_eager or family not in chosen:
            chosen[family] = key
    return chosen


def runtime_findings(
    variant: str, groups: Mapping[tuple[Any, ...], Sequence[Network]], key: tuple[Any, ...]
) -> list[Finding]:
    """Return how fast the quickest other runtime runs a variant, if any was timed beside eager."""
    family = alike_but_for_runtime(key)
    rows = [
        network
        for other, networks in groups.items()
        if alike_but_for_runtime(other) == family
        for network in networks
        if network.variant == variant and network.figure("eager_ratio")
    ]
    timed = [one for one in rows if isfinite(one.figure("eager_ratio").high)]  # type: ignore[union-attr]
    if not timed:
        return []
    harmless = [network for network in timed if _loses_nothing(network)]
    best = min(harmless or timed, key=lambda network: network.number("eager_ratio") or 1.0)
    ratio = best.figure("eager_ratio")
    assert ratio is not None
    values: dict[str, Any] = {
        "variant": variant,
        "how": way_of(best.row),
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
    }
    change = best.figure("dice_change")
    if change is None:
        return [Finding("runtime", values)]
    values |= {"change": change.value, "least": change.low, "most": change.high}
    return [Finding("runtime and Dice", values)]


def _loses_nothing(network: Network) -> bool:
    change = network.figure("dice_change")
    return change is None or change.low >= -LOSS or change.value >= 0


def way_of(row: Row) -> str:
    """Return runtime and quantisation in words."""
    quantize = row["quantize"]
    return str(row["runtime"]) + ("" if quantize == Setting.quantize else f" {quantize}")


# ---- one network by several runtimes as so many candidates


def in_any_runtime(runs: Runs) -> Runs:
    """Return runs in which a network by another runtime is a candidate beside eager torch's.

    It is called `NETWORK in RUNTIME`. Its latency over the baseline's is that of the network in
    eager torch, times what the runtime takes of eager's time; what does not depend on the runtime
    is that of the network in eager torch.
    """
    eager = {}
    for row in records(runs.results):
        if _is_eager(row):
            eager[_but_for_runtime(row)] = row
    results = [_as_candidate(row, eager) for row in records(runs.results)]
    cells = [_as_candidate(row, eager) for row in records(runs.cells)]
    return replace(
        runs,
        results=typed_frame(results, _dtypes(runs.results)),
        cells=typed_frame(cells, _dtypes(runs.cells)),
    )


def network_of(candidate: str) -> str:
    """Return the name of a candidate's network."""
    return candidate.partition(_IN)[0]


_IN: Final = " in "


def _dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def _is_eager(row: Row) -> bool:
    return all(row.get(name) == getattr(Setting, name) for name in RUNTIME)


def _but_for_runtime(row: Row) -> tuple[Any, ...]:
    alike = (name for name in CONDITIONS if name not in RUNTIME)
    return (row["run_id"], row["variant"], *(row.get(name) for name in alike))


def _as_candidate(row: Row, eager: Mapping[tuple[Any, ...], Row]) -> dict[str, Any]:
    """Return a row under a candidate's name, and its ratio to eager torch's baseline."""
    beside = eager.get(_but_for_runtime(row))
    if beside is None or _is_eager(row):
        return dict(row)
    made = {**row, "variant": f"{row['variant']}{_IN}{way_of(row)}"}
    made |= {name: getattr(Setting, name) for name in RUNTIME}
    if "probe" in row:  # a cell: its Dice counts as the network's does
        return made | ({"probe": "accuracy"} if row.get("dice_change") is not None else {})
    made |= {name: beside.get(name) for name in ("params", "macs")}
    to_eager, to_baseline = (
        Network(of).interval(name) for of, name in ((row, "eager_ratio"), (beside, "latency_ratio"))
    )
    ends = ("latency_ratio", *INTERVALS["latency_ratio"])
    if to_eager is None or to_baseline is None:
        return made | dict.fromkeys(ends)
    ratio = to_eager.value * to_baseline.value
    reach = hypot(*(log(one.high / one.low) / 2 for one in (to_eager, to_baseline)))
    return made | dict(zip(ends, (ratio, ratio * exp(-reach), ratio * exp(reach)), strict=True))
