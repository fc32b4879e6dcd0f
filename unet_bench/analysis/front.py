"""The Pareto front over Dice, latency and peak memory, and how sure it is of each network.

rows that may be compared ─▶ three figures each, and their errors ─▶ draws ─▶ who is beaten, and how often

A network is on the front unless another is at least as good in every dimension and better in one.
Figures have errors, so that the front of the figures themselves is one of many that could have been
seen: each draw moves every figure within its error, and the probability is the part of the draws in
which a network is on the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, Final, cast

from unet_bench.networks.choices import NAMES
from unet_bench.stats.intervals import Z_975, t_975
from unet_bench.stats.paired import units
from unet_bench.stats.pareto import undominated
from unet_bench.store.figures import Figure, baseline_of, figures_of
from unet_bench.store.runs import PEERS, Runs
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import named

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Draws = NDArray[np.float64]  # (dimension, network, draw), less is better

DRAWS: Final = 2000
DIMENSIONS: Final[Mapping[str, str]] = {
    "dice": "Dice",
    "latency": "latency",
    "peak_memory_mib": "peak memory",
}
_PROBES: Final[Mapping[str, str]] = {
    "dice": "accuracy",
    "latency": "speed",
    "peak_memory_mib": "memory",
}

_UNSEEN: Final = frozenset(
    (*NAMES, "plugins", "inactive", "architecture", "architecture_args", "evidence", "error")
)

Row = Mapping[str, Any]
Scores = Mapping[str, Mapping[tuple[Any, Any], float]]  # by variant: Dice by (fold, seed)


@dataclass(frozen=True)
class Front:
    """By network: whether it is on the front of the figures, and in which part of the draws it is
    on theirs.
    """

    members: Mapping[str, bool]
    probability: Mapping[str, float]
    notes: tuple[str, ...] = ()


def peer_groups(rows: Iterable[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """The rows that may be compared with one another, by the values of `PEERS`, in the order of
    appearance.

    What failed before it ran states no batch: it is counted as of the batch that was asked for.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        batch = row.get("batch_effective")
        batch = row.get("batch_requested") if batch is None else batch
        key = (row.get("run_id"), *(row.get(name) for name in CONDITIONS), batch)
        groups.setdefault(key, []).append(row)
    assert all(len(key) == len(PEERS) for key in groups)
    return groups


def labels(groups: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], str]:
    """By key of `peer_groups` the fewest words that tell it from the others: none where it is
    alone.
    """
    keys = list(groups)
    words: dict[tuple[Any, ...], list[str]] = {key: [] for key in keys}
    for n, name in enumerate(PEERS):
        if len({tuple(said) for said in words.values()}) == len(keys):
            break
        if len({key[n] for key in keys}) > 1:
            for key in keys:
                word = (
                    name.removesuffix("_requested").removesuffix("_effective")
                    if isinstance(key[n], int)
                    else ""
                )
                words[key].append(
                    f"{word} {key[n]}".strip() if key[n] is not None else f"no {name}"
                )
    return {key: " · ".join(said) for key, said in words.items()}


