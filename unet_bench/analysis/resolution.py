"""How small a difference a data set can show: by more seeds, and whatever the number of seeds.

cells of a few networks ─▶ spread of paired differences over seeds ─▶ what n seeds would find
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, variance
from typing import Final

import pandas as pd

from unet_bench.errors import StoreError
from unet_bench.stats.power import effect_found
from unet_bench.store.schema import CONDITIONS

SEEDS: Final = (2, 3, 5, 10, 20)
FEWEST: Final = 2  # seeds, of each of two networks


@dataclass(frozen=True)
class Resolution:
    """What a data set can tell apart, by so many `trainings` of each of some `networks`."""

    task: str
    networks: tuple[str, ...]
    trainings: int
    train_images: int
    test_images: int
    sd: float  # of the difference in Dice of two trainings with an equal seed
    other_images: float | None  # half an interval of Dice over test images; None: too few to say

    def smallest(self, seeds: int) -> float:
        """Return the difference in Dice that so many seeds find in four of five cases."""
        return effect_found(seeds) * self.sd


def resolutions(cells: pd.DataFrame) -> list[Resolution]:
    """Return what each task of a run can tell apart. Raises StoreError where too little is known.

    Spread over seeds (and folds) is pooled over all pairs of networks.
    """
    ok = cells[(cells["probe"] == "accuracy") & (cells["status"] == "ok")]
    ok = ok[~ok["trivial"].astype(bool) & ok["dice"].notna()]
    alike = [name for name in CONDITIONS if name in ok]
    found = [_resolution(of) for _, of in ok.groupby(alike, sort=False, dropna=False)]
    known = [one for one in found if one is not None]
    if not known:
        raise StoreError(
            f"no two networks of this run were trained with {FEWEST} seeds on the same data: "
            "give it --seeds 0,1,2"
        )
    return known


def _resolution(cells: pd.DataFrame) -> Resolution | None:
    scores: dict[str, dict[tuple[int, str], float]] = defaultdict(dict)
    rows = cells[["variant", "seed", "fold", "dice"]]
    for name, seed, fold, dice in rows.itertuples(index=False):
        scores[str(name)][int(seed), str(fold)] = float(dice)
    pairs = []
    for one, other in combinations(scores.values(), 2):
        differences = [one[key] - other[key] for key in one.keys() & other.keys()]
        if len(differences) >= FEWEST:
            pairs.append(differences)
    if not pairs:
        return None
    half = (cells["dice_ci_high"] - cells["dice_ci_low"]).dropna() / 2
    return Resolution(
        task=str(cells["task"].iloc[0]),
        networks=tuple(scores),
        trainings=max(map(len, scores.values())),
        train_images=_first(cells, "train_images"),
        test_images=_first(cells, "test_images"),
        sd=math.sqrt(fmean(map(variance, pairs))),
        other_images=float(half.mean()) if len(half) else None,
    )


def _first(cells: pd.DataFrame, name: str) -> int:
    known = cells[name].dropna()
    return int(known.iloc[0]) if len(known) else 0
