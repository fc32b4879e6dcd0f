"""Our twins of other packages' networks compute the same: with their weights, the same outputs and
gradients.

In float64, so that only a real difference is one. Weights, biases, scales and statistics are
random. Networks are narrow, and as deep as it takes: what a variant is at its own width is told by
its golden parameters and MACs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from support.transplant import assert_same, transplant
from torch import Tensor, nn

from unet_bench import build_model

WIDTHS = (4, 8, 16, 32)
ABOVE_ONE_PIXEL = {
    2: (48, 64),
    3: (16, 16, 32),
}  # at the coarsest of four levels there is something to normalise


@dataclass(frozen=True)
class Twin:
    """A variant of ours, changed as told, and the network of another package it is to equal."""

    variant: str
    package: str
    theirs: Callable[[Any, int, int, int], nn.Module]  # (package, dims, channels, classes)
    choices: dict[str, Any] = field(default_factory=dict)
    dims: tuple[int, ...] = (2, 3)
    size: tuple[int, ...] = ()


def nnunet(network: str, **arguments: Any) -> Callable[[Any, int, int, int], nn.Module]:
    """A network of nnU-Net's in four stages, with all its heads."""

    def make(unet: Any, dims: int, channels: int, classes: int) -> nn.Module:
        made: nn.Module = getattr(unet, network)(
            input_channels=channels,
            num_classes=classes,
            n_stages=len(WIDTHS),
            features_per_stage=WIDTHS,
            conv_op=(nn.Conv2d, nn.Conv3d)[dims - 2],
            kernel_sizes=3,
            strides=(1, 2, 2, 2),
            conv_bias=True,
            norm_op=(nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 2],
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=True,
            **arguments,
        )
        return made

    return make


def monai_unet(**arguments: Any) -> Callable[[Any, int, int, int], nn.Module]:
    """MONAI's UNet in its usual widths."""

    def make(nets: Any, dims: int, channels: int, classes: int) -> nn.Module:
        made: nn.Module = nets.UNet(
            dims, channels, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), **arguments
        )
        return made

    return make


def smp(variant: str, network: str, encoder: str) -> Twin:
    """A network of segmentation-models-pytorch."""

    def make(package: Any, dims: int, channels: int, classes: int) -> nn.Module:
        made: nn.Module = getattr(package, network)(
            encoder, encoder_weights=None, in_channels=channels, classes=classes
        )
        return made

    return Twin(variant, "segmentation_models_pytorch", make, dims=(2,), size=(96, 128))


