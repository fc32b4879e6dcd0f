"""A machine whose clock and noise are made up."""

from __future__ import annotations

import math
import random


class Machine:
    """A clock that steps advance, each by its cost times slow drift times autocorrelated noise."""

    def __init__(self, seed: int, noise: float = 0.05, drift: float = 0.5) -> None:
        self.random = random.Random(seed)
        self.time, self.state, self.noise, self.drift = 0.0, 0.0, noise, drift

    def now(self) -> float:
        """Return the time in seconds."""
        return self.time

    def step(self, cost: float) -> None:
        """Advance the clock by a step that would take `cost` seconds on a quiet machine."""
        self.state = 0.9 * self.state + self.random.gauss(0, self.noise)
        self.time += cost * math.exp(self.state) * (1 + self.drift * math.sin(self.time / 3))
