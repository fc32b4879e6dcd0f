"""U-Score, the trade-off figure of U-Bench: accuracy and efficiency in one number from 0 to 100.

IoU, parameters, MACs and FPS ─▶ each placed between two quantiles of U-Bench's own
      networks ─▶ harmonic means

Its weakness is that of every score that is placed between quantiles: it moves whenever the set of
networks does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite, log
from typing import Final

Quantiles = tuple[float, float]  # the 10 % and the 90 % quantile

# Of the logarithm of millions of parameters.
LOG_PARAMS_M: Final[Quantiles] = (0.39, 4.32)
# Of the logarithm of MACs in 10⁹, which U-Bench calls GFLOPs.
LOG_GMACS: Final[Quantiles] = (0.88, 4.20)
FPS: Final[Quantiles] = (24.28, 121.63)
IOU: Final[Mapping[str, Quantiles]] = {"busi": (0.58376, 0.70626), "dsb2018": (0.84518, 0.88144)}
"""Of data sets that U-Bench has, by the task's name in lower case."""
FEWEST: Final = 3  # networks; quantiles of fewer say nothing
_LEAST: Final = 0.05  # of each part of the efficiency


def u_score(iou: float, params_m: float, gmacs: float, fps: float, of_iou: Quantiles) -> float:
    """Return the U-Score, from 0 to 100.

    `iou` is from 0 to 1, `params_m` in millions of parameters, `gmacs` in 10⁹ MACs of one image,
    `fps` in images per second at batch 1; `of_iou` are the quantiles of IoU on this data set.
    Raises ValueError for equal quantiles, or a figure that is not above 0 where its logarithm is
    taken.
    """
    accuracy = _placed(iou, *of_iou)
    parts = (
        1 - _placed(log(params_m), *LOG_PARAMS_M),
        1 - _placed(log(gmacs), *LOG_GMACS),
        _placed(fps, *FPS),
    )
    efficiency = len(parts) / sum(1 / max(part, _LEAST) for part in parts)
    return 0.0 if accuracy == 0 else 200 / (1 / accuracy + 1 / efficiency)


def iou_quantiles(task: str, ious: Iterable[float]) -> Quantiles | None:
    """Return U-Bench's quantiles of IoU for its own tasks, else those of the networks at hand.

    None where these networks are too few or alike.
    """
    if task.lower() in IOU:
        return IOU[task.lower()]
    import numpy as np

    known = [iou for iou in ious if isfinite(iou)]
    if len(known) < FEWEST:
        return None
    low, high = (float(end) for end in np.quantile(known, (0.1, 0.9)))
    return (low, high) if low < high else None


def _placed(value: float, low: float, high: float) -> float:
    """Return where a value lies between two others, from 0 to 1."""
    if not low < high:
        raise ValueError(f"quantiles {low:g} and {high:g}: the second must be above the first")
    return min(max((value - low) / (high - low), 0.0), 1.0)
