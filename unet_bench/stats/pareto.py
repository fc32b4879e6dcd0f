"""The Pareto front: what no other is at least as good as everywhere and better somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Draws = NDArray[np.float64]  # (dimension, network, draw), less is better


def undominated(values: Draws) -> NDArray[np.bool_]:
    """Return whether each network is on the Pareto front in each draw, as (network, draw).

    It is where no other is at least as good everywhere and better somewhere. Only rivals that can
    beat a network in some draw are compared draw by draw. A network that is beaten in every draw is
    no rival, since whatever it beats, its better beats, too. Figures with errors are never equal,
    so networks that are equal in one draw are twins.
    """
    import numpy as np

    _, networks, draws = values.shape
    best, worst = values.min(axis=2), values.max(axis=2)
    sure = worst[:, _lowest(worst)]
    hopeful = np.array([not (sure < best[:, n, None]).all(axis=0).any() for n in range(networks)])
    on_front = np.zeros((networks, draws), dtype=bool)
    for n in np.flatnonzero(hopeful):
        own = values[:, n]
        twins = (values[..., 0] == own[:, :1]).all(axis=0)
        rivals = hopeful & ~twins & (best <= worst[:, n, None]).all(axis=0)
        on_front[n] = ~(values[:, rivals] <= own[:, None]).all(axis=0).any(axis=0)
    return on_front


def _lowest(points: NDArray[np.float64]) -> list[int]:
    """Return the indices of points (dimension, point) that bound all others from below.

    Every other point is at or above one of them in all dimensions.
    """
    import numpy as np

    found: list[int] = []
    for n in np.lexsort(points[::-1]):
        if not (points[:, found] <= points[:, n, None]).all(axis=0).any():
            found.append(int(n))
    return found