class Ordered(nn.Module):
    """A network that returns its heads' maps from the coarsest on: the main one first in training,
    alone otherwise.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        maps: list[Tensor] = self.network(image)
        return maps[::-1] if self.training else maps[-1]


ARCHITECTURES = "dynamic_network_architectures.architectures.unet"
FOUR_LEVELS = {"encoder_widths": WIDTHS, "depth": 3, "aux_heads": 2}
TWINS = [
    smp("resnet34-unet", "Unet", "resnet34"),
    smp("vgg16-unet", "Unet", "vgg16_bn"),
    smp("resnet34-unet++", "UnetPlusPlus", "resnet34"),
    Twin(
        "segresnet",
        "monai.networks.nets",
        lambda nets, dims, channels, classes: nets.SegResNet(dims, 8, channels, classes),
    ),
    Twin(
        "unet++-monai",
        "monai.networks.nets",
        lambda nets, dims, channels, classes: Ordered(
            nets.BasicUNetPlusPlus(
                dims, channels, classes, (4, 4, 8, 16, 32, 4), deep_supervision=True
            )
        ),
        {"encoder_widths": (4, *WIDTHS)},
    ),
    Twin(
        "basicunet",
        "monai.networks.nets",
        lambda nets, dims, channels, classes: nets.BasicUNet(
            dims, channels, classes, features=(4, 4, 8, 16, 32, 4)
        ),
        {"encoder_widths": (4, *WIDTHS)},
    ),
    Twin(
        "dynunet",
        "monai.networks.nets",
        lambda nets, dims, channels, classes: nets.DynUNet(
            dims, channels, classes, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=WIDTHS
        ),
        {"encoder_widths": WIDTHS, "depth": 3},
    ),
    Twin(
        "attention-unet-monai",
        "monai.networks.nets",
        lambda nets, dims, channels, classes: nets.AttentionUnet(
            dims, channels, classes, WIDTHS, (2, 2, 2)
        ),
        {"encoder_widths": WIDTHS, "depth": 3},
    ),
    Twin("unet-monai", "monai.networks.nets", monai_unet()),
    Twin("unet-monai-spleen", "monai.networks.nets", monai_unet(num_res_units=2, norm="batch")),
    Twin(
        "nnunet-plain",
        ARCHITECTURES,
        nnunet("PlainConvUNet", n_conv_per_stage=2, n_conv_per_stage_decoder=2),
        FOUR_LEVELS,
    ),
    Twin(
        "nnunet-resenc",
        ARCHITECTURES,
        nnunet("ResidualEncoderUNet", n_blocks_per_stage=(1, 3, 2, 2), n_conv_per_stage_decoder=1),
        FOUR_LEVELS | {"blocks_per_level": (1, 3, 2, 2)},
    ),
]
CASES = [
    pytest.param(twin, dims, *counts, id=f"{twin.variant}-{dims}d-{counts[0]}to{counts[1]}")
    for twin in TWINS
    for dims, counts in itertools.product(twin.dims, ((1, 2), (3, 1), (2, 4)))
]


@pytest.mark.parametrize(("twin", "dims", "channels", "classes"), CASES)
def test_same_weights_same_outputs_and_gradients(
    twin: Twin, dims: int, channels: int, classes: int
) -> None:
    theirs, ours = both(twin, dims, channels, classes)
    size = twin.size or ABOVE_ONE_PIXEL[dims]
    first, second, third = torch.randn(3, 2, channels, *size, dtype=torch.float64)
    pairs = transplant(theirs, ours, first)
    assert_same(theirs, ours, pairs, second, training=True)
    if hasattr(theirs, "decoder") and hasattr(theirs.decoder, "deep_supervision"):
        theirs.decoder.deep_supervision = False  # as nnU-Net's trainer does for validation
    assert_same(theirs, ours, pairs, third, training=False)


def both(twin: Twin, dims: int, channels: int, classes: int) -> tuple[nn.Module, nn.Module]:
    """Their network, with random weights and statistics, and ours, with others."""
    torch.manual_seed(dims)
    package = pytest.importorskip(twin.package)
    theirs = twin.theirs(package, dims, channels, classes).double()
    ours = build_model(
        twin.variant, in_channels=channels, classes=classes, dims=dims, **twin.choices
    ).double()
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim < 2:
                tensor.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else tensor.normal_(
                    std=0.2
                )
    return theirs, ours


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"leak": 0.2}, "is given a map"),
        ({"up_policy": "keep"}, "is given a map"),
        ({"bias": False}, "layers of theirs"),
    ],
)
def test_another_network_is_refused(changes: dict[str, Any], words: str) -> None:
    twin = next(twin for twin in TWINS if twin.variant == "basicunet")
    theirs, _ = both(twin, 2, 1, 2)
    ours = build_model(twin.variant, in_channels=1, classes=2, **(twin.choices | changes)).double()
    with pytest.raises(AssertionError, match=words):
        transplant(theirs, ours, torch.randn(2, 1, 48, 64, dtype=torch.float64))


@pytest.mark.parametrize(
    ("training", "kind"),
    [(True, "weight"), (True, "bias"), (False, "weight"), (False, "running_var")],
)
def test_a_difference_of_a_millionth_is_seen(training: bool, kind: str) -> None:
    twin = next(twin for twin in TWINS if twin.variant == "attention-unet-monai")
    theirs, ours = both(twin, 2, 1, 2)
    image = torch.randn(2, 1, 48, 64, dtype=torch.float64)
    pairs = transplant(theirs, ours, image)
    assert_same(theirs, ours, pairs, image, training)
    last = [tensor for name, tensor in ours.state_dict().items() if name.endswith(kind)][-1]
    last.add_(1e-6)
    with pytest.raises(AssertionError, match="not close"):
        assert_same(theirs, ours, pairs, image, training)
