"""The Pareto front over Dice, latency and peak memory, and how sure it is of each network.

peers ─▶ three figures each, with their errors ─▶ draws ─▶ who is beaten, and how often

A network is on the front unless another is at least as good in every dimension and better in one.
Since figures have errors, the front of the figures themselves is one of many that could have been
seen: each draw moves every figure within its error, and the probability is the share of draws in
which a network is on the front.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from unet_bench.analysis.findings import Finding
from unet_bench.networks.choices import NAMES
from unet_bench.stats.intervals import Z_975, t_975
from unet_bench.stats.paired import coarsest, units
from unet_bench.stats.pareto import undominated
from unet_bench.stats.reliability import reliability
from unet_bench.store.figures import PEERS, Network, Peers, Scaled, peer_groups
from unet_bench.store.runs import Runs
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import records

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Draws = NDArray[np.float64]  # (dimension, network, draw), less is better

DRAWS: Final = 2000
MOST_DRAWN: Final = 500_000  # networks times draws: of more than 250 networks there are fewer
DIMENSIONS: Final[Mapping[str, str]] = {
    "dice": "Dice",
    "latency": "latency",
    "peak_memory_mib": "peak memory",
}
_UNSEEN: Final = (
    *(name for name in NAMES if name != "width_scale"),
    *("plugins", "inactive", "architecture", "architecture_args", "error"),
)

Scores = Mapping[tuple[Any, Any], float]  # Dice by (fold, seed)
ScoresByVariant = Mapping[str, Scores]
Figures = Mapping[str, Sequence[Scaled]]  # by variant, one for each dimension that was measured


@dataclass(frozen=True)
class Front:
    """By variant whether it is on the front of the figures, and in what share of the draws."""

    members: Mapping[str, bool]
    probability: Mapping[str, float]
    findings: tuple[Finding, ...] = ()


def networks_of(results: pd.DataFrame) -> dict[tuple[Any, ...], list[Network]]:
    """Return the networks of a table of results that may be compared, by their `PEERS` values."""
    groups = peer_groups(records(results.drop(columns=list(_UNSEEN), errors="ignore")))
    return {key: [*map(Network, rows)] for key, rows in groups.items()}


def told_apart(
    keys: Collection[tuple[Any, ...]], names: Sequence[str] = PEERS
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return, by key, the fewest conditions that tell it from the others; none for a single key."""
    needed: list[int] = []
    for n in range(len(names)):
        if len({tuple(key[i] for i in needed) for key in keys}) == len(keys):
            break
        if len({key[n] for key in keys}) > 1:
            needed.append(n)
    return {key: {names[n]: key[n] for n in needed} for key in keys}


def scores_of(runs: Runs) -> dict[tuple[Any, ...], dict[str, dict[tuple[Any, Any], float]]]:
    """Return the Dice of every accuracy cell.

    Keys are, from the outside in: run and conditions, variant, (fold, seed).
    """
    scores: dict[tuple[Any, ...], dict[str, dict[tuple[Any, Any], float]]] = {}
    is_scored = (runs.cells["probe"] == "accuracy").fillna(False) & runs.cells["dice"].notna()
    names = ("run_id", *CONDITIONS, "variant", "fold", "seed", "dice")
    for row in records(runs.cells.loc[is_scored, list(names)]):
        *conditions, variant, fold, seed, dice = row.values()
        scores.setdefault(tuple(conditions), {}).setdefault(variant, {})[fold, seed] = dice
    return scores


def reliability_of(networks: Sequence[Network], scores: ScoresByVariant) -> Iterator[Finding]:
    """Yield how reliable a ranking of networks by Dice is, where they have two seeds or folds."""
    names = [one.variant for one in networks if not one.is_trivial and one.variant in scores]
    # Variants measured as one are one.
    distinct = {tuple(sorted(scores[name].items(), key=str)): name for name in names}
    by_unit = {
        name: dict(zip(coarsest([*scores[name]]), scores[name].values(), strict=True))
        for name in distinct.values()
        if len({fold for fold, _ in scores[name]}) < 2
    }
    if found := reliability(by_unit):
        yield Finding("reliability", asdict(found))


