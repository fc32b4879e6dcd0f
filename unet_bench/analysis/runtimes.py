"""Which runtime runs a network fastest, and what that costs in Dice.

rows of one network by runtime ─▶ those that lose no Dice to speak of ─▶ the fastest
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from unet_bench.analysis.findings import Finding
from unet_bench.spec.cell import Setting
from unet_bench.store.figures import PEERS, Network

OF_RUNTIME: Final = ("runtime", "quantize")
LOSS: Final = 0.003  # of Dice, which a quicker runtime may cost at most, its interval included


def alike_but_for_runtime(key: Sequence[Any]) -> tuple[Any, ...]:
    """Return of `PEERS` values those that do not say which runtime it was."""
    return tuple(value for name, value in zip(PEERS, key, strict=True) if name not in OF_RUNTIME)


def main_groups(keys: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Return, for all that is alike but for the runtime, the key in which networks are compared.

    That is eager torch's, where trainings are scored, or else the first.
    """
    as_trained = (Setting.runtime, Setting.quantize)
    chosen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for key in keys:
        named = dict(zip(PEERS, key, strict=True))
        is_eager = tuple(named[name] for name in OF_RUNTIME) == as_trained
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
    how = str(best.row["runtime"])
    if best.row["quantize"] != Setting.quantize:
        how += f", {best.row['quantize']}"
    values: dict[str, Any] = {
        "variant": variant,
        "how": how,
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
