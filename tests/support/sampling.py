"""Long lists of parts and networks, of which a plain `pytest` takes a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from _pytest.mark import ParameterSet


def sampled(values: Iterable[Any], sample: Collection[Any]) -> list[ParameterSet]:
    """Return a parameter for each value; those outside the sample are marked `full`."""
    return [
        pytest.param(value, id=str(value), marks=() if value in sample else pytest.mark.full)
        for value in values
    ]
