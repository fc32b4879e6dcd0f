"""Which network scores best while a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from unet_bench.text_format import counted


class Score(NamedTuple):
    """The test Dice of one training, or of a trivial baseline."""

    task: str
    budget: str | None  # of training, as it was asked for
    variant: str
    trivial: bool
    seed: int
    dice: float


class Leader(NamedTuple):
    """The variant with the best mean Dice."""

    variant: str
    dice: float
    seeds: int


class BestSoFar:
    """The best variant of each task.

    Trivial baselines are apart, and a training is compared with those of its budget alone: the
    budget of the one that ended last.
    """

    def __init__(self) -> None:
        self._scores: dict[str, Score] = {}  # by cell

    def take(self, row: Mapping[str, Any]) -> None:
        """Take note of a row; a later attempt at a cell stands for the earlier one."""
        dice = row.get("dice") if row["status"] == "ok" else None
        self._scores.pop(row.get("cell_id", ""), None)
        if dice is not None and math.isfinite(dice):
            self._scores[row["cell_id"]] = Score(
                task=row["task"],
                budget=row.get("budget"),  # which rows of the first runs lack
                variant=row["variant"],
                trivial=bool(row.get("trivial")),
                seed=row["seed"],
                dice=dice,
            )

    def leaders(self) -> dict[str, Leader | None]:
        """Return the best trained variant of each task, None where there is none."""
        return {task: best(trained(scores)) for task, scores in self._by_task().items()}

    def sentences(self) -> dict[str, str]:
        """Return what to say of each task: the best variant, and the best without training."""
        by_task = self._by_task()
        return {
            task: sentence(f" on {task}" if len(by_task) > 1 else "", scores)
            for task, scores in by_task.items()
        }

    def _by_task(self) -> dict[str, list[Score]]:
        by_task: dict[str, list[Score]] = {}
        for score in self._scores.values():
            by_task.setdefault(score.task, []).append(score)
        return by_task


def trained(scores: Iterable[Score]) -> list[Score]:
    """Return the trainings that had the budget of the last one."""
    found = [score for score in scores if not score.trivial]
    return [score for score in found if score.budget == found[-1].budget]


def best(scores: Sequence[Score]) -> Leader | None:
    """Return the variant with the highest mean Dice, None without scores."""
    by_variant: dict[str, list[Score]] = {}
    for score in scores:
        by_variant.setdefault(score.variant, []).append(score)
    leaders = (
        Leader(variant, fmean(score.dice for score in of), len({score.seed for score in of}))
        for variant, of in by_variant.items()
    )
    return max(leaders, key=lambda leader: leader.dice, default=None)


def sentence(where: str, scores: Sequence[Score]) -> str:
    """Return what is best among the scores of one task."""
    leader = best(trained(scores))
    trivial = best([score for score in scores if score.trivial])
    text = f"best so far{where}: "
    if leader:
        text += f"{leader.variant}, Dice {leader.dice:.3f} ({counted(leader.seeds, 'seed')})"
    else:
        text += "nothing trained yet"
    return f"{text}; without training: {trivial.variant} {trivial.dice:.3f}" if trivial else text
