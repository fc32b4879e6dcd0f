"""The Pareto front: what no other is at least as good as everywhere and better somewhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draws = NDArray[np.float64]  # (dimension, network, draw), less is better

MOST_DIMENSIONS: Final = 3


def undominated(values: Draws) -> NDArray[np.bool_]:
    """Return whether each network is on the Pareto front in each draw, as (network, draw).

    It is where no other is at least as good everywhere and better somewhere. Of at most three
    dimensions (Kung, Luccio and Preparata 1975, section 3).
    """
    import numpy as np

    dimensions, networks, draws = values.shape
    points = np.zeros((draws, MOST_DIMENSIONS, networks))
    points[:, :dimensions] = values.transpose(2, 0, 1)
    on_front = np.zeros((networks, draws), dtype=bool)
    for draw, of_draw in enumerate(points):
        order = np.lexsort(of_draw[::-1])
        on_front[order, draw] = [*_minima(of_draw[:, order].T.tolist())]
    return on_front


def _minima(points: Iterable[tuple[float, float, float]]) -> Iterator[bool]:
    """Yield whether no other of the points is at or below each, which are sorted; equals are alike.

    Whatever can beat a point comes before it. Of those that did, the lowest in the second and third
    dimension are kept: as one rises, the other falls.
    """
    seconds: list[float] = []
    thirds: list[float] = []
    last, is_lowest = None, False
    for point in points:
        if point != last:
            _, second, third = last = point
            at = bisect_right(seconds, second)
            is_lowest = at == 0 or thirds[at - 1] > third
        if is_lowest:
            begin = end = bisect_left(seconds, second)
            while end < len(thirds) and thirds[end] >= third:
                end += 1
            seconds[begin:end], thirds[begin:end] = [second], [third]
        yield is_lowest
