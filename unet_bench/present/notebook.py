"""The commands that answer, as functions: for notebooks and scripts. Each takes runs and returns
tables that show well.

runs (folders, or tables) ─▶ `show`, `effects`, `rank`, `recommend`: frames that a notebook shows as tables
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType

from unet_bench.analysis import effects as _effects
from unet_bench.analysis import rank as _rank
from unet_bench.analysis import recommend as _recommend
from unet_bench.analysis.budget import Budget
from unet_bench.errors import StoreError
from unet_bench.present.effects import render_effects
from unet_bench.present.rank import render_rank
from unet_bench.present.recommend import render_recommendations, table
from unet_bench.present.table import Displayed, render
from unet_bench.store.runs import Runs, read_runs

Given = str | Path | Iterable[str | Path] | Runs


@dataclass(frozen=True, repr=False)
class Shown(Displayed):
    """The results of runs, best first; `table` has all columns."""

    table: pd.DataFrame
    sort: str | None = None
    columns: tuple[str, ...] | None = None

    __repr__ = Displayed.__str__

    def rendered(self, format: str) -> RenderableType:
        return render(self.table, format=format, sort=self.sort, columns=self.columns)


@dataclass(frozen=True, repr=False)
class Answer(Displayed):
    """What an analysis found, shown as its command shows it; its fields, such as `table`, are
    reached by name.
    """

    found: Any
    render: Callable[..., RenderableType]

    __repr__ = Displayed.__str__

    def rendered(self, format: str) -> RenderableType:
        return self.render(self.found, format=format)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy that is being made has no `found` yet
            raise AttributeError(name)
        return getattr(self.found, name)


@dataclass(frozen=True, repr=False)
class Recommendations(Displayed):
    """What to use, for each group of rows that may be compared."""

    groups: tuple[_recommend.Recommendation, ...]

    __repr__ = Displayed.__str__

    @property
    def table(self) -> pd.DataFrame:
        """The networks that are named, the best first within each group."""
        return table(self.groups)

    def __iter__(self) -> Iterator[_recommend.Recommendation]:
        return iter(self.groups)

    def rendered(self, format: str) -> RenderableType:
        return render_recommendations(self.groups, format=format)


def show(runs: Given, *, sort: str | None = None, columns: Iterable[str] | None = None) -> Shown:
    """The table of `unet-bench show`. Raises StoreError for what is no run."""
    return Shown(_read(runs).results, sort, None if columns is None else tuple(columns))


def effects(runs: Given, *, references: Mapping[str, str] | None = None) -> Answer:
    """What each choice is worth, as `unet-bench effects` says it; `references` as in `{"up":
    "bilinear"}`.
    """
    return Answer(_effects.effects(_read(runs), references=references), render_effects)


def rank(runs: Given, *, u_score: bool = False) -> Answer:
    """The Pareto front with probabilities, and average ranks over data sets, as `unet-bench rank`
    says them.
    """
    return Answer(_rank.rank(_read(runs), u_score=u_score), render_rank)


def recommend(runs: Given, **budget: Any) -> Recommendations:
    """Which network to use, as `unet-bench recommend` says it: `recommend("results/RUN",
    max_latency_ms=5)`.
    """
    return Recommendations(tuple(_recommend.recommend(_read(runs), Budget(**budget))))


def _read(runs: Given) -> Runs:
    if isinstance(runs, Runs):
        return runs
    paths = [runs] if isinstance(runs, str | Path) else runs
    if isinstance(paths, pd.DataFrame) or not isinstance(paths, Iterable):
        raise StoreError(
            f"a {type(runs).__name__} is no run: give the path of a run's folder or table, or several"
        )
    return read_runs(paths)
