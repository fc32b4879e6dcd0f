"""Average ranks over data sets, whether they differ, and which cannot be told apart; and the picture of it.

data sets × networks ─▶ ranks within each data set ─▶ means ─▶ Friedman's test ─▶ Nemenyi's difference ─▶ groups

After Demšar 2006 (Statistical comparisons of classifiers over multiple data sets, JMLR 7), sections 3.2.2 to 3.2.4.
Ranks need no common scale: that one data set is harder than another does not matter, nor how far one is ahead.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import factorial, inf, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from unet_bench.answers.words import one_line
from unet_bench.errors import InvalidSuite, StoreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVEL: Final = 0.05
FEWEST_DATA_SETS: Final = 2
FEWEST_NETWORKS: Final = 3
FEW_DATA_SETS: Final = 5  # below, hardly anything can be significant
_MOST_LETTERS: Final = 40  # of a name in the picture
_LINE: Final = 4.5  # inches from the first rank to the last


@dataclass(frozen=True)
class Ranks:
    """Average ranks, 1 the best, in this order; `groups` names by letters what cannot be told apart.

    `chi2` is Friedman's statistic, `f` Iman and Davenport's of it, which is less conservative (infinite where all data
    sets agree), each with its p. Average ranks that are farther apart than `critical_difference` differ at 5 %
    (Nemenyi), all pairs taken together; groups are made only where Friedman's test says that there is a difference.
    """

    means: Mapping[str, float]
    groups: Mapping[str, str]
    cliques: tuple[tuple[str, ...], ...]  # of two and more networks
    data_sets: int
    chi2: float
    chi2_p: float
    f: float
    p: float
    critical_difference: float
    left_out: Mapping[str, int]  # networks without a figure somewhere, and on how many data sets they lack it


def mean_ranks(scores: pd.DataFrame, *, lower_is_better: bool = False) -> Ranks:
    """Rank networks (columns) within each data set (rows), ties averaged, and test the average ranks.

    A network that lacks a score is left out, never filled in; so is a data set without any score. Friedman's statistic
    is taken as Demšar states it, without a correction for ties: with many ties it is conservative.
    Raises InvalidSuite with fewer than two data sets or three networks.
    """
    scores = scores.astype("Float64").astype(float).dropna(how="all")
    lacking = scores.isna().sum()
    complete = scores.loc[:, lacking == 0]
    data_sets, count = complete.shape
    if data_sets < FEWEST_DATA_SETS or count < FEWEST_NETWORKS:
        raise InvalidSuite(
            f"average ranks need at least {FEWEST_DATA_SETS} data sets and {FEWEST_NETWORKS} networks scored on all of "
            f"them; there are {data_sets} and {count}: run more, such as --data A --data B"
        )
    means = complete.rank(axis=1, ascending=lower_is_better).mean().sort_values(kind="stable")
    chi2, chi2_p, f, p = _friedman(list(means), data_sets)
    difference = critical_difference(count, data_sets)
    names = [str(name) for name in means.index]
    cliques = _cliques(list(means), difference if p < LEVEL else inf)
    return Ranks(
        means=dict(zip(names, map(float, means), strict=True)),
        groups={
            name: "".join(_letter(c) for c, (i, j) in enumerate(cliques) if i <= n < j) for n, name in enumerate(names)
        },
        cliques=tuple(tuple(names[i:j]) for i, j in cliques if j - i > 1),
        data_sets=data_sets,
        chi2=chi2,
        chi2_p=chi2_p,
        f=f,
        p=p,
        critical_difference=difference,
        left_out={str(name): int(n) for name, n in lacking.items() if n},
    )


@functools.cache
def critical_difference(networks: int, data_sets: int) -> float:
    """Nemenyi's: how far two average ranks must be apart to differ at 5 %."""
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - LEVEL, networks, inf) / sqrt(2)
    return float(quantile * sqrt(networks * (networks + 1) / (6 * data_sets)))


def _friedman(means: Sequence[float], n: int) -> tuple[float, float, float, float]:
    """Friedman's chi² and its p, and Iman and Davenport's F and its p, of average ranks over n data sets."""
    from scipy.stats import chi2 as chi2_distribution
    from scipy.stats import f as f_distribution

    k = len(means)
    middle = (k + 1) / 2
    chi2 = 12 * n / (k * (k + 1)) * sum((mean - middle) ** 2 for mean in means)
    chi2_p = float(chi2_distribution.sf(chi2, k - 1))
    room = n * (k - 1) - chi2
    if room < 1e-9:  # all agree: F is infinite, and how seldom that is by chance can be counted
        return chi2, chi2_p, inf, float(factorial(k)) ** (1 - n) if k < 100 else 0.0
    f = (n - 1) * chi2 / room
    return chi2, chi2_p, f, float(f_distribution.sf(f, k - 1, (k - 1) * (n - 1)))


