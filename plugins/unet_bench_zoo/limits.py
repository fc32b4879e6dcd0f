"""What these networks do not take, refused with the rule and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

from unet_bench.errors import InvalidSize
from unet_bench.geometry.shapes import format_size


def require_multiples(name: str, step: int, size: Sequence[int]) -> None:
    """Raise InvalidSize unless every side is a multiple of `step`."""
    if any(side % step for side in size):
        near = sorted(
            {max(1, side // step + more) * step for side in size if side % step for more in (0, 1)}
        )
        raise InvalidSize(
            f"{name} takes sides that are multiples of {step}, got {format_size(size)}; nearest: "
            f"{', '.join(map(str, near))}"
        )
