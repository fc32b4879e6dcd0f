"""timm backbones behind the encoder contract."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import timm
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice, InvalidData, InvalidSize, first_line, unknown
from unet_bench.geometry.shapes import format_size
from unet_bench.networks.contracts import Place

FOR_ANY_SIZE: Final[tuple[Mapping[str, bool], ...]] = (
    {},
    {"strict_img_size": False},
    {"dynamic_img_size": True},
)
"""What a backbone is asked to be, until it takes any size: as it is, as Swin does it, as plain
transformers do it.
"""
LARGEST: Final = 512  # the largest side tried for a backbone that does not take any
REFUSALS: Final = (RuntimeError, AssertionError, ValueError, IndexError)


def family(backbone: str) -> Callable[[Place], nn.Module]:
    """Build the encoder factory for one backbone.

    Raises UnknownName when timm has no such model.
    """
    if not timm.is_model(backbone):
        raise unknown(
            "timm backbone",
            backbone,
            timm.list_models(),
            "python -c 'import timm; print(timm.list_models())'",
        )
    return lambda place: TimmEncoder(backbone, place)


class TimmEncoder(nn.Module):
    """`(N C H W)` to timm's feature maps `(N C_i H_i W_i)`, finest first.

    Of maps of one size the last is taken. Raises InvalidSize for an image that the backbone's fixed
    windows or positions do not fit.
    """

    def __init__(self, backbone: str, place: Place) -> None:
        super().__init__()
        self.backbone, self.in_channels = backbone, place.in_channels
        self.option, self.sides = sizes(backbone)
        self.body = features(backbone, in_chans=place.in_channels, **self.option)
        for module in self.body.modules():
            # Windows do not lie evenly around a pixel.
            module.looks_around = type(module).__name__ == "WindowAttention"
        self.channels_last = getattr(self.body, "output_fmt", None) == "NHWC"
        channels, reductions = self.body.feature_info.channels(), self.body.feature_info.reduction()
        if any(reduction & (reduction - 1) for reduction in reductions):
            raise InvalidChoice(
                f"encoder=timm:{backbone} gives maps at 1/{', 1/'.join(map(str, reductions))} of "
                "the image: a U-Net "
                "halves; choose one that does, such as timm:resnet34 or "
                "timm:swin_tiny_patch4_window7_224"
            )
        self.taken = sorted({reduction: i for i, reduction in enumerate(reductions)}.values())
        self.channels = [channels[i] for i in self.taken]
        self.reductions = [reductions[i] for i in self.taken]

    def load_pretrained(self, weights: str) -> None:
        """Take timm's published weights.

        `imagenet` are the backbone's default ones, or those of the tag in its name. timm fits their
        first convolution: its weights summed for one channel, repeated in turn for more. Raises
        InvalidChoice for other weights, InvalidData when they are not on disk and cannot be
        fetched.
        """
        if weights != "imagenet":
            raise InvalidChoice(
                f"pretrained={weights} is not known for timm:{self.backbone}: it takes imagenet; "
                "other published "
                "weights have a tag in the backbone's name, as in timm:resnet34.tv_in1k"
            )
        settings: dict[str, Any] = {
            "features_only": True,
            "in_chans": self.in_channels,
            **self.option,
        }
        try:
            published = timm.create_model(self.backbone, pretrained=True, **settings)
        except Exception as error:  # every hub and network library has its own
            raise InvalidData(
                f"the {weights} weights of timm:{self.backbone} could not be fetched "
                f"({first_line(error)}); "
                f"{remedy(self.backbone)}"
            ) from error
        self.body.load_state_dict(published.state_dict())

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.sides and not all(fits(side, self.sides) for side in x.shape[2:]):
            raise InvalidSize(refusal(self.backbone, tuple(x.shape[2:]), self.sides))
        maps = self.body(x)
        if self.channels_last:
            maps = [m.permute(0, 3, 1, 2).contiguous() for m in maps]
        return [maps[i] for i in self.taken]


def features(backbone: str, **settings: Any) -> Any:
    """Build timm's backbone, cut to its feature maps, without published weights.

    Raises InvalidChoice when it has none.
    """
    try:
        return timm.create_model(backbone, features_only=True, pretrained=False, **settings)
    except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
        raise InvalidChoice(
            f"encoder=timm:{backbone} cannot give feature maps ({first_line(error)}); "
            "choose one that supports features_only"
        ) from error


@functools.cache
def sizes(backbone: str) -> tuple[Mapping[str, bool], tuple[int, ...]]:
    """Return what to ask timm for so that a backbone takes images of any size.

    If it cannot, return the sides that it does take. Found out on the meta device, at sides of a
    few of its coarsest pixels. Raises InvalidChoice when it takes none.
    """
    bodies = []
    with torch.device("meta"):
        for option in FOR_ANY_SIZE:
            try:
                bodies.append(features(backbone, **option).eval())
            except InvalidChoice:
                if not option:
                    raise
                continue  # it has no such option
            step = bodies[-1].feature_info.reduction()[-1]
            if takes(bodies[-1], 3 * step, 5 * step):
                return option, ()
    # It was made for 224 pixels, which is no multiple of 64.
    step = min(32, bodies[0].feature_info.reduction()[-1])
    sides = tuple(side for side in range(step, LARGEST + 1, step) if takes(bodies[0], side, side))
    if not sides:
        raise InvalidChoice(
            f"encoder=timm:{backbone} takes no image of up to {LARGEST}×{LARGEST}; choose another "
            "one"
        )
    return {}, sides


def takes(body: nn.Module, height: int, width: int) -> bool:
    """Return whether a backbone on the meta device takes images of that size."""
    try:
        with torch.no_grad():
            body(torch.empty((1, 3, height, width), device="meta"))
    except REFUSALS:
        return False
    return True


def fits(side: int, sides: tuple[int, ...]) -> bool:
    """Return whether a backbone takes a side that takes these: that one alone, or its multiples."""
    return side == sides[0] if len(sides) == 1 else side % sides[0] == 0


def refusal(backbone: str, size: tuple[int, ...], sides: tuple[int, ...]) -> str:
    """Return why an image is refused: the rule, and the nearest size that works."""
    step = sides[0]
    rule = f"sides of {step}" if len(sides) == 1 else f"sides that are multiples of {step}"
    nearest = [step if len(sides) == 1 else max(1, round(side / step)) * step for side in size]
    return (
        f"timm:{backbone} takes no image of {format_size(size)}: only {rule}; "
        f"nearest that works: {format_size(nearest)}"
    )


def remedy(backbone: str) -> str:
    """Return where published weights are looked for, and how to put them there."""
    published = timm.get_pretrained_cfg(backbone)
    if published is None or not (published.hf_hub_id or published.url):
        return "none are published: train from scratch, or choose another backbone"
    if not published.hf_hub_id:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        return f"run once where there is a network, or put {published.url} into {folder}"
    folder = f"{constants.HF_HUB_CACHE}/models--{published.hf_hub_id.replace('/', '--')}"
    return (
        f"run once where there is a network and copy the folder {folder} from there to here, "
        "or set HF_HOME to a folder whose hub/ holds it"
    )
