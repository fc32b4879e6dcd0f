"""timm backbones behind the encoder contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice, InvalidData, unknown
from unet_bench.interfaces import Place


def family(backbone: str) -> Callable[[Place], nn.Module]:
    """The encoder factory for one backbone. Raises UnknownName when timm has no such model."""
    if not timm.is_model(backbone):
        raise unknown(
            "timm backbone", backbone, timm.list_models(), "python -c 'import timm; print(timm.list_models())'"
        )
    return lambda place: TimmEncoder(backbone, place)


class TimmEncoder(nn.Module):
    """`(N C H W)` to timm's feature maps, finest first; of several maps of one size the last is taken."""

    def __init__(self, backbone: str, place: Place) -> None:
        super().__init__()
        self.backbone, self.in_channels = backbone, place.in_channels
        try:
            self.body = timm.create_model(backbone, features_only=True, pretrained=False, in_chans=place.in_channels)
        except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
            raise InvalidChoice(
                f"encoder=timm:{backbone} cannot give feature maps ({error}); choose one that supports features_only"
            ) from error
        info: Any = self.body.feature_info
        channels, reductions = info.channels(), info.reduction()
        self.taken = sorted({reduction: i for i, reduction in enumerate(reductions)}.values())
        self.channels = [channels[i] for i in self.taken]
        self.reductions = [reductions[i] for i in self.taken]

    def load_pretrained(self, weights: str) -> None:
        """Take timm's published weights (`imagenet`: the backbone's default ones), fitted to the channels.

        Raises InvalidData when they are not on disk and cannot be fetched.
        """
        try:
            published = timm.create_model(self.backbone, features_only=True, pretrained=True, in_chans=self.in_channels)
        except Exception as error:  # every hub and network library has its own
            raise InvalidData(
                f"the {weights} weights of timm:{self.backbone} could not be fetched ({error}); run once where there "
                "is a network, or set HF_HOME to a folder that holds them"
            ) from error
        self.body.load_state_dict(published.state_dict())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = self.body(x)
        return [maps[i] for i in self.taken]