def front(
    networks: Sequence[Network], scores: ScoresByVariant | None = None, *, draws: int = DRAWS
) -> Front:
    """Return the front of networks that may be compared.

    What needs no training takes no part, nor does what lacks a figure that others have. With the
    `scores` of the cells, errors of Dice are drawn jointly, so that what networks have in common
    cancels between them. A dimension of which nobody has a figure is left out; without any there is
    no front. The draws are the same at every call.
    """
    peers = Peers(tuple(one for one in networks if not one.is_trivial))
    scaled = {one.variant: peers.scaled(one) for one in peers.networks}
    measured = [name for name in DIMENSIONS if any(of[name] for of in scaled.values())]
    known = {name: [one for d in measured if (one := of[d])] for name, of in scaled.items()}
    figures = {name: of for name, of in known.items() if len(of) == len(measured)}
    if not measured or not figures:
        return Front({}, {}, (Finding("no front"),))
    values, drawn = _drawn(figures, peers, min(draws, max(200, MOST_DRAWN // len(figures))))
    if "dice" in measured:
        _move_jointly(drawn[0], values[0], list(figures), peers.baseline, scores or {})
    members, probability = undominated(values)[:, 0], undominated(drawn).mean(axis=1)
    return Front(
        dict(zip(figures, map(bool, members), strict=True)),
        dict(zip(figures, map(float, probability), strict=True)),
        (*_findings(peers, figures, measured), *reliability_of(networks, scores or {})),
    )


def _findings(peers: Peers, figures: Figures, measured: Sequence[str]) -> Iterator[Finding]:
    """Yield what was left out, and what is not known of the figures' errors."""
    if missing := [label for name, label in DIMENSIONS.items() if name not in measured]:
        yield Finding("dimensions without figures", {"dimensions": missing})
    if lacking := [one.variant for one in peers.networks if one.variant not in figures]:
        yield Finding("not on any front", {"variants": lacking})
    for n, dimension in enumerate(measured):
        bare = [name for name, of in figures.items() if isnan(of[n].interval.half)]
        if bare:
            values = {"dimension": DIMENSIONS[dimension], "variants": bare}
            yield Finding("figures without intervals", values)
    single = [n for n in peers.networks if n.number("seeds") == 1 and n.number("dice_sd") is None]
    if single and "dice" in measured:
        yield Finding("single seed")


def _drawn(figures: Figures, peers: Peers, draws: int) -> tuple[Draws, Draws]:
    """Return the figures themselves as a single draw, and draws of them.

    Errors follow Student's t with the units' degrees of freedom, a normal distribution where units
    are many, each side scaled so that 95 % of the draws lie within the interval. Variants measured
    as one move as one.
    """
    import numpy as np

    random = np.random.default_rng(0)
    measured_as = {one.variant: one.row.get("same_as") or one.variant for one in peers.networks}
    points = [[figure.interval.value for figure in of] for of in figures.values()]
    values = np.array(points).T[..., None]
    moved = np.repeat(values, draws, axis=2)
    errors: dict[str, list[Draws | float]] = {}
    for n, (name, of) in enumerate(figures.items()):
        if measured_as[name] not in errors:
            errors[measured_as[name]] = [_error(figure, draws, random) for figure in of]
        for dimension, error in enumerate(errors[measured_as[name]]):
            moved[dimension, n] += error
    return values, moved


def _move_jointly(
    moved: Draws,
    values: Draws,
    names: Sequence[str],
    baseline: Network | None,
    scores: ScoresByVariant,
) -> None:
    """Draw jointly the losses (network, draw) of networks that share (fold, seed) pairs.

    The draws replace the losses in place. They follow the multivariate t: covariance that of the
    mean over units, degrees of freedom units less one, so that the difference of any two is drawn
    as its own paired interval says. All are relative to the baseline, as other networks' errors
    are; its own error is then 0. Nothing is done with fewer than two units, or two such networks.
    """
    import numpy as np

    shared = scores.get(names[0] if baseline is None else baseline.variant, {})
    alike = [n for n, name in enumerate(names) if scores.get(name, {}).keys() == shared.keys()]
    if len(shared) < 2 or len(alike) < 2:
        return

    def of_units(score: Scores) -> list[float]:
        return units([(key[0], score[key]) for key in shared])

    dice = np.array([of_units(scores[names[n]]) for n in alike])
    if baseline is not None:
        dice = dice - np.array(of_units(shared))
    count, random = dice.shape[1], np.random.default_rng(1)
    heavy = np.sqrt(random.chisquare(count - 1, moved.shape[1]) / (count - 1))
    errors = np.zeros((len(alike), moved.shape[1]))
    # No product of matrices, in which equal rows would not stay equal.
    for unit in (dice - dice.mean(axis=1, keepdims=True)).T:
        errors += unit[:, None] * random.standard_normal(moved.shape[1])
    moved[alike] = values[alike] + errors / (heavy * np.sqrt(count * (count - 1)))


def _error(figure: Scaled, draws: int, random: np.random.Generator) -> Draws | float:
    """Return draws of a figure's error; 0 for a figure that is exact or has no interval."""
    import numpy as np

    down, up = figure.interval.reach(unknown=0.0)
    if not (down or up):
        return 0.0
    if figure.units is None:
        standard = random.standard_normal(draws) / Z_975
    else:
        standard = random.standard_t(figure.units - 1, draws) / t_975(figure.units - 1)
    moved: Draws = standard * np.where(standard < 0, down, up)
    return moved
