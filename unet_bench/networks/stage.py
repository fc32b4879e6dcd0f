"""One of the maps that a network makes, as pictures of it show them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A map on its way through the network, `channels` of `size`; `skip` tells what it was merged
    with.
    """

    name: str
    level: int  # how often the image was halved
    channels: int
    size: tuple[int, ...]
    skip: str = ""
