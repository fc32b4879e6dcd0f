"""Align, skip and merge parts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import LINEAR_MODE


class Pad(nn.Module):
    """Zero-pads the smaller map on both sides, the odd pixel at the high one."""

    def __init__(self, place: Place) -> None:
        super().__init__()

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        return self._padded(skip, up), self._padded(up, skip)

    @staticmethod
    def _padded(small: Tensor, large: Tensor) -> Tensor:
        lacking = [max(0, o - s) for s, o in zip(small.shape[2:], large.shape[2:], strict=True)]
        if not any(lacking):
            return small
        return F.pad(small, [side for n in reversed(lacking) for side in (n // 2, n - n // 2)])


class Resize(nn.Module):
    """Interpolates the up-sampled map to the skip's size."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.mode = LINEAR_MODE[place.dims]

    def forward(self, skip: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        if up.shape[2:] == skip.shape[2:]:
            return skip, up
        return skip, F.interpolate(up, size=skip.shape[2:], mode=self.mode, align_corners=False)


class Nothing(nn.Module):
    """Lets nothing pass: the decoder sees the coarser map alone."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.out_channels = 0

    def forward(self, skip: Tensor, gate: Tensor) -> None:
        return None


class Add(nn.Module):
    """The sum of the skips and the up-sampled map."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        if other := [channels for channels in place.skip_channels if channels != place.in_channels]:
            raise InvalidChoice(
                f"merge=add at level {place.level}: a skip of {other[0]} channels cannot be added "
                "to "
                f"{place.in_channels} up-sampled ones; they must agree: use up_policy=halve or "
                "match with an "
                "up-sampling that changes channels, or merge=concat"
            )
        self.out_channels = place.in_channels

    def forward(self, skips: list[Tensor], up: Tensor) -> Tensor:
        for skip in skips:
            up = up + skip
        return up
