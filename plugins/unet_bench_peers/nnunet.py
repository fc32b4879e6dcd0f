"""nnU-Net's networks (dynamic-network-architectures), in the stages and widths that it plans for
large images.

2-D: seven stages, 32 to at most 512 wide. 3-D: six stages, at most 320 wide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dynamic_network_architectures.architectures import unet
from torch import nn

from unet_bench.errors import unknown
from unet_bench.networks.layers import CONV, INSTANCE_NORM
from unet_bench_peers.supervised import Supervised

STAGES: Final = {2: 7, 3: 6}
WIDEST: Final = {2: 512, 3: 320}
RESIDUAL_BLOCKS: Final = (1, 3, 4, 6, 6, 6, 6)
LIST_NETWORKS: Final = "python -c 'from unet_bench_peers.nnunet import NETWORKS; print(*NETWORKS)'"


def plain(stages: int) -> dict[str, Any]:
    """Return two convolutions a stage, on either side."""
    return {"n_conv_per_stage": 2, "n_conv_per_stage_decoder": 2}


def residual(stages: int) -> dict[str, Any]:
    """Return residual blocks down, as in nnU-Net's ResEnc presets; one convolution a stage up."""
    return {"n_blocks_per_stage": RESIDUAL_BLOCKS[:stages], "n_conv_per_stage_decoder": 1}


NETWORKS: Final[Mapping[str, Callable[[int], dict[str, Any]]]] = {
    "PlainConvUNet": plain,
    "ResidualEncoderUNet": residual,
}


def family(member: str) -> Callable[..., nn.Module]:
    """Build the factory for one of the two classes. Raises UnknownName for another."""
    if member not in NETWORKS:
        raise unknown("nnU-Net network", member, NETWORKS, LIST_NETWORKS)

    def make(
        *, in_channels: int, classes: int, dims: int = 2, image_size: Sequence[int] = ()
    ) -> nn.Module:
        """Return `(N classes *S)` logits of `(N C *S)` images.

        In training it returns those of every decoder stage. Sides divide by 64, in 3-D by 32.
        Instance norm trains on no map of one pixel: images should be twice as large.
        """
        stages = STAGES[dims]
        network = getattr(unet, member)(
            input_channels=in_channels,
            num_classes=classes,
            n_stages=stages,
            features_per_stage=[min(32 << stage, WIDEST[dims]) for stage in range(stages)],
            conv_op=CONV[dims],
            kernel_sizes=3,
            strides=[1] + [2] * (stages - 1),
            conv_bias=True,
            norm_op=INSTANCE_NORM[dims],
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            **NETWORKS[member](stages),
        )
        return Supervised(network, switch="decoder", main=0)

    return make
