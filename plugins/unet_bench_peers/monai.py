"""Networks of MONAI, in 2-D and 3-D, with the arguments that its documentation and tutorials give
them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from monai.networks import nets
from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE
from torch import nn

from unet_bench.errors import InvalidChoice, Unsupported, first_line, unknown
from unet_bench_peers.building import MISUSE, built
from unet_bench_peers.supervised import Supervised

STRIDED: Final = {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)}
SIX_STAGES: Final = {
    "kernel_size": [3] * 6,
    "strides": [1, 2, 2, 2, 2, 2],
    "upsample_kernel_size": [2] * 5,
}
NETWORKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "BasicUNet": {},
    "BasicUNetPlusPlus": {},
    "UNet": STRIDED,
    "UNet-spleen": {**STRIDED, "num_res_units": 2, "norm": "batch"},
    "AttentionUnet": STRIDED,
    "DynUNet": SIX_STAGES,
    "SegResNet": {},
    "UNETR": {},
    "SwinUNETR": {},
    "FlexibleUNet": {},
    "VNet": {},
}
"""Class names, with the arguments beside channels, classes and dimensions; others are as MONAI has
them. What follows a hyphen tells arguments of one class apart: `UNet-spleen` is the one of MONAI's
tutorial on segmenting spleens."""
ABSENT: Final = "needs packages that MONAI does not bring (pip install einops)"
LIST_NETWORKS: Final = "python -c 'from unet_bench_peers.monai import NETWORKS; print(*NETWORKS)'"
LIST_BACKBONES: Final = (
    "python -c 'from monai.networks.nets.flexible_unet import FLEXUNET_BACKBONE as b; "
    "print(*b.register_dict)'"
)


def family(member: str) -> Callable[..., nn.Module]:
    """Build the factory for a class name of MONAI's.

    FlexibleUNet comes with its backbone, `FlexibleUNet/resnet34`. Raises UnknownName for another
    network or backbone, InvalidChoice for a backbone that is missing or too many.
    """
    name, slash, backbone = member.partition("/")
    if name not in NETWORKS:
        raise unknown("MONAI network", name, NETWORKS, LIST_NETWORKS)
    if (name == "FlexibleUNet") != bool(slash):
        raise InvalidChoice(
            f"monai:{member} is not valid: FlexibleUNet, and no other, has a backbone: "
            "monai:FlexibleUNet/resnet34"
        )
    if slash and backbone not in FLEXUNET_BACKBONE.register_dict:
        raise unknown("MONAI backbone", backbone, FLEXUNET_BACKBONE.register_dict, LIST_BACKBONES)

    def make(
        *, in_channels: int, classes: int, dims: int = 2, image_size: Sequence[int] = ()
    ) -> nn.Module:
        """Return `(N classes *S)` logits of `(N C *S)` images.

        Raises InvalidChoice for what MONAI refuses.
        """
        arguments = dict(NETWORKS[name])
        if slash:
            arguments |= {"backbone": backbone, "pretrained": False}
        if name == "UNETR":
            if not image_size:
                raise InvalidChoice(
                    "it is made for one image size: give image_size, such as (256, 256)"
                )
            arguments["img_size"] = tuple(image_size)
        create = functools.partial(
            getattr(nets, name.partition("-")[0]), spatial_dims=dims, **arguments
        )
        try:
            network = built(
                functools.partial(create, in_channels=in_channels, out_channels=classes)
            )
        except ImportError as error:
            raise Unsupported(f"monai:{member} {ABSENT}: {first_line(error)}") from error
        except MISUSE as error:
            raise InvalidChoice(
                f"it cannot be built for in_channels={in_channels}, dims={dims} ({error}); "
                "name another network, or another size"
            ) from error
        return Supervised(network, switch="", main=-1) if name == "BasicUNetPlusPlus" else network

    return make