def rows_of(results: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table of results as plain values, without a network's choices: what fronts and
    budgets look at.
    """
    names = [str(name) for name in results if name not in _UNSEEN]
    columns = (
        results[name].to_numpy(dtype=object, na_value=cast(Any, None)).tolist() for name in names
    )
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def scores_of(runs: Runs) -> dict[tuple[Any, ...], dict[str, dict[tuple[Any, Any], float]]]:
    """Dice of every accuracy cell, by run and conditions (`PEERS` without the last), then as
    `Scores`.
    """
    scores: dict[tuple[Any, ...], dict[str, dict[tuple[Any, Any], float]]] = {}
    cells = runs.cells[
        (runs.cells["probe"] == "accuracy").fillna(False) & runs.cells["dice"].notna()
    ]
    for row in records(cells[["run_id", *CONDITIONS, "variant", "fold", "seed", "dice"]]):
        group = scores.setdefault(tuple(row[name] for name in ("run_id", *CONDITIONS)), {})
        group.setdefault(row["variant"], {})[row["fold"], row["seed"]] = row["dice"]
    return scores


def front(rows: Sequence[Row], scores: Scores | None = None, *, draws: int = DRAWS) -> Front:
    """The front of rows that may be compared; trivial baselines take no part, nor does what lacks a figure
    that others have.

    With the `scores` of the cells, errors of Dice are drawn jointly, so that what networks have in
    common cancels between them. A dimension of which nobody has a figure is left out; without any
    there is no front. The draws are the same at every call.
    """
    networks = [row for row in rows if not row["trivial"]]
    found = figures_of(networks)
    measured = [name for name in DIMENSIONS if any(found[row["variant"]][name] for row in networks)]
    missing = [DIMENSIONS[name] for name in DIMENSIONS if name not in measured]
    notes = (
        [f"without {' and '.join(missing)}, of which there is no figure"]
        if missing and measured
        else []
    )
    complete = {name: [figure for d in measured if (figure := of[d])] for name, of in found.items()}
    figures = {name: of for name, of in complete.items() if len(of) == len(measured)}
    if lacking := [name for name in found if name not in figures]:
        notes.append(
            f"not on any front, since a figure is missing or a cell failed: {named(lacking)}"
        )
    if not measured or not figures:
        return Front({}, {}, ("no front: there is no Dice, latency or peak memory",))
    notes += _errors(networks, figures, measured)
    sources = {row["variant"]: row.get("same_as") or row["variant"] for row in networks}
    values, drawn = _drawn(figures, sources, draws)
    if "dice" in measured:
        _move_jointly(drawn[0], values[0], list(figures), baseline_of(networks), scores or {})
    members = undominated(values)[:, 0]
    probability = undominated(drawn).mean(axis=1)
    names = list(figures)
    return Front(
        dict(zip(names, map(bool, members), strict=True)),
        dict(zip(names, map(float, probability), strict=True)),
        tuple(notes),
    )


# ---- from rows to figures


def _errors(
    networks: Sequence[Row], figures: Mapping[str, Sequence[Figure]], measured: Sequence[str]
) -> list[str]:
    """What is not known of the figures' errors."""
    notes = []
    for n, dimension in enumerate(measured):
        bare = [name for name, of in figures.items() if isnan(of[n].down)]
        if bare:
            notes.append(
                f"{DIMENSIONS[dimension]} without an interval counts as it is: {named(bare)}"
            )
    single = any((row.get("seeds") or 0) == 1 and row.get("dice_sd") is None for row in networks)
    if "dice" in measured and single:
        notes.append(
            "Dice of a single seed: its error is that of the test images alone; another seed may move it further"
        )
    return notes


# ---- from figures to fronts


def _drawn(
    figures: Mapping[str, Sequence[Figure]], sources: Mapping[str, str], draws: int
) -> tuple[Draws, Draws]:
    """The figures themselves as a single draw, and draws of them.

    Errors follow Student's t with the units' degrees of freedom, a normal distribution where units
    are many, each side scaled so that 95 % of the draws lie within the interval. Variants measured
    as one move as one.
    """
    import numpy as np

    random = np.random.default_rng(0)
    values = np.array([[figure.value for figure in of] for of in figures.values()]).T[..., None]
    moved = np.repeat(values, draws, axis=2)
    errors: dict[str, list[Draws | float]] = {}
    for n, (name, of) in enumerate(figures.items()):
        own = errors.setdefault(sources[name], [])
        own += [] if own else [_error(figure, draws, random) for figure in of]
        for dimension, error in enumerate(own):
            moved[dimension, n] += error
    return values, moved


def _move_jointly(
    moved: Draws, values: Draws, names: Sequence[str], baseline: Row | None, scores: Scores
) -> None:
    """Draws the losses (network, draw) of networks with Dice of equal (fold, seed) anew, from their
    joint errors.

    Multivariate t: covariance that of the mean over units, degrees of freedom units less one, so
    that the difference of any two is drawn as its own paired interval says. All are relative to the
    baseline, as other networks' errors are; its own error is then 0. Nothing is done with fewer
    than two units, or two such networks.
    """
    import numpy as np

    own = scores.get(names[0] if baseline is None else baseline["variant"], {})
    alike = [n for n, name in enumerate(names) if scores.get(name, {}).keys() == own.keys()]
    if len(own) < 2 or len(alike) < 2:
        return

    def of_units(score: Mapping[tuple[Any, Any], float]) -> list[float]:
        return units([(key[0], score[key]) for key in own])

    dice = np.array([of_units(scores[names[n]]) for n in alike])
    if baseline is not None:
        dice = dice - np.array(of_units(own))
    count, random = dice.shape[1], np.random.default_rng(1)
    heavy = np.sqrt(random.chisquare(count - 1, moved.shape[1]) / (count - 1))
    errors = np.zeros((len(alike), moved.shape[1]))
    for unit in (
        dice - dice.mean(axis=1, keepdims=True)
    ).T:  # not a product of matrices: equal rows stay equal
        errors += unit[:, None] * random.standard_normal(moved.shape[1])
    moved[alike] = values[alike] + errors / (heavy * np.sqrt(count * (count - 1)))


def _error(figure: Figure, draws: int, random: np.random.Generator) -> Draws | float:
    import numpy as np

    down, up = (0.0 if isnan(end) else end for end in (figure.down, figure.up))
    if not (down or up):
        return 0.0
    standard: Draws = (
        random.standard_normal(draws) / Z_975
        if figure.units is None
        else random.standard_t(figure.units - 1, draws) / t_975(figure.units - 1)
    )
    moved: Draws = standard * np.where(standard < 0, down, up)
    return moved
