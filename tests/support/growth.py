"""How the time of a computation grows with its size: a claim about speed on any machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")
TIMES = 8  # how much larger the larger input is


def growth(work: Callable[[Input], object], inputs: Callable[[int], Input], size: int) -> float:
    """Return the power of the size by which processor time grows: 1 is linear, 2 quadratic.

    `inputs(n)` makes an input of size n, untimed. Work is timed at `size` and at an eighth of it.
    """
    small, large = inputs(size // TIMES), inputs(size)
    work(small)  # what is done once only
    least = min(_seconds(work, small) for _ in range(3))
    return math.log(_seconds(work, large) / least, TIMES)


def _seconds(work: Callable[[Input], object], given: Input) -> float:
    start = time.process_time()
    work(given)
    return time.process_time() - start
