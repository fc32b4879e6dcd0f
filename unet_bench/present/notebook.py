"""The commands that answer, as functions for notebooks and scripts.

runs (folders, or tables) ─▶ `show`, `effects`, `rank`, `recommend`: frames that show as tables
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from unet_bench.analysis import effects as _effects
from unet_bench.analysis import rank as _rank
from unet_bench.analysis import recommend as _recommend
from unet_bench.analysis.budget import Budget
from unet_bench.errors import StoreError
from unet_bench.present.document import Displayed, Document
from unet_bench.present.effects import effects_document
from unet_bench.present.rank import rank_document
from unet_bench.present.recommend import recommend_document, table
from unet_bench.present.table import results_document
from unet_bench.store.columns import Column
from unet_bench.store.runs import Runs, read_runs

Given = str | Path | Iterable[str | Path] | Runs


@dataclass(frozen=True, repr=False)
class Shown(Displayed):
    """The results of runs, best first; `table` has all columns."""

    table: pd.DataFrame
    known: Mapping[str, Column]
    sort: str | None = None
    columns: tuple[str, ...] | None = None

    __repr__ = Displayed.__str__

    def document(self) -> Document:
        """Return the table of `unet-bench show`."""
        return results_document(self.table, sort=self.sort, columns=self.columns, known=self.known)


@dataclass(frozen=True, repr=False)
class Answer(Displayed):
    """What an analysis found; its fields, such as `table`, are reached by name."""

    result: Any
    make: Callable[[Any], Document]

    __repr__ = Displayed.__str__

    def document(self) -> Document:
        """Return what the analysis' command shows."""
        return self.make(self.result)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a copy that is being made has no `result` yet
            raise AttributeError(name)
        return getattr(self.result, name)


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

    def document(self) -> Document:
        """Return what `unet-bench recommend` shows."""
        return recommend_document(self.groups)


def show(
    runs: Given,
    *,
    sort: str | None = None,
    columns: Iterable[str] | None = None,
    corrected: bool = True,
) -> Shown:
    """Return the table of `unet-bench show`. Raises StoreError for what is no run.

    Here and below, verdicts are `corrected` for the number of variants that are compared, unless
    `runs` were read before.
    """
    result = _read(runs, corrected)
    chosen = None if columns is None else tuple(columns)
    return Shown(result.results, result.columns, sort, chosen)


def effects(
    runs: Given, *, references: Mapping[str, str] | None = None, corrected: bool = True
) -> Answer:
    """Return what each choice is worth; `references` as in `{"up": "bilinear"}`."""
    result = _effects.effects(_read(runs, corrected), references=references)
    return Answer(result, effects_document)


def rank(runs: Given, *, u_score: bool = False) -> Answer:
    """Return the Pareto front with probabilities, and average ranks over data sets."""
    return Answer(_rank.rank(_read(runs), u_score=u_score), rank_document)


def recommend(
    runs: Given, *, corrected: bool = True, any_runtime: bool = False, **budget: Any
) -> Recommendations:
    """Return which network to use, as in `recommend("results/RUN", max_latency_ms=5)`.

    `any_runtime`: choose among runtimes, too.
    """
    found = _recommend.recommend(_read(runs, corrected), Budget(**budget), any_runtime=any_runtime)
    return Recommendations(tuple(found))


def _read(runs: Given, corrected: bool = True) -> Runs:
    if isinstance(runs, Runs):
        return runs
    paths = [runs] if isinstance(runs, str | Path) else runs
    if isinstance(paths, pd.DataFrame) or not isinstance(paths, Iterable):
        raise StoreError(
            f"a {type(runs).__name__} is not a run: "
            "give the path of a run's folder or table, or several"
        )
    return read_runs(paths, corrected=corrected)
