"""The input that a network needs so that the scored pixels come out of it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InputWindow:
    """The input that a network needs so that the scored pixels come out of it. All are `(H, W)` or
    `(D, H, W)`.
    """

    input: tuple[int, ...]
    output: tuple[int, ...]
    start: tuple[int, ...]  # where the scored pixels begin in the output
    context: tuple[int, ...]  # how far the input begins before the scored pixels