def _cliques(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Of ascending means the longest stretches [i, j) that lie within the difference, none inside another."""
    stretches: list[tuple[int, int]] = []
    for i, mean in enumerate(means):
        j = max(n for n, other in enumerate(means) if other - mean <= difference) + 1
        if not stretches or j > stretches[-1][1]:
            stretches.append((i, j))
    return stretches


def _letter(n: int) -> str:
    """a to z, then a2 to z2."""
    letter = "abcdefghijklmnopqrstuvwxyz"[n % 26]
    return letter + (str(n // 26 + 1) if n >= 26 else "")


# ---- the picture


def draw_critical_differences(ranks: Ranks, path: str | Path) -> None:
    """Draw average ranks on a line, with bars over those that cannot be told apart, into a .svg or .png file.

    Labels stand in rows of their own, so that they never overlap. Raises StoreError for a file that cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    bars = list(_stacked(ranks))
    rows = (len(ranks.means) + 1) // 2
    depth = 0.8 + 0.35 * (1 + max((row for *_, row in bars), default=-1))
    labels = {name: _label(name) for name in ranks.means}
    room = 0.6 + 0.085 * max(map(len, labels.values()))  # inches on either side of the line
    drawing = Figure(figsize=(_LINE + 2 * room, 0.24 * (4.2 + depth + rows)))
    axes = drawing.add_axes((0, 0, 1, 1))
    side = room / _LINE * (len(ranks.means) - 1)
    axes.set(xlim=(1 - side, len(ranks.means) + side), ylim=(depth + rows, -4.2))
    _draw(axes, ranks, labels, bars, depth)
    try:
        with matplotlib.rc_context({"svg.hashsalt": "unet-bench"}):
            drawing.savefig(path, dpi=200, metadata={"Date": None} if Path(path).suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be written: {error}; give a file such as ranks.svg") from error


def _label(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _draw(
    axes: Axes, ranks: Ranks, labels: Mapping[str, str], bars: Sequence[tuple[float, float, int]], depth: float
) -> None:
    """In ranks to the right and in rows downwards; the line itself lies at 0, labels begin at `depth`."""
    means = ranks.means
    low, high = 1.0, float(len(means))
    pad = 0.015 * (high - low)
    axes.set_axis_off()
    black, blue = "#222222", "#0072B2"
    axes.plot((low, high), (0, 0), color=black, linewidth=1)
    step = max(1, round((high - low) / 10))
    for tick in range(1, len(means) + 1, step):
        axes.plot((tick, tick), (-0.3, 0), color=black, linewidth=1)
        axes.text(tick, -0.45, str(tick), ha="center", va="bottom", fontsize=8, color=black)
    axes.text((low + high) / 2, -1.5, "average rank, 1 the best", ha="center", va="bottom", fontsize=8, color=black)
    reach = min(ranks.critical_difference, high - low)
    more = " (more than the line)" * (ranks.critical_difference > high - low)
    axes.errorbar(low + reach / 2, -3.0, xerr=reach / 2, color=black, linewidth=1, capsize=3)
    text = f"critical difference {ranks.critical_difference:.2f}{more} · {ranks.data_sets} data sets"
    axes.text(low, -3.3, text, va="bottom", fontsize=8, color=black)
    for left, right, row in bars:
        y = 0.55 + 0.35 * row
        axes.plot((left - pad / 3, right + pad / 3), (y, y), color=blue, linewidth=3, solid_capstyle="butt")
    for n, (name, mean) in enumerate(means.items()):
        to_left = n < (len(means) + 1) // 2
        y = depth + (n if to_left else len(means) - 1 - n) + 0.3
        end, beside, words = (
            (low - pad, low - 2 * pad, (labels[name], f"{mean:.2f}"))
            if to_left
            else (high + pad, high + 2 * pad, (f"{mean:.2f}", labels[name]))
        )
        axes.plot((mean, mean, end), (0, y, y), color=black, linewidth=0.6)
        side = "right" if to_left else "left"
        axes.text(beside, y, "  ".join(words), ha=side, va="center", fontsize=8, color=black, parse_math=False)


def _stacked(ranks: Ranks) -> Iterator[tuple[float, float, int]]:
    """Each clique as (first, last average rank, row), in the first row where it touches no other."""
    ends: list[float] = []
    for clique in ranks.cliques:
        first, last = ranks.means[clique[0]], ranks.means[clique[-1]]
        row = next((n for n, end in enumerate(ends) if end < first - 0.01 * len(ranks.means)), len(ends))
        ends[row : row + 1] = [last]
        yield first, last, row
