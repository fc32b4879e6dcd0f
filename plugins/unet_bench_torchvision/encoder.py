"""torchvision backbones behind the encoder contract: any one whose modules run in order."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import models

from unet_bench.errors import InvalidChoice, InvalidData, first_line, unknown
from unet_bench.geometry.shapes import format_size
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import he_init

# pixels: unlike sides, so that a map's height is told from its width and its channels
PROBE: Final = (128, 192)
RGB: Final = 3
CLASSIFYING: Final = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Linear)


class Taken(NamedTuple):
    """A map that is handed on.

    It states after which step, of how many channels and at which fraction of the image.
    """

    step: int
    channels: int
    reduction: int
    channels_last: bool


def family(backbone: str) -> Callable[[Place], nn.Module]:
    """Build the encoder factory for one backbone.

    Raises UnknownName when torchvision classifies by no such model.
    """
    known = models.list_models(module=models)
    if backbone not in known:
        command = "python -c 'from torchvision import models as m; print(m.list_models(module=m))'"
        raise unknown("torchvision backbone", backbone, known, command)
    return lambda place: TorchvisionEncoder(backbone, place)


class TorchvisionEncoder(nn.Module):
    """`(N C H W)` to the last map `(N C_i H_i W_i)` of every resolution, finest first.

    The backbone's modules run one after the other as far as its classifier; what stands between
    them and that (a last norm of DenseNet's or Swin's) is left out. A first convolution for other
    than three channels is He-initialised. Raises InvalidChoice for a backbone whose modules do not
    run in order, or do not halve their maps.
    """

    def __init__(self, backbone: str, place: Place) -> None:
        super().__init__()
        self.backbone, self.in_channels = backbone, place.in_channels
        self.taken = {taken.step: taken for taken in pyramid(backbone)}
        self.steps = nn.ModuleList(trunk(blank(backbone)))
        if place.in_channels != RGB:
            stem = first_convolution(self.steps)
            stem.in_channels = place.in_channels
            stem.weight = nn.Parameter(
                torch.empty(stem.out_channels, place.in_channels, *stem.kernel_size)
            )
            he_init(stem, stem.weight[0].numel())
        self.channels = [taken.channels for taken in self.taken.values()]
        self.reductions = [taken.reduction for taken in self.taken.values()]

    def load_pretrained(self, weights: str) -> None:
        """Take torchvision's published weights (`imagenet`: its best ones), fitted to the channels.

        Raises InvalidChoice for other weights, InvalidData when they are not on disk and cannot be
        fetched.
        """
        if weights != "imagenet":
            raise InvalidChoice(
                f"pretrained={weights} is not known for torchvision:{self.backbone}: it takes "
                "imagenet, "
                "torchvision's default weights"
            )
        best: Any = models.get_model_weights(self.backbone).DEFAULT
        try:
            published = models.get_model(self.backbone, weights=best)
        except Exception as error:  # of the network, or of a file cut short
            raise InvalidData(
                f"the {weights} weights of torchvision:{self.backbone} could not be fetched "
                f"({first_line(error)}); "
                f"run once where there is a network, or put {best.url} into "
                f"{torch.hub.get_dir()}/checkpoints "
                "(TORCH_HOME moves that folder)"
            ) from error
        steps = nn.ModuleList(trunk(published))
        stem = first_convolution(steps)
        stem.weight = nn.Parameter(fitted(stem.weight.detach(), self.in_channels))
        self.steps.load_state_dict(steps.state_dict())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, step in enumerate(self.steps):
            x = step(x)
            if (taken := self.taken.get(i)) is not None:
                maps.append(x.permute(0, 3, 1, 2).contiguous() if taken.channels_last else x)
        return maps


def blank(backbone: str) -> nn.Module:
    """Build torchvision's model without published weights on torch's default device."""
    model: nn.Module
    try:
        model = models.get_model(backbone, weights=None)
    except NotImplementedError:
        # RegNet reads its widths off tensors, which have no numbers on the meta device
        with torch.device("cpu"):
            model = models.get_model(backbone, weights=None)
        model = model.to(torch.get_default_device())
    return model


def trunk(model: Any) -> list[nn.Module]:
    """Build what a backbone runs before its classifier, in order.

    That is its `features`, or all up to the pooling to one pixel.
    """
    parts = (
        flat(model.features)
        if hasattr(model, "features")
        else flat(nn.Sequential(*model.children()))
    )
    return list(itertools.takewhile(lambda part: not isinstance(part, CLASSIFYING), parts))


def flat(part: nn.Module) -> list[nn.Module]:
    """Build the modules of plain sequences of sequences, in order; any other module by itself."""
    return (
        [module for child in part for module in flat(child)]
        if type(part) is nn.Sequential
        else [part]
    )


@functools.cache
def pyramid(backbone: str) -> tuple[Taken, ...]:
    """Return the maps to hand on, finest first, found by a forward pass on the meta device.

    Raises InvalidChoice.
    """
    last: dict[int, Taken] = {}
    with torch.device("meta"), torch.no_grad():
        x = torch.empty(1, RGB, *PROBE)
        for i, step in enumerate(trunk(blank(backbone).eval())):
            try:
                x = step(x)
                taken = seen(i, x)
            except (
                RuntimeError,
                AssertionError,
                NotImplementedError,
                TypeError,
                ValueError,
            ) as error:
                raise InvalidChoice(
                    f"encoder=torchvision:{backbone} is no row of modules that halve their maps "
                    f"({first_line(error)} at {type(step).__name__}); choose one that is, such as "
                    "torchvision:resnet34, vgg16_bn, efficientnet_b0, convnext_tiny or swin_t, or "
                    "look for it in timm:"
                ) from error
            last[taken.reduction] = taken
    return tuple(last[reduction] for reduction in sorted(last))


def seen(step: int, x: Tensor) -> Taken:
    """Return what a step put out for an image of `PROBE`.

    Raises ValueError for other than a map at 1/1, 1/2, 1/4, …
    """
    for channels_last in (False, True):
        if x.ndim == 4:
            height, width, channels = x.shape[1:] if channels_last else (*x.shape[2:], x.shape[1])
            reduction = PROBE[0] // height
            whole = (height * reduction, width * reduction) == PROBE
            if whole and reduction & (reduction - 1) == 0:
                return Taken(step, channels, reduction, channels_last)
    raise ValueError(f"{format_size(PROBE)} pixels give {format_size(tuple(x.shape[1:]))}")


def first_convolution(steps: nn.Module) -> nn.Conv2d:
    """Return the convolution that sees the image."""
    return next(module for module in steps.modules() if isinstance(module, nn.Conv2d))


def fitted(weight: Tensor, channels: int) -> Tensor:
    """Return `(out 3 kh kw)` weights for another number of channels.

    Summed for one channel (a grey image in three channels gives the same), else repeated in turn
    and scaled by 3/channels, so that sums keep their range.
    """
    if channels == RGB:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, [i % RGB for i in range(channels)]] * (RGB / channels)
