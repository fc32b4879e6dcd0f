"""The critical-difference diagram of Demšar 2006."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from unet_bench.stats.mean_ranks import Ranks
from unet_bench.text_format import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LETTERS: Final = 40  # of a name in the picture


_LINE: Final = 4.5  # inches from the first rank to the last


def draw_critical_differences(ranks: Ranks, path: str | Path) -> None:
    """Draw average ranks on a line into a .svg or .png file.

    Bars join those that cannot be told apart. Labels stand in rows of their own, so that they never
    overlap. Raises StoreError for a file that cannot be written.
    """
    from matplotlib.figure import Figure

    from unet_bench.present.draw_matplotlib import save

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
    save(drawing, Path(path))


def _label(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"


def _draw(
    axes: Axes,
    ranks: Ranks,
    labels: Mapping[str, str],
    bars: Sequence[tuple[float, float, int]],
    depth: float,
) -> None:
    """Draw the ranks, x in ranks and y in rows downwards.

    The line itself lies at 0, labels begin at `depth`.
    """
    means = ranks.means
    low, high = 1.0, float(len(means))
    pad = 0.015 * (high - low)
    line: dict[str, Any] = {"color": "#222222", "linewidth": 1}
    text: dict[str, Any] = {"color": "#222222", "fontsize": 8, "va": "bottom"}
    axes.set_axis_off()
    axes.plot((low, high), (0, 0), **line)
    for tick in range(1, len(means) + 1, max(1, round((high - low) / 10))):
        axes.plot((tick, tick), (-0.3, 0), **line)
        axes.text(tick, -0.45, str(tick), ha="center", **text)
    axes.text((low + high) / 2, -1.5, "average rank, 1 the best", ha="center", **text)
    distance = ranks.critical_difference
    reach = min(distance, high - low)
    more = " (more than the line)" if distance > high - low else ""
    axes.errorbar(low + reach / 2, -3.0, xerr=reach / 2, capsize=3, **line)
    words = f"critical difference {distance:.2f}{more} · {ranks.data_sets} data sets"
    axes.text(low, -3.3, words, **text)
    for left, right, row in bars:
        y = 0.55 + 0.35 * row
        ends = (left - pad / 3, right + pad / 3)
        axes.plot(ends, (y, y), color="#0072B2", linewidth=3, solid_capstyle="butt")
    for number, (name, mean) in enumerate(means.items()):
        is_left = number < (len(means) + 1) // 2
        y = depth + (number if is_left else len(means) - 1 - number) + 0.3
        end, outwards = (low, -pad) if is_left else (high, pad)
        names = (labels[name], f"{mean:.2f}")
        axes.plot((mean, mean, end + outwards), (0, y, y), **{**line, "linewidth": 0.6})
        axes.text(
            end + 2 * outwards,
            y,
            "  ".join(names if is_left else reversed(names)),
            ha="right" if is_left else "left",
            parse_math=False,
            **{**text, "va": "center"},
        )


def _stacked(ranks: Ranks) -> Iterator[tuple[float, float, int]]:
    """Yield each clique as (first, last average rank, row), in the first row that is free."""
    ends: list[float] = []
    for clique in ranks.cliques:
        first, last = ranks.means[clique[0]], ranks.means[clique[-1]]
        row = next(
            (n for n, end in enumerate(ends) if end < first - 0.01 * len(ranks.means)), len(ends)
        )
        ends[row : row + 1] = [last]
        yield first, last, row
