"""Heads: `(N C *S)` to class scores `(N classes *S)`."""

from __future__ import annotations

from torch import nn

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import CONV, activation, normalisation


def conv_1x1(place: Place) -> nn.Module:
    """Build a 1×1 convolution with bias, in torch's own initialisation: scores start small."""
    return CONV[place.dims](place.in_channels, place.out_channels, 1)


def conv_3x3(place: Place) -> nn.Module:
    """Build a zero-padded 3×3 convolution with bias."""
    return CONV[place.dims](place.in_channels, place.out_channels, 3, padding=1)


def conv_1x1_norm(place: Place) -> nn.Sequential:
    """Build a 1×1 convolution with bias and a norm of the class scores.

    Ibtehaz and Rahman 2020, arXiv 1902.04049. Raises InvalidChoice for a layer norm, which would
    take from every pixel how sure it is.
    """
    if place.norm == "layer":
        raise InvalidChoice(
            "head=conv-1x1-norm with norm=layer is not valid: every pixel's scores would get one "
            "mean and one spread, "
            "so the norm must look at several pixels; choose decoder_norm=batch, instance or "
            "group, or head=conv-1x1"
        )
    return nn.Sequential(
        CONV[place.dims](place.in_channels, place.out_channels, 1),
        normalisation(place, place.out_channels),
    )


def norm_act_conv_1x1(place: Place) -> nn.Module:
    """Build norm, activation, and a 1×1 convolution with bias.

    It is the end of a pre-activated network.
    """
    norm = normalisation(place, place.in_channels)
    return nn.Sequential(
        norm,
        activation(place, inplace=not isinstance(norm, nn.Identity)),
        CONV[place.dims](place.in_channels, place.out_channels, 1),
    )
